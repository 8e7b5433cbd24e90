//! Figures -> HTML by report.html, in which every text is taken for text of others unless it says `safe`. The page loads nothing and runs nothing, and says so
//! to the browser.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fmt::{self, Write},
    net::IpAddr,
};

use askama::{
    Template,
    filters::{Escaper, Html},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::figures::{self, BUCKETS, Figures, Port, SourceFigures};
use crate::{
    chain::Verdict,
    layers::mac,
    node::Node,
    record::{Event, EventKind, Outcome},
    when::Zone,
};
use nodewall_text::{hex, plain};

const CSS: &str = include_str!("report.css");
const VERSION: &str = env!("CARGO_PKG_VERSION");
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
#[template(path = "report/report.html")]
struct Page<'a> {
    figures: &'a Figures,
    facts: &'a Facts<'a>,
    css_sha256: String,
    since: String,
    until: String,
    /// What, how many, and more on it.
    tiles: [(&'static str, u64, String); 5],
    /// Packets of the highest bar.
    highest: u64,
    bars: Vec<Bar>,
    sources: Vec<(&'a Option<IpAddr>, &'a SourceFigures)>,
    more_sources: usize,
    ports: Vec<(&'a (&'static str, Option<u16>), &'a Port)>,
}

impl Page<'_> {
    fn time(&self, unix_ns: &u64) -> String {
        self.facts.zone.show_seconds(*unix_ns)
    }
}

/// A bar of the timeline's picture.
struct Bar {
    class: &'static str,
    bucket: usize,
    top: String,
    height: String,
}

/// The whole page.
pub fn page(figures: &Figures, facts: &Facts<'_>) -> String {
    let [[dropped, _], [let_in, _]] = &figures.outcomes;
    let [attributed, attributed_bytes] = figures.attributed();
    let [only_counted, counted_bytes] = figures.only_counted();
    let [all, all_bytes] = figures::sum([figures.attributed(), figures.only_counted()]);
    let (all_of_them, how) = match figures.fate {
        Some(Outcome::Drop) => ("packets dropped", "all of them dropped".to_owned()),
        Some(Outcome::WouldDrop) => ("packets against the policy, let in by audit", "all of them let in".to_owned()),
        None => (
            "packets against the policy, dropped or let in by audit",
            format!("{dropped} dropped, {let_in} let in by audit"),
        ),
    };
    let known = figures.sources.keys().filter(|source| source.is_some()).count() as u64;
    let highest = figures.timeline.iter().map(|[drop, would]| drop.saturating_add(*would)).max().unwrap_or(0);
    let mut sources: Vec<_> = figures.sources.iter().collect();
    sources.sort_by_key(|(address, source)| (Reverse(source.packets), **address));
    let more_sources = sources.len().saturating_sub(TOP);
    sources.truncate(TOP);
    let mut ports: Vec<_> = figures.ports.iter().collect();
    ports.sort_by_key(|(key, port)| (Reverse(port.packets), **key));
    ports.truncate(TOP);
    let page = Page {
        figures,
        facts,
        css_sha256: BASE64_STANDARD.encode(Sha256::digest(CSS)),
        since: facts.zone.show_seconds(figures.since_unix_ns),
        until: facts.zone.show_seconds(figures.until_unix_ns),
        tiles: [
            (all_of_them, all, bytes(&all_bytes)),
            ("attributed to a source", attributed, format!("{how}; {}", bytes(&attributed_bytes))),
            ("only counted", only_counted, format!("see what is missing; {}", bytes(&counted_bytes))),
            ("sources", known, "as the frames say".to_owned()),
            ("frames captured", figures.captures, "nodewall events export".to_owned()),
        ],
        highest,
        bars: bars(figures, highest),
        sources,
        more_sources,
        ports,
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

fn kind(event: &Event) -> String {
    match &event.kind {
        EventKind::Operator(action) => format!("operator: {action}"),
        kind => kind.name().replace('_', " "),
    }
}

fn joined(values: impl Iterator<Item = impl ToString>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

fn macs(macs: &BTreeSet<[u8; 6]>) -> String {
    joined(macs.iter().map(mac))
}

/// Digits in groups of three.
fn grouped(number: &impl ToString) -> String {
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

fn bytes(bytes: &u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    units.iter().find(|(_, unit)| bytes >= unit).map_or_else(
        || format!("{bytes} B"),
        |(name, unit)| format!("{}.{} {name}", bytes / unit, (bytes % unit) * 10 / unit),
    )
}
