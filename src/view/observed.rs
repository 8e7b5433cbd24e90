//! What the evidence and the counters say of those that a policy would cut off: for `plan` and `enforce`. It must not judge or print.

use std::{collections::HashMap, ops::ControlFlow, path::Path};

use node_ebpf_common::{Reason, peer_traffic::Direction};

use crate::control::{Denied, Good, InKernel, Observed};
use nodewall_datapath::{DatapathError, Maps};
use nodewall_evidence::{
    self as evidence,
    record::Outcome,
    store::{Filter, Reader, StoreError},
};
use nodewall_host::state::{Clock, StateDir};
use nodewall_policy::{Policy, peer_of};
use nodewall_text::hex;

/// Sources and ports that are told apart: a flood of made-up sources must not fill the memory.
const MAX_TOLD: usize = 100_000;

impl Observed {
    /// Since the audit in force began. What cannot be read is said, and missing. `wanted`: whose peers are looked for.
    pub fn read(bpffs: &Path, state: Option<&StateDir>, wanted: &Policy) -> Self {
        let good = state.and_then(|state| Good::last(state).ok().flatten());
        let since_unix_ns = good.map(|good| good.mode_since(Clock::now().unix_ns));
        let filter = Filter { since_unix_ns, outcome: Some(Outcome::WouldDrop), ..Filter::default() };
        let would_drop = state.map_or_else(|| Ok(Vec::new()), |state| denied(state, &filter));
        Self {
            kernel: in_kernel(bpffs).unwrap_or_default(),
            would_drop: would_drop.unwrap_or_else(|error| {
                tracing::warn!("what was audited cannot be read, so who only sent now and then is not named: {error}");
                Vec::new()
            }),
            peers_talked: peers_talked(bpffs, wanted).unwrap_or_else(|error| {
                tracing::debug!("whether a peer ever talked cannot be read: {error}");
                false
            }),
        }
    }
}

fn in_kernel(bpffs: &Path) -> Result<InKernel, DatapathError> {
    let Some((_, maps)) = Maps::live(bpffs)? else { return Ok(InKernel::Nothing) };
    match maps.in_force_facts() {
        Ok(facts) => Ok(InKernel::Policy(hex(&facts.policy_sha256))),
        Err(DatapathError::NoPolicy) => Ok(InKernel::Nothing),
        Err(error) => Err(error),
    }
}

/// Who was denied, by source, port and protocol. Nobody where no evidence is.
pub fn denied(state: &StateDir, filter: &Filter) -> Result<Vec<Denied>, StoreError> {
    let Some(reader) = Reader::open(&evidence::directory(state))? else { return Ok(Vec::new()) };
    let mut sums: HashMap<_, Denied> = HashMap::new();
    reader.each_flow(filter, |flow| {
        let (key, record) = (&flow.record.key, &flow.record);
        let Some(source) = key.source else { return ControlFlow::Continue(()) };
        let place = (source, key.port, key.protocol);
        let is_full = sums.len() == MAX_TOLD && !sums.contains_key(&place);
        if is_full {
            return ControlFlow::Break(());
        }
        // Newest first.
        let sum = sums.entry(place).or_insert_with(|| Denied {
            source,
            port: key.port,
            protocol: key.protocol,
            reason: key.reason.name(),
            packets: 0,
            last_unix_ns: record.last_unix_ns,
        });
        sum.packets += record.packets;
        ControlFlow::Continue(())
    })?;
    let mut all: Vec<Denied> = sums.into_values().collect();
    all.sort_by_key(|denied| (denied.source, denied.port));
    Ok(all)
}

/// Whether one of these peers was ever counted on the ports for peers; where none has counters of its own, whether any peer was.
fn peers_talked(bpffs: &Path, wanted: &Policy) -> Result<bool, DatapathError> {
    let Some((_, maps)) = Maps::live(bpffs)? else { return Ok(false) };
    let facts = match maps.in_force_facts() {
        Err(DatapathError::NoPolicy) => return Ok(false),
        facts => facts?,
    };
    let rows = maps.rows()?;
    if !facts.per_peer {
        return Ok(maps.cells(&rows)?.iter().any(|cell| cell.reason == Reason::Peer));
    }
    let cells = maps.peer_cells(&rows)?;
    let mut inbound = cells.iter().filter(|cell| cell.direction == Direction::In);
    Ok(inbound
        .any(|cell| cell.peer.as_ref().is_none_or(|peer| peer_of(peer).is_some_and(|p| wanted.peers.contains(&p)))))
}
