//! What the agent does at each of its wakes: reload, attach what appeared, follow what commands did, repair. Whatever fails, the last good policy stands
//! and the reason is logged.

use std::collections::BTreeSet;
use std::pin::Pin;

use super::{
    peer_watch::{PeerWatch, SourceAnswer},
    start::Start,
    watchdog::{self, Programs},
};
use crate::{
    control::{
        self, Applied, AttachAction, Good, Health, InForce, Refused, Trial,
        apply::{Cause, apply, put_last_good, reload, start_again},
        block,
        change::Site,
        error::AgentError,
        peers,
        surroundings::Surroundings,
        trial, warnings,
    },
    export::{Exporters, Roots, push::Pusher},
    memory::give_back,
};
use nodewall_datapath as datapath;
use nodewall_evidence::recorder::Recorder;
use nodewall_host::{
    net::UdpTunnel,
    state::{Clock, PolicyLock, Stamp},
};
use nodewall_policy::config::{Config, ConfigErrors, Mode, Push};

mod alarms;
mod coverage;
mod repair;
mod services;
mod summary;
mod talkers;

use alarms::{About, Alarms};
use talkers::Talkers;

type Log = Pin<Box<dyn Future<Output = ()>>>;

/// The agent between two wakes.
pub(super) struct Keeper<R> {
    site: Site,
    start: Start<R>,
    applied: Applied,
    /// Of the last look, also of a failed attempt: it is not made again before they change.
    surroundings: Surroundings,
    /// Foo-over-UDP's ports at the last look.
    fou: BTreeSet<UdpTunnel>,
    programs: Programs,
    state_stamp: [Option<Stamp>; 3],
    /// Of the configuration that was read last, and of the last look: a file is read once it has stopped changing.
    config_read: Option<Stamp>,
    config_seen: Option<Stamp>,
    /// When it was last known to be as it was read, or was put into force, Unix time, ns.
    config_same_unix_ns: u64,
    health: Health,
    saved: Health,
    /// Never ends.
    pub(super) log: Log,
    pub(super) peers: PeerWatch,
    talkers: Talkers,
    /// Answers scrapes; only reads.
    exporters: Exporters,
    alarms: Alarms,
    open_told: bool,
    recorder: Option<Recorder>,
    pusher: Option<Pusher>,
    /// What it was started with.
    pushed: Option<Push>,
    /// Looks since memory was last given back.
    looks: u32,
}

/// Each so many looks free memory goes back, first after the start's own has become free.
const LOOKS_PER_TRIM: u32 = 30;
const FIRST_TRIM: u32 = 5;

