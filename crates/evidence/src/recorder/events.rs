//! What explains the rest: policies, peers and operators' commands, as they come about. It must not judge them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::in_force::{InForce, PolicyInForce};
use crate::record::{Event, EventKind};
use nodewall_host::state::{Allowance, Clock, Entry, JOURNAL, Stamp, StateDir, StateError, Tail};
use nodewall_policy::{Policy, config::show};
use nodewall_text::first_of;

/// What was recorded already; kept in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    /// The number of the journal's entry that was recorded last.
    #[serde(default)]
    journal: Option<u64>,
    /// Of versions whose journal had no numbers: its time.
    journal_unix_ns: u64,
    generation: u64,
    /// Sorted. A large cluster has tens of thousands: not kept as text.
    peers: Vec<IpNet>,
}

/// Looks for what is new.
#[derive(Debug)]
pub(super) struct EventWatch {
    state: StateDir,
    /// Journal and policy at the last look.
    seen: Option<(Option<Stamp>, Vec<Option<Stamp>>)>,
    /// The policy that was recorded last, and how often its text may be.
    without_peers: Option<Policy>,
    texts: Allowance,
    pub(super) recorded: Recorded,
}

impl EventWatch {
    pub(super) fn new(state: StateDir, recorded: Recorded) -> Self {
        Self { state, seen: None, without_peers: None, texts: Allowance::default(), recorded }
    }

    /// What is new.
    pub(super) fn new_events(&mut self, in_force: &dyn InForce, clock: &Clock) -> Vec<Event> {
        let now = (self.state.stamp_of(JOURNAL), in_force.policy_stamp());
        if self.seen.as_ref() == Some(&now) {
            return Vec::new();
        }
        self.seen = Some(now);
        let mut events = self.journal();
        match in_force.policy() {
            Ok(Some(policy)) => self.policy(policy, clock, &mut events),
            Ok(None) => {}
            Err(error) => tracing::debug!("the policy in force is not recorded: {error}"),
        }
        events
    }

    fn journal(&mut self) -> Vec<Event> {
        let tail = match self.journal_tail() {
            Ok(tail) => tail,
            Err(error) => {
                tracing::warn!("what operators did is not recorded: {error}");
                // Looked at again at the next turn.
                self.seen = None;
                return Vec::new();
            }
        };
        tail.new
            .into_iter()
            .map(|entry| {
                self.recorded.journal = Some(entry.number);
                Event {
                    unix_ns: entry.unix_ns,
                    kind: EventKind::Operator(entry.action),
                    detail: entry.detail,
                    who: entry.who.as_ref().and_then(|who| serde_json::to_string(who).ok()),
                    text: None,
                }
            })
            .collect()
    }

    /// What the journal has and the store has not. By number: a clock can be wrong.
    fn journal_tail(&self) -> Result<Tail, StateError> {
        let (last, unix_ns) = (self.recorded.journal, self.recorded.journal_unix_ns);
        let is_new = |entry: &Entry| match last {
            Some(last) => entry.number > last,
            None => entry.number > 0 || entry.unix_ns > unix_ns,
        };
        let tail = self.state.journal_tail(is_new)?;
        // Somebody took its files away: it began anew.
        let is_another = tail.new.is_empty() && tail.known.as_ref().is_some_and(|known| Some(known.number) < last);
        if is_another { self.state.journal_tail(|_| true) } else { Ok(tail) }
    }

    /// Whether it differs from the one before by more than peers, or not often of late: a source of peers that flaps must not wash the store out.
    fn is_worth_its_text(&mut self, text: &str, now: &Clock) -> bool {
        let without_peers = serde_json::from_str(text).ok().map(|policy| Policy { peers: Vec::new(), ..policy });
        let is_another = self.without_peers != without_peers || without_peers.is_none();
        self.without_peers = without_peers;
        self.texts.take(now) || is_another
    }

    fn policy(&mut self, policy: PolicyInForce, now: &Clock, events: &mut Vec<Event>) {
        let PolicyInForce { generation, since_unix_ns: unix_ns, mode, sha256, mut peers, text } = policy;
        if generation == self.recorded.generation {
            return;
        }
        self.recorded.generation = generation;
        let detail = format!("generation {generation}, {mode}, sha256 {sha256}");
        let text = text.filter(|text| self.is_worth_its_text(text, now));
        events.push(Event { unix_ns, kind: EventKind::Policy, detail, who: None, text });
        peers.sort_unstable();
        peers.dedup();
        if peers != self.recorded.peers {
            let missing = |of: &IpNet, in_it: &[IpNet]| in_it.binary_search(of).is_err();
            let before = &self.recorded.peers;
            let came =
                first_of(peers.iter().filter(|peer| missing(peer, before)).map(|peer| format!("+{}", show(peer))));
            let left =
                first_of(before.iter().filter(|peer| missing(peer, &peers)).map(|peer| format!("-{}", show(peer))));
            let detail = [format!("{} peers:", peers.len()), came, left];
            let detail = detail.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            events.push(Event { unix_ns, kind: EventKind::Peers, detail, who: None, text: None });
            self.recorded.peers = peers;
        }
    }
}
