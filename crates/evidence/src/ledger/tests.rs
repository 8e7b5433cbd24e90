//! The book against plain sums, and the database against what went into it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use node_ebpf_common::{
    counter::{Counter, Outcome, ROW_FIRST, ROW_TCP_UNMANAGED},
    maps::RowRecord,
    peer_traffic::Direction,
};
use proptest::prelude::*;
use zerocopy::FromZeros as _;

use super::*;
use nodewall_policy::{Place, config::Config};

const ROWS: [u32; 3] = [ROW_FIRST, ROW_FIRST + 1, ROW_TCP_UNMANAGED];
const NOON: u64 = 1_795_348_800;
/// What is kept unless the configuration says otherwise.
fn keep() -> Rules {
    Rules::from(&Config::embedded().ledger)
}

/// The same, with nothing to learn.
fn at_once() -> Rules {
    Rules { learning_s: 0, ..keep() }
}

fn peer(number: u8) -> IpNet {
    format!("10.0.0.{number}/32").parse().unwrap()
}

fn rows() -> Vec<RowRecord> {
    let mut rows = vec![RowRecord::new_zeroed(); 16];
    for (row, port) in [(ROW_FIRST, 9042), (ROW_FIRST + 1, 7000)] {
        let record = RowRecord { first_port: port, last_port: port, protocol: 6, ..RowRecord::new_zeroed() };
        rows[row as usize] = record;
    }
    rows
}

/// The kernel's sums, as they grow.
#[derive(Default)]
struct Kernel {
    came: BTreeMap<(u32, u8), Counter>,
    sent: BTreeMap<u32, Counter>,
    peers: BTreeMap<(u32, bool, u8), Counter>,
}

fn count(counter: &mut Counter, packets: u64) {
    counter.packets += packets;
    counter.bytes += packets * 60;
}

fn outcome(number: u8) -> Outcome {
    [Outcome::Pass, Outcome::Drop, Outcome::WouldDrop][usize::from(number)]
}

impl Kernel {
    fn counted(&self) -> Counted {
        let came =
            self.came.iter().map(|((row, of), counter)| InCell { row: *row, outcome: outcome(*of), counter: *counter });
        let sent = self.sent.iter().map(|(row, counter)| OutCell { row: *row, counter: *counter });
        let peers = self.peers.iter().map(|((row, is_sent, number), counter)| PeerCell {
            row: *row,
            direction: if *is_sent { Direction::Out } else { Direction::In },
            peer: peer(*number),
            counter: *counter,
        });
        Counted { rows: rows(), came: came.collect(), sent: sent.collect(), peers: peers.collect() }
    }
}

fn look(ledger: &mut BTreeMap<Account, Amount>, book: &mut Book, counted: &Counted) {
    for (account, amount) in book.take(counted) {
        let sum = ledger.entry(account).or_default();
        *sum = sum.plus(amount);
    }
}

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Happening {
    /// Packets of nobody in particular.
    Came(usize, u8, u64),
    Sent(usize, u64),
    /// Packets of a peer, on a named row.
    OfPeer(usize, bool, u8, u64),
    /// A frame is on its row, and not yet among its peer's, or was counted between the two readings.
    Ahead(u8, u64),
    /// The peer's slot goes to another one, and is empty again.
    Gone(u8),
    /// The agent begins anew: the book comes from the database.
    Restart,
    Look,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let packets = 1_u64..1_000;
    let one = prop_oneof![
        (0..3_usize, 0..3_u8, packets.clone()).prop_map(|(row, of, n)| Happening::Came(row, of, n)),
        (0..3_usize, packets.clone()).prop_map(|(row, n)| Happening::Sent(row, n)),
        (0..2_usize, any::<bool>(), 1..4_u8, packets.clone())
            .prop_map(|(row, out, p, n)| Happening::OfPeer(row, out, p, n)),
        (1..4_u8, packets).prop_map(|(p, n)| Happening::Ahead(p, n)),
        (1..4_u8).prop_map(Happening::Gone),
        Just(Happening::Restart),
        Just(Happening::Look),
        Just(Happening::Look),
    ];
    proptest::collection::vec(one, 1..60)
}