impl<R> Keeper<R>
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    pub(super) async fn new(site: Site, start: Start<R>) -> Result<Self, AgentError> {
        let config_read = Stamp::of(&start.watched);
        if let Ok(config) = &start.config {
            peers::ask_first(&site, config).await?;
        }
        let mut applied = match &start.config {
            Ok(config) => match apply(&site, config, start.mode_named, start.allow, Cause::Start).await {
                Ok(applied) => applied,
                // What is held or broken must not leave a node open that was filtered before.
                Err(error) => from_last_good(&site, &error.to_string()).await.ok_or(error)?,
            },
            Err(told) => from_last_good(&site, told).await.ok_or(AgentError::NothingInForce)?,
        };
        let log = kernel_log(&site, &mut applied)?;
        let health = Health { pid: std::process::id(), started_unix_ns: Clock::now().unix_ns, ..Health::default() };
        let mut agent = Self {
            recorder: None,
            pusher: None,
            pushed: None,
            looks: 0,
            programs: watchdog::programs(&site)?,
            state_stamp: control::stamps(&site.state),
            surroundings: applied.in_force.surroundings.clone(),
            fou: BTreeSet::new(),
            config_seen: config_read.clone(),
            config_read,
            config_same_unix_ns: Clock::now().unix_ns,
            saved: Health::default(),
            open_told: false,
            peers: PeerWatch::new(start.config.as_ref().ok()),
            talkers: Talkers::new(&site.state),
            alarms: Alarms::default(),
            exporters: Exporters::start(Roots { state: site.state.clone(), bpffs: site.bpffs.clone() }, &start.export),
            health,
            log,
            applied,
            start,
            site,
        };
        agent.announce();
        agent.alarms.set(About::Path, agent.applied.coverage.alarms());
        agent.push();
        agent.record();
        Ok(agent)
    }

    /// This process put another policy into force.
    fn adopt_policy(&mut self, policy: InForce) {
        self.applied.in_force = policy;
        self.surroundings.clone_from(&self.applied.in_force.surroundings);
        self.state_stamp = control::stamps(&self.site.state);
        self.open_told = false;
    }

    /// This process loaded another program.
    fn adopt_program(&mut self) {
        self.surroundings.clone_from(&self.applied.in_force.surroundings);
        self.alarms.set(About::Path, self.applied.coverage.alarms());
        self.note_programs();
        match kernel_log(&self.site, &mut self.applied) {
            Ok(log) => self.log = log,
            Err(error) => tracing::error!("the in-kernel log is lost: {error}"),
        }
        self.open_told = false;
    }

    fn note_programs(&mut self) {
        self.state_stamp = control::stamps(&self.site.state);
        match watchdog::programs(&self.site) {
            Ok(programs) => self.programs = programs,
            Err(error) => tracing::error!("the links can not be read: {error}"),
        }
    }

    pub(super) async fn reload(&mut self) {
        self.config_read = Stamp::of(&self.start.watched);
        let config = match (self.start.reload)() {
            Ok(config) => config,
            Err(errors) => {
                Refused::note(&self.site.state, "reload", true, &errors.to_string());
                tracing::error!("reload refused, the last good policy stays in force: {errors}");
                return;
            }
        };
        match reload(&self.site, &config, &mut self.applied).await {
            Ok(another_program) => {
                self.config_same_unix_ns = Clock::now().unix_ns;
                if another_program {
                    self.adopt_program();
                } else {
                    self.surroundings.clone_from(&self.applied.in_force.surroundings);
                    self.open_told = false;
                    let lost = self.covered();
                    self.repaired(&lost);
                    self.note_programs();
                }
                self.peers.listen_to(&config);
                self.exporters.configure(&config.export);
                self.start.config = Ok(config);
                self.announce();
                self.push();
                self.record();
            }
            Err(error) => tracing::error!("reload: not applied, the last good policy stays in force: {error}"),
        }
    }

    /// Takes what sources of peers said.
    pub(super) async fn learn(&mut self, heard: Vec<SourceAnswer>) {
        if let Some(policy) = self.peers.learn(&self.site, heard).await {
            self.adopt_policy(policy);
        }
    }

    /// Puts the last good policy into force anew. Whether it is.
    async fn put_last_good(&mut self, why: &str) -> bool {
        match put_last_good(&self.site).await {
            Ok(policy) => {
                self.alarms.set_one(About::Change, None);
                self.adopt_policy(policy);
                true
            }
            Err(error) => self.not_applied(why, &error),
        }
    }

    /// Loads the program anew, for maps or a policy that the running one does not fit. Whether it runs.
    async fn start_again(&mut self, why: &str) -> bool {
        match start_again(&self.site).await {
            Ok(applied) => {
                self.alarms.set_one(About::Change, None);
                self.applied = applied;
                self.adopt_program();
                announce_interfaces(&self.applied);
                true
            }
            Err(error) => self.not_applied(why, &error),
        }
    }

    fn not_applied(&mut self, why: &str, error: &AgentError) -> bool {
        match error {
            AgentError::Detached => self.tell_open(),
            error => {
                let told = format!("{why}: not applied, the last good policy stays in force: {error}");
                self.alarms.set_one(About::Change, Some(told));
            }
        }
        false
    }

    fn tell_open(&mut self) {
        if !self.open_told {
            self.open_told = true;
            tracing::warn!("network change: not applied: {}", AgentError::Detached);
        }
    }

    pub(super) async fn look(&mut self) {
        self.talkers.look(&self.site.state, &self.surroundings.own_addresses, self.applied.in_force.policy());
        // A policy that was compiled and a registry that was read leave twice their size; which look did it is not worth knowing.
        self.looks += 1;
        if self.looks % LOOKS_PER_TRIM == FIRST_TRIM {
            give_back();
        }
        match self.undisturbed() {
            Some(lock) => drop(lock),
            None => return,
        }
        self.follow_state().await;
        // After what commands did: they have the last word over a file that was changed before them.
        self.watch_config().await;
        if let Some(policy) = self.peers.look(&self.site).await {
            self.adopt_policy(policy);
        }
        self.watch_fou().await;
        self.repair().await;
    }

    /// `None` while somebody makes a change, when nothing is as it should be, and when an operator opened the node.
    fn undisturbed(&mut self) -> Option<PolicyLock> {
        let locked = self.site.state.try_lock_policy();
        self.alarms.set_one(About::Lock, locked.as_ref().err().map(ToString::to_string));
        locked.ok().flatten().filter(|_| !self.site.state.is_detached())
    }

    /// A changed file counts as soon as two looks found it the same.
    async fn watch_config(&mut self) {
        let looked_unix_ns = Clock::now().unix_ns;
        let now = Stamp::of(&self.start.watched);
        let still = now == self.config_seen;
        self.config_seen.clone_from(&now);
        if now == self.config_read {
            self.config_same_unix_ns = looked_unix_ns;
            return;
        }
        // A change on trial comes first; the file waits for its end.
        if still && !matches!(self.site.state.load::<Trial>(), Ok(Some(_))) {
            // A command that came after the change has the last word: a rollback is not undone by the file that it rolled back.
            let good = Good::last(&self.site.state).ok().flatten();
            let decided_unix_ns = good.map_or(0, |good| good.decided(Clock::now().unix_ns));
            // Of one that was given before the last look that found the old file that is known; of one after it, the file's time tells.
            let may_be_after = !(decided_unix_ns..=looked_unix_ns).contains(&self.config_same_unix_ns);
            if may_be_after && now.as_ref().is_some_and(|now| now.is_before(decided_unix_ns)) {
                self.config_read = now;
                return;
            }
            tracing::info!(file = %self.start.watched.display(), "the configuration file changed");
            self.reload().await;
        }
    }

    /// What commands beside this agent did, and what ran out.
    async fn follow_state(&mut self) {
        let ended = trial::end_overdue(&self.site).await.err();
        self.alarms.set_one(About::Trial, ended.map(|error| format!("the trial can not be ended: {error}")));
        let lifted = block::expire(&self.site).await;
        let failed = lifted.as_ref().err().map(|error| format!("blocks that ran out can not be lifted: {error}"));
        self.alarms.set_one(About::Blocks, failed);
        for block in lifted.ok().flatten().into_iter().flatten() {
            tracing::info!(prefix = %block.prefix, "block ran out");
        }
        let stamp = control::stamps(&self.site.state);
        if stamp == self.state_stamp {
            return;
        }
        let good = match Good::last(&self.site.state) {
            Ok(Some(good)) => good,
            Ok(None) => return,
            Err(error) => {
                self.alarms.set_one(About::Files, Some(error.to_string()));
                return;
            }
        };
        self.alarms.set_one(About::Files, None);
        if good.generation != self.applied.in_force.generation {
            tracing::info!(
                generation = good.generation,
                mode = %good.desired.policy.mode,
                "a command changed the policy in force"
            );
            self.applied.in_force.generation = good.generation;
            self.applied.in_force.policy_sha256 = good.policy_sha256;
            self.applied.in_force.desired = good.desired;
            // A policy that came back brings its own peers.
            self.peers.wait();
            let fits = self.applied.fits(&self.site, self.applied.in_force.policy());
            // An `apply` brought a program of its own, which does not log.
            let silent = self.site.kernel_log && !self.applied.runs_everywhere(&self.site).unwrap_or(true);
            if !fits || silent {
                self.start_again("a command changed the policy in force").await;
            }
            self.look_after_interfaces().await;
        }
        self.note_programs();
    }

    pub(super) fn save_health(&mut self) {
        // What single interfaces lack is in their account.
        let interfaces = self.applied.coverage.interface_alarms();
        self.health.alarms = self
            .alarms
            .all()
            .filter(|alarm| !interfaces.contains(alarm))
            .chain(self.peers.alarms())
            .cloned()
            .chain(self.exporters.alarm())
            .chain(self.recorder.as_ref().and_then(Recorder::alarm))
            .collect();
        if self.health == self.saved {
            return;
        }
        if let Err(error) = self.site.state.write_note(&self.health) {
            tracing::warn!("{}: the agent's health could not be noted: {error}", self.site.state.path().display());
        }
        self.saved = self.health.clone();
    }

    /// Replaces a logging program by a silent one: without a reader its records would only cost.
    pub(super) async fn quiet(&mut self) {
        if self.site.kernel_log && !self.site.state.is_detached() {
            self.site.kernel_log = false;
            self.start_again("turning the in-kernel log off").await;
        }
    }

    fn announce(&self) {
        announce_interfaces(&self.applied);
        let policy = self.applied.in_force.policy();
        let audited = policy.audited();
        let state = match policy.mode {
            Mode::Enforce => "policy enforced",
            Mode::Audit => "policy audited, nothing is dropped",
        };
        tracing::info!(
            generation = self.applied.in_force.generation,
            classes = policy.classes.len(),
            audited = (!audited.is_empty()).then(|| audited.join(",")),
            peers = policy.peers.len(),
            interfaces = self.applied.coverage.covered().count(),
            config = %policy.source.config,
            "{state}"
        );
        let warnings = warnings(&self.applied);
        tokio::spawn(async {
            for warning in warnings.await {
                tracing::warn!("{warning}");
            }
        });
    }
}

/// The configuration can not be put into force; a policy that was in force before can. `None`: there is none, or an operator opened the node.
async fn from_last_good(site: &Site, why: &str) -> Option<Applied> {
    tracing::error!("the configuration is not put into force: {why}");
    match start_again(site).await {
        Ok(applied) => {
            tracing::warn!(generation = applied.in_force.generation, "the last good policy stays in force");
            Some(applied)
        }
        Err(error) => {
            tracing::debug!("no last good policy: {error}");
            None
        }
    }
}

/// Prints the in-kernel log of the program that was just loaded; waits for ever where there is none.
fn kernel_log(site: &Site, applied: &mut Applied) -> Result<Log, AgentError> {
    if site.kernel_log {
        Ok(Box::pin(datapath::forward_kernel_log(&mut applied.loaded)?))
    } else {
        Ok(Box::pin(std::future::pending()))
    }
}

fn announce_interfaces(applied: &Applied) {
    for (name, action) in applied.coverage.done() {
        match action {
            AttachAction::Attached => tracing::info!(interface = name, "attached"),
            AttachAction::Replaced => tracing::debug!(interface = name, "program replaced"),
            AttachAction::Kept => {}
        }
    }
}
