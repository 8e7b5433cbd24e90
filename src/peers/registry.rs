//! What every source said last, what an operator said besides, and what changed by it. Pure: it has no clock and opens no file; `control` keeps it on
//! disk. It must not judge whether a change is too big: that is the agent's one guard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::{Duration, UNIX_EPOCH},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Answer, OperatorError, PeerState, SourceError, SourceName, Unanswered, named_in,
    rules::{Rules, refuse},
    telling::Telling,
};
use nodewall_host::state::{Clock, Deadline, StateDir, StateError, Stored, Who};
use nodewall_policy::config::{Config, show};
use nodewall_text::first_of;

/// An answer that changes nothing is worth a write for its age alone only this often.
const AGE_ON_DISK_NS: u64 = 60_000_000_000;
/// Reasons that are told of one failure: some alternate, some are never the same.
const REASONS_TOLD: usize = 8;

/// What one source said last, and how it fares since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastAnswer {
    pub(super) peers: BTreeSet<IpNet>,
    pub(super) answered_unix_ns: Option<u64>,
    /// Since when (Unix time, ns), and why.
    pub(super) failing: Option<(u64, String)>,
    /// All that was told of why, since then.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    told: BTreeSet<String>,
}

impl LastAnswer {
    /// It can be compared with others. An empty list in the configuration is no opinion.
    pub(super) fn has_said_something(&self) -> bool {
        self.answered_unix_ns.is_some() && !self.peers.is_empty()
    }
}

/// What is known of one prefix besides who names it. Most of 16,384 have none of what is boxed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) since_unix_ns: u64,
    /// The last learnt source that knew it has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leaving: Option<Box<Deadline>>,
    /// `peers add`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admitted: Option<Box<Admitted>>,
    /// `peers remove`, until every source has dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) removed: Option<Box<Who>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Admitted {
    /// `None`: until it is removed.
    pub(super) until: Option<Deadline>,
    pub(super) who: Who,
}

impl Record {
    fn new(now: &Clock) -> Self {
        Self { since_unix_ns: now.unix_ns, leaving: None, admitted: None, removed: None }
    }

    fn is_needed(&self) -> bool {
        self.leaving.is_some() || self.admitted.is_some() || self.removed.is_some()
    }
}

/// Something that changed, for the journal (action `peers`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of which addresses, and through whom. `None`: it is told later, with others.
    pub detail: Option<String>,
    /// The operator that wanted it. `None`: a source, or time.
    pub who: Option<Who>,
    /// Those of them that counted, and do not any more, with why.
    pub left: (Vec<IpNet>, String),
}

/// How a prefix stood before an operator's word, to take that back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    prefix: IpNet,
    record: Option<Record>,
}

/// All peers with their sources. See the module's documentation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registry {
    pub(super) rules: Rules,
    pub(super) sources: BTreeMap<SourceName, LastAnswer>,
    pub(super) peers: BTreeMap<IpNet, Record>,
    #[serde(default)]
    telling: Telling,
    #[serde(skip)]
    changes: Vec<Change>,
    #[serde(skip)]
    unsaved: bool,
    /// Whether anything can run out, once looked for since it was read or changed.
    #[serde(skip)]
    is_timed: OnceLock<bool>,
}

impl Stored for Registry {
    const FILE: &'static str = "peers.state";
}

impl Registry {
    /// Nothing was ever recorded.
    pub fn is_new(&self) -> bool {
        self.sources.is_empty() && self.peers.is_empty()
    }

