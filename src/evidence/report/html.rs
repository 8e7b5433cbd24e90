//! Figures -> HTML by report.html, in which every text is taken for text of others unless it says `safe`. The page loads nothing and runs nothing, and says so
//! to the browser.

use std::{
    cmp::Reverse,
    fmt::{self, Write},
};

use askama::{
    Template,
    filters::{Escaper, Html},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::figures::{BUCKETS, Figures};
use crate::{
    evidence::{chain::Verdict, node::Node, record::EventKind, when::Zone},
    ui::plain,
};

const CSS: &str = include_str!("report.css");
/// Rows of a table; a report is read by people.
const TOP: usize = 25;
/// Of the timeline's picture.
const HEIGHT: u64 = 100;

/// What a report says besides its figures.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Of which node.
    pub node: &'a Node,
    /// When it was made, Unix ns.
    pub made_unix_ns: u64,
    /// In which zone times are shown.
    pub zone: &'a Zone,
    /// Whether the store is as it was written.
    pub verdict: &'a Verdict,
}

/// How text of others gets into the page, whatever is in it: fit for a terminal, and without markup.
#[derive(Clone, Copy)]
struct PlainHtml;

impl Escaper for PlainHtml {
    fn write_escaped_str<W: Write>(&self, page: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(page, &plain(text))
    }
}

#[derive(Template)]
#[template(path = "evidence/report/report.html")]
struct Page<'a> {
    css: &'static str,
    css_sha256: String,
    node: &'a str,
    node_id: &'a str,
    since: String,
    until: String,
    made: String,
    version: &'static str,
    /// What, how many, and more on it.
    tiles: [(&'static str, String, String); 4],
    /// What is wrong with the store.
    fault: Option<String>,
    records: String,
    batches: String,
    head: String,
    last_seq: u64,
    highest: String,
    bars_wide: usize,
    bars_high: u64,
    bars: Vec<Bar>,
    tables: [Table; 5],
}

/// A bar of the timeline's picture.
struct Bar {
    class: &'static str,
    bucket: usize,
    top: String,
    height: String,
}

/// How a column of a table looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Text,
    Time,
    /// Of digits and units only.
    Number,
    /// A text that nothing proves.
    Unverified,
}

struct Table {
    title: &'static str,
    /// What is said where there are no rows.
    none: &'static str,
    columns: &'static [(Style, &'static str)],
    rows: Vec<Vec<(Style, String)>>,
    /// Our own words below it.
    notes: Vec<String>,
}

impl Table {
    fn new(
        title: &'static str,
        columns: &'static [(Style, &'static str)],
        rows: impl Iterator<Item = Vec<String>>,
    ) -> Self {
        let rows = rows.map(|cells| columns.iter().map(|(style, _)| *style).zip(cells).collect()).collect();
        Self { title, none: "None.", columns, rows, notes: Vec::new() }
    }
}

/// The whole page.
pub fn page(figures: &Figures, facts: &Facts<'_>) -> String {
    let time = |unix_ns| facts.zone.show_seconds(unix_ns);
    let [[dropped, dropped_bytes], [would, would_bytes]] = figures.outcomes;
    let sources_count = figures.sources.keys().filter(|source| source.is_some()).count();
    let highest = figures.timeline.iter().map(|[drop, would]| drop.saturating_add(*would)).max().unwrap_or(0);
    let page = Page {
        css: CSS,
        css_sha256: BASE64_STANDARD.encode(Sha256::digest(CSS)),
        node: &facts.node.name,
        node_id: &facts.node.id,
        since: time(figures.since_unix_ns),
        until: time(figures.until_unix_ns),
        made: time(facts.made_unix_ns),
        version: env!("CARGO_PKG_VERSION"),
        tiles: [
            ("packets dropped", grouped(dropped), bytes(dropped_bytes)),
            ("packets that would have been", grouped(would), bytes(would_bytes)),
            ("sources", grouped(sources_count as u64), "as the frames say".to_owned()),
            ("frames captured", grouped(figures.captures), "nodewall events export".to_owned()),
        ],
        fault: facts.verdict.fault.as_ref().map(ToString::to_string),
        records: grouped(facts.verdict.records),
        batches: grouped(facts.verdict.batches),
        head: facts.verdict.head.iter().map(|byte| format!("{byte:02x}")).collect(),
        last_seq: facts.verdict.last_seq,
        highest: grouped(highest),
        bars_wide: BUCKETS,
        bars_high: HEIGHT,
        bars: bars(figures, highest),
        tables: [
            sources(figures, facts.zone),
            ports(figures),
            reasons(figures),
            events(figures, facts.zone),
            losses(figures),
        ],
    };
    // Only a value whose `Display` fails makes an error here, and none does.
    page.render().unwrap_or_default()
}

