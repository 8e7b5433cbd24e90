//! The agent's side of learnt peers: the sources being asked, what ran out, and how often a changed set may come into force. What a change means is
//! in `control::peers`.

use std::time::Duration;
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::{
    control::{
        Allow, Good,
        change::{InForce, Site},
        peers,
    },
    peers::{Answer, Registry, Source, SourceError, SourceName, sources},
};
use nodewall_host::state::{Clock, Stamp};
use nodewall_policy::config::{Config, show};
use nodewall_text::first_of;

/// No more than one swap for changed peers in this time: a source that flaps must not keep the kernel busy.
const SWAP_EVERY: Duration = Duration::from_secs(1);
/// How often a source that can tell without being read is looked at.
const STAMP_EVERY: Duration = Duration::from_millis(200);
/// A source that failed is asked again after this, or after its own interval where that is shorter.
const RETRY: Duration = Duration::from_secs(10);

/// What a source said, or why it said nothing.
pub(super) type SourceAnswer = (SourceName, Result<Answer, SourceError>);

/// Peers between two wakes of the agent.
pub(super) struct PeerWatch {
    listening: Listening,
    /// The registry as it was at the last look, and its file's stamp.
    registry: Registry,
    stamp: Option<Stamp>,
    /// The peers in force may be others than the registry's.
    waits: bool,
    swapped: Option<Instant>,
    alarms: Vec<String>,
    /// Why the registry's peers are not in force.
    held: Option<String>,
    /// Why what a source said is not in the registry, or what ran out still is.
    untaken: Option<String>,
}

impl PeerWatch {
    pub(super) fn new(config: Option<&Config>) -> Self {
        Self {
            listening: Listening::to(config),
            registry: Registry::default(),
            stamp: None,
            waits: false,
            swapped: None,
            alarms: Vec::new(),
            held: None,
            untaken: None,
        }
    }

    /// Asks the sources of another configuration.
    pub(super) fn listen_to(&mut self, config: &Config) {
        self.listening = Listening::to(Some(config));
    }

    /// The next answers. Never ends without sources.
    pub(super) async fn heard(&mut self) -> Vec<SourceAnswer> {
        self.listening.next().await
    }

    /// Another policy is in force, which may have brought its own peers.
    pub(super) fn wait(&mut self) {
        self.waits = true;
    }

    /// What an operator should look at.
    pub(super) fn alarms(&self) -> impl Iterator<Item = &String> {
        self.alarms.iter().chain(&self.held).chain(&self.untaken)
    }

    /// Takes what sources said. `Some`: it is in force.
    pub(super) async fn learn(&mut self, site: &Site, heard: Vec<SourceAnswer>) -> Option<InForce> {
        let taken = peers::learn(site, heard);
        let untaken = taken.err().map(|error| format!("what a source of peers said could not be taken: {error}"));
        if tell(&mut self.untaken, untaken) { self.follow(site).await } else { None }
    }

    /// Looks for what ran out and what commands changed. Reads the registry only when it is another, or due.
    pub(super) async fn look(&mut self, site: &Site) -> Option<InForce> {
        let now = Clock::now();
        if site.state.stamp::<Registry>() != self.stamp || self.registry.is_due(&now) {
            let expired = peers::expire(site);
            let untaken =
                expired.as_ref().err().map(|error| format!("the registry of peers can not be looked at: {error}"));
            tell(&mut self.untaken, untaken);
            if let Ok(registry) = expired {
                self.registry = registry;
            }
            self.stamp = site.state.stamp::<Registry>();
            self.waits = true;
            let alarms = self.registry.alarms(&now);
            for alarm in alarms.iter().filter(|alarm| !self.alarms.contains(alarm)) {
                tracing::warn!("{alarm}");
            }
            self.alarms = alarms;
        }
        if self.waits { self.follow(site).await } else { None }
    }

    async fn follow(&mut self, site: &Site) -> Option<InForce> {
        if self.swapped.is_some_and(|then| then.elapsed() < SWAP_EVERY) {
            self.waits = true;
            return None;
        }
        self.waits = false;
        let before = Good::last(&site.state).ok().flatten().map(|good| good.desired.policy.peers).unwrap_or_default();
        match peers::peers_changed(site, Allow::default()).await {
            Ok(changed) => {
                tell(&mut self.held, None);
                let policy = changed?;
                self.swapped = Some(Instant::now());
                let peers = &policy.policy().peers;
                let (came, went) = (named(peers, &before), named(&before, peers));
                tracing::info!(generation = policy.generation, peers = peers.len(), came, went, "peers changed");
                Some(policy)
            }
            Err(error) => {
                tell(&mut self.held, Some(format!("the changed peers are not in force: {error}")));
                None
            }
        }
    }
}

/// Those that are in one list and not in the other.
fn named(these: &[IpNet], others: &[IpNet]) -> String {
    first_of(these.iter().filter(|net| !others.contains(net)).map(show))
}

/// Logs what is wrong when it is something else than before. Whether nothing is.
fn tell(before: &mut Option<String>, now: Option<String>) -> bool {
    if let Some(wrong) = now.as_ref().filter(|_| *before != now) {
        tracing::error!("{wrong}");
    }
    *before = now;
    before.is_none()
}

/// The sources of a configuration, being asked. Dropping it ends the asking.
struct Listening {
    _tasks: JoinSet<()>,
    heard: mpsc::Receiver<SourceAnswer>,
}

impl Listening {
    fn to(config: Option<&Config>) -> Self {
        let (sender, heard) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        for source in config.map(sources).unwrap_or_default() {
            tasks.spawn(ask(source, sender.clone()));
        }
        Self { _tasks: tasks, heard }
    }

    /// The next answer, and what else has come by now. Never ends without sources.
    async fn next(&mut self) -> Vec<SourceAnswer> {
        let Some(first) = self.heard.recv().await else { return std::future::pending().await };
        let mut all = vec![first];
        while let Ok(more) = self.heard.try_recv() {
            all.push(more);
        }
        all
    }
}

async fn ask(mut source: Box<dyn Source>, sender: mpsc::Sender<SourceAnswer>) {
    loop {
        let stamp = source.stamp();
        let answer = source.fetch().await;
        let interval = source.interval();
        let wait = match &answer {
            Ok(answer) => answer.valid_for.unwrap_or(interval),
            Err(_) => interval.min(RETRY),
        };
        if sender.send((source.name().clone(), answer)).await.is_err() {
            return;
        }
        let rest = tokio::time::Instant::now() + wait;
        if stamp.is_none() {
            tokio::time::sleep_until(rest).await;
            continue;
        }
        while tokio::time::Instant::now() < rest && source.stamp() == stamp {
            tokio::time::sleep(STAMP_EVERY).await;
        }
    }
}
