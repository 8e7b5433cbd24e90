//! `[evidence]`: what is kept of denied frames, and where it is sent besides.
//!
//! Owns what these keys mean and their refusals. Must not open a file, a socket or the store.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::error::{Problems, ValueError};
use super::peers::{absolute, host_name, value};
use super::schema::{RawEvidence, RawOutput, Table};
use super::word::{OutputKind, SyslogTransport};

/// Bytes kept of a captured frame, unless told otherwise: all headers, and what is asked first.
pub const DEFAULT_CAPTURE_BYTES: u32 = 256;
/// Frames captured in a second at most, unless told otherwise.
pub const DEFAULT_CAPTURES_PER_SECOND: u32 = 256;
/// Size of the store, unless told otherwise.
pub const DEFAULT_EVIDENCE_BYTES: u64 = 1 << 30;
/// How long evidence is kept, unless told otherwise.
pub const DEFAULT_EVIDENCE_AGE: Duration = Duration::from_secs(90 * DAY_S);
/// Size of one file of an output, unless told otherwise.
pub const DEFAULT_OUTPUT_BYTES: u64 = 64 << 20;
/// Files of an output that are kept beside the one that is written, unless told otherwise.
pub const DEFAULT_OUTPUT_KEEP: u32 = 8;
/// Most outputs of one configuration.
pub const MAX_OUTPUTS: usize = 8;

const DAY_S: u64 = 24 * 60 * 60;
const CAPTURE_BYTES: RangeInclusive<i64> = 0..=1500;
const CAPTURES_PER_SECOND: RangeInclusive<i64> = 0..=100_000;
const STORE_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 40;
const OUTPUT_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 40;
const OUTPUT_KEEP: RangeInclusive<i64> = 1..=1000;
const AGE: RangeInclusive<Duration> = Duration::from_secs(60 * 60)..=Duration::from_secs(3660 * DAY_S);

/// `[evidence]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// `enabled`; default true.
    pub enabled: bool,
    /// `capture_bytes`: how much of a captured frame is kept; 0: nothing is captured.
    pub capture_bytes: u32,
    /// `captures_per_second`: at most; 0: nothing is captured.
    pub captures_per_second: u32,
    /// `max_size`, bytes.
    pub max_bytes: u64,
    /// `max_age`.
    pub max_age: Duration,
    /// `[[evidence.output]]`, in the order written.
    pub outputs: Vec<EvidenceOutput>,
}

impl Evidence {
    /// Paths of the outputs that are files.
    pub fn files(&self) -> Vec<PathBuf> {
        let of = |output: &EvidenceOutput| match output {
            EvidenceOutput::File { path, .. } => Some(path.clone()),
            _ => None,
        };
        self.outputs.iter().filter_map(of).collect()
    }
}

/// `[[evidence.output]]`: where each record goes besides the store, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceOutput {
    /// Into files.
    File {
        /// `path`, absolute; older ones are beside it as `path.1`, `path.2`, …
        path: PathBuf,
        /// `max_size`: a file that would be larger is followed by a new one.
        max_bytes: u64,
        /// `keep`: older files.
        keep: u32,
    },
    /// To standard output.
    Stdout,
    /// Into the system's journal.
    Journald,
    /// To a syslog server (RFC 5424).
    Syslog(Syslog),
}

/// A syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Host of `address`: a name or an IP address, without brackets.
    pub host: String,
    /// Port of `address`.
    pub port: u16,
    /// `transport`; default tcp.
    pub transport: SyslogTransport,
    /// `ca`: certificates (PEM) to trust instead of the system's; an absolute path. Only with TLS.
    pub ca: Option<PathBuf>,
    /// `chain_head`; default true: the head of the store's chain is sent each minute.
    pub chain_head: bool,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            enabled: true,
            capture_bytes: DEFAULT_CAPTURE_BYTES,
            captures_per_second: DEFAULT_CAPTURES_PER_SECOND,
            max_bytes: DEFAULT_EVIDENCE_BYTES,
            max_age: DEFAULT_EVIDENCE_AGE,
            outputs: Vec::new(),
        }
    }
}