/// Sums of the ledger by what the kernel knows: row's port, way, outcome.
fn sums(ledger: &BTreeMap<Account, Amount>) -> BTreeMap<(Option<u16>, bool, String), u64> {
    let mut sums = BTreeMap::new();
    for (account, amount) in ledger {
        let key = (account.place.port(), account.direction == Direction::Out, account.outcome.name().to_owned());
        *sums.entry(key).or_default() += amount.packets;
    }
    sums
}

proptest! {
    #[test]
    fn every_packet_is_in_exactly_one_account(happenings in happenings()) {
        let (mut kernel, mut book) = (Kernel::default(), Book::new("boot 7".to_owned()));
        let mut ledger: BTreeMap<Account, Amount> = BTreeMap::new();
        let mut of_peers: BTreeMap<u8, u64> = BTreeMap::new();
        let mut unseen: BTreeMap<u8, u64> = BTreeMap::new();
        let mut emptied = false;
        for happening in happenings {
            match happening {
                Happening::Came(row, of, n) => count(kernel.came.entry((ROWS[row], of)).or_default(), n),
                Happening::Sent(row, n) => count(kernel.sent.entry(ROWS[row]).or_default(), n),
                Happening::OfPeer(row, is_sent, number, n) => {
                    if is_sent {
                        count(kernel.sent.entry(ROWS[row]).or_default(), n);
                    } else {
                        count(kernel.came.entry((ROWS[row], 0)).or_default(), n);
                    }
                    count(kernel.peers.entry((ROWS[row], is_sent, number)).or_default(), n);
                    *of_peers.entry(number).or_default() += n;
                    *unseen.entry(number).or_default() += n;
                }
                // The rows are read, then something comes, then the peers are read.
                Happening::Ahead(number, n) => {
                    let mut counted = kernel.counted();
                    count(kernel.came.entry((ROWS[0], 0)).or_default(), n);
                    count(kernel.peers.entry((ROWS[0], false, number)).or_default(), n);
                    *of_peers.entry(number).or_default() += n;
                    counted.peers = kernel.counted().peers;
                    look(&mut ledger, &mut book, &counted);
                    unseen.clear();
                }
                Happening::Gone(number) => {
                    emptied = true;
                    kernel.peers.retain(|(.., of), _| *of != number);
                    // What it had since the last look is nobody's then.
                    *of_peers.entry(number).or_default() -= unseen.remove(&number).unwrap_or(0);
                }
                Happening::Restart => book = serde_json::from_slice(&serde_json::to_vec(&book).unwrap()).unwrap(),
                Happening::Look => {
                    look(&mut ledger, &mut book, &kernel.counted());
                    unseen.clear();
                }
            }
        }
        look(&mut ledger, &mut book, &kernel.counted());
        let port = |row: u32| (row >= ROW_FIRST).then(|| rows()[row as usize].first_port);
        let mut expected = BTreeMap::new();
        for ((row, of), counter) in &kernel.came {
            *expected.entry((port(*row), false, outcome(*of).name().to_owned())).or_default() += counter.packets;
        }
        for (row, counter) in &kernel.sent {
            *expected.entry((port(*row), true, "pass".to_owned())).or_default() += counter.packets;
        }
        prop_assert_eq!(sums(&ledger), expected);
        for (number, packets) in of_peers {
            let own = ledger.iter().filter(|(account, _)| account.peer == Some(peer(number)));
            let own: u64 = own.map(|(_, amount)| amount.packets).sum();
            // Of a slot that was emptied and filled again between two looks some is nobody's; nobody ever gets another's.
            prop_assert!(own == packets || (own < packets && emptied), "peer {}: {} of {}", number, own, packets);
        }
    }
}

fn account(port: u16, of: Option<u8>) -> Account {
    Account {
        place: Place { class: Some("cassandra".to_owned()), protocol: Some("tcp"), ports: Some((port, port)) },
        direction: Direction::In,
        outcome: Outcome::Pass,
        peer: of.map(peer),
    }
}

fn amounts(list: &[(Account, u64)]) -> BTreeMap<Account, Amount> {
    list.iter().map(|(account, packets)| (account.clone(), Amount { packets: *packets, bytes: packets * 60 })).collect()
}

