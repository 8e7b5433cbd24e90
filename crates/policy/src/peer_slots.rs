//! Which slot of the peer matrix belongs to which peer: a peer keeps its slot, and with it its number in every image, across swaps, restarts and
//! upgrades. It must not know what is counted there.
//!
//! The slot of a peer that left is given to another only when no slot was never given away, and not by the same change that the peer left with: until the
//! swap the image in force still counts on it. Who finds no slot is counted with the others of that kind.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use node_ebpf_common::{
    maps::PeerRecord,
    peer_traffic::{OWN_PEERS, SLOT_OTHER, SLOTS},
};

/// The slots of a data path, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTable {
    records: Vec<PeerRecord>,
}

impl Default for PeerTable {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl PeerTable {
    /// The table as it was read from a live data path; missing records are free slots.
    pub fn new(mut records: Vec<PeerRecord>) -> Self {
        records.resize(SLOTS as usize, PeerRecord::default());
        Self { records }
    }

    /// The records, in the order of their slots.
    pub fn records(&self) -> &[PeerRecord] {
        &self.records
    }

    /// The numbers of `peers`, in their order. Those above [`OWN_PEERS`] have no slot and are good for one image only.
    pub(super) fn assign(&mut self, peers: &[IpNet]) -> Vec<u16> {
        let own = || (0_u16..).skip(SLOT_OTHER as usize + 1).take(OWN_PEERS as usize);
        let known: BTreeMap<IpNet, u16> = own().filter_map(|n| Some((self.peer(n)?, n))).collect();
        let free = own().filter(|n| self.record(*n).family == 0);
        let left = own().filter(|n| self.record(*n).family != 0 && self.record(*n).active == 0);
        let coming = |n: &u16| self.peer(*n).is_none_or(|peer| peers.binary_search(&peer).is_err());
        let vacant: Vec<u16> = free.chain(left).filter(coming).collect();
        for record in &mut self.records {
            record.active = 0;
        }
        let (mut vacant, mut shared) = (vacant.into_iter(), SLOTS as u16..);
        let mut numbers = Vec::with_capacity(peers.len());
        for peer in peers {
            let number = known.get(peer).copied().or_else(|| vacant.next());
            if let Some(record) = number.and_then(|n| self.records.get_mut(usize::from(n))) {
                *record = record_of(peer);
            }
            // More peers than 16 bits count were refused before.
            numbers.push(number.or_else(|| shared.next()).unwrap_or(u16::MAX));
        }
        numbers
    }

    fn record(&self, slot: u16) -> PeerRecord {
        self.records.get(usize::from(slot)).copied().unwrap_or_default()
    }

    fn peer(&self, slot: u16) -> Option<IpNet> {
        peer_of(&self.record(slot))
    }
}

/// The peer of a record; `None` for a slot that was never given away.
pub fn peer_of(record: &PeerRecord) -> Option<IpNet> {
    let address = match record.family {
        4 => IpAddr::from(*record.address.first_chunk::<4>()?),
        6 => IpAddr::from(record.address),
        _ => return None,
    };
    IpNet::new(address, record.prefix_len).ok()
}

fn record_of(peer: &IpNet) -> PeerRecord {
    let mut address = [0; 16];
    let family = match peer.network() {
        IpAddr::V4(v4) => {
            address.iter_mut().zip(v4.octets()).for_each(|(to, from)| *to = from);
            4
        }
        IpAddr::V6(v6) => {
            address = v6.octets();
            6
        }
    };
    PeerRecord { address, prefix_len: peer.prefix_len(), family, active: 1, reserved: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(numbers: std::ops::Range<u32>) -> Vec<IpNet> {
        numbers.map(|n| IpNet::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap()).collect()
    }

    fn again(table: &PeerTable) -> PeerTable {
        PeerTable::new(table.records().to_vec())
    }

    #[test]
    fn a_peer_keeps_its_number_when_others_come_and_go() {
        let peer = |text: &str| text.parse::<IpNet>().unwrap();
        let (a, b, c) = (peer("10.0.0.1/32"), peer("10.0.0.0/24"), peer("2001:db8::/48"));
        let mut table = PeerTable::default();
        assert_eq!(table.assign(&[b, a, c]), [1, 2, 3]);
        assert_eq!(table.records()[1..4].iter().filter_map(peer_of).collect::<Vec<_>>(), [b, a, c]);
        let mut table = again(&table);
        let new = peer("10.0.0.7/32");
        assert_eq!(table.assign(&[a, new]), [2, 4], "the slots of b and c are not free");
        assert_eq!(table.records()[1].active, 0);
        let mut table = again(&table);
        assert_eq!(table.assign(&[b, a, new, c]), [1, 2, 4, 3]);
        assert!(table.records()[1..5].iter().all(|record| record.active == 1));
    }

    #[test]
    fn who_finds_no_slot_is_counted_with_the_others() {
        let mut table = PeerTable::default();
        let numbers = table.assign(&nets(0..300));
        assert_eq!(numbers, (1..=300).collect::<Vec<u16>>());
        assert_eq!(peer_of(&table.records()[SLOT_OTHER as usize]), None);
        // 150 leave: what they had is not given away by the same change, also to those who waited for a slot.
        let mut table = again(&table);
        let numbers = table.assign(&nets(150..300));
        assert_eq!(numbers[..42], (151..=192).collect::<Vec<u16>>());
        assert_eq!(numbers[42..], (193..=300).collect::<Vec<u16>>());
        // The next change gives it away, the lowest first, but not to others while one of the leavers comes back.
        let mut table = again(&table);
        let back = [nets(0..1), nets(150..300)].concat();
        let numbers = table.assign(&back);
        assert_eq!(numbers[0], 1);
        assert_eq!(numbers[43..], (2..=109).collect::<Vec<u16>>());
        assert_eq!(peer_of(&table.records()[2]), Some(nets(192..193)[0]));
    }
}
