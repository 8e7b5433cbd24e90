//! What explains the rest: policies, peers and operators' levers, from the state directory. It must not judge them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    control::Good,
    evidence::record::{Event, EventKind},
};
use nodewall_host::state::{JOURNAL, Stamp, StateDir};
use nodewall_policy::config::show;

/// What was recorded already; kept in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    journal_unix_ns: u64,
    generation: u64,
    /// Sorted. A large cluster has tens of thousands: not kept as text.
    peers: Vec<IpNet>,
    /// Something was recorded: before that nobody came and nobody left.
    begun: bool,
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct Happenings {
    state: StateDir,
    seen: Option<[Option<Stamp>; 2]>,
    pub(super) known: Known,
}

impl Happenings {
    pub(super) fn new(state: StateDir, known: Known) -> Self {
        Self { state, seen: None, known }
    }

    /// What is new.
    pub(super) fn new_events(&mut self) -> Vec<Event> {
        let now = [self.state.stamp::<Good>(), Stamp::of(&self.state.file(JOURNAL))];
        if self.seen.as_ref() == Some(&now) {
            return Vec::new();
        }
        self.seen = Some(now);
        let mut events = self.journal();
        match Good::last(&self.state) {
            Ok(Some(good)) => self.policy(&good, &mut events),
            Ok(None) => {}
            Err(error) => tracing::debug!("the policy in force is not recorded: {error}"),
        }
        self.known.begun = true;
        events
    }

    fn journal(&mut self) -> Vec<Event> {
        let since = self.known.journal_unix_ns;
        let new = self.state.journal_entries().into_iter().filter(|entry| entry.unix_ns > since);
        let events: Vec<Event> = new
            .map(|entry| Event {
                unix_ns: entry.unix_ns,
                kind: EventKind::Operator(entry.action),
                detail: entry.detail,
                who: entry.who.as_ref().and_then(|who| serde_json::to_string(who).ok()),
                text: None,
            })
            .collect();
        self.known.journal_unix_ns = events.iter().map(|event| event.unix_ns).fold(since, u64::max);
        events
    }

    fn policy(&mut self, good: &Good, events: &mut Vec<Event>) {
        if good.generation == self.known.generation {
            return;
        }
        self.known.generation = good.generation;
        let policy = &good.desired.policy;
        events.push(Event {
            unix_ns: good.since_unix_ns,
            kind: EventKind::Policy,
            detail: format!("generation {}, {}, sha256 {}", good.generation, policy.mode, good.policy_sha256),
            who: None,
            text: serde_json::to_string(policy).ok(),
        });
        let mut peers = policy.peers.clone();
        peers.sort_unstable();
        peers.dedup();
        if peers != self.known.peers {
            let missing = |of: &IpNet, in_it: &[IpNet]| in_it.binary_search(of).is_err();
            let came =
                peers.iter().filter(|peer| missing(peer, &self.known.peers)).map(|peer| format!("+{}", show(peer)));
            let left =
                self.known.peers.iter().filter(|peer| missing(peer, &peers)).map(|peer| format!("-{}", show(peer)));
            let changes: Vec<String> = came.chain(left).collect();
            let detail = format!("{} peers: {}", peers.len(), changes.join(" "));
            events.push(Event { unix_ns: good.since_unix_ns, kind: EventKind::Peers, detail, who: None, text: None });
            self.known.peers = peers;
        }
    }
}
