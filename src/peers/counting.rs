//! Which of the known peers count, from what is recorded about them. Pure: changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    Difference, Entry, PeerState, SourceName, SourceStatus,
    registry::{LastAnswer, Record, Registry},
    rules::{is_address, refuse},
};
use nodewall_host::state::{Clock, Deadline};
use nodewall_policy::config::show;

/// How many addresses an alarm names.
const NAMED_IN_ALARM: usize = 4;

/// Whether a moment is still to come. Without a clock every moment is: what has run out is taken out by `expire` alone.
fn is_to_come(until: &Deadline, now: Option<&Clock>) -> bool {
    now.is_none_or(|now| !until.left(now).is_zero())
}

impl Registry {
    /// The state of everything known at `now`.
    pub(super) fn states(&self, now: Option<&Clock>) -> BTreeMap<IpNet, PeerState> {
        let mut states = BTreeMap::new();
        let mut counting = Vec::new();
        for (prefix, record) in &self.peers {
            if record.removed.is_some() {
                states.insert(*prefix, PeerState::Tombstone);
                continue;
            }
            let (named, learnt) = self.support(prefix, record, now);
            let leaving = record.leaving.as_deref().filter(|until| is_to_come(until, now));
            let state = match leaving {
                _ if named || learnt => PeerState::Active,
                Some(until) => PeerState::Leaving { until_unix_ns: until.unix_ns() },
                None => continue,
            };
            // What somebody on this host wrote down is not bound by `within`.
            let refused = if named { refuse(prefix) } else { self.rules.refuse_learnt(prefix) };
            if let Some(why) = refused {
                states.insert(*prefix, PeerState::Held { why });
                continue;
            }
            counting.push((!named, record.since_unix_ns, *prefix));
            states.insert(*prefix, state);
        }
        self.hold_too_many(counting, &mut states);
        states
    }

    /// Whether somebody on this host, and whether a learnt source, knows the prefix.
    fn support(&self, prefix: &IpNet, record: &Record, now: Option<&Clock>) -> (bool, bool) {
        let admitted = record.admitted.as_ref();
        let mut named =
            admitted.is_some_and(|admitted| admitted.until.as_ref().is_none_or(|until| is_to_come(until, now)));
        let mut learnt = false;
        for (name, _) in self.sources.iter().filter(|(_, known)| known.peers.contains(prefix)) {
            if name.is_learnt() {
                learnt = true;
            } else {
                named = true;
            }
        }
        (named, learnt)
    }

    /// The named before the learnt, then the old before the new: a source that runs wild displaces nobody.
    fn hold_too_many(&self, mut counting: Vec<(bool, u64, IpNet)>, states: &mut BTreeMap<IpNet, PeerState>) {
        let addresses = counting.iter().filter(|(_, _, prefix)| is_address(prefix)).count();
        if addresses <= self.rules.max_addresses && counting.len() - addresses <= self.rules.max_prefixes {
            return;
        }
        counting.sort_unstable();
        let (mut addresses, mut prefixes) = (0, 0);
        for (_, _, prefix) in counting {
            let (count, limit, what) = if is_address(&prefix) {
                addresses += 1;
                (addresses, self.rules.max_addresses, "addresses")
            } else {
                prefixes += 1;
                (prefixes, self.rules.max_prefixes, "prefixes")
            };
            if count > limit {
                states.insert(prefix, PeerState::Held { why: format!("more than {limit} {what}") });
            }
        }
    }

    /// The peers that count at `now`, sorted. The node's own addresses may be among them.
    pub fn active(&self, now: &Clock) -> BTreeSet<IpNet> {
        self.states(Some(now)).into_iter().filter(|(_, state)| state.counts()).map(|(prefix, _)| prefix).collect()
    }

