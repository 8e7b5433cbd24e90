//! The text of the vendor's metric ingestion protocol, and what its receivers answer. Must not know when or where it is sent.
//!
//! Facts: "Metric ingestion protocol" and "Metrics API - POST ingest data points" in the vendor's documentation.
//!
//! ```text
//! nodewall.packets,class="cassandra",port="9042",protocol="tcp",direction="in",outcome="drop",reason="outsider" count,delta=17 1700000000000
//! ```

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;

use crate::view::counters::Row;

/// Longest value of a dimension, in characters.
const MAX_VALUE_CHARS: usize = 250;
/// Most lines of a request. The protocol has no limit; the vendor's own libraries keep to this.
const MAX_LINES: usize = 1_000;
/// Most bytes of a request: the protocol's 1 MB.
const MAX_BODY_BYTES: usize = 1_000_000;
/// Most of a receiver's own words that are shown.
const MAX_WORDS_CHARS: usize = 200;

/// The keys of what is counted.
pub(super) const PACKETS: &str = "nodewall.packets";
pub(super) const BYTES: &str = "nodewall.bytes";

/// A line up to its payload: what is counted, and the dimensions of a counter.
pub(super) fn series(key: &str, row: &Row) -> String {
    let mut text = key.to_owned();
    for (name, value) in [
        ("class", row.class.as_deref()),
        ("port", port(row).as_deref()),
        ("protocol", row.protocol),
        ("direction", Some(row.direction)),
        ("outcome", Some(row.outcome)),
        ("reason", Some(row.reason)),
    ] {
        dimension(name, value, &mut text);
    }
    text
}

/// Which kernel counter this is. A port keeps its counter when its class gets another name.
pub(super) fn counter(row: &Row) -> String {
    let port = port(row);
    let class = row.class.as_deref().filter(|_| port.is_none());
    let or_none = |value: Option<&str>| value.unwrap_or("-").to_owned();
    [or_none(port.as_deref()), or_none(class), or_none(row.protocol)].join(" ")
        + &format!(" {} {} {}", row.direction, row.outcome, row.reason)
}

/// One port, or a range such as `5701-5711`.
fn port(row: &Row) -> Option<String> {
    row.port.map(|port| port.to_string()).or_else(|| row.ports.clone())
}

/// Appends it, if it has a value: the protocol has no empty ones.
fn dimension(name: &str, value: Option<&str>, to: &mut String) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    to.push_str(&format!(",{name}=\""));
    for c in value.chars().take(MAX_VALUE_CHARS) {
        match c {
            '"' | '\\' => to.extend(['\\', c]),
            c if c.is_control() => to.push('_'),
            c => to.push(c),
        }
    }
    to.push('"');
}

/// A request's text: as many of the differences as fit into one, from the first on, and how many those are. `node` tells nodes apart where the receiver does
/// not know which one sends.
pub(super) fn body(
    deltas: &BTreeMap<String, u64>,
    unix_ms: u64,
    node: Option<&str>,
    max_lines: usize,
) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for (series, delta) in deltas.iter().take(max_lines.min(MAX_LINES)) {
        let end = text.len();
        text.push_str(series);
        dimension("host.name", node, &mut text);
        text.push_str(&format!(" count,delta={delta} {unix_ms}\n"));
        if text.len() > MAX_BODY_BYTES && count > 0 {
            text.truncate(end);
            break;
        }
        count += 1;
    }
    (text, count)
}

/// What became of a request's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The receiver took all but these, by their place from 0, each with its reason.
    AllBut(BTreeMap<usize, String>),
    /// It took none of them; why.
    Refused(String),
    /// Nobody can say; why.
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    lines_ok: usize,
    lines_invalid: usize,
    error: Option<AnswerError>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerError {
    message: Option<String>,
    #[serde(default)]
    invalid_lines: Option<Vec<InvalidLine>>,
}

#[derive(Deserialize)]
struct InvalidLine {
    line: usize,
    error: Option<String>,
}

/// Judges an answer to `sent` lines.
pub(super) fn judge(status: StatusCode, body: Option<&[u8]>, sent: usize) -> Delivery {
    let said: Option<Answer> = body.and_then(|body| serde_json::from_slice(body).ok());
    let words = said.as_ref().and_then(|said| said.error.as_ref()?.message.as_deref()).map(shown);
    let answered =
        words.map_or_else(|| format!("it answered {status}"), |words| format!("it answered {status}: {words}"));
    let counted = said.filter(|said| said.lines_ok + said.lines_invalid == sent);
    match (status, counted) {
        (status, Some(said)) if status.is_success() || status == StatusCode::BAD_REQUEST => {
            partly(&said, sent, &answered)
        }
        (status, None) if status.is_success() => Delivery::AllBut(BTreeMap::new()),
        // Something in between passed it on, and does not know either.
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => Delivery::Unknown(answered),
        _ => Delivery::Refused(answered),
    }
}

fn partly(said: &Answer, sent: usize, answered: &str) -> Delivery {
    let listed = said.error.as_ref().and_then(|error| error.invalid_lines.as_ref());
    // The protocol counts lines from 1.
    let refused: BTreeMap<usize, String> = listed
        .into_iter()
        .flatten()
        .filter(|line| (1..=sent).contains(&line.line))
        .map(|line| (line.line - 1, shown(line.error.as_deref().unwrap_or("no reason"))))
        .collect();
    match said.lines_invalid {
        0 => Delivery::AllBut(BTreeMap::new()),
        invalid if invalid == sent => {
            let why = |n| refused.get(&n).map_or(answered, String::as_str).to_owned();
            Delivery::AllBut((0..sent).map(|n| (n, why(n))).collect())
        }
        invalid if invalid == refused.len() => Delivery::AllBut(refused),
        invalid => Delivery::Unknown(format!("{answered}; it does not say which {invalid} of {sent} lines it refused")),
    }
}

