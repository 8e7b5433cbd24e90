//! An image that is filled by hand, port by port and source by source: what `tests/model/src/cases.rs` says in TOML, without the policy compiler. Must not decide.

use std::{collections::BTreeMap, net::IpAddr};

use node_ebpf_common::{
    PolicyImage, Reason,
    counter::{ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED, denied_from},
    policy::{
        BUCKETS, GROUP_BLOCKED, GROUP_SPOOFED, LengthV4, LengthV6, SLOTS, SlotV4, SlotV6, hash_v4, hash_v6, key_v4,
        slot, value,
    },
    rule::{GROUP_PEER, PortWord, Row},
};
use zerocopy::FromZeros;

use nodewall_cases::{BLOCKED, Policy};

pub(crate) const OPS: u32 = 2;
const SITE: u32 = 4;

/// An image filled port by port and source by source, and which row each (class, protocol, port) has.
pub(crate) struct ByHand {
    pub(crate) image: Box<PolicyImage>,
    pub(crate) rows: BTreeMap<(u8, u16), u32>,
    next_row: u32,
    enforce: bool,
}

impl ByHand {
    pub(crate) fn new(enforce: bool) -> Self {
        let mut image = PolicyImage::new_box_zeroed().unwrap();
        image.enforce = u16::from(enforce);
        image.denied_from = denied_from(enforce) as u8;
        image.rows.fill(Row::new(0, Reason::Unmanaged, enforce));
        image.multiplier_v4 = 0x9e37_79b9_7f4a_7c15;
        image.multiplier_v6 = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
        (image.bucket_mask_v4, image.slot_mask_v4) = (BUCKETS as u32 - 1, SLOTS as u32 - 1);
        (image.bucket_mask_v6, image.slot_mask_v6) = (BUCKETS as u32 - 1, SLOTS as u32 - 1);
        // Every source may have each of the lengths below.
        image.possible_v4.fill(0x4321);
        image.possible_v6.fill(0x321);
        for (table, row) in [ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED].into_iter().enumerate() {
            image.port_words[table].fill(PortWord::new(row, image.rows[row as usize]).bits());
        }
        image.rows[ROW_IP_TUNNELS as usize] = Row::new(GROUP_PEER, Reason::TunnelOutsider, enforce);
        Self { image, rows: BTreeMap::new(), next_row: 100, enforce }
    }

    fn port(&mut self, protocol: u8, port: u16, allow: u32, otherwise: Reason) {
        let table = usize::from(protocol == 17);
        let row = *self.rows.entry((protocol, port)).or_insert_with(|| {
            self.next_row += 1;
            self.next_row
        });
        let rule = Row::new(allow, otherwise, self.enforce);
        self.image.port_words[table][port.swap_bytes() as usize] = PortWord::new(row, rule).bits();
        self.image.rows[row as usize] = rule;
    }

    fn both(&mut self, ports: impl IntoIterator<Item = u16>, allow: u32, otherwise: Reason) {
        for port in ports {
            self.port(6, port, allow, otherwise);
            self.port(17, port, allow, otherwise);
        }
    }

    fn audit(&mut self, ports: &[u16]) {
        for (protocol, port) in ports.iter().flat_map(|port| [(6, *port), (17, *port)]) {
            let row = self.rows[&(protocol, port)];
            let rule = self.image.rows[row as usize].audited();
            self.image.port_words[usize::from(protocol == 17)][port.swap_bytes() as usize] =
                PortWord::new(row, rule).bits();
            self.image.rows[row as usize] = rule;
        }
    }

    /// Puts a prefix into the table; the lengths must be given longest first.
    pub(crate) fn source(&mut self, text: &str, groups: u32, peer: u16) {
        let (address, length) = text.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        match address.parse().unwrap() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0).swap_bytes();
                self.image.length_v4[length_slot(length, &[32, 24, 16, 8])] = LengthV4::new(mask, length + 1);
                self.image.lengths_v4 = 4;
                let key = key_v4(u32::from_le_bytes(address.octets()), length + 1);
                let at = slot(hash_v4(self.image.multiplier_v4, key), 0);
                assert!(
                    [0, key].contains(&self.image.slots_v4[at].key),
                    "two sources in one slot: choose another multiplier"
                );
                self.image.slots_v4[at] = SlotV4 { key, value: value(groups, peer) };
            }
            IpAddr::V6(address) => {
                let halves = |bits: u128| (((bits >> 64) as u64).swap_bytes(), (bits as u64).swap_bytes());
                let (mask_hi, mask_lo) = halves(u128::MAX << (128 - length));
                let (hi, lo) = halves(address.into());
                let length_plus_one = u64::from(length) + 1;
                self.image.length_v6[length_slot(length, &[128, 64, 48])] =
                    LengthV6 { mask_hi, mask_lo, length_plus_one };
                self.image.lengths_v6 = 3;
                let at = slot(hash_v6(self.image.multiplier_v6, hi, lo, length_plus_one), 0);
                let there = self.image.slots_v6[at];
                let same = (there.hi, there.lo, there.length_plus_one) == (hi, lo, length_plus_one);
                assert!(there.value == 0 || same, "two sources in one slot: choose another multiplier");
                self.image.slots_v6[at] = SlotV6 { hi, lo, length_plus_one, value: value(groups, peer) };
            }
        }
    }
}