pub(super) fn evidence(raw: RawEvidence, problems: &mut Problems<'_>) -> Evidence {
    let default = Evidence::default();
    Evidence {
        enabled: raw.enabled.unwrap_or(default.enabled),
        capture_bytes: number(raw.capture_bytes.as_ref(), "evidence.capture_bytes", CAPTURE_BYTES, problems)
            .unwrap_or(default.capture_bytes),
        captures_per_second: number(
            raw.captures_per_second.as_ref(),
            "evidence.captures_per_second",
            CAPTURES_PER_SECOND,
            problems,
        )
        .unwrap_or(default.captures_per_second),
        max_bytes: value(raw.max_size, "evidence.max_size", |text| size(text, STORE_BYTES), problems)
            .unwrap_or(default.max_bytes),
        max_age: value(raw.max_age, "evidence.max_age", age, problems).unwrap_or(default.max_age),
        outputs: outputs(raw.output, problems),
    }
}

fn outputs(raw: Vec<Spanned<Table<RawOutput>>>, problems: &mut Problems<'_>) -> Vec<EvidenceOutput> {
    let mut outputs: Vec<EvidenceOutput> = Vec::new();
    for (n, table) in raw.into_iter().enumerate() {
        let span = table.span();
        if n >= MAX_OUTPUTS {
            problems.push(&span, || (format!("evidence.output: one too many: at most {MAX_OUTPUTS}"), None));
            return outputs;
        }
        let Some(output) = output(&span, table.into_inner().0, problems) else { continue };
        // Two writers of one file would lose each other's lines; a line twice at one receiver is of use to nobody.
        if outputs.iter().any(|other| target(other) == target(&output)) {
            problems.push(&span, || ("evidence.output: another one already goes there".to_owned(), None));
        } else {
            outputs.push(output);
        }
    }
    outputs
}

fn target(output: &EvidenceOutput) -> String {
    match output {
        EvidenceOutput::File { path, .. } => format!("file {}", path.display()),
        EvidenceOutput::Stdout => "stdout".to_owned(),
        EvidenceOutput::Journald => "journald".to_owned(),
        EvidenceOutput::Syslog(syslog) => format!("syslog {} {} {}", syslog.transport, syslog.host, syslog.port),
    }
}

fn output(span: &Range<usize>, raw: RawOutput, problems: &mut Problems<'_>) -> Option<EvidenceOutput> {
    let Some(kind) = raw.kind else {
        problems.push(span, || ("evidence.output: missing key \"kind\"".to_owned(), None));
        return None;
    };
    let is_file = kind == OutputKind::File;
    let is_syslog = kind == OutputKind::Syslog;
    for (key, place, is_its) in [
        ("path", raw.path.as_ref().map(Spanned::span), is_file),
        ("max_size", raw.max_size.as_ref().map(Spanned::span), is_file),
        ("keep", raw.keep.as_ref().map(Spanned::span), is_file),
        ("address", raw.address.as_ref().map(Spanned::span), is_syslog),
        ("transport", raw.transport.as_ref().map(Spanned::span), is_syslog),
        ("ca", raw.ca.as_ref().map(Spanned::span), is_syslog),
        ("chain_head", raw.chain_head.as_ref().map(Spanned::span), is_syslog),
    ] {
        if let Some(place) = place.filter(|_| !is_its) {
            problems.push(&place, || (format!("evidence.output.{key}: an output of kind \"{kind}\" has none"), None));
        }
    }
    match kind {
        OutputKind::Stdout => Some(EvidenceOutput::Stdout),
        OutputKind::Journald => Some(EvidenceOutput::Journald),
        OutputKind::File => {
            let path = needed(raw.path, span, "path", absolute, problems);
            let max_bytes = value(raw.max_size, "evidence.output.max_size", |text| size(text, OUTPUT_BYTES), problems)
                .unwrap_or(DEFAULT_OUTPUT_BYTES);
            let keep =
                number(raw.keep.as_ref(), "evidence.output.keep", OUTPUT_KEEP, problems).unwrap_or(DEFAULT_OUTPUT_KEEP);
            Some(EvidenceOutput::File { path: path?, max_bytes, keep })
        }
        OutputKind::Syslog => {
            let transport = raw.transport.map_or(SyslogTransport::Tcp, Spanned::into_inner);
            if let Some(ca) = raw.ca.as_ref().filter(|_| transport != SyslogTransport::Tls) {
                problems.push(&ca.span(), || {
                    let help = "set transport = \"tls\", or take it out".to_owned();
                    (format!("evidence.output.ca: over {transport} nobody shows a certificate"), Some(help))
                });
            }
            let ca = value(raw.ca, "evidence.output.ca", absolute, problems);
            let (host, port) = needed(raw.address, span, "address", receiver, problems)?;
            let chain_head = raw.chain_head.is_none_or(Spanned::into_inner);
            Some(EvidenceOutput::Syslog(Syslog { host, port, transport, ca, chain_head }))
        }
    }
}