/// A receiver's words, fit for a terminal.
fn shown(words: &str) -> String {
    words.chars().take(MAX_WORDS_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: Option<&str>) -> Row {
        Row {
            class: class.map(Into::into),
            port: Some(9042),
            ports: None,
            protocol: Some("tcp"),
            direction: "in",
            outcome: "drop",
            reason: "outsider",
            packets: 0,
            bytes: 0,
        }
    }

    fn one(class: Option<&str>, delta: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(series(PACKETS, &row(class)), delta)])
    }

    #[test]
    fn a_line_is_as_the_vendor_wants_it() {
        let (text, count) = body(&one(Some("cassandra"), 17), 1_700_000_000_000, None, 10);
        assert_eq!(count, 1);
        assert_eq!(
            text,
            "nodewall.packets,class=\"cassandra\",port=\"9042\",protocol=\"tcp\",direction=\"in\",outcome=\"drop\",\
             reason=\"outsider\" count,delta=17 1700000000000\n"
        );
        let (text, _) = body(&one(Some("a\"b\\c\nd"), 1), 5, Some("n1"), 10);
        assert!(text.starts_with(r#"nodewall.packets,class="a\"b\\c_d",port="#), "{text}");
        let (text, _) = body(&one(None, 2), 5, Some("n1"), 10);
        assert!(text.starts_with("nodewall.packets,port=") && text.contains(",host.name=\"n1\" count,delta=2 5"));
        let (text, _) = body(&one(Some(&"\u{e9}".repeat(300)), 3), 5, None, 10);
        assert_eq!(text.matches('\u{e9}').count(), 250);
    }

    #[test]
    fn a_port_is_one_counter_whatever_its_class_is_called() {
        assert_eq!(counter(&row(Some("a"))), counter(&row(Some("b"))));
        let without = |class| Row { port: None, ..row(Some(class)) };
        assert_ne!(counter(&without("a")), counter(&without("b")));
        assert_ne!(counter(&without("a")), counter(&Row { ports: Some("1-2".into()), ..without("a") }));
    }

    #[test]
    fn a_request_has_at_most_a_thousand_lines_and_a_megabyte() {
        let many: BTreeMap<String, u64> = (0..1_500).map(|n| (format!("nodewall.packets,port=\"{n}\""), 1)).collect();
        assert_eq!(body(&many, 1, None, usize::MAX).1, 1_000);
        assert_eq!(body(&many, 1, None, 7).1, 7);
        let class = "\u{1F600}".repeat(250);
        let long: BTreeMap<String, u64> =
            (0..1_000).map(|n| (series(PACKETS, &Row { port: Some(n), ..row(Some(&class)) }), 1)).collect();
        let (text, count) = body(&long, 1, None, usize::MAX);
        assert!(text.len() <= MAX_BODY_BYTES && text.ends_with('\n'));
        assert!((800..1_000).contains(&count) && text.lines().count() == count, "{count}");
    }

    #[test]
    fn answers_are_judged_by_what_they_say() {
        let ok = StatusCode::ACCEPTED;
        let bad = StatusCode::BAD_REQUEST;
        let said = |ok: usize, invalid: usize, lines: &str| {
            format!(
                r#"{{"linesOk":{ok},"linesInvalid":{invalid},"error":{{"code":400,"message":"m","invalidLines":{lines}}}}}"#
            )
        };
        let but = |lines: &[usize]| Delivery::AllBut(lines.iter().map(|n| (*n, "why".to_owned())).collect());
        let judged = |status, body: &str| judge(status, Some(body.as_bytes()), 3);
        assert_eq!(judged(ok, r#"{"linesOk":3,"linesInvalid":0,"error":null}"#), but(&[]));
        assert_eq!(judged(ok, ""), but(&[]));
        assert_eq!(judge(ok, None, 3), but(&[]));
        assert_eq!(judged(bad, &said(2, 1, r#"[{"line":2,"error":"why"}]"#)), but(&[1]));
        assert_eq!(judged(ok, &said(1, 2, r#"[{"line":1,"error":"why"},{"line":3,"error":"why"}]"#)), but(&[0, 2]));
        assert!(matches!(judged(bad, &said(0, 3, "null")), Delivery::AllBut(all) if all.len() == 3));
        for lines in ["null", "[]", r#"[{"line":0,"error":"why"}]"#, r#"[{"line":4}]"#] {
            assert!(matches!(judged(bad, &said(2, 1, lines)), Delivery::Unknown(_)), "{lines}");
        }
        // Counts of another request are no word on this one.
        assert!(matches!(judged(bad, &said(5, 1, r#"[{"line":1}]"#)), Delivery::Refused(_)));
        assert!(matches!(judged(bad, "<html>"), Delivery::Refused(_)));
        for status in [401, 403, 404, 408, 413, 429, 500, 502, 503, 504] {
            let judged = judged(StatusCode::from_u16(status).unwrap(), "{}");
            let in_doubt = matches!(status, 502 | 504);
            assert_eq!(matches!(judged, Delivery::Unknown(_)), in_doubt, "{status}: {judged:?}");
            assert_eq!(matches!(judged, Delivery::Refused(_)), !in_doubt, "{status}: {judged:?}");
        }
        assert!(matches!(judge(StatusCode::FOUND, None, 3), Delivery::Refused(_)));
    }
}