struct Ledger {
    directory: tempfile::TempDir,
    writer: LedgerWriter,
}

impl Ledger {
    fn new(rules: Rules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let writer = LedgerWriter::open(directory.path(), rules, false).unwrap().0;
        Self { directory, writer }
    }

    fn write(&mut self, first_unix_s: u64, until_unix_s: u64, new: &[(Account, u64)]) -> Vec<First> {
        let period = Period { first_unix_s, until_unix_s };
        self.writer.write(period, 5, &amounts(new), &Book::default(), None).unwrap()
    }

    /// Begin, length and packets of every entry.
    fn usage(
        &self,
        since: u64,
        until: u64,
        step: Option<Step>,
        peer: Option<IpNet>,
    ) -> (Step, Vec<(i64, u64, u64)>, Vec<String>) {
        let reader = LedgerReader::open(self.directory.path()).unwrap().unwrap();
        let asked = Asked { since_unix_s: since, until_unix_s: until, step, peers: peer.into_iter().collect() };
        let usage = reader.usage(&asked).unwrap();
        let entries = usage.entries().map(|entry| {
            let Period { first_unix_s, until_unix_s } = entry.period;
            (first_unix_s.cast_signed() - NOON.cast_signed(), until_unix_s - first_unix_s, entry.amount.packets)
        });
        (usage.step, entries.collect(), usage.losses.iter().map(|loss| loss.why.clone()).collect())
    }
}

#[test]
fn an_amount_is_in_its_minute_hour_and_day() {
    let mut ledger = Ledger::new(at_once());
    for minute in 0..61 {
        ledger.write(
            NOON + minute * 60,
            NOON + minute * 60 + 61,
            &[(account(9042, Some(1)), 10), (account(9042, None), 1)],
        );
    }
    let of = |step, peer| ledger.usage(NOON, NOON + 2 * 3_600, Some(step), peer).1;
    assert_eq!(of(Step::Minute, Some(peer(1))).len(), 61);
    assert!(of(Step::Minute, None).iter().all(|(_, length, _)| *length == 60));
    assert_eq!(of(Step::Hour, Some(peer(1))), [(0, 3_600, 600), (3_600, 3_600, 10)]);
    assert_eq!(
        of(Step::Day, Some(peer(1))),
        [(0, 86_400, 610)].map(|(_, l, n)| (of(Step::Day, Some(peer(1)))[0].0, l, n))
    );
    assert_eq!(of(Step::Hour, Some(peer(2))), []);
    let (step, _, losses) = ledger.usage(NOON, NOON + 3_600, None, None);
    assert_eq!((step, losses.len()), (Step::Minute, 0));
}

#[test]
fn what_was_counted_while_nobody_looked_keeps_its_true_span() {
    let mut ledger = Ledger::new(at_once());
    ledger.write(NOON, NOON + 60, &[(account(9042, None), 1)]);
    // Ten minutes without an agent: no minute's, but all of one hour.
    ledger.write(NOON + 60, NOON + 660, &[(account(9042, None), 100)]);
    // Three hours: no hour's either, but all of one day.
    ledger.write(NOON + 660, NOON + 3 * 3_600, &[(account(9042, None), 1_000)]);
    let of = |step| ledger.usage(NOON, NOON + 4 * 3_600, Some(step), None).1;
    assert_eq!(of(Step::Minute), [(0, 60, 1), (60, 600, 100), (660, 10_140, 1_000)]);
    assert_eq!(of(Step::Hour), [(0, 3_600, 101), (660, 10_140, 1_000)]);
    assert_eq!(of(Step::Day).iter().map(|(.., packets)| packets).sum::<u64>(), 1_101);
    assert_eq!(of(Step::Day).len(), 1);
}

