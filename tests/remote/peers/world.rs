//! A registry under a clock that the test moves. It must not judge.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;
use nodewall::peers::{Answer, PeerState, Registry, SourceError, SourceName, Unanswered};
use nodewall_host::state::{Clock, StateDir, Who};
use nodewall_policy::config::{Config, show};
use tempfile::TempDir;

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// Sources that are learnt from, and one file.
pub(crate) const SOURCES: &str = "[peers]\nstatic = [\"10.0.0.1\"]\nwithin = [\"10.0.0.0/8\", \"fd00::/32\"]\nfile = \"/etc/peers\"\n\
     dns = [\"a.example\", \"b.example\"]\n";

/// A registry and what time it is.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) now: Clock,
    state: StateDir,
    _directory: TempDir,
}

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let now = Clock { boot_id: "first".into(), boot_ns: 0, unix_ns: 1_800_000_000_000_000_000 };
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::create(&directory.path().join("state")).unwrap();
        let mut world = Self { registry: Registry::default(), now, state, _directory: directory };
        world.configure(config);
        world
    }

    pub(crate) fn configure(&mut self, config: &str) {
        self.registry.configure(&Config::parse(config, "nodewall.toml").unwrap(), &self.now);
    }

    /// Time goes by.
    pub(crate) fn wait(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap();
        self.now.boot_ns += ns;
        self.now.unix_ns += ns;
    }

    pub(crate) fn says(&mut self, source: &SourceName, peers: &[&str]) {
        let answer = Answer { peers: peers.iter().map(|peer| net(peer)).collect(), valid_for: None, unanswered: None };
        self.registry.answer(source, answer, &self.now);
    }

    /// It could not find out about one family.
    pub(crate) fn says_without(&mut self, source: &SourceName, is_v6: bool, peers: &[&str]) {
        let error = SourceError { problem: "x: no answer for this family".into(), help: "see the server".into() };
        let unanswered = Some(Unanswered { is_v6, error });
        let answer = Answer { peers: peers.iter().map(|peer| net(peer)).collect(), valid_for: None, unanswered };
        self.registry.answer(source, answer, &self.now);
    }

    pub(crate) fn fails(&mut self, source: &SourceName, problem: &str) {
        let error = SourceError { problem: format!("x: {problem}"), help: "see the server".into() };
        self.registry.failed(source, &error, &self.now);
    }

    /// The peers that count.
    pub(crate) fn active(&self) -> Vec<String> {
        self.registry.active(&self.now).iter().map(show).collect()
    }

    /// `None`: it is not known.
    pub(crate) fn state(&self, peer: &str) -> Option<PeerState> {
        let entries = self.registry.entries(&self.now);
        entries.into_iter().find(|entry| entry.prefix == net(peer)).map(|entry| entry.state)
    }

    /// What changed since the last call, without the names of operators.
    pub(crate) fn changes(&mut self) -> Vec<String> {
        self.registry.changes().into_iter().filter_map(|change| change.detail).collect()
    }

    /// Through the disk.
    pub(crate) fn restart(&mut self) {
        self.registry.save(&self.state).unwrap();
        self.read_anew();
    }

    /// What was not written is forgotten.
    pub(crate) fn read_anew(&mut self) {
        self.registry = Registry::load(&self.state).unwrap();
    }
}

pub(crate) fn net(text: &str) -> IpNet {
    nodewall_policy::config::parse_prefix(text).unwrap()
}

pub(crate) fn dns(name: &str) -> SourceName {
    SourceName::dns(&format!("{name}.example"))
}

pub(crate) fn file() -> SourceName {
    SourceName::file("/etc/peers".as_ref())
}

pub(crate) fn who() -> Who {
    Who { command: "test".into(), ..Who::default() }
}

pub(crate) fn names(sources: &[SourceName]) -> BTreeSet<&str> {
    sources.iter().map(SourceName::as_str).collect()
}