fn needed<T>(
    raw: Option<Spanned<String>>,
    table: &Range<usize>,
    key: &str,
    read: impl Fn(&str) -> Result<T, ValueError>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if raw.is_none() {
        problems.push(table, || (format!("evidence.output: missing key \"{key}\""), None));
    }
    value(raw, &format!("evidence.output.{key}"), read, problems)
}

fn number(
    raw: Option<&Spanned<i64>>,
    key: &str,
    bounds: RangeInclusive<i64>,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let raw = raw?;
    let number = *raw.get_ref();
    if !bounds.contains(&number) {
        let message = format!("{number} is out of bounds; expected {} to {}", bounds.start(), bounds.end());
        problems.value(&raw.span(), key, ValueError::new(message));
        return None;
    }
    u32::try_from(number).ok()
}

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A whole number and a binary unit.
fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, ValueError> {
    let expected = || {
        format!(
            "expected such as \"512MiB\" or \"1GiB\", between {} and {}",
            shown(*bounds.start()),
            shown(*bounds.end())
        )
    };
    let read = UNITS.iter().find_map(|(unit, bytes)| {
        let digits = text.strip_suffix(unit)?.trim_end_matches(' ');
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        digits.parse::<u64>().ok()?.checked_mul(*bytes)
    });
    match read {
        Some(bytes) if bounds.contains(&bytes) => Ok(bytes),
        Some(_) => Err(ValueError::new(format!("{text:?} is out of bounds; {}", expected()))),
        None => Err(ValueError::new(format!("{text:?} is not a size; {}", expected()))),
    }
}

fn shown(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn age(text: &str) -> Result<Duration, ValueError> {
    let expected = "expected such as \"90d\" or \"12h\", between 1h and 3660d";
    match humantime::parse_duration(text) {
        Ok(time) if AGE.contains(&time) => Ok(time),
        Ok(_) => Err(ValueError::new(format!("{text:?} is out of bounds; {expected}"))),
        Err(_) => Err(ValueError::new(format!("{text:?} is not a time; {expected}"))),
    }
}

/// A name or an address, and a port; IPv6 in brackets.
fn receiver(text: &str) -> Result<(String, u16), ValueError> {
    let refused = || {
        ValueError::new(format!(
            "{text:?} is no receiver; expected such as \"logs.example:6514\" or \"[2001:db8::1]:514\""
        ))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| is_port && *port != 0).ok_or_else(refused)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?.to_string(),
        None => match host.parse::<std::net::Ipv4Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => host_name(host).map_err(|_| refused())?,
        },
    };
    Ok((host, port))
}
