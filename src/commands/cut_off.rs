//! Who would be cut off, in lines, and who is while a trial goes on. It must not judge.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    control::{Affected, Difference},
    view::observed,
};
use nodewall_evidence::{
    self as evidence,
    record::Outcome,
    store::{Filter, Reader},
};
use nodewall_host::state::StateDir;

/// Whoever only knocked, at most so many for people; `-o json` has more.
const MAX_KNOCKS: usize = 20;
/// Whoever is cut off while a trial goes on: a flood must not hide the countdown.
const MAX_LIVE: usize = 100;

/// Who would be cut off or let in: `!` for a conversation, which is a reason to refuse while it goes on, `?` for a knock, which never is.
pub(super) fn lines(difference: &Difference) -> Vec<String> {
    let (talks, knocks): (Vec<_>, Vec<_>) = difference.affected.iter().partition(|affected| affected.conversation);
    let mut lines: Vec<String> = talks.into_iter().map(|affected| format!("! {}", sentence(affected))).collect();
    lines.extend(knocks.iter().take(MAX_KNOCKS).map(|affected| format!("? {}", sentence(affected))));
    let more = knocks.len().saturating_sub(MAX_KNOCKS) + difference.more_knocks;
    if more > 0 {
        lines.push(format!("? and {more} more that only knocked (`nodewall events list`)"));
    }
    if difference.peers_silent {
        lines.push(
            "! not one of the peers has ever talked with this node: is the list right? (`nodewall peers list`)".into(),
        );
    }
    lines
}

/// Why `enforce` does not; `None`: nothing keeps it from it.
pub(super) fn refusal(difference: &Difference) -> Option<String> {
    let cut = difference.cut_off().count();
    let talking = match cut {
        0 => None,
        1 => Some("one source that talks with this node would be cut off".to_owned()),
        _ => Some(format!("{cut} conversations with this node would be cut off")),
    };
    let silent = difference.peers_silent.then(|| "not one of the peers has ever talked with this node".to_owned());
    let why: Vec<String> = talking.into_iter().chain(silent).collect();
    (!why.is_empty()).then(|| {
        format!(
            "held: {}; let them in (`also_allow`, a peer), mend the peers' list, or say that it is meant: --allow-affected",
            why.join(", and ")
        )
    })
}

fn sentence(affected: &Affected) -> String {
    let Affected { source, protocol, from, to, reason, .. } = affected;
    let port = port_of(affected.port, protocol);
    let last = affected.last_unix_ns.map_or_else(String::new, |then| {
        format!(", last at {}", humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(then)))
    });
    let frames =
        affected.packets.map_or_else(String::new, |packets| format!(", {packets} frames would have been dropped"));
    let does = match (affected.connected, affected.conversation) {
        (true, _) => "is in conversation with",
        (false, true) => "was in conversation with",
        (false, false) => "knocked on",
    };
    let becomes = match (*to, affected.conversation) {
        ("drop", true) => "would be cut off",
        ("drop", false) => "would be dropped",
        _ => "would be let in",
    };
    format!("{source} {does} {port}{frames}{last}: {becomes} ({from} -> {to}, {reason})")
}

fn port_of(port: Option<u16>, protocol: &str) -> String {
    port.map_or_else(|| protocol.to_owned(), |port| format!("port {port}/{protocol}"))
}

/// Who is cut off while a trial goes on, each once.
pub(super) struct Live {
    /// The flow that was recorded last before.
    above: Option<i64>,
    told: BTreeSet<(IpAddr, Option<u16>, &'static str)>,
    said_none: bool,
}

impl Live {
    /// From now on.
    pub(super) fn begin(state: &StateDir) -> Self {
        let newest = Filter { limit: Some(1), ..Filter::default() };
        let flows =
            Reader::open(&evidence::directory(state)).ok().flatten().and_then(|reader| reader.flows(&newest).ok());
        let above = flows.and_then(|flows| flows.first().map(|flow| flow.id));
        Self { above, told: BTreeSet::new(), said_none: false }
    }

    /// What is new.
    pub(super) fn lines(&mut self, state: &StateDir) -> Vec<String> {
        if state.agent().is_none() && !self.said_none {
            self.said_none = true;
            return vec!["no agent runs, so nobody records who is cut off; `nodewall counters` counts it".into()];
        }
        let filter = Filter { above: self.above, outcome: Some(Outcome::Drop), ..Filter::default() };
        let denied = observed::denied(state, &filter).unwrap_or_default();
        let mut lines = Vec::new();
        for denied in denied {
            let place = (denied.source, denied.port, denied.protocol);
            if self.told.len() < MAX_LIVE && self.told.insert(place) {
                let port = port_of(denied.port, denied.protocol);
                lines.push(format!(
                    "dropped: {} to {port} ({}), {} frames",
                    denied.source, denied.reason, denied.packets
                ));
                if self.told.len() == MAX_LIVE {
                    lines.push("more is dropped and not told here: `nodewall events tail`".into());
                }
            }
        }
        lines
    }
}