    /// It differs from what is on disk by more than a minute of a source's age.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// What is known of peers and from whom; empty where nothing was ever written.
    ///
    /// Whoever means to change it holds the lock of [`StateDir::lock_policy`] from before this call until after [`Self::save`].
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        Ok(state.load()?.unwrap_or_default())
    }

    /// Writes it, whole or not at all.
    pub fn save(&mut self, state: &StateDir) -> Result<(), StateError> {
        state.save(self)?;
        self.unsaved = false;
        Ok(())
    }

    /// What changed since the last call, oldest first.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Takes rules, `static` and the set of sources from a configuration. What a source said that is no longer configured counts as dropped.
    pub fn configure(&mut self, config: &Config, now: &Clock) {
        self.expire(now);
        let (rules, configured) = (Rules::of(config), named_in(config));
        let fixed: BTreeSet<IpNet> = config.peers.named.iter().map(|peer| peer.prefix.trunc()).collect();
        if self.rules == rules && self.sources.keys().eq(&configured) && self.renewed(&SourceName::fixed(), &fixed, now)
        {
            return;
        }
        self.change("configuration", None, now, |this, counted| {
            this.unsaved |= this.rules != rules;
            this.rules = rules;
            let gone: Vec<SourceName> =
                this.sources.keys().filter(|name| !configured.contains(*name)).cloned().collect();
            for name in gone {
                this.learn(&name, BTreeSet::new(), counted, now);
                this.sources.remove(&name);
                this.unsaved = true;
            }
            for name in configured {
                this.unsaved |= !this.sources.contains_key(&name);
                this.sources.entry(name).or_default();
            }
            this.learn(&SourceName::fixed(), fixed, counted, now);
        });
    }

    /// Whether a source says what it said before, which then is of `now`: nothing is to be done, however many peers there are.
    fn renewed(&mut self, source: &SourceName, peers: &BTreeSet<IpNet>, now: &Clock) -> bool {
        let Some(known) = self.sources.get_mut(source) else { return false };
        let said = known.answered_unix_ns.filter(|_| known.failing.is_none() && known.peers == *peers);
        let Some(then) = said else { return false };
        known.answered_unix_ns = Some(now.unix_ns);
        self.unsaved |= now.unix_ns.abs_diff(then) >= AGE_ON_DISK_NS;
        true
    }

    /// A source answered. One that is not configured (any more) is not heard. Of a family that it could not find out about, what it said last stays.
    /// Whether it failed before, and answers whole again.
    pub fn answer(&mut self, source: &SourceName, answer: Answer, now: &Clock) -> bool {
        let Some(known) = self.sources.get(source) else { return false };
        let Answer { mut peers, unanswered, .. } = answer;
        let is_kept =
            |net: &&IpNet| unanswered.as_ref().is_some_and(|family| family.is_v6 == matches!(net, IpNet::V6(_)));
        let kept: Vec<IpNet> = known.peers.iter().filter(is_kept).copied().collect();
        let (failing, told) = (known.failing.clone(), known.told.clone());
        peers.extend(&kept);
        self.expire(now);
        self.change(source.as_str(), None, now, |this, counted| this.learn(source, peers, counted, now));
        // Where the family never had a peer, nothing is out of date: many servers answer for one family alone.
        if let Some(Unanswered { error, .. }) = unanswered.filter(|_| !kept.is_empty()) {
            if let Some(known) = self.sources.get_mut(source) {
                (known.failing, known.told) = (failing, told);
            }
            self.failed(source, &error, now);
            return false;
        }
        let answers_again = failing.is_some();
        if answers_again {
            self.tell(source.as_str(), None, format!("{source} answers again"), Vec::new(), now);
        }
        answers_again
    }

    /// A source gave no answer. What it said last stays. Whether that is news: it fails for long, and is asked again all the time.
    pub fn failed(&mut self, source: &SourceName, error: &SourceError, now: &Clock) -> bool {
        let Some(known) = self.sources.get_mut(source) else { return false };
        let told = error.to_string();
        let is_news = known.told.len() < REASONS_TOLD && known.told.insert(told.clone());
        if is_news {
            self.unsaved = true;
            let detail = format!("{source}: {told}; what it said last stays");
            known.failing = Some((known.failing.as_ref().map_or(now.unix_ns, |(since, _)| *since), told));
            self.tell(source.as_str(), None, detail, Vec::new(), now);
        }
        is_news
    }

    /// An operator admits a node, for a time or until it is removed. Lifts a tombstone.
    pub fn operator_add(
        &mut self,
        prefix: IpNet,
        ttl: Option<Duration>,
        who: &Who,
        now: &Clock,
    ) -> Result<Undo, OperatorError> {
        let prefix = prefix.trunc();
        let refused = |why| OperatorError::Refused { prefix: show(&prefix), why };
        if let Some(why) = refuse(&prefix) {
            return Err(refused(why));
        }
        self.expire(now);
        let undo = self.undo_of(prefix);
        let until = ttl.map(|ttl| Deadline::after(now, ttl));
        let mut tried = self.clone();
        tried.change("added", Some(who), now, |this, _| {
            let record = this.peers.entry(prefix).or_insert_with(|| Record::new(now));
            record.admitted = Some(Box::new(Admitted { until, who: who.clone() }));
            record.removed = None;
        });
        if let Some(PeerState::Held { why }) = tried.states(Some(now)).get(&prefix) {
            return Err(refused(why.clone()));
        }
        tried.unsaved = true;
        *self = tried;
        Ok(undo)
    }

    /// An operator removes a peer, whoever knows it, at once. As long as a source knows it, a tombstone keeps it out.
    pub fn operator_remove(&mut self, prefix: IpNet, who: &Who, now: &Clock) -> Result<Undo, OperatorError> {
        let prefix = prefix.trunc();
        self.expire(now);
        let removed = self.peers.get(&prefix).map(|record| record.removed.is_some());
        if removed != Some(false) {
            return Err(OperatorError::NotListed { prefix: show(&prefix), covered_by: self.covering(&prefix, now) });
        }
        let undo = self.undo_of(prefix);
        self.change("removed", Some(who), now, |this, _| {
            if let Some(record) = this.peers.get_mut(&prefix) {
                let removed = Some(Box::new(who.clone()));
                *record = Record { removed, leaving: None, admitted: None, ..record.clone() };
            }
        });
        self.unsaved = true;
        Ok(undo)
    }

    /// Takes an operator's word back that could not be put into force.
    pub fn undo(&mut self, undo: Undo, now: &Clock) {
        self.change("taken back", None, now, |this, _| match undo.record {
            Some(record) => drop(this.peers.insert(undo.prefix, record)),
            None => drop(this.peers.remove(&undo.prefix)),
        });
        self.unsaved = true;
    }

    fn undo_of(&self, prefix: IpNet) -> Undo {
        Undo { prefix, record: self.peers.get(&prefix).cloned() }
    }

    /// A wider peer through which `prefix` is one.
    pub fn covering(&self, prefix: &IpNet, now: &Clock) -> Option<String> {
        let states = self.states(Some(now));
        let mut wider = prefix.supernet();
        while let Some(net) = wider {
            if states.get(&net).is_some_and(PeerState::counts) {
                return Some(show(&net));
            }
            wider = net.supernet();
        }
        None
    }

    /// Whether something has run out.
    pub fn is_due(&self, now: &Clock) -> bool {
        // Asked each second, of 16,384 peers that mostly never leave.
        let is_timed = *self.is_timed.get_or_init(|| self.deadlines().next().is_some());
        is_timed && self.deadlines().any(|until| until.left(now).is_zero()) || self.telling.is_due(now)
    }

    fn deadlines(&self) -> impl Iterator<Item = &Deadline> {
        self.peers.values().flat_map(|record| {
            let admitted = record.admitted.as_ref().and_then(|admitted| admitted.until.as_ref());
            record.leaving.as_deref().into_iter().chain(admitted)
        })
    }

    /// Takes out what has run out.
    pub fn expire(&mut self, now: &Clock) {
        if !self.is_due(now) {
            return;
        }
        let over = |until: &Deadline| until.left(now).is_zero();
        self.unsaved = true;
        for detail in self.telling.due(now) {
            self.changes.push(Change { detail: Some(detail), who: None, left: Default::default() });
        }
        self.change("its time is over", None, now, |this, _| {
            for record in this.peers.values_mut() {
                record.leaving = record.leaving.take().filter(|until| !over(until));
                record.admitted = record.admitted.take().filter(|admitted| !admitted.until.as_ref().is_some_and(over));
            }
        });
    }

    /// Replaces what a source knows. `counted`: the states before. Only a learnt peer that counted has a delay to leave in.
    fn learn(
        &mut self,
        source: &SourceName,
        peers: BTreeSet<IpNet>,
        counted: &BTreeMap<IpNet, PeerState>,
        now: &Clock,
    ) {
        // No source of names carries host bits; two spellings of one network would be two peers.
        let peers: BTreeSet<IpNet> = peers.into_iter().map(|net| net.trunc()).collect();
        for prefix in &peers {
            let record = self.peers.entry(*prefix).or_insert_with(|| Record::new(now));
            if source.is_learnt() {
                record.leaving = None;
            }
        }
        let known = self.sources.entry(source.clone()).or_default();
        let aged = known.answered_unix_ns.is_none_or(|then| now.unix_ns.abs_diff(then) >= AGE_ON_DISK_NS);
        self.unsaved |= aged || known.failing.is_some() || known.peers != peers;
        let before = std::mem::replace(
            known,
            LastAnswer { peers: peers.clone(), answered_unix_ns: Some(now.unix_ns), ..LastAnswer::default() },
        );
        if !source.is_learnt() {
            return;
        }
        for prefix in before.peers.difference(&peers) {
            let counted = counted.get(prefix).is_some_and(PeerState::counts);
            if let Some(record) = self.peers.get_mut(prefix).filter(|_| counted) {
                record.leaving = Some(Box::new(Deadline::after(now, self.rules.removal_delay)));
            }
        }
    }

    /// Makes a change, forgets what nobody needs any more, and notes what became of whom.
    fn change(
        &mut self,
        cause: &str,
        who: Option<&Who>,
        now: &Clock,
        make: impl FnOnce(&mut Self, &BTreeMap<IpNet, PeerState>),
    ) {
        let before = self.states(None);
        make(self, &before);
        self.forget();
        self.is_timed = OnceLock::new();
        let after = self.states(None);
        let mut became: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
        for (prefix, state) in &after {
            if before.get(prefix) != Some(state) {
                became.entry(told(state)).or_default().push(*prefix);
            }
        }
        let gone: Vec<IpNet> = before.keys().filter(|prefix| !after.contains_key(*prefix)).copied().collect();
        if !gone.is_empty() {
            became.insert("gone".into(), gone);
        }
        for (state, prefixes) in &became {
            let detail = format!("{}: {state} ({cause})", first_of(prefixes.iter().map(show)));
            let counted = |net: &&IpNet| before.get(*net).is_some_and(PeerState::counts);
            let counts = |net: &&IpNet| after.get(*net).is_some_and(PeerState::counts);
            let left = prefixes.iter().filter(counted).filter(|net| !counts(net)).copied().collect();
            self.tell(cause, who, detail, left, now);
        }
        self.unsaved |= !became.is_empty();
    }

    /// Tells a change: an operator's at once, another where its cause was not told of too often.
    fn tell(&mut self, cause: &str, who: Option<&Who>, detail: String, left: Vec<IpNet>, now: &Clock) {
        let detail = if who.is_some() { Some(detail) } else { self.telling.tell(cause, detail, now) };
        self.changes.push(Change { detail, who: who.cloned(), left: (left, cause.to_owned()) });
    }

    /// Tombstones of what every source has dropped, and records of what nobody knows.
    fn forget(&mut self) {
        let Self { peers, sources, .. } = self;
        peers.retain(|prefix, record| {
            let known = sources.values().any(|known| known.peers.contains(prefix));
            if !known {
                record.removed = None;
            }
            known || record.is_needed()
        });
    }
}

/// A state as the journal tells it.
fn told(state: &PeerState) -> String {
    match state {
        PeerState::Leaving { until_unix_ns } => {
            let until = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(*until_unix_ns));
            format!("leaving until {until}")
        }
        PeerState::Held { why } => format!("held, {why}"),
        PeerState::Active | PeerState::Tombstone => state.name().to_owned(),
    }
}
