//! What the ledger costs: a month of minutes of 30 peers on 20 ports, both ways, written as the recorder writes them; its size on the disk, and how long
//! questions take. Every answer is counted against what was put in.
//!
//! `cargo bench --bench ledger [-- --check]`; without cargo's `--bench` (a test run) an hour.
#![allow(clippy::print_stdout, reason = "to whoever measures")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipnet::{IpNet, Ipv4Net};
use node_ebpf_common::{counter::Outcome, peer_traffic::Direction};
use nodewall_evidence::ledger::{Account, Amount, Asked, Book, FILE, LedgerReader, LedgerWriter, Period, Rules, Step};
use nodewall_policy::{Place, config::Config};

const PEERS: u8 = 30;
const PORTS: u16 = 20;
const MINUTES: u64 = 30 * 24 * 60;
const MINUTES_OF_A_TEST: u64 = 60;
/// 2026-08-22, midnight.
const BEGAN_S: u64 = 1_787_356_800;
/// Each question so many times.
const ASKED: usize = 5;

const MOST_BYTES: u64 = 100 << 20;
const LONGEST_ANSWER: Duration = Duration::from_millis(200);

fn peer(number: u8) -> IpNet {
    Ipv4Net::from(Ipv4Addr::new(10, 0, 0, number)).into()
}

fn account(port: u16, number: u8, direction: Direction) -> Account {
    Account {
        place: Place {
            class: Some("cassandra".to_owned()),
            protocol: Some("tcp"),
            ports: Some((7_000 + port, 7_000 + port)),
        },
        direction,
        outcome: Outcome::Pass,
        peer: Some(peer(number)),
    }
}

/// A busy minute: every peer on every port, some hundred to some ten thousand packets.
fn minute(n: u64) -> BTreeMap<Account, Amount> {
    let mut amounts = BTreeMap::new();
    for number in 1..=PEERS {
        for port in 0..PORTS {
            for direction in Direction::ALL {
                let packets = packets(n, number, port);
                amounts.insert(account(port, number, direction), Amount { packets, bytes: packets * 800 });
            }
        }
    }
    amounts
}

fn packets(minute: u64, number: u8, port: u16) -> u64 {
    let mixed = (minute ^ u64::from(number) << 32 ^ u64::from(port) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    100 + mixed.rotate_left(29) % 10_000
}

fn write(directory: &Path, minutes: u64) -> Result<Duration> {
    let mut writer = LedgerWriter::open(directory, Rules::from(&Config::embedded().ledger), false)?.0;
    let book = Book::default();
    let mut took = Duration::ZERO;
    for n in 0..minutes {
        let amounts = minute(n);
        let period = Period { first_unix_s: BEGAN_S + n * 60, until_unix_s: BEGAN_S + (n + 1) * 60 };
        let began = Instant::now();
        writer.write(period, n * 60, &amounts, &book, None)?;
        took += began.elapsed();
    }
    Ok(took / u32::try_from(minutes)?)
}

/// Asks as `nodewall usage` does, by a reader of its own each time; returns packets, and the median and the longest time.
fn ask(directory: &Path, asked: &Asked) -> Result<(u64, Duration, Duration)> {
    let (mut times, mut packets) = (Vec::new(), 0);
    for _ in 0..ASKED {
        let began = Instant::now();
        let usage = LedgerReader::open(directory)?.context("the ledger is gone")?.usage(asked)?;
        packets = usage.entries().map(|entry| entry.amount.packets).sum();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times.get(ASKED / 2).copied().unwrap_or_default();
    Ok((packets, median, times.last().copied().unwrap_or_default()))
}

fn main() -> Result<()> {
    let (mut is_bench, mut is_checked) = (false, false);
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--bench" => is_bench = true,
            "--check" => is_checked = true,
            other => bail!("{other}: known is --check"),
        }
    }
    let minutes = if is_bench { MINUTES } else { MINUTES_OF_A_TEST };
    let place = tempfile::tempdir()?;
    let each = write(place.path(), minutes)?;
    let bytes = std::fs::metadata(place.path().join(FILE))?.len();
    println!("{minutes} minutes of {PEERS} peers on {PORTS} ports, both ways: {:.1} MB", bytes as f64 / 1e6);
    println!("a minute into the ledger: {:.2} ms", each.as_secs_f64() * 1e3);

    let until = BEGAN_S + minutes * 60;
    let all = |wanted: u8| -> u64 {
        let of = |n| (1..=PEERS).filter(move |number| wanted == 0 || *number == wanted).map(move |number| (n, number));
        let ports = |(n, number)| (0..PORTS).map(move |port| 2 * packets(n, number, port)).sum::<u64>();
        (0..minutes).flat_map(of).map(ports).sum()
    };
    let hour = BEGAN_S + (minutes - minutes.min(60)) * 60;
    let mut worst = Duration::ZERO;
    for (name, since, step, wanted) in [
        ("all of it", BEGAN_S, None, 0),
        ("all of it, by the hour", BEGAN_S, Some(Step::Hour), 0),
        ("one peer, all of it, by the hour", BEGAN_S, Some(Step::Hour), 13),
        ("the last hour", hour, None, 0),
    ] {
        let peers = (wanted != 0).then(|| peer(wanted)).into_iter().collect();
        let (found, median, longest) =
            ask(place.path(), &Asked { since_unix_s: since, until_unix_s: until, step, peers })?;
        if since == BEGAN_S {
            ensure!(found == all(wanted), "{name}: {found} packets, but {} were put in", all(wanted));
        }
        println!("| {name} | {:.1} | {:.1} |", median.as_secs_f64() * 1e3, longest.as_secs_f64() * 1e3);
        worst = worst.max(longest);
    }
    if is_checked {
        ensure!(bytes < MOST_BYTES, "it takes {bytes} bytes");
        ensure!(worst < LONGEST_ANSWER, "an answer took {worst:?}");
    }
    Ok(())
}
