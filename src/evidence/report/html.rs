//! Figures -> HTML. Every text that is not ours goes through [`text`]; the page loads nothing and runs nothing, and says so to the browser.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::figures::{BUCKETS, Figures};
use crate::evidence::{chain::Verdict, node::Node, record::EventKind, when::Zone};
use nodewall_text::plain;

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

/// The whole page.
pub fn page(figures: &Figures, facts: &Facts<'_>) -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(CSS));
    let time = |unix_ns| text(&facts.zone.show_seconds(unix_ns));
    let (node, id) = (text(&facts.node.name), text(&facts.node.id));
    let (since, until) = (time(figures.since_unix_ns), time(figures.until_unix_ns));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Denied traffic at {node}, {since} to {until}</title>\n<style>{CSS}</style>\n</head>\n<body>\n\
         <h1>Denied traffic at {node}</h1>\n<p>{since} to {until}</p>\n\
         <p class=\"quiet\">node {id}; made {} by nodewall {}</p>\n",
        time(facts.made_unix_ns),
        env!("CARGO_PKG_VERSION"),
    );
    page += &summary(figures);
    page += &verification(facts.verdict);
    page += &timeline(figures, &since, &until);
    page += &sources(figures, facts.zone);
    page += &ports(figures);
    page += &reasons(figures);
    page += &events(figures, facts.zone);
    page += &losses(figures);
    page += "</body>\n</html>\n";
    page
}

fn summary(figures: &Figures) -> String {
    let [[dropped, dropped_bytes], [would, would_bytes]] = figures.outcomes;
    let sources = figures.sources.keys().filter(|source| source.is_some()).count();
    let tiles = [
        ("packets dropped", grouped(dropped), bytes(dropped_bytes)),
        ("packets that would have been", grouped(would), bytes(would_bytes)),
        ("sources", grouped(sources as u64), "as the frames say".to_owned()),
        ("frames captured", grouped(figures.captures), "nodewall events export".to_owned()),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(what, n, more)| format!("<div><b>{n}</b>{what}<br><span class=\"quiet\">{more}</span></div>\n"))
        .collect();
    section("Summary", &format!("<div class=\"tiles\">\n{tiles}</div>\n"))
}

fn verification(verdict: &Verdict) -> String {
    let head: String = verdict.head.iter().map(|byte| format!("{byte:02x}")).collect();
    let found = match &verdict.fault {
        None => "<p class=\"good\">The store is as it was written.</p>\n".to_owned(),
        Some(fault) => {
            format!("<p class=\"bad\">The store is not as it was written: {}</p>\n", text(&fault.to_string()))
        }
    };
    let body = format!(
        "{found}<p>{} records in {} batches were checked. Head of the chain: {head}, batch {}.</p>\n\
         <p class=\"quiet\">Whoever was root on the node can have written it anew; compare the head with one that was noted elsewhere \
         (<code>nodewall events verify --head</code>).</p>\n",
        grouped(verdict.records),
        grouped(verdict.batches),
        verdict.last_seq
    );
    section("Verification", &body)
}

fn timeline(figures: &Figures, since: &str, until: &str) -> String {
    let highest = figures.timeline.iter().map(|[drop, would]| drop.saturating_add(*would)).max().unwrap_or(0);
    let scaled = |packets: u64| match u128::from(packets) * u128::from(HEIGHT) * 100 / u128::from(highest.max(1)) {
        // A single packet shows.
        height if packets > 0 => height.max(100),
        height => height,
    };
    let shown = |hundredths: u128| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let mut bars = String::new();
    for (n, [drop, would]) in figures.timeline.iter().enumerate() {
        let mut top = u128::from(HEIGHT) * 100;
        for (class, packets) in [("drop", *drop), ("would", *would)] {
            let height = scaled(packets);
            if height > 0 {
                top = top.saturating_sub(height);
                let _ = writeln!(
                    bars,
                    "<rect class=\"{class}\" x=\"{n}.1\" y=\"{}\" width=\"0.8\" height=\"{}\"/>",
                    shown(top),
                    shown(height)
                );
            }
        }
    }
    let key = |class: &str| {
        format!(
            "<svg viewBox=\"0 0 1 1\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"1\" height=\"1\"/></svg>"
        )
    };
    let body = format!(
        "<p class=\"key quiet\">packets; highest bar {}{} dropped{} would have been</p>\n\
         <svg viewBox=\"0 0 {BUCKETS} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Denied packets over time\">\n{bars}</svg>\n\
         <p class=\"span\"><span>{since}</span><span>{until}</span></p>\n",
        grouped(highest),
        key("drop"),
        key("would"),
    );
    section("Timeline", &body)
}

