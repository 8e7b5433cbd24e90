//! Who was denied most, of late: for those who look at the node live. `nodewall events` asks for everything else. It must not print.

use std::collections::HashMap;

use serde::Serialize;

use nodewall_evidence::{
    self as evidence,
    store::{Filter, Reader, StoreError},
};
use nodewall_host::state::StateDir;

/// How far back it looks.
const WITHIN_NS: u64 = 3_600_000_000_000;
/// Flows that are summed, the newest: a flood must not make a look expensive.
const MAX_FLOWS: usize = 5_000;
/// Sources that are told.
const MAX_SOURCES: usize = 20;
/// Ports that are told of a source.
const MAX_PORTS: usize = 8;

/// The sources that were denied most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeniedSources {
    /// Nothing older is in it.
    pub since_unix_ns: u64,
    /// More was denied than is summed here: it is of the newest flows.
    pub truncated: bool,
    /// Those that sent most first.
    pub sources: Vec<DeniedSource>,
}

/// One of them. The address is what the frames said; nothing proves who sent them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeniedSource {
    /// The address; `null`: frames without a sound IP header.
    pub source: Option<String>,
    /// Always false.
    pub source_verified: bool,
    /// Frames that were dropped, or would have been.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// To which ports, at most 8.
    pub ports: Vec<u16>,
    /// Why, of the newest flow.
    pub reason: &'static str,
    /// By which interface, of the newest flow.
    pub interface: String,
    /// When last.
    pub last_unix_ns: u64,
}

impl DeniedSources {
    /// Those of the last hour; nobody where no evidence is.
    pub fn read(state: &StateDir, now_unix_ns: u64) -> Result<Self, StoreError> {
        let since_unix_ns = now_unix_ns.saturating_sub(WITHIN_NS);
        let Some(reader) = Reader::open(&evidence::directory(state))? else {
            return Ok(Self { since_unix_ns, ..Self::default() });
        };
        // What a clock that was ahead left is not of late.
        let until_unix_ns = Some(now_unix_ns);
        let filter =
            Filter { since_unix_ns: Some(since_unix_ns), until_unix_ns, limit: Some(MAX_FLOWS), ..Filter::default() };
        let flows = reader.flows(&filter)?;
        let truncated = flows.len() == MAX_FLOWS;
        let mut sums = HashMap::new();
        for flow in flows.into_iter().map(|flow| flow.record) {
            let sum = sums.entry(flow.key.source).or_insert_with(|| DeniedSource {
                source: flow.key.source.map(|source| source.to_string()),
                source_verified: false,
                packets: 0,
                bytes: 0,
                ports: Vec::new(),
                reason: flow.key.reason.name(),
                interface: flow.key.interface.clone(),
                last_unix_ns: flow.last_unix_ns,
            });
            sum.packets += flow.packets;
            sum.bytes += flow.bytes;
            sum.last_unix_ns = sum.last_unix_ns.max(flow.last_unix_ns);
            if let Some(port) = flow.key.port.filter(|port| !sum.ports.contains(port))
                && sum.ports.len() < MAX_PORTS
            {
                sum.ports.push(port);
            }
        }
        let mut sources: Vec<DeniedSource> = sums.into_values().collect();
        sources.sort_by(|a, b| {
            b.packets.cmp(&a.packets).then(b.last_unix_ns.cmp(&a.last_unix_ns)).then_with(|| a.source.cmp(&b.source))
        });
        sources.truncate(MAX_SOURCES);
        for source in &mut sources {
            source.ports.sort_unstable();
        }
        Ok(Self { since_unix_ns, truncated, sources })
    }
}
