//! What the ledger has of a time, summed by what was asked: what `usage -o json` prints. It must not print or open a database.

use std::collections::BTreeMap;

use serde::Serialize;

use nodewall_evidence::{
    ledger::{Account, Amount, LedgerLoss, Period, Usage},
    when::Zone,
};
use nodewall_policy::config::show;

/// What amounts are told apart by, besides the direction and the outcome, which are never summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The port, with its protocol and class.
    pub port: bool,
    /// The class.
    pub class: bool,
    /// The peer.
    pub peer: bool,
}

/// What the ledger has of a time.
#[derive(Clone, Debug, Serialize)]
pub struct UsageView {
    /// Beginning of the time that this is about, in whole steps: RFC 3339.
    pub since: String,
    /// Its end.
    pub until: String,
    /// The step: 60, 3600 or 86400.
    pub step_s: u64,
    /// The amounts: the oldest first.
    pub rows: Vec<UsageRow>,
    /// What the ledger does not know of the time.
    pub losses: Vec<LossRow>,
}

/// What went one way in one step. What was not asked for apart is summed up, and `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageRow {
    /// When the step, or the longer time, began.
    pub time: String,
    /// When it ended, where it is longer than a step: nobody knows how the amount is spread over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What it is of.
    #[serde(flatten)]
    pub of: UsageKey,
    /// Frames.
    pub packets: u64,
    /// As in the counters.
    pub bytes: u64,
}

/// What an amount is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UsageKey {
    /// Class; `null` also for what the policy does not name.
    pub class: Option<String>,
    /// Port; `null` also for what the policy does not name, and for ranges that share a row.
    pub port: Option<u16>,
    /// First and last port of a range that shares a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// `tcp`, `udp` or `ip`.
    pub protocol: Option<&'static str>,
    /// The peer; `null` also for whoever is none, or is not counted by itself.
    pub peer: Option<String>,
    /// `in` or `out`.
    pub direction: &'static str,
    /// `pass`, `drop`, or in audit mode `would_drop`.
    pub outcome: &'static str,
}

/// A time of which the ledger does not know all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossRow {
    /// Its beginning.
    pub since: String,
    /// Its end.
    pub until: String,
    /// Why.
    pub why: String,
}

impl UsageKey {
    /// Of an account, by what was asked.
    pub fn new(account: &Account, by: By) -> Self {
        let place = &account.place;
        Self {
            class: place.class.clone().filter(|_| by.class || by.port),
            port: place.port().filter(|_| by.port),
            ports: place.range().filter(|_| by.port),
            protocol: place.protocol.filter(|_| by.port),
            peer: account.peer.filter(|_| by.peer).map(|peer| show(&peer)),
            direction: account.direction.name(),
            outcome: account.outcome.name(),
        }
    }
}

/// Sums by period and by what was asked.
pub fn sums(usage: &Usage, by: By) -> BTreeMap<(u64, u64), BTreeMap<UsageKey, Amount>> {
    let mut sums: BTreeMap<_, BTreeMap<UsageKey, Amount>> = BTreeMap::new();
    for entry in usage.entries() {
        let Period { first_unix_s, until_unix_s } = entry.period;
        let of = sums.entry((first_unix_s, until_unix_s)).or_default();
        let sum = of.entry(UsageKey::new(entry.account, by)).or_default();
        *sum = sum.plus(entry.amount);
    }
    sums
}

impl UsageView {
    /// Of an answer, by what was asked.
    pub fn new(usage: &Usage, by: By) -> Self {
        let step_s = usage.step.seconds();
        let rows = sums(usage, by).into_iter().flat_map(|((first, until), of)| {
            of.into_iter().map(move |(of, amount)| UsageRow {
                time: time(first),
                until: (until - first != step_s).then(|| time(until)),
                of,
                packets: amount.packets,
                bytes: amount.bytes,
            })
        });
        Self {
            since: time(usage.period.first_unix_s),
            until: time(usage.period.until_unix_s),
            step_s,
            rows: rows.collect(),
            losses: usage.losses.iter().map(LossRow::new).collect(),
        }
    }
}

impl LossRow {
    fn new(loss: &LedgerLoss) -> Self {
        let Period { first_unix_s, until_unix_s } = loss.period;
        Self { since: time(first_unix_s), until: time(until_unix_s), why: loss.why.clone() }
    }
}

fn time(unix_s: u64) -> String {
    Zone::UTC.show_seconds(unix_s.saturating_mul(1_000_000_000))
}
