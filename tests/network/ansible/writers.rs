//! Clients that write to every member of a cluster of etcd the whole time, and the account of it: what was written, what was refused, and how often the leader
//! changed, stage by stage. What is right of that stands in the test.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nodewall_testbed::{Lab, until};

use super::etcd::{Cluster, put};

const WRITE_EVERY: Duration = Duration::from_millis(50);
/// A write takes milliseconds, and seconds on a machine with fifty other things to do: later than this it is as good as refused.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// What was seen in one stage of the day.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) written: BTreeMap<&'static str, u64>,
    /// What the members' clients heard, refusal by refusal.
    pub(crate) refused: BTreeMap<&'static str, Vec<String>>,
    /// Changes of the leader.
    pub(crate) elections: u64,
    /// The longest that a write took.
    pub(crate) slowest: Duration,
}

#[derive(Default)]
struct Shared {
    stages: Vec<Stage>,
    /// Where each member is written to; without an address its client ends.
    targets: BTreeMap<&'static str, Option<Ipv4Addr>>,
}

/// Ends its clients when it is dropped.
pub(crate) struct Writers {
    lab: Arc<Lab>,
    shared: Arc<Mutex<Shared>>,
    clients: Vec<JoinHandle<()>>,
    changes: BTreeMap<(&'static str, u32), u64>,
}

impl Writers {
    pub(crate) fn new(lab: &Arc<Lab>) -> Self {
        let shared = Arc::default();
        Self { lab: Arc::clone(lab), shared, clients: Vec::new(), changes: BTreeMap::new() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// From now on a client on this host of the lab, which must not be the member's own, writes to the member.
    pub(crate) fn write_to(&mut self, member: &'static str, address: Ipv4Addr, from: &'static str) {
        self.shared().targets.insert(member, Some(address));
        let (lab, shared) = (Arc::clone(&self.lab), Arc::clone(&self.shared));
        let client = move || lab.host(from).unwrap().netns().run(|| write(&shared, member)).unwrap();
        self.clients.push(thread::spawn(client));
        self.wait_for_writes();
    }

    /// The member is somewhere else.
    pub(crate) fn follow(&self, member: &'static str, address: Ipv4Addr) {
        self.shared().targets.insert(member, Some(address));
    }

    /// The member is about to go, and its clients know it.
    pub(crate) fn leave(&self, member: &'static str) {
        self.shared().targets.insert(member, None);
    }

    /// Ends the stage before, once every member takes writes, and begins another.
    pub(crate) fn begin(&mut self, name: &'static str, cluster: &Cluster) {
        self.finish(cluster);
        self.shared().stages.push(Stage { name, ..Stage::default() });
    }

    fn finish(&mut self, cluster: &Cluster) {
        self.wait_for_writes();
        let elections = self.elections(cluster);
        self.changes = cluster.leader_changes();
        if let Some(stage) = self.shared().stages.last_mut() {
            stage.elections = elections;
        }
    }

    /// How often the leader has changed in this stage: the most that one member saw, of those that have run from its beginning.
    pub(crate) fn elections(&self, cluster: &Cluster) -> u64 {
        let changes = cluster.leader_changes();
        changes.iter().filter_map(|(member, now)| Some(now - self.changes.get(member)?)).max().unwrap_or(0)
    }

    /// Whether a write to the member was refused in this stage.
    pub(crate) fn is_refused(&self, member: &str) -> bool {
        self.shared().stages.last().is_some_and(|stage| stage.refused.contains_key(member))
    }

    /// The whole account, the last stage with it.
    pub(crate) fn end(mut self, cluster: &Cluster) -> Vec<Stage> {
        self.finish(cluster);
        self.stop();
        std::mem::take(&mut self.shared().stages)
    }

    fn stop(&mut self) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.targets.values_mut().for_each(|address| *address = None);
        }
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }

    /// One more write to each member has succeeded.
    pub(crate) fn wait_for_writes(&self) {
        let written = || -> BTreeMap<&str, u64> {
            let shared = self.shared();
            let to = shared.targets.iter().filter(|(_, address)| address.is_some());
            to.map(|(member, _)| (*member, shared.stages.iter().filter_map(|stage| stage.written.get(member)).sum()))
                .collect()
        };
        if self.shared().stages.is_empty() {
            return;
        }
        let before = written();
        // The first that succeeds may have begun earlier.
        let all_grew = || written().iter().all(|(member, now)| *now >= before.get(member).unwrap_or(&0) + 2);
        until("every member takes writes", all_grew);
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A member's client, until it has no address.
fn write(shared: &Mutex<Shared>, member: &'static str) {
    for number in 0.. {
        let (target, stage) = {
            let shared = shared.lock().unwrap();
            (shared.targets[member], shared.stages.len().checked_sub(1))
        };
        let Some(target) = target else { return };
        // Before the first stage nothing is told.
        if let Some(stage) = stage {
            let began = Instant::now();
            let outcome = put(target, &format!("{member}{member}"), number, WRITTEN_WITHIN);
            let mut shared = shared.lock().unwrap();
            let stage = &mut shared.stages[stage];
            stage.slowest = stage.slowest.max(began.elapsed());
            match outcome {
                Ok(()) => *stage.written.entry(member).or_default() += 1,
                Err(why) => stage.refused.entry(member).or_default().push(why),
            }
        }
        thread::sleep(WRITE_EVERY);
    }
}
