//! The upgrade from maps of another layout, without a gap. New maps are made beside the old, named alike, and filled with the policy; each link's program is
//! exchanged; then nobody counts in the old maps any more, and what they hold is written beside the new counters; then the sign of the layout in force is
//! exchanged, and the old maps go.
//!
//! Until the sign is exchanged the old layout is in force: who reads counters reads its own, which may stand still and never go back. A process may die
//! anywhere: the next start finds what is left, makes good for it, and writes the same amounts again instead of adding to them. It knows no policy.

use node_ebpf_common::{
    ABI_VERSION,
    counter::{ROW_FIRST, ROWS},
    maps::{PeerRecord, RowRecord},
    peer_traffic::{SLOT_OTHER, SLOTS},
};

use super::{
    attach,
    bpffs::PinDir,
    carried::{self, Carried},
    egress,
    error::DatapathError,
    former::{Former, row_of},
    memory::Grace,
    object::Loaded,
    peer_cells::is_of,
};

/// An upgrade that has begun: rows and peers have their names in the new maps.
pub struct Upgrade {
    formers: Vec<Former>,
    /// The new layout is in force already; what is left is of an upgrade away from it that did not come to its end.
    is_ours: bool,
}

impl Loaded {
    /// Begins to take over what maps of other layouts hold; `None`: there are none. The caller puts a policy into force, and then ends it.
    pub fn begin_upgrade(&mut self, pins: &PinDir) -> Result<Option<Upgrade>, DatapathError> {
        let in_force = pins.in_force()?;
        let is_ours = in_force == Some(ABI_VERSION);
        let formers = Former::all(pins, in_force)?;
        if formers.is_empty() {
            return Ok(None);
        }
        for name in carried::names(&pins.maps())?.into_iter().filter(|_| !is_ours) {
            // Of an upgrade that did not come to its end; what it carried may be gone since.
            let path = pins.maps().join(name);
            std::fs::remove_file(&path).map_err(DatapathError::io(format!("can not remove {}", path.display())))?;
        }
        let (mut rows, mut peers) = (self.maps.rows()?, self.maps.peers()?);
        for former in &formers {
            former
                .rows
                .iter()
                .enumerate()
                .filter(|(_, r)| r.protocol != 0)
                .for_each(|(n, r)| name_row(&mut rows, n, r));
            former
                .peers
                .iter()
                .enumerate()
                .filter(|(_, p)| p.family != 0)
                .for_each(|(n, p)| name_peer(&mut peers, n, p));
        }
        let (old_rows, old_peers) = (self.maps.rows()?, self.maps.peers()?);
        self.maps.write_rows(&old_rows, &rows)?;
        self.maps.write_peers(&old_peers, &peers)?;
        Ok(Some(Upgrade { formers, is_ours }))
    }
}

impl Upgrade {
    /// Exchanges the program of every link, carries the counters over, makes the new layout the one in force, and takes the old maps away.
    pub fn end(self, loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
        attach::exchange(loaded, pins)?;
        egress::exchange(loaded, pins)?;
        // Of a program before, the last run may not have ended yet.
        let waited = Grace::new().and_then(|grace| grace.wait());
        waited.map_err(DatapathError::io("can not wait for the programs that run"))?;
        let (rows, peers) = (loaded.maps.rows()?, loaded.maps.peers()?);
        for former in &self.formers {
            carried::write(&pins.maps(), former.counters_id, &former.amounts(&rows, &peers)?)?;
            if former.in_force {
                loaded.maps.describe(Some(former.origin()))?;
            }
        }
        loaded.maps.carried = Carried::open(&pins.maps())?;
        if !self.is_ours {
            pins.put_sign()?;
        }
        self.formers.iter().try_for_each(Former::remove)
    }
}

/// Gives a row of these to what that record is for: one of the same number, if it can be.
fn name_row(rows: &mut [RowRecord], number: usize, record: &RowRecord) {
    if row_of(record, rows).is_some() {
        return;
    }
    let numbers = std::iter::once(number).chain(ROW_FIRST as usize..ROWS as usize);
    let is_free = |row: &usize| rows.get(*row).is_some_and(|row| row.protocol == 0);
    if let Some(row) = numbers.filter(|row| *row >= ROW_FIRST as usize).find(is_free).and_then(|row| rows.get_mut(row))
    {
        *row = *record;
    }
}

/// Gives a slot of these to that peer: the one of the same number, if it can be.
fn name_peer(peers: &mut [PeerRecord], number: usize, record: &PeerRecord) {
    if peers.iter().any(|peer| is_of(peer, record)) {
        return;
    }
    let own = SLOT_OTHER as usize + 1..SLOTS as usize;
    let is_free = |slot: &usize| peers.get(*slot).is_some_and(|peer| peer.family == 0);
    let free = std::iter::once(number).chain(own.clone()).filter(|slot| own.contains(slot)).find(is_free);
    if let Some(peer) = free.and_then(|slot| peers.get_mut(slot)) {
        *peer = *record;
    }
}
