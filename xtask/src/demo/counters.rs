//! What `nodewall counters -o json` says, port by port. It reads the published format and nothing else of nodewall.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use nodewall_testbed::Protocol;
use serde::Deserialize;

#[derive(Deserialize)]
struct Output {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    class: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    direction: String,
    outcome: String,
    packets: u64,
}

/// The packets of one port and protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) dropped: u64,
    /// Audit mode's answer, which enforcement must never give, and any outcome that the format does not know.
    pub(super) other: u64,
    /// The classes that its rows name.
    pub(super) classes: BTreeSet<String>,
}

impl Tally {
    fn since(&self, before: &Self) -> Self {
        Self {
            passed: self.passed.saturating_sub(before.passed),
            dropped: self.dropped.saturating_sub(before.dropped),
            other: self.other.saturating_sub(before.other),
            classes: self.classes.clone(),
        }
    }
}

/// All incoming counters at one moment. The port is `None` for what the policy does not name.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot(BTreeMap<(Option<u16>, String), Tally>);

impl Snapshot {
    pub(super) fn parse(json: &str) -> Result<Self> {
        let output: Output =
            serde_json::from_str(json).with_context(|| format!("`nodewall counters -o json` printed:\n{json}"))?;
        let mut tallies = BTreeMap::<_, Tally>::new();
        for row in output.rows.into_iter().filter(|row| row.direction == "in") {
            let tally = tallies.entry((row.port, row.protocol.unwrap_or_default())).or_default();
            match row.outcome.as_str() {
                "pass" => tally.passed += row.packets,
                "drop" => tally.dropped += row.packets,
                _ => tally.other += row.packets,
            }
            tally.classes.extend(row.class);
        }
        Ok(Self(tallies))
    }

    /// What moved for one port since an earlier moment; zero where there is no row.
    pub(super) fn moved(&self, before: &Self, port: Option<u16>, protocol: Protocol) -> Tally {
        let key = (port, protocol.name().to_owned());
        let now = self.0.get(&key).cloned().unwrap_or_default();
        now.since(before.0.get(&key).unwrap_or(&Tally::default()))
    }

    /// Whether the policy has a row for this very port.
    pub(super) fn names(&self, port: u16, protocol: Protocol) -> bool {
        self.0.contains_key(&(Some(port), protocol.name().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_per_port_protocol_and_outcome() {
        let json = r#"{"generation":1,"rows":[
            {"class":"cassandra","port":9042,"protocol":"tcp","direction":"in","outcome":"pass","reason":"peer","packets":5,"bytes":300},
            {"class":"cassandra","port":9042,"protocol":"tcp","direction":"in","outcome":"drop","reason":"outsider","packets":2,"bytes":120},
            {"class":"cassandra","port":9042,"protocol":"tcp","direction":"out","outcome":"pass","reason":"peer","packets":99,"bytes":1},
            {"class":"cassandra","port":9042,"protocol":"tcp","direction":"in","outcome":"would_drop","reason":"outsider","packets":1,"bytes":1},
            {"class":null,"port":null,"protocol":"udp","direction":"in","outcome":"pass","reason":"unmanaged","packets":7,"bytes":1}]}"#;
        let now = Snapshot::parse(json).unwrap();
        let before = Snapshot::default();
        let tally = now.moved(&before, Some(9042), Protocol::Tcp);
        assert_eq!((tally.passed, tally.dropped, tally.other), (5, 2, 1));
        assert_eq!(tally.classes, ["cassandra".to_owned()].into());
        assert_eq!(now.moved(&before, None, Protocol::Udp).passed, 7);
        assert_eq!(now.moved(&now, Some(9042), Protocol::Tcp).passed, 0);
        assert_eq!(now.moved(&before, Some(9042), Protocol::Udp), Tally::default());
        assert!(now.names(9042, Protocol::Tcp) && !now.names(22, Protocol::Tcp));
        assert!(Snapshot::parse("{}").is_err());
    }
}
