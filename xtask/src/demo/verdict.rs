//! Judging and showing: one table row per port and protocol, each held against the vendor's document and against what the hosts really sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, TableComponent, presets};
use nodewall_testbed::{Arrived, Family, Outcome, Probed, Protocol};

use super::filter::Counted;
use super::vendor::Access;

/// One attempt of a host to reach a port of the node.
pub(super) struct Conversation {
    pub(super) host: String,
    pub(super) address: IpAddr,
    pub(super) family: Family,
    pub(super) from_peer: bool,
    /// Whether the vendor's document wants it answered.
    pub(super) wanted: bool,
    pub(super) probed: Probed,
}

/// Everything that is known about one port and protocol.
pub(super) struct Evidence {
    pub(super) port: u16,
    pub(super) access: Access,
    pub(super) protocol: Protocol,
    pub(super) conversations: Vec<Conversation>,
    /// On nodewall's own row for this port, if it has one.
    pub(super) counted: Option<Counted>,
    pub(super) arrived: Arrived,
}

const HEADINGS: [&str; 9] =
    ["port", "protocol", "class", "for whom", "peers", "outsider", "passed", "dropped", "reached the socket"];

impl Evidence {
    /// A sentence for each thing that is wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for said in &self.conversations {
            let right = if said.wanted { Outcome::Answered { by_port: self.port } } else { Outcome::TimedOut };
            if said.probed.outcome != right {
                let (host, family, got) = (&said.host, said.family, &said.probed.outcome);
                wrong.push(format!("{host} over {family} got {got:?}, expected {right:?}"));
            }
        }
        match (&self.counted, self.access) {
            (None, Access::NotNamed) => {}
            (None, _) => wrong.push("nodewall has no row for it".to_owned()),
            (Some(_), Access::NotNamed) => {
                wrong.push("nodewall counts it on a row of its own, but the document does not name it".to_owned());
            }
            (Some(counted), _) => {
                let (sent, told) =
                    ((self.sent(true), self.sent(false), 0), (counted.passed, counted.dropped, counted.other));
                if told != sent || counted.passed == 0 {
                    wrong.push(format!(
                        "nodewall counted {told:?} packets (passed, dropped, else), the hosts sent {sent:?}"
                    ));
                }
                if counted.classes.len() != 1 {
                    wrong.push(format!("the counters give it the classes {:?}, not one", counted.classes));
                }
            }
        }
        // The listener's word, which knows nothing of nodewall: exactly the wanted conversations, from exactly these sources.
        let mut expected = BTreeMap::<IpAddr, u64>::new();
        for said in self.conversations.iter().filter(|said| said.wanted) {
            *expected.entry(said.address).or_default() += 1;
        }
        if self.arrived.sources != expected {
            let sources = &self.arrived.sources;
            wrong.push(format!("the node's own socket was reached from {sources:?}, expected from {expected:?}"));
        }
        wrong.iter().map(|what| format!("{}/{}: {what}", self.port, self.protocol)).collect()
    }

    /// Packets of the conversations that the document wants, or does not want, to be answered.
    fn sent(&self, wanted: bool) -> u64 {
        let these = self.conversations.iter().filter(|said| said.wanted == wanted);
        these.map(|said| u64::from(said.probed.sent_packets)).sum()
    }

    fn answers(&self, from_peer: bool) -> String {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for said in self.conversations.iter().filter(|said| said.from_peer == from_peer) {
            *kinds.entry(word(&said.probed.outcome)).or_default() += 1;
        }
        match kinds.len() {
            1 => kinds.into_keys().collect(),
            _ => kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", "),
        }
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered { .. } => "answered",
        Outcome::Refused => "refused",
        Outcome::TimedOut => "silence",
        Outcome::Unreachable(_) => "unreachable",
        Outcome::Failed(_) => "failed",
    }
}

/// The one table. It has colour on a terminal only, and none when `NO_COLOR` is set; a wrong row is marked in both.
pub(super) fn table(evidence: &[Evidence]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    for between_rows in [TableComponent::HorizontalLines, TableComponent::MiddleIntersections] {
        table.remove_style(between_rows);
    }
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    table.set_header(HEADINGS.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    for row in evidence {
        let counted = |of: fn(&Counted) -> String| row.counted.as_ref().map_or_else(|| "-".to_owned(), of);
        let is_wrong = !row.wrong().is_empty();
        let cells = [
            format!("{}{}", if is_wrong { "✗ " } else { "" }, row.port),
            row.protocol.to_string(),
            counted(|counted| counted.classes.iter().cloned().collect::<Vec<_>>().join("+")),
            row.access.text().to_owned(),
            row.answers(true),
            row.answers(false),
            counted(|counted| counted.passed.to_string()),
            counted(|counted| counted.dropped.to_string()),
            row.arrived.count.to_string(),
        ];
        table.add_row(cells.map(|text| match text.as_str() {
            _ if is_wrong => Cell::new(text).fg(Color::Red).add_attribute(Attribute::Bold),
            "answered" => Cell::new(text).fg(Color::Green),
            "silence" => Cell::new(text).fg(Color::Yellow),
            _ => Cell::new(text),
        }));
    }
    for column in [0, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
