//! Steady traffic under one policy: what must pass and what must not, counted where it is sent, by nodewall, and behind it. For faults that must not
//! be felt at all.

use nodewall_testbed::{Flood, Flooded};
use serde_json::Value;

use crate::measure::{grouped, kpps};
use crate::node::Node;
use crate::rig::{self, CASSANDRA, OUTSIDER, counted, peer};
use crate::settings::Settings;
use crate::turnstile::{Flow, Turnstile};

const PUBLIC: u16 = 443;
const SEALED: u16 = 9999;

/// Who asks what; the first two get in.
const WAYS: [Flow; 4] = [(OUTSIDER, PUBLIC), (peer(21), CASSANDRA), (OUTSIDER, CASSANDRA), (OUTSIDER, SEALED)];
const LET_IN: usize = 2;

/// The policy that the traffic is judged by.
pub(crate) fn settings() -> Settings {
    rig::settings().rules(&format!("[[rule]]\nname = \"sealed\"\nports = [\"{SEALED}\"]\naccess = \"closed\"\n"))
}

/// Traffic under way.
pub(crate) struct Steady<'a> {
    node: &'a Node,
    turnstile: Turnstile<'a>,
    before: Value,
    flood: Flood,
}

/// What came of it.
pub(crate) struct Counted {
    pub(crate) flooded: Flooded,
    wrong_drops: u64,
    wrong_passes: u64,
    /// Frames that no counter, or more than one, tells of.
    miscounted: u64,
}

impl<'a> Steady<'a> {
    pub(crate) fn begin(node: &'a Node, rate_pps: u32) -> Self {
        let (turnstile, before) = (Turnstile::of(node, &WAYS), node.json("counters"));
        let frames = WAYS.map(|(from, port)| rig::datagram(node, from, port));
        Self { node, turnstile, before, flood: rig::flood_at(node, frames.into(), rate_pps) }
    }

    /// Frames sent so far.
    pub(crate) fn sent_packets(&self) -> u64 {
        self.flood.sent_packets()
    }

    pub(crate) fn end(self) -> Counted {
        let flooded = self.flood.stop().unwrap();
        let sent = &flooded.sent_packets;
        for (port, packets) in [(PUBLIC, sent[0]), (CASSANDRA, sent[1] + sent[2]), (SEALED, sent[3])] {
            let before: u64 = ["pass", "drop"].map(|outcome| counted(&self.before, port, outcome)).iter().sum();
            rig::settled(self.node, port, before + packets);
        }
        let (after, passed) = rig::still("all is counted", || (self.node.json("counters"), self.turnstile.packets()));
        let moved = |port, outcome| counted(&after, port, outcome) - counted(&self.before, port, outcome);
        let cells = [moved(PUBLIC, "pass"), moved(CASSANDRA, "pass"), moved(CASSANDRA, "drop"), moved(SEALED, "drop")];
        Counted {
            wrong_drops: (0..LET_IN).map(|way| sent[way].saturating_sub(passed[way])).sum(),
            wrong_passes: passed[LET_IN..].iter().sum(),
            miscounted: cells.iter().zip(sent).map(|(counted, sent)| counted.abs_diff(*sent)).sum(),
            flooded,
        }
    }
}

impl Counted {
    pub(crate) fn words(&self) -> String {
        format!(
            "{} frames at {}; {} wrong drops, {} wrong passes, {} miscounted",
            grouped(self.flooded.total_packets()),
            kpps(self.flooded.rate_pps()),
            self.wrong_drops,
            self.wrong_passes,
            self.miscounted
        )
    }

    /// Nothing was felt.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        assert_eq!(
            [self.wrong_drops, self.wrong_passes, self.miscounted],
            [0; 3],
            "{}: {:?}",
            self.words(),
            self.flooded
        );
    }
}
