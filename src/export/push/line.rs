//! The text of the vendor's metric ingestion protocol, and what its receivers answer. Must not know when or where it is sent.
//!
//! Facts: "Metric ingestion protocol" and "Metrics API - POST ingest data points" in the vendor's documentation.
//!
//! ```text
//! nodewall.packets,class="cassandra",port="9042",protocol="tcp",direction="in",outcome="drop",reason="outsider" count,delta=17 1700000000000
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::view::counters::Row;

/// Longest value of a dimension, in characters.
const MAX_VALUE_CHARS: usize = 250;
/// Most lines of a request. The protocol has no limit; the vendor's own libraries keep to this.
pub(super) const MAX_LINES: usize = 1_000;
/// Most bytes of a request: the protocol's 1 MB.
pub(super) const MAX_BODY_BYTES: usize = 1_000_000;
/// How old a data point may be: an hour in the protocol; it has still to get there.
pub(super) const MAX_AGE_MS: u64 = 50 * 60 * 1_000;
/// How far ahead of the receiver's clock: ten minutes in the protocol.
pub(super) const MAX_AHEAD_MS: u64 = 5 * 60 * 1_000;
/// Most of a receiver's own words that are shown.
const MAX_WORDS_CHARS: usize = 200;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metric {
    Packets,
    Bytes,
}

impl Metric {
    const fn key(self) -> &'static str {
        match self {
            Self::Packets => "nodewall.packets",
            Self::Bytes => "nodewall.bytes",
        }
    }
}

/// The dimensions of a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Series {
    class: Option<String>,
    /// One port, or a range such as `5701-5711`.
    port: Option<String>,
    protocol: Option<String>,
    direction: String,
    outcome: String,
    reason: String,
}

impl Series {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            class: row.class.clone(),
            port: row.port.map(|port| port.to_string()).or_else(|| row.ports.clone()),
            protocol: row.protocol.map(Into::into),
            direction: row.direction.into(),
            outcome: row.outcome.into(),
            reason: row.reason.into(),
        }
    }

    /// Which kernel counter this is. A port keeps its counter when its class gets another name.
    pub(super) fn counter(&self) -> String {
        let named = if self.port.is_some() { None } else { self.class.as_deref() };
        let or_none = |value: Option<&str>| value.unwrap_or("-").to_owned();
        [
            or_none(self.port.as_deref()),
            or_none(named),
            or_none(self.protocol.as_deref()),
            self.direction.clone(),
            self.outcome.clone(),
            self.reason.clone(),
        ]
        .join(" ")
    }
}

/// One line, without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) metric: Metric,
    pub(super) series: Series,
    pub(super) delta: u64,
}

impl Line {
    /// Appends it with a line feed. `node` tells nodes apart where the receiver does not know which one sends.
    fn write(&self, unix_ms: u64, node: Option<&str>, to: &mut String) {
        let Series { class, port, protocol, direction, outcome, reason } = &self.series;
        to.push_str(self.metric.key());
        for (key, value) in [
            ("class", class.as_deref()),
            ("port", port.as_deref()),
            ("protocol", protocol.as_deref()),
            ("direction", Some(direction.as_str())),
            ("outcome", Some(outcome.as_str())),
            ("reason", Some(reason.as_str())),
            ("host.name", node),
        ] {
            // The protocol has no empty values.
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                to.push(',');
                to.push_str(key);
                to.push_str("=\"");
                for c in value.chars().take(MAX_VALUE_CHARS) {
                    match c {
                        '"' | '\\' => to.extend(['\\', c]),
                        c if c.is_control() => to.push('_'),
                        c => to.push(c),
                    }
                }
                to.push('"');
            }
        }
        // Writing to a String does not fail.
        let _ = writeln!(to, " count,delta={} {unix_ms}", self.delta);
    }
}

