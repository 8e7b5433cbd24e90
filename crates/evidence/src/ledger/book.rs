//! What is new of each account since the ledger was last written. Every packet that a row counted is in exactly one account: its peer's, or nobody's. It must
//! not read a clock or the kernel.

use std::collections::BTreeMap;

use ipnet::IpNet;
use node_ebpf_common::{
    counter::{Counter, Outcome, ROW_MISSION_CONTROL},
    maps::RowRecord,
    peer_traffic::Direction,
};
use nodewall_policy::Place;
use serde::{Deserialize, Serialize};

use super::{account::Account, amounts::Amount, counted::Counted};

/// What of a row is told apart: the way, and whether it passed, was dropped, or would have been.
type Part = (u32, bool, u8);
/// The same of one peer; what passes only.
type PeerPart = (u32, bool, IpNet);

/// Where the counters of a data path stood when the ledger was last written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The data path: boot and map.
    pub data_path: String,
    /// It was read once more after its pins were gone: no more comes of it, unless they are put back.
    pub closed: bool,
    /// Of what is nobody's: how much of it is in the ledger.
    nobodys: Vec<(Part, Amount)>,
    /// Where each peer's cells stood.
    peers: Vec<(PeerPart, Amount)>,
    /// How much of a row's passed traffic is in the ledger as peers'.
    attributed: Vec<((u32, bool), Amount)>,
}

impl Book {
    /// Of a data path of which nothing is in the ledger.
    pub fn new(data_path: String) -> Self {
        Self { data_path, ..Self::default() }
    }

    /// What is new in `counted`; the book then stands there.
    pub fn take(&mut self, counted: &Counted) -> BTreeMap<Account, Amount> {
        self.closed = false;
        let mut new = BTreeMap::new();
        let mut attributed: BTreeMap<(u32, bool), Amount> = self.attributed.iter().copied().collect();
        let before: BTreeMap<PeerPart, Amount> = self.peers.drain(..).collect();
        for cell in &counted.peers {
            let is_sent = cell.direction == Direction::Out;
            let (part, now) = ((cell.row, is_sent, cell.peer), amount(cell.counter));
            // A slot that another peer had meanwhile begins at nothing again.
            let stood = before.get(&part).copied().filter(|stood| stood.packets <= now.packets).unwrap_or_default();
            let more = now.minus(stood);
            let sum = attributed.entry((cell.row, is_sent)).or_default();
            *sum = sum.plus(more);
            add(&mut new, account(&counted.rows, cell.row, cell.direction, Outcome::Pass, Some(cell.peer)), more);
            self.peers.push((part, now));
        }
        let mut totals: BTreeMap<Part, Amount> = BTreeMap::new();
        let came = counted.came.iter().map(|cell| ((cell.row, false, cell.outcome), cell.counter));
        let sent = counted.sent.iter().map(|cell| ((cell.row, true, Outcome::Pass), cell.counter));
        // What goes to Mission Control is on its port's row as well.
        for ((row, is_sent, outcome), counter) in came.chain(sent).filter(|((row, ..), _)| *row != ROW_MISSION_CONTROL)
        {
            let sum = totals.entry((row, is_sent, number(outcome))).or_default();
            *sum = sum.plus(amount(counter));
        }
        let mut nobodys: BTreeMap<Part, Amount> = self.nobodys.drain(..).collect();
        for ((row, is_sent, number), total) in totals {
            let outcome = outcome_of(number);
            let of_peers = attributed.get(&(row, is_sent)).filter(|_| outcome == Outcome::Pass);
            // The peers' part was read after the total, so it can be ahead, never behind: what is nobody's is never told too early.
            let now = total.minus(of_peers.copied().unwrap_or_default());
            let stood = nobodys.entry((row, is_sent, number)).or_default();
            let direction = if is_sent { Direction::Out } else { Direction::In };
            add(&mut new, account(&counted.rows, row, direction, outcome, None), now.minus(*stood));
            *stood = now.max(*stood);
        }
        (self.nobodys, self.attributed) = (nobodys.into_iter().collect(), attributed.into_iter().collect());
        new
    }
}

const fn amount(counter: Counter) -> Amount {
    Amount { packets: counter.packets, bytes: counter.bytes }
}

fn add(new: &mut BTreeMap<Account, Amount>, account: Account, more: Amount) {
    if !more.is_zero() {
        let sum = new.entry(account).or_default();
        *sum = sum.plus(more);
    }
}

/// As it lies in the database. Frozen.
pub(super) const fn number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Drop => 1,
        Outcome::WouldDrop => 2,
    }
}

/// The outcome with this number.
pub(super) const fn outcome_of(number: u8) -> Outcome {
    match number {
        0 => Outcome::Pass,
        1 => Outcome::Drop,
        _ => Outcome::WouldDrop,
    }
}

fn account(rows: &[RowRecord], row: u32, direction: Direction, outcome: Outcome, peer: Option<IpNet>) -> Account {
    Account { place: Place::of_row(row, rows), direction, outcome, peer }
}
