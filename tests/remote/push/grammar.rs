//! The vendor's metric ingestion protocol, read from its documentation and strictly: what a receiver may refuse is refused. It must not use nodewall's own
//! code.

use std::collections::{BTreeMap, BTreeSet};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetricLine {
    pub(crate) key: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) delta: u64,
    pub(crate) unix_ms: u64,
}

const HOUR_MS: u64 = 60 * 60 * 1_000;
const TEN_MINUTES_MS: u64 = 10 * 60 * 1_000;

/// Every line of a request; or what is wrong with one, by its number from 1.
pub(crate) fn parse(body: &[u8], now_unix_ms: u64) -> Result<Vec<MetricLine>, String> {
    if body.len() > 1_000_000 {
        return Err(format!("{} bytes", body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    if text.is_empty() {
        return Err("nothing".into());
    }
    let mut seen = BTreeSet::new();
    (1..)
        .zip(text.split_terminator('\n'))
        .map(|(number, text)| {
            let line = line(text, now_unix_ms).map_err(|error| format!("line {number}: {error}: {text}"))?;
            // Two points of one time: a receiver may add them up or keep one.
            let name = (line.key.clone(), line.dimensions.clone(), line.unix_ms);
            if seen.insert(name) { Ok(line) } else { Err(format!("line {number}: twice: {text}")) }
        })
        .collect()
}

fn line(text: &str, now_unix_ms: u64) -> Result<MetricLine, String> {
    if text.len() > 50_000 {
        return Err("too long".into());
    }
    let end = text.find([',', ' ']).ok_or("no payload")?;
    let (key, mut rest) = text.split_at(end);
    metric_key(key)?;
    let mut dimensions = BTreeMap::new();
    while let Some(after) = rest.strip_prefix(',') {
        let (name, after) = after.split_once("=\"").ok_or("a dimension without a quoted value")?;
        dimension_key(name)?;
        let (value, after) = quoted(after)?;
        if dimensions.insert(name.to_owned(), value).is_some() {
            return Err(format!("dimension {name} twice"));
        }
        rest = after;
    }
    if dimensions.len() > 50 {
        return Err("more than 50 dimensions".into());
    }
    let payload = rest.strip_prefix(' ').ok_or("no space before the payload")?;
    let (value, time) = payload.split_once(' ').ok_or("no time")?;
    let delta = value.strip_prefix("count,delta=").ok_or("no count")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(delta) || time.len() != 13 || !digits(time) {
        return Err("no number".into());
    }
    let unix_ms: u64 = time.parse().unwrap();
    if unix_ms + HOUR_MS < now_unix_ms || unix_ms > now_unix_ms + TEN_MINUTES_MS {
        return Err("outside of the time that is taken".into());
    }
    Ok(MetricLine { key: key.into(), dimensions, delta: delta.parse().map_err(|_| "too large")?, unix_ms })
}

/// 3 to 250 characters; sections of letters, digits, `-` and `_`, of which the first begins with a letter or `_`, and none with `-`. `dt.` is reserved.
fn metric_key(key: &str) -> Result<(), String> {
    let section = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let right = (3..=250).contains(&key.len())
        && key.split('.').all(section)
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.starts_with("dt.");
    if right { Ok(()) } else { Err(format!("{key:?} is no metric key")) }
}

/// 1 to 100 characters; sections of lower-case letters, digits, `-`, `_` and `:`, begun by a letter or `_`.
fn dimension_key(key: &str) -> Result<(), String> {
    let section = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_:".contains(&byte))
    };
    let right = key.len() <= 100 && key.split('.').all(section);
    if right { Ok(()) } else { Err(format!("{key:?} is no dimension key")) }
}

/// The value before the closing quote, 1 to 250 characters, and the rest.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' if (1..=250).contains(&value.chars().count()) => return Ok((value, &text[at + 1..])),
            '"' => return Err("a value that is empty or too long".into()),
            '\\' => match characters.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => return Err(format!("\\ before {other:?}")),
            },
            c if c.is_control() => return Err("a control character".into()),
            c => value.push(c),
        }
    }
    Err("no closing quote".into())
}

#[test]
fn the_receiver_takes_what_the_vendor_takes_and_nothing_else() {
    let now = 1_700_000_000_000;
    for right in [
        "nodewall.packets count,delta=1 1700000000000",
        r#"nodewall.packets,class="a\"b\\c",host.name="n-1" count,delta=17 1700000000000"#,
        "a_b.c-d,x=\"1\" count,delta=0 1699996400000",
    ] {
        assert!(line(right, now).is_ok(), "{right}: {:?}", line(right, now));
    }
    for wrong in [
        "",
        "nodewall.packets",
        "nodewall.packets count,delta=1",
        "nodewall..packets count,delta=1 1700000000000",
        "nodewall.-p count,delta=1 1700000000000",
        "9nodewall count,delta=1 1700000000000",
        "dt.x count,delta=1 1700000000000",
        "nodewall.p\u{e9} count,delta=1 1700000000000",
        "nodewall.p, count,delta=1 1700000000000",
        "nodewall.p,a=1 count,delta=1 1700000000000",
        "nodewall.p,A=\"1\" count,delta=1 1700000000000",
        "nodewall.p,a=\"\" count,delta=1 1700000000000",
        "nodewall.p,a=\"1\",a=\"2\" count,delta=1 1700000000000",
        "nodewall.p,a=\"\\n\" count,delta=1 1700000000000",
        "nodewall.p,a=\"1 count,delta=1 1700000000000",
        "nodewall.p  count,delta=1 1700000000000",
        "nodewall.p count,delta=-1 1700000000000",
        "nodewall.p count,delta=1.5 1700000000000",
        "nodewall.p gauge,1 1700000000000",
        "nodewall.p count,delta=1 1700000000",
        "nodewall.p count,delta=1 1699996399999",
        "nodewall.p count,delta=1 1700000600001",
    ] {
        assert!(line(wrong, now).is_err(), "{wrong}");
    }
    let twice = "a.b count,delta=1 1700000000000\na.b count,delta=2 1700000000000\n";
    assert!(parse(twice.as_bytes(), now).unwrap_err().contains("line 2: twice"));
}