fn sources(figures: &Figures, zone: &Zone) -> String {
    let mut sources: Vec<_> = figures.sources.iter().collect();
    sources.sort_by_key(|(address, source)| (std::cmp::Reverse(source.packets), **address));
    let more = sources.len().saturating_sub(TOP);
    let rows = sources.iter().take(TOP).map(|(address, source)| {
        let address = address.map_or_else(|| "no IP address".to_owned(), |address| address.to_string());
        let macs = source.macs.iter().map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        let ports = source.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let ports = if source.more { format!("{ports} and more") } else { ports };
        format!(
            "<tr><td>{} <span class=\"mark\">unverified</span></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"t\">{}</td><td class=\"t\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            text(&address),
            grouped(source.packets),
            bytes(source.bytes),
            text(&zone.show_seconds(source.first_unix_ns)),
            text(&zone.show_seconds(source.last_unix_ns)),
            text(&ports),
            text(&source.interfaces.iter().cloned().collect::<Vec<_>>().join(", ")),
            text(&macs.collect::<Vec<_>>().join(", ")),
        )
    });
    let head = "<th>source</th><th class=\"n\">packets</th><th class=\"n\">bytes</th><th>first seen</th><th>last seen</th>\
                <th>ports</th><th>interface</th><th>MAC</th>";
    let mut body = table(head, rows);
    if more > 0 {
        let _ = writeln!(body, "<p class=\"quiet\">and {} more</p>", grouped(more as u64));
    }
    if figures.unlisted_sources > 0 {
        let _ = writeln!(
            body,
            "<p class=\"quiet\">{} flows are of still other sources</p>",
            grouped(figures.unlisted_sources)
        );
    }
    body += "<p class=\"quiet\">unverified: an address is what the frame said, and nothing here proves who sent it. Interface and MAC tell which \
             neighbour handed it over, often a router.</p>\n";
    section("Top sources", &body)
}

fn ports(figures: &Figures) -> String {
    let mut ports: Vec<_> = figures.ports.iter().collect();
    ports.sort_by_key(|(key, port)| (std::cmp::Reverse(port.packets), **key));
    let rows = ports.iter().take(TOP).map(|((protocol, number), port)| {
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            number.map_or_else(|| "-".to_owned(), |port| port.to_string()),
            text(protocol),
            text(port.class.as_deref().unwrap_or("-")),
            grouped(port.packets),
            bytes(port.bytes)
        )
    });
    let head = "<th>port</th><th>protocol</th><th>class</th><th class=\"n\">packets</th><th class=\"n\">bytes</th>";
    section("Top ports", &table(head, rows))
}

fn reasons(figures: &Figures) -> String {
    let rows = figures.reasons.values().map(|(reason, packets)| {
        format!(
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>\n",
            text(reason.name()),
            text(reason.text()),
            grouped(*packets)
        )
    });
    section("Reasons", &table("<th>reason</th><th>meaning</th><th class=\"n\">packets</th>", rows))
}

fn events(figures: &Figures, zone: &Zone) -> String {
    let rows = figures.events.iter().map(|event| {
        let kind = match &event.kind {
            EventKind::Operator(action) => format!("operator: {action}"),
            kind => kind.name().replace('_', " "),
        };
        format!(
            "<tr><td class=\"t\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            text(&zone.show_seconds(event.unix_ns)),
            text(&kind),
            text(&event.detail),
            text(event.who.as_deref().unwrap_or("-"))
        )
    });
    let mut body = table("<th>time</th><th>what</th><th>detail</th><th>who</th>", rows);
    if figures.unlisted_events > 0 {
        let _ = writeln!(body, "<p class=\"quiet\">and {} more</p>", grouped(figures.unlisted_events));
    }
    section("Policy, peers, operators", &body)
}

fn losses(figures: &Figures) -> String {
    if figures.losses.is_empty() {
        return section("What is missing", "<p>Nothing is known to be missing.</p>\n");
    }
    let rows = figures.losses.iter().map(|(kind, [packets, lost])| {
        format!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            text(kind.name()),
            grouped(*packets),
            bytes(*lost)
        )
    });
    section("What is missing", &table("<th>kind</th><th class=\"n\">frames</th><th class=\"n\">bytes</th>", rows))
}

fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{body}</section>\n")
}

fn table(head: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    format!("<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

/// Text of others as text of a page, whatever is in it.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
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
