//! Judging and showing: one table row per port and protocol, each cell held against the vendor's document and against
//! what the hosts really sent. A wrong cell is named with its reason.

use std::collections::BTreeMap;
use std::net::IpAddr;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, TableComponent, presets};
use nodewall_testbed::{Arrived, Lab, Outcome, Protocol};

use super::counters::Tally;
use super::traffic::Conversation;
use super::vendor::{Access, Line};

/// Everything that is known about one port and protocol.
pub(super) struct Evidence {
    pub(super) port: u16,
    pub(super) line: &'static Line,
    pub(super) protocol: Protocol,
    pub(super) conversations: Vec<Conversation>,
    pub(super) counted: Tally,
    /// Whether nodewall has a row for this very port.
    pub(super) named: bool,
    pub(super) arrived: Arrived,
}

/// One cell's text, and why it is wrong, if it is.
struct Judged {
    text: String,
    wrong: Vec<String>,
}

/// One row of the table.
pub(super) struct Row {
    port: u16,
    protocol: Protocol,
    cells: [(&'static str, Judged); 7],
}

const HEADINGS: [&str; 9] =
    ["port", "protocol", "class", "for whom", "peers", "outsider", "passed", "dropped", "reached the socket"];

impl Evidence {
    /// Holds every cell against what is right.
    pub(super) fn judge(&self, lab: &Lab) -> Row {
        Row {
            port: self.port,
            protocol: self.protocol,
            cells: [
                ("class", self.class()),
                ("for whom", Judged { text: self.line.access.text().to_owned(), wrong: Vec::new() }),
                ("peers", self.answers(true)),
                ("outsider", self.answers(false)),
                ("passed", self.passed()),
                ("dropped", self.dropped()),
                ("reached the socket", self.reached(lab)),
            ],
        }
    }

    fn class(&self) -> Judged {
        let classes: Vec<&str> = self.counted.classes.iter().map(String::as_str).collect();
        let (text, wrong) = match (self.line.access, classes.as_slice()) {
            (Access::NotNamed, _) if self.named => (
                "?".to_owned(),
                vec!["nodewall counts it on a row of its own, but the document does not name it".into()],
            ),
            (Access::NotNamed, _) => ("-".to_owned(), Vec::new()),
            (_, [class]) => ((*class).to_owned(), Vec::new()),
            (_, []) => ("-".to_owned(), vec!["no row of the counters gives this port a class".into()]),
            (_, many) => (many.join("+"), vec!["the counters give this port more than one class".into()]),
        };
        Judged { text, wrong }
    }

    fn answers(&self, from_peer: bool) -> Judged {
        let mut kinds = BTreeMap::<&str, usize>::new();
        let mut wrong = Vec::new();
        for said in self.conversations.iter().filter(|said| said.from_peer == from_peer) {
            let outcome = &said.probed.outcome;
            *kinds.entry(word(outcome)).or_default() += 1;
            let right = if said.wanted {
                *outcome == Outcome::Answered { by_port: self.port }
            } else {
                *outcome == Outcome::TimedOut
            };
            if !right {
                let wanted = if said.wanted { "an answer from this port" } else { "silence" };
                let words = self.line.words;
                wrong.push(format!(
                    "{} over {} got {outcome:?}, expected {wanted}: \"{words}\"",
                    said.host, said.family
                ));
            }
        }
        let text = match kinds.len() {
            1 => kinds.into_keys().collect(),
            _ => kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", "),
        };
        Judged { text, wrong }
    }

    /// What the hosts sent in the conversations that the document wants, or does not want, to be answered.
    fn sent(&self, wanted: bool) -> u64 {
        let these = self.conversations.iter().filter(|said| said.wanted == wanted);
        these.map(|said| u64::from(said.probed.sent_packets)).sum()
    }

    fn passed(&self) -> Judged {
        let (counted, sent) = (self.counted.passed, self.sent(true));
        let mut wrong = Vec::new();
        if counted != sent || counted == 0 {
            wrong
                .push(format!("nodewall counted {counted} packets as passed; the hosts that may reach it sent {sent}"));
        }
        if self.counted.other != 0 {
            wrong.push(format!("{} packets were neither passed nor dropped", self.counted.other));
        }
        Judged { text: counted.to_string(), wrong }
    }

    fn dropped(&self) -> Judged {
        let (counted, sent) = (self.counted.dropped, self.sent(false));
        let mut wrong = Vec::new();
        if counted != sent {
            wrong.push(format!(
                "nodewall counted {counted} packets as dropped; the hosts that may not reach it sent {sent}"
            ));
        }
        Judged { text: counted.to_string(), wrong }
    }

    /// The listener's word, which knows nothing of nodewall: exactly the wanted conversations, from exactly these sources.
    fn reached(&self, lab: &Lab) -> Judged {
        let mut expected = BTreeMap::<IpAddr, u64>::new();
        for said in self.conversations.iter().filter(|said| said.wanted) {
            if let Ok(host) = lab.host(&said.host) {
                *expected.entry(host.address(said.family)).or_default() += 1;
            }
        }
        let mut wrong = Vec::new();
        if self.arrived.sources != expected {
            let sources = &self.arrived.sources;
            wrong.push(format!("the node's own socket was reached from {sources:?}, expected from {expected:?}"));
        }
        Judged { text: self.arrived.count.to_string(), wrong }
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

impl Row {
    /// One sentence per reason why one of its cells is wrong.
    pub(super) fn wrong(&self) -> impl Iterator<Item = String> {
        let name = |column: &str| format!("{}/{}, {column}", self.port, self.protocol);
        self.cells.iter().flat_map(move |(column, judged)| {
            judged.wrong.iter().map(move |reason| format!("{}: {reason}", name(column)))
        })
    }
}

/// The one table. It has colour on a terminal only, and none when `NO_COLOR` is set; a wrong cell is marked in both.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    for between_rows in [TableComponent::HorizontalLines, TableComponent::MiddleIntersections] {
        table.remove_style(between_rows);
    }
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    table.set_header(HEADINGS.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    for row in rows {
        let mut cells = vec![Cell::new(row.port), Cell::new(row.protocol)];
        cells.extend(row.cells.iter().map(|(column, judged)| cell(column, judged)));
        table.add_row(cells);
    }
    for column in [0, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cell(column: &str, judged: &Judged) -> Cell {
    if !judged.wrong.is_empty() {
        return Cell::new(format!("✗ {}", judged.text)).fg(Color::Red).add_attribute(Attribute::Bold);
    }
    let cell = Cell::new(&judged.text);
    match (column, judged.text.as_str()) {
        ("peers" | "outsider", "answered") => cell.fg(Color::Green),
        ("outsider", "silence") => cell.fg(Color::Yellow),
        _ => cell,
    }
}