#[test]
fn the_oldest_leave_by_number_and_size_and_that_is_told() {
    let few = at_once().keep.map(|keep| if keep.step == Step::Minute { Keep { periods: 10, ..keep } } else { keep });
    let mut ledger = Ledger::new(Rules { keep: few, ..at_once() });
    for minute in 0..30 {
        ledger.write(NOON + minute * 60, NOON + minute * 60 + 60, &[(account(9042, None), 1)]);
    }
    let (step, entries, losses) = ledger.usage(NOON, NOON + 1_800, Some(Step::Minute), None);
    assert_eq!((step, entries.len(), entries[0].0), (Step::Minute, 10, 20 * 60));
    assert_eq!(losses, ["too old for this step: it was taken away to make room"]);
    // Unasked, the step is one that has all of it.
    let (step, entries, losses) = ledger.usage(NOON, NOON + 1_800, None, None);
    assert_eq!((step, entries[0].2, losses.len()), (Step::Hour, 30, 0));
    let (.., losses) = ledger.usage(NOON - 7_200, NOON + 1_800, None, None);
    assert_eq!(losses, ["the ledger begins later"]);

    let small = at_once().keep.map(|keep| Keep { max_bytes: 200, ..keep });
    let mut ledger = Ledger::new(Rules { keep: small, ..at_once() });
    for minute in 0..30 {
        ledger.write(NOON + minute * 60, NOON + minute * 60 + 60, &[(account(9042, None), 1)]);
    }
    let kept = ledger.usage(NOON, NOON + 1_800, Some(Step::Minute), None).1.len();
    assert!((1..8).contains(&kept), "{kept}");
}

/// One look while the clock said 2036 costs nothing of what was there, and nothing of what comes.
#[test]
fn a_clock_that_was_wrong_once_empties_nothing() {
    let mut ledger = Ledger::new(at_once());
    ledger.write(NOON, NOON + 60, &[(account(9042, None), 1)]);
    let wrong = NOON + 10 * 365 * 86_400;
    ledger.write(wrong, wrong + 60, &[(account(9042, None), 2)]);
    ledger.write(NOON + 120, NOON + 180, &[(account(9042, None), 4)]);
    ledger.write(NOON + 60, NOON + 120, &[(account(9042, None), 8)]);
    let (_, entries, losses) = ledger.usage(NOON, NOON + 600, None, None);
    assert_eq!((entries, losses.len()), (vec![(0, 60, 1), (60, 60, 8), (120, 60, 4)], 0));

    // Nor does it stay for ten years where there is room for few.
    let few = at_once().keep.map(|keep| if keep.step == Step::Minute { Keep { periods: 2, ..keep } } else { keep });
    let mut ledger = Ledger::new(Rules { keep: few, ..at_once() });
    for (at, packets) in [(NOON, 1), (wrong, 2), (NOON + 60, 4), (NOON + 120, 8)] {
        ledger.write(at, at + 60, &[(account(9042, None), packets)]);
    }
    let entries = ledger.usage(NOON, NOON + 600, Some(Step::Minute), None).1;
    assert_eq!(entries, [(60, 60, 4), (120, 60, 8)]);
}

#[test]
fn the_book_and_the_losses_outlive_the_writer() {
    let mut ledger = Ledger::new(at_once());
    let mut book = Book::new("boot 3".to_owned());
    let mut kernel = Kernel::default();
    count(kernel.came.entry((ROW_FIRST, 0)).or_default(), 5);
    let new = book.take(&kernel.counted());
    ledger.writer.write(Period { first_unix_s: NOON, until_unix_s: NOON + 60 }, 77, &new, &book, None).unwrap();
    let [lost, next] = [60, 90].map(|at| Period { first_unix_s: NOON + at, until_unix_s: NOON + at + 30 });
    let loss = Loss { period: lost, why: "the node went down" };
    ledger.writer.write(next, 107, &BTreeMap::new(), &book, Some(loss)).unwrap();
    let again = LedgerWriter::open(ledger.directory.path(), at_once(), true).unwrap().0;
    assert_eq!(again.book().unwrap(), Some(book));
    assert_eq!(again.written().unwrap(), Some((NOON + 120, 107)));
    assert_eq!(ledger.usage(NOON, NOON + 600, None, None).2, ["the node went down"]);
}

