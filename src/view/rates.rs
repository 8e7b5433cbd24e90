//! How fast counters move: from two readings. Pure.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::counters::{Counters, Row};

/// What moved between two readings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Time between them.
    pub seconds: f64,
    /// Number of the policy image in force at the second; `null`: none was.
    pub generation: Option<u64>,
    /// Every row that moved.
    pub rows: Vec<Rate>,
}

/// How fast a row moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The row as it stands: packets and bytes are the counter itself.
    #[serde(flatten)]
    pub row: Row,
    /// Frames a second.
    pub packets_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
}

impl Rates {
    /// What moved from `before` to `now`. A counter that went back (`detach` begins anew) counts from zero.
    pub fn between<'a>(before: Option<&'a Counters>, now: Option<&'a Counters>, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        let old: HashMap<_, _> =
            before.iter().flat_map(|b| &b.rows).map(|row| (row.key(), (row.packets, row.bytes))).collect();
        let per_second = |now: u64, then: u64| {
            let moved = if now < then { now } else { now - then };
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let moved = moved as f64;
            if seconds > 0.0 { moved / seconds } else { 0.0 }
        };
        let rate = |row: &'a Row| {
            let (packets, bytes) = old.get(&row.key()).copied().unwrap_or_default();
            (row.packets != packets || row.bytes != bytes).then(|| Rate {
                row: row.clone(),
                packets_per_second: per_second(row.packets, packets),
                bytes_per_second: per_second(row.bytes, bytes),
            })
        };
        let rows = now.iter().flat_map(|now| &now.rows).filter_map(rate).collect();
        Self { seconds, generation: now.map(|now| now.generation), rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(packets: &[(u16, u64)]) -> Counters {
        let row = |(port, packets): &(u16, u64)| Row {
            class: Some("cassandra".into()),
            port: Some(*port),
            ports: None,
            protocol: Some("tcp"),
            direction: "in",
            outcome: "pass",
            reason: "peer",
            packets: *packets,
            bytes: packets * 100,
        };
        Counters { generation: 7, rows: packets.iter().map(row).collect() }
    }

    #[test]
    fn what_moved_is_told_per_second_and_what_went_back_from_zero() {
        let before = counters(&[(1, 10), (2, 5), (3, 1_000)]);
        let now = counters(&[(1, 30), (2, 5), (3, 8), (4, 4)]);
        let rates = Rates::between(Some(&before), Some(&now), Duration::from_secs(2));
        let told: Vec<_> = rates.rows.iter().map(|r| (r.row.port, r.packets_per_second, r.bytes_per_second)).collect();
        assert_eq!(told, [(Some(1), 10.0, 1_000.0), (Some(3), 4.0, 400.0), (Some(4), 2.0, 200.0)]);
        assert_eq!(Rates::between(Some(&now), None, Duration::from_secs(1)).rows, []);
        let first = Rates::between(None, Some(&now), Duration::ZERO);
        assert!(first.rows.iter().all(|r| r.packets_per_second == 0.0), "no time, no rate");
    }
}
