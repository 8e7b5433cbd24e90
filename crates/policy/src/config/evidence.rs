//! `[evidence]`: what is kept of denied frames, and where it is sent besides.
//!
//! Owns what these keys mean and their refusals. Must not open a file, a socket or the store.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::enums::{OutputKind, SyslogFraming, SyslogTransport};
use super::error::ValueError;
use super::given::{List, Table};
use super::problems::Problems;
use super::schema::{RawEvidence, RawOutput};

/// Bytes kept of a captured frame, unless told otherwise: all headers, and what is asked first.
const DEFAULT_CAPTURE_BYTES: u32 = 256;
/// Frames captured in a second at most, unless told otherwise.
const DEFAULT_CAPTURES_PER_SECOND: u32 = 256;
/// Size of the store, unless told otherwise.
const DEFAULT_EVIDENCE_BYTES: u64 = 1 << 30;
/// How long evidence is kept, unless told otherwise.
const DEFAULT_EVIDENCE_AGE: Duration = Duration::from_secs(90 * DAY_S);
/// Size of one file of an output, unless told otherwise.
const DEFAULT_OUTPUT_BYTES: u64 = 64 << 20;
/// Files of an output that are kept beside the one that is written, unless told otherwise.
const DEFAULT_OUTPUT_KEEP: u32 = 8;
/// Most outputs of one configuration.
const MAX_OUTPUTS: usize = 8;

const DAY_S: u64 = 24 * 60 * 60;

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
    /// `framing`; default octet-counting. Of a connection.
    pub framing: SyslogFraming,
    /// `ca`: certificates (PEM) to trust instead of the system's; an absolute path. Only with TLS.
    pub ca: Option<PathBuf>,
    /// `chain_head`; default true: the head of the store's chain is sent each minute.
    pub chain_head: bool,
}

pub(super) fn evidence(raw: RawEvidence, problems: &mut Problems<'_>) -> Evidence {
    Evidence {
        enabled: raw.enabled.or(true),
        capture_bytes: problems.take(raw.capture_bytes).unwrap_or(DEFAULT_CAPTURE_BYTES),
        captures_per_second: problems.take(raw.captures_per_second).unwrap_or(DEFAULT_CAPTURES_PER_SECOND),
        max_bytes: problems.take(raw.max_size).unwrap_or(DEFAULT_EVIDENCE_BYTES),
        max_age: problems.take(raw.max_age).unwrap_or(DEFAULT_EVIDENCE_AGE),
        outputs: outputs(raw.output, problems),
    }
}

fn outputs(raw: List<Table<RawOutput>>, problems: &mut Problems<'_>) -> Vec<EvidenceOutput> {
    let mut outputs: Vec<EvidenceOutput> = Vec::new();
    for (n, table) in raw.elements().into_iter().enumerate() {
        let span = table.span();
        if n >= MAX_OUTPUTS {
            problems.push(&span, format!("evidence.output: one too many: at most {MAX_OUTPUTS}"), None);
            return outputs;
        }
        let Some(output) = output(&span, table.into_inner().0, problems) else { continue };
        // Two writers of one file would lose each other's lines; a line twice at one receiver is of use to nobody.
        if outputs.iter().any(|other| target(other) == target(&output)) {
            problems.push(&span, "evidence.output: another one already goes there".to_owned(), None);
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
    let Some(kind) = raw.kind.value() else {
        problems.push(span, "evidence.output: missing key \"kind\"".to_owned(), None);
        return None;
    };
    let of_files = [raw.path.span(), raw.max_size.span(), raw.keep.span()];
    let of_syslog =
        [raw.address.span(), raw.transport.span(), raw.framing.span(), raw.ca.span(), raw.chain_head.span()];
    let foreign_files = of_files.into_iter().filter(|_| kind != OutputKind::File);
    let foreign_syslog = of_syslog.into_iter().filter(|_| kind != OutputKind::Syslog);
    for span in foreign_files.chain(foreign_syslog).flatten() {
        problems.refuse(&span, ValueError::new(format!("an output of kind \"{kind}\" has none")));
    }
    let table = (span, "evidence.output");
    match kind {
        OutputKind::Stdout => Some(EvidenceOutput::Stdout),
        OutputKind::Journald => Some(EvidenceOutput::Journald),
        OutputKind::File => {
            let path = problems.required(raw.path, table, "path");
            let max_bytes = problems.take(raw.max_size).unwrap_or(DEFAULT_OUTPUT_BYTES);
            let keep = problems.take(raw.keep).unwrap_or(DEFAULT_OUTPUT_KEEP);
            Some(EvidenceOutput::File { path: path?, max_bytes, keep })
        }
        OutputKind::Syslog => {
            let transport = raw.transport.or(SyslogTransport::Tcp);
            if let Some(ca) = raw.ca.span().filter(|_| transport != SyslogTransport::Tls) {
                let error = ValueError::new(format!("over {transport} nobody shows a certificate"));
                problems.refuse(&ca, error.help("set transport = \"tls\", or take it out"));
            }
            if let Some(framing) = raw.framing.span().filter(|_| transport == SyslogTransport::Udp) {
                let error = ValueError::new("a datagram holds one message and needs no framing");
                problems.refuse(&framing, error.help("take it out, or set transport = \"tcp\" or \"tls\""));
            }
            let framing = raw.framing.or(SyslogFraming::OctetCounting);
            let ca = problems.take(raw.ca);
            let (host, port) = problems.required(raw.address, table, "address")?;
            let chain_head = raw.chain_head.or(true);
            Some(EvidenceOutput::Syslog(Syslog { host, port, transport, framing, ca, chain_head }))
        }
    }
}