impl ByHand {
    /// What [`BLOCKED`] says, over the sources that are there already. Longer prefixes carry the groups of the shorter ones around them, own
    /// addresses do not.
    fn block(&mut self, site: u32) {
        for (text, groups, peer) in [
            ("203.0.113.5/32", 0, 0),
            ("172.16.0.0/16", 0, 0),
            ("10.0.0.0/24", site, 0),
            ("10.0.0.11/32", GROUP_PEER | site, 1),
            ("10.9.200.0/24", GROUP_PEER | site, 2),
            ("198.51.100.200/32", if site == 0 { 0 } else { OPS }, 0),
            ("127.0.0.0/8", 0, 0),
            ("2001:db8:bad::5/128", 0, 0),
            ("2001:db8:b::/48", 0, 0),
            ("2001:db8::/64", 0, 0),
            ("2001:db8::11/128", GROUP_PEER, 3),
            ("2001:db8:9:bad::/64", GROUP_PEER, 4),
        ] {
            self.source(text, groups | GROUP_BLOCKED, peer);
        }
        self.image.blocked = BLOCKED.len() as u16;
    }
}

fn length_slot(length: u32, lengths: &[u32]) -> usize {
    lengths.iter().position(|l| *l == length).unwrap()
}

/// What tests/model/src/cases.rs says in TOML, by hand.
pub(crate) fn by_hand(policy: Policy) -> ByHand {
    let mut hand = ByHand::new(!policy.audits());
    let cluster = [8443, 8018, 8019, 8020, 8021, 8022, 9042, 7000, 7001, 7199, 9200, 9300];
    hand.both([443], 0, Reason::Public);
    hand.both(cluster.into_iter().chain(5701..=5711), GROUP_PEER, Reason::Outsider);
    let rules = policy.has_own_rules();
    // What a host unpacks besides, but for what is kept from outsiders in any case.
    let unpacked = policy.tunnel_ports().iter().copied().filter(|port| ![9042, 9999].contains(port));
    for port in [4789, 8472, 6081].into_iter().chain(unpacked) {
        let (allow, otherwise) = if rules { (0, Reason::Public) } else { (GROUP_PEER, Reason::TunnelOutsider) };
        hand.port(17, port, allow, otherwise);
    }
    // A longer prefix carries the groups of the shorter ones around it.
    let site = if rules { SITE } else { 0 };
    for (text, peer) in [("10.0.0.11/32", 1), ("10.9.0.0/16", 2)] {
        hand.source(text, GROUP_PEER | site, peer);
    }
    hand.source("10.0.0.1/32", GROUP_SPOOFED, 0);
    for (text, peer) in [("2001:db8::11/128", 3), ("2001:db8:9::/48", 4), ("fd00:0:0:1::/64", 5)] {
        hand.source(text, GROUP_PEER, peer);
    }
    hand.source("2001:db8::1/128", GROUP_SPOOFED, 0);
    if rules {
        hand.image.rows[ROW_IP_TUNNELS as usize] = Row::new(0, Reason::Public, hand.enforce);
        hand.image.rows[ROW_LATER_FRAGMENTS as usize] = Row::new(GROUP_PEER, Reason::FragmentOutsider, hand.enforce);
        for port in [7199, 20_500, 21_000] {
            hand.port(6, port, GROUP_PEER | OPS, Reason::Outsider);
        }
        hand.both([9999], 0, Reason::Closed);
        hand.both([9998], OPS, Reason::Closed);
        hand.both([9997], SITE, Reason::Closed);
        hand.source("10.0.0.0/8", SITE, 0);
        hand.source("198.51.100.0/24", OPS, 0);
        hand.source("2001:db8:a::/48", OPS, 0);
    }
    if !policy.blocked().is_empty() {
        hand.block(site);
    }
    for (class, ports) in [("agent", &[8443][..]), ("cassandra", &[9042, 7000, 7001, 7199]), ("https", &[443])] {
        if policy.audited().contains(&class) {
            hand.audit(ports);
        }
    }
    hand
}