    /// Everything known, sorted by prefix.
    pub fn entries(&self, now: &Clock) -> Vec<Entry> {
        let entry = |(prefix, state): (IpNet, PeerState)| {
            let record = self.peers.get(&prefix);
            let admitted = record.and_then(|record| record.admitted.as_ref());
            let removed = record.and_then(|record| record.removed.as_deref());
            let until = match &state {
                PeerState::Leaving { .. } => record.and_then(|record| record.leaving.as_deref()),
                _ => admitted.and_then(|admitted| admitted.until.as_ref()),
            };
            Entry {
                prefix,
                sources: self.known_by(&prefix, |known| known.peers.contains(&prefix)),
                since_unix_ns: record.map_or(0, |record| record.since_unix_ns),
                left: until.map(|until| until.left(now)),
                by: removed.or(admitted.map(|admitted| &admitted.who)).map(ToString::to_string),
                state,
            }
        };
        self.states(Some(now)).into_iter().map(entry).collect()
    }

    /// Who knows each address that is known, and who does not. A source counts as knowing what a prefix of its answer holds.
    pub fn differences(&self, now: &Clock) -> Vec<Difference> {
        let difference = |(prefix, state): (IpNet, PeerState)| {
            let known_by = self.known_by(&prefix, |known| holds(known, &prefix));
            let answered = self.sources.iter().filter(|(_, known)| known.has_said_something());
            let unknown_to = answered.map(|(name, _)| name).filter(|name| !known_by.contains(name)).cloned().collect();
            Difference { prefix, state, known_by, unknown_to }
        };
        self.states(Some(now)).into_iter().map(difference).collect()
    }

    fn known_by(&self, prefix: &IpNet, knows: impl Fn(&LastAnswer) -> bool) -> Vec<SourceName> {
        let sources = self.sources.iter().filter(|(_, known)| knows(known)).map(|(name, _)| name.clone());
        let admitted = self.peers.get(prefix).is_some_and(|record| record.admitted.is_some());
        sources.chain(admitted.then(SourceName::operator)).collect()
    }

    /// How each source fares.
    pub fn sources(&self, now: &Clock) -> Vec<SourceStatus> {
        let status = |(name, known): (&SourceName, &LastAnswer)| SourceStatus {
            name: name.clone(),
            peers: known.peers.len(),
            answered_unix_ns: known.answered_unix_ns,
            age: known.answered_unix_ns.map(|then| {
                // A clock that was set back makes nothing older than it is.
                Duration::from_nanos(now.unix_ns.saturating_sub(then))
            }),
            failing: known.failing.clone(),
        };
        self.sources.iter().map(status).collect()
    }

    /// What an operator should look at: peers that are held, sources that do not answer.
    pub fn alarms(&self, now: &Clock) -> Vec<String> {
        let mut held: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
        for (prefix, state) in self.states(Some(now)) {
            if let PeerState::Held { why } = state {
                held.entry(why).or_default().push(prefix);
            }
        }
        let held = held.into_iter().map(|(why, prefixes)| {
            let mut named: Vec<String> = prefixes.iter().take(NAMED_IN_ALARM).map(show).collect();
            if prefixes.len() > NAMED_IN_ALARM {
                named.push("…".into());
            }
            let count =
                if prefixes.len() == 1 { "1 peer is".to_owned() } else { format!("{} peers are", prefixes.len()) };
            format!("{count} held, {why}: {}; `nodewall peers list` shows from which source", named.join(" "))
        });
        let failing = self.sources(now).into_iter().filter_map(|source| {
            let (_, error) = source.failing?;
            let stays = source.age.map_or_else(
                || "it has never answered".to_owned(),
                |age| {
                    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
                    format!("its last answer ({} peers, {age} ago) stays", source.peers)
                },
            );
            Some(format!("the source {}: {error}; {stays}", source.name))
        });
        held.chain(failing).collect()
    }
}

/// Whether an answer names the prefix, or a wider one that holds it.
pub(super) fn holds(known: &LastAnswer, prefix: &IpNet) -> bool {
    let mut wider = Some(*prefix);
    while let Some(net) = wider {
        if known.peers.contains(&net) {
            return true;
        }
        wider = net.supernet();
    }
    false
}