/// A request's text: as many of the lines as fit into one, and how many those are.
pub(super) fn body(lines: &[Line], unix_ms: u64, node: Option<&str>, most: usize) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for line in lines.iter().take(most.min(MAX_LINES)) {
        let end = text.len();
        line.write(unix_ms, node, &mut text);
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
pub(super) enum Taken {
    All,
    /// Nothing was taken; why.
    None(String),
    /// All but these, by their place from 0, each with the receiver's reason.
    AllBut(BTreeMap<usize, String>),
    /// Nobody can say; why.
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    lines_ok: usize,
    lines_invalid: usize,
    error: Option<Problem>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
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
pub(super) fn judge(status: StatusCode, body: Option<&[u8]>, sent: usize) -> Taken {
    let said: Option<Said> = body.and_then(|body| serde_json::from_slice(body).ok());
    let words = said.as_ref().and_then(|said| said.error.as_ref()?.message.as_deref()).map(shown);
    let answered =
        words.map_or_else(|| format!("it answered {status}"), |words| format!("it answered {status}: {words}"));
    let counted = said.filter(|said| said.lines_ok + said.lines_invalid == sent);
    match (status, counted) {
        (status, Some(said)) if status.is_success() || status == StatusCode::BAD_REQUEST => {
            partly(&said, sent, &answered)
        }
        (status, None) if status.is_success() => Taken::All,
        // Something in between passed it on, and does not know either.
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => Taken::Unknown(answered),
        _ => Taken::None(answered),
    }
}

fn partly(said: &Said, sent: usize, answered: &str) -> Taken {
    if said.lines_invalid == 0 {
        return Taken::All;
    }
    let listed = said.error.as_ref().and_then(|error| error.invalid_lines.as_ref());
    // The protocol counts lines from 1.
    let refused: BTreeMap<usize, String> = listed
        .into_iter()
        .flatten()
        .filter(|line| (1..=sent).contains(&line.line))
        .map(|line| (line.line - 1, shown(line.error.as_deref().unwrap_or("no reason"))))
        .collect();
    if said.lines_ok == 0 {
        return Taken::AllBut(
            (0..sent).map(|n| (n, refused.get(&n).cloned().unwrap_or_else(|| answered.to_owned()))).collect(),
        );
    }
    if refused.len() == said.lines_invalid {
        return Taken::AllBut(refused);
    }
    Taken::Unknown(format!("{answered}; it does not say which {} of {sent} lines it refused", said.lines_invalid))
}

/// A receiver's words, fit for a terminal.
fn shown(words: &str) -> String {
    words.chars().take(MAX_WORDS_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(class: Option<&str>, delta: u64) -> Line {
        let series = Series {
            class: class.map(Into::into),
            port: Some("9042".into()),
            protocol: Some("tcp".into()),
            direction: "in".into(),
            outcome: "drop".into(),
            reason: "outsider".into(),
        };
        Line { metric: Metric::Packets, series, delta }
    }

    #[test]
    fn a_line_is_as_the_issue_shows_it() {
        let (text, count) = body(&[line(Some("cassandra"), 17)], 1_700_000_000_000, None, 10);
        assert_eq!(count, 1);
        assert_eq!(
            text,
            "nodewall.packets,class=\"cassandra\",port=\"9042\",protocol=\"tcp\",direction=\"in\",outcome=\"drop\",\
             reason=\"outsider\" count,delta=17 1700000000000\n"
        );
        let odd = line(Some("a\"b\\c\nd"), 1);
        let (text, _) = body(&[odd, line(None, 2), line(Some(&"\u{e9}".repeat(300)), 3)], 5, Some("n1"), 10);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(r#"nodewall.packets,class="a\"b\\c_d",port="#), "{}", lines[0]);
        assert!(lines[1].starts_with("nodewall.packets,port=") && lines[1].contains(",host.name=\"n1\" "));
        assert_eq!(lines[2].matches('\u{e9}').count(), 250);
    }

    #[test]
    fn a_request_has_at_most_a_thousand_lines_and_a_megabyte() {
        let many = vec![line(Some("c"), 1); 1_500];
        assert_eq!(body(&many, 1, None, usize::MAX).1, 1_000);
        assert_eq!(body(&many, 1, None, 7).1, 7);
        let long = vec![line(Some(&"\u{1F600}".repeat(250)), 1); 1_000];
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
        let but = |lines: &[usize]| Taken::AllBut(lines.iter().map(|n| (*n, "why".to_owned())).collect());
        let judged = |status, body: &str| judge(status, Some(body.as_bytes()), 3);
        assert_eq!(judged(ok, r#"{"linesOk":3,"linesInvalid":0,"error":null}"#), Taken::All);
        assert_eq!(judged(ok, ""), Taken::All);
        assert_eq!(judge(ok, None, 3), Taken::All);
        assert_eq!(judged(bad, &said(2, 1, r#"[{"line":2,"error":"why"}]"#)), but(&[1]));
        assert_eq!(judged(ok, &said(1, 2, r#"[{"line":1,"error":"why"},{"line":3,"error":"why"}]"#)), but(&[0, 2]));
        assert!(matches!(judged(bad, &said(0, 3, "null")), Taken::AllBut(all) if all.len() == 3));
        for lines in ["null", "[]", r#"[{"line":0,"error":"why"}]"#, r#"[{"line":4}]"#] {
            assert!(matches!(judged(bad, &said(2, 1, lines)), Taken::Unknown(_)), "{lines}");
        }
        // Counts of another request are no word on this one.
        assert!(matches!(judged(bad, &said(5, 1, r#"[{"line":1}]"#)), Taken::None(_)));
        assert!(matches!(judged(bad, "<html>"), Taken::None(_)));
        for status in [401, 403, 404, 408, 413, 429, 500, 503] {
            assert!(matches!(judged(StatusCode::from_u16(status).unwrap(), "{}"), Taken::None(_)), "{status}");
        }
        for status in [502, 504] {
            assert!(matches!(judged(StatusCode::from_u16(status).unwrap(), "{}"), Taken::Unknown(_)), "{status}");
        }
        assert!(matches!(judge(StatusCode::FOUND, None, 3), Taken::None(_)));
    }
}