/// How a peer that somebody took over shows.
#[test]
fn what_is_used_for_the_first_time_is_told_once_and_not_while_the_ledger_learns() {
    let mut ledger = Ledger::new(Rules { learning_s: 120, ..at_once() });
    let (own, others, nobodys) = (account(9042, Some(1)), account(9042, Some(2)), account(7000, None));
    let mut at = NOON;
    let mut write = |new: &[(Account, u64)]| {
        at += 60;
        ledger.write(at - 60, at, new)
    };
    assert_eq!(write(&[(own.clone(), 1)]), [], "it learns");
    assert_eq!(write(&[(own.clone(), 1)]), []);
    assert_eq!(write(&[(own.clone(), 1), (others.clone(), 1)]), [First::PeerPort(others.clone())]);
    assert_eq!(write(&[(own.clone(), 1), (others.clone(), 1)]), []);
    assert_eq!(write(&[(nobodys.clone(), 1)]), [First::Port(nobodys.clone())]);
    let by_peer = account(7001, Some(2));
    let expected = [First::Port(Account { peer: None, ..by_peer.clone() }), First::PeerPort(by_peer.clone())];
    assert_eq!(write(&[(by_peer, 1)]), expected);
    // Another class for a port that was used before is no first use, and neither is what was dropped or sent.
    let renamed = Account { place: Place { class: Some("own".to_owned()), ..nobodys.place }, ..nobodys };
    let dropped = Account { outcome: Outcome::Drop, ..account(9999, None) };
    let sent = Account { direction: Direction::Out, ..account(9999, Some(1)) };
    assert_eq!(write(&[(renamed, 1), (dropped, 1), (sent, 1)]), []);
}

#[test]
fn a_peer_falls_silent_after_three_times_its_longest_silence_and_once() {
    let mut ledger = Ledger::new(at_once());
    let (chatty, rare) = (account(9042, Some(1)), account(9042, Some(2)));
    let mut silent = Vec::new();
    for minute in 0..400_u64 {
        // One talks each minute until 100 are over, and again from 200 on; the other one every twenty minutes until 300 are over.
        let talks = [(chatty.clone(), !(100..200).contains(&minute)), (rare.clone(), minute % 20 == 0 && minute < 300)];
        let new: Vec<(Account, u64)> = talks.into_iter().filter(|(_, talks)| *talks).map(|(of, _)| (of, 1)).collect();
        for first in ledger.write(NOON + minute * 60, NOON + minute * 60 + 60, &new) {
            if let First::PeerSilent { peer, for_s } = first {
                silent.push((minute, peer, for_s));
            }
        }
    }
    assert_eq!(silent[..2], [(10, peer(2), 600), (109, peer(1), 600)], "whoever was never silent before");
    assert_eq!(silent[2..], [(341, peer(2), 61 * 60)]);
}

/// Nothing of it is invented, nothing else is lost, and both are told.
#[test]
fn what_is_damaged_is_told_and_what_comes_is_kept() {
    let mut ledger = Ledger::new(at_once());
    ledger.write(NOON, NOON + 60, &[(account(9042, None), 1)]);
    ledger.write(NOON + 60, NOON + 120, &[(account(9042, None), 2)]);
    let path = ledger.directory.path().join(FILE);
    let other = rusqlite::Connection::open(&path).unwrap();
    let damaged = other
        .execute("UPDATE periods SET amounts = x'ff' WHERE step_s = 60 AND first_unix_s = ?1", [NOON.cast_signed()]);
    assert_eq!(damaged.unwrap(), 1);
    let minutes = |ledger: &Ledger| ledger.usage(NOON, NOON + 600, Some(Step::Minute), None);
    assert_eq!(minutes(&ledger).1, [(60, 60, 2)]);
    assert_eq!(minutes(&ledger).2, [amounts::UNREADABLE]);
    ledger.write(NOON, NOON + 60, &[(account(9042, None), 4)]);
    assert_eq!(minutes(&ledger).1, [(0, 60, 4), (60, 60, 2)]);
    assert_eq!(minutes(&ledger).2, [amounts::UNREADABLE]);

    // No database at all any more.
    drop((other, ledger.writer));
    std::fs::write(&path, [0x55; 4096]).unwrap();
    let (mut again, aside) = LedgerWriter::open(ledger.directory.path(), at_once(), false).unwrap();
    let (aside, _) = aside.unwrap();
    assert!(aside.exists() && aside != path);
    let period = Period { first_unix_s: NOON, until_unix_s: NOON + 60 };
    again.write(period, 5, &amounts(&[(account(9042, None), 8)]), &Book::default(), None).unwrap();
}