fn bars(figures: &Figures, highest: u64) -> Vec<Bar> {
    let scaled = |packets: u64| match u128::from(packets) * u128::from(HEIGHT) * 100 / u128::from(highest.max(1)) {
        // A single packet shows.
        height if packets > 0 => height.max(100),
        height => height,
    };
    let shown = |hundredths: u128| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let mut bars = Vec::new();
    for (bucket, [drop, would]) in figures.timeline.iter().enumerate() {
        let mut top = u128::from(HEIGHT) * 100;
        for (class, packets) in [("drop", *drop), ("would", *would)] {
            let height = scaled(packets);
            if height > 0 {
                top = top.saturating_sub(height);
                bars.push(Bar { class, bucket, top: shown(top), height: shown(height) });
            }
        }
    }
    bars
}

fn sources(figures: &Figures, zone: &Zone) -> Table {
    const COLUMNS: &[(Style, &str)] = &[
        (Style::Unverified, "source"),
        (Style::Number, "packets"),
        (Style::Number, "bytes"),
        (Style::Time, "first seen"),
        (Style::Time, "last seen"),
        (Style::Text, "ports"),
        (Style::Text, "interface"),
        (Style::Text, "MAC"),
    ];
    let mut sources: Vec<_> = figures.sources.iter().collect();
    sources.sort_by_key(|(address, source)| (Reverse(source.packets), **address));
    let more = sources.len().saturating_sub(TOP);
    let rows = sources.iter().take(TOP).map(|(address, source)| {
        let macs = source.macs.iter().map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        let ports = source.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        vec![
            address.map_or_else(|| "no IP address".to_owned(), |address| address.to_string()),
            grouped(source.packets),
            bytes(source.bytes),
            zone.show_seconds(source.first_unix_ns),
            zone.show_seconds(source.last_unix_ns),
            if source.more { format!("{ports} and more") } else { ports },
            source.interfaces.iter().cloned().collect::<Vec<_>>().join(", "),
            macs.collect::<Vec<_>>().join(", "),
        ]
    });
    let mut table = Table::new("Top sources", COLUMNS, rows);
    if more > 0 {
        table.notes.push(format!("and {} more", grouped(more as u64)));
    }
    if figures.unlisted_sources > 0 {
        table.notes.push(format!("{} flows are of still other sources", grouped(figures.unlisted_sources)));
    }
    table.notes.push(
        "unverified: an address is what the frame said, and nothing here proves who sent it. Interface and MAC tell which neighbour handed it over, \
         often a router."
            .to_owned(),
    );
    table
}

fn ports(figures: &Figures) -> Table {
    const COLUMNS: &[(Style, &str)] = &[
        (Style::Text, "port"),
        (Style::Text, "protocol"),
        (Style::Text, "class"),
        (Style::Number, "packets"),
        (Style::Number, "bytes"),
    ];
    let mut ports: Vec<_> = figures.ports.iter().collect();
    ports.sort_by_key(|(key, port)| (Reverse(port.packets), **key));
    let rows = ports.iter().take(TOP).map(|((protocol, number), port)| {
        vec![
            number.map_or_else(|| "-".to_owned(), |port| port.to_string()),
            (*protocol).to_owned(),
            port.class.as_deref().unwrap_or("-").to_owned(),
            grouped(port.packets),
            bytes(port.bytes),
        ]
    });
    Table::new("Top ports", COLUMNS, rows)
}

fn reasons(figures: &Figures) -> Table {
    const COLUMNS: &[(Style, &str)] = &[(Style::Text, "reason"), (Style::Text, "meaning"), (Style::Number, "packets")];
    let rows = figures.reasons.values();
    let rows = rows.map(|(reason, packets)| vec![reason.name().into(), reason.text().into(), grouped(*packets)]);
    Table::new("Reasons", COLUMNS, rows)
}

fn events(figures: &Figures, zone: &Zone) -> Table {
    const COLUMNS: &[(Style, &str)] =
        &[(Style::Time, "time"), (Style::Text, "what"), (Style::Text, "detail"), (Style::Text, "who")];
    let rows = figures.events.iter().map(|event| {
        let kind = match &event.kind {
            EventKind::Operator(action) => format!("operator: {action}"),
            kind => kind.name().replace('_', " "),
        };
        let who = event.who.as_deref().unwrap_or("-");
        vec![zone.show_seconds(event.unix_ns), kind, event.detail.clone(), who.to_owned()]
    });
    let mut table = Table::new("Policy, peers, operators", COLUMNS, rows);
    if figures.unlisted_events > 0 {
        table.notes.push(format!("and {} more", grouped(figures.unlisted_events)));
    }
    table
}

fn losses(figures: &Figures) -> Table {
    const COLUMNS: &[(Style, &str)] = &[(Style::Text, "kind"), (Style::Number, "frames"), (Style::Number, "bytes")];
    let rows = figures.losses.iter();
    let rows = rows.map(|(kind, [packets, lost])| vec![kind.name().into(), grouped(*packets), bytes(*lost)]);
    Table { none: "Nothing is known to be missing.", ..Table::new("What is missing", COLUMNS, rows) }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    units.iter().find(|(_, unit)| bytes >= *unit).map_or_else(
        || format!("{bytes} B"),
        |(name, unit)| format!("{}.{} {name}", bytes / unit, (bytes % unit) * 10 / unit),
    )
}
