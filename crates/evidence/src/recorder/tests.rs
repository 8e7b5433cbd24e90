//! The recorder over a data path and a policy that are made up: what is denied, missing and changed is in the store, and adds up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
};

use node_ebpf_common::{
    counter::Counter,
    flow::{FlowEntry, FlowKey},
    maps::RowRecord,
};

use super::{
    events::{EventWatch, Recorded},
    *,
};
use crate::{
    ledger::{Counted, Rules},
    record::{EventKind, LossKind},
    store::{Filter, Limits, Reader},
};
use nodewall_host::state::{Clock, Stamp, Who};
use nodewall_policy::{
    Policy,
    config::{Config, Mode},
};

/// What the made-up kernel has: sweeps to come, and its counters.
#[derive(Default)]
struct Kernel {
    sweeps: Vec<Sweep>,
    denied: [u64; 2],
    generation: u64,
}

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Kernel>>);

impl InForce for Shown {
    fn data_path(&self, _budget: CaptureBudget) -> Result<Option<Box<dyn DataPath>>, Failure> {
        Ok(Some(Box::new(self.clone())))
    }

    fn policy_stamp(&self) -> Vec<Option<Stamp>> {
        vec![None; self.0.lock().unwrap().generation as usize]
    }

    fn policy(&self) -> Result<Option<PolicyInForce>, Failure> {
        let generation = self.0.lock().unwrap().generation;
        let peers = ["192.0.2.1/32", "2001:db8::/64"][..generation as usize].iter().map(|peer| peer.parse().unwrap());
        let (mode, sha256) = ("audit".to_owned(), "ab".to_owned());
        Ok(Some(PolicyInForce { generation, since_unix_ns: 1, mode, sha256, peers: peers.collect(), text: None }))
    }
}

impl DataPath for Shown {
    fn counters_id(&self) -> u32 {
        7
    }

    fn is_pinned(&self) -> Result<bool, Failure> {
        Ok(true)
    }

    fn generation(&self) -> Result<u64, Failure> {
        Ok(self.0.lock().unwrap().generation)
    }

    fn rows(&self) -> Result<Vec<RowRecord>, Failure> {
        Ok(Vec::new())
    }

    fn denied(&self) -> Result<[u64; 2], Failure> {
        Ok(self.0.lock().unwrap().denied)
    }

    fn began_unix_ns(&self) -> Option<u64> {
        None
    }

    fn counted(&self) -> Result<Counted, Failure> {
        Ok(Counted::default())
    }

    fn configure(&mut self, _budget: CaptureBudget) {}

    fn captures_problem(&self) -> Option<String> {
        None
    }

    fn has_moved(&self) -> bool {
        !self.0.lock().unwrap().sweeps.is_empty()
    }

    fn sweep(&mut self, _elapsed_ns: u64) -> Result<Sweep, Failure> {
        Ok(self.0.lock().unwrap().sweeps.pop().unwrap_or_default())
    }
}

/// Eight frames, five of them an outsider's on the row of unnamed TCP ports.
fn knock() -> Sweep {
    let key = FlowKey { word: (4 * 16 + 10) << 49 | 0x0100_a8c0, ..FlowKey::default() };
    let flow = FlowEntry { key, sums: Counter { packets: 5, bytes: 500 }, ..FlowEntry::default() };
    Sweep { flows: vec![flow], denied_packets: 8, ..Sweep::default() }
}

fn worker(state: &StateDir, shown: &Shown, max_age_ns: u64) -> Worker {
    let limits = Limits { max_bytes: 16 << 20, max_age_ns };
    let budget = CaptureBudget { snap_bytes: 64, per_second: 1 };
    let settings = Settings { limits, budget, ledger: Rules::from(&Config::embedded().ledger), outputs: Vec::new() };
    Worker::new(state.clone(), Box::new(shown.clone()), settings, Alarm::default())
}

#[test]
fn what_was_denied_is_in_flows_or_known_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::create(&dir.path().join("state")).unwrap();
    let shown = Shown::default();
    let sweep = Sweep { not_attributed: [3, 300], ..knock() };
    // Two frames were denied before anybody looked.
    *shown.0.lock().unwrap() = Kernel { sweeps: vec![sweep], denied: [10, 1_000], generation: 1 };
    let mut worker = worker(&state, &shown, u64::MAX);
    worker.begin();
    shown.0.lock().unwrap().generation = 2;
    worker.turn();
    worker.end();

    let reader = Reader::open(&state.path().join("evidence")).unwrap().unwrap();
    let flows = reader.flows(&Filter::default()).unwrap();
    assert_eq!(flows.iter().map(|flow| (flow.record.packets, flow.record.bytes)).collect::<Vec<_>>(), [(5, 500)]);
    let mut losses: Vec<_> = reader.losses(&Filter::default()).unwrap().into_iter().map(|loss| loss.record).collect();
    losses.sort_by_key(|loss| loss.kind);
    let losses: Vec<_> = losses.iter().map(|loss| (loss.kind, loss.packets, loss.bytes)).collect();
    assert_eq!(losses, [(LossKind::NotAttributed, 3, 300), (LossKind::Unrecorded, 2, 200)]);
    let events: Vec<_> = reader.events(&Filter::default()).unwrap().into_iter().map(|event| event.record).collect();
    let told = |kind: &EventKind| {
        let of_kind = events.iter().rev().filter(|event| event.kind == *kind);
        of_kind.map(|event| event.detail.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(told(&EventKind::Policy), ["generation 1, audit, sha256 ab", "generation 2, audit, sha256 ab"]);
    assert_eq!(told(&EventKind::Peers), ["1 peers: +192.0.2.1", "2 peers: +2001:db8::/64"]);
    assert_eq!((told(&EventKind::AgentStarted).len(), told(&EventKind::AgentStopped).len()), (1, 1));
}

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;
const TEN_YEARS_NS: u64 = 3_652 * DAY_NS;

thread_local! {
    static NOW: RefCell<Clock> =
        RefCell::new(Clock { boot_id: "this".into(), boot_ns: DAY_NS, unix_ns: 1_795_363_200 * SECOND_NS });
}

fn made_up() -> Clock {
    NOW.with_borrow(Clock::clone)
}

/// Time goes by, and somebody sets the clock besides.
fn wait(seconds: u64, set_ns: i64) {
    NOW.with_borrow_mut(|now| {
        now.boot_ns += seconds * SECOND_NS;
        now.unix_ns = (now.unix_ns + seconds * SECOND_NS).strict_add_signed(set_ns);
    });
}

#[test]
fn a_clock_that_was_wrong_once_ends_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::create(&dir.path().join("state")).unwrap();
    for way in [TEN_YEARS_NS.cast_signed(), -TEN_YEARS_NS.cast_signed()] {
        let who = Who::default();
        let did = |action: &str| state.journal_at(made_up().unix_ns, action, "", Some(&who)).unwrap();
        let shown = Shown::default();
        let mut worker = worker(&state, &shown, 90 * DAY_NS);
        worker.clock = made_up;
        worker.begin();
        let reader = Reader::open(&state.path().join("evidence")).unwrap().unwrap();
        let told = || {
            let events = reader.events(&Filter::default()).unwrap().into_iter();
            let actions = events.filter(|event| event.record.who.is_some());
            actions.map(|event| event.record.kind.name().to_owned()).rev().collect::<Vec<_>>()
        };
        let before = told().len();
        did("block");
        worker.turn();
        // One command, and frames of one flow, under a wrong clock; then it is right again.
        wait(1, way);
        did("enforce");
        shown.0.lock().unwrap().sweeps.push(knock());
        worker.turn();
        shown.0.lock().unwrap().sweeps.push(knock());
        wait(1, 0);
        worker.turn();
        wait(1, -way);
        did("unblock");
        did("confirm");
        worker.turn();
        assert_eq!(told()[before..], ["block", "enforce", "unblock", "confirm"]);
        // The flow goes on, and then is quiet: it is written as ever.
        let frames = || reader.flows(&Filter::default()).unwrap().iter().map(|flow| flow.record.packets).sum::<u64>();
        shown.0.lock().unwrap().sweeps.push(knock());
        let written = frames();
        wait(1, 0);
        worker.turn();
        wait(11, 0);
        worker.turn();
        assert!(frames() >= written + 5, "{} and {written}", frames());
        // Nothing that was kept went, nor is the store kept from being looked after.
        wait(61, way);
        worker.turn();
        wait(61, -way);
        worker.turn();
        assert_eq!(told()[before..], ["block", "enforce", "unblock", "confirm"]);
        worker.end();
    }
}

/// Who controls a source of peers must not wash the store out: what is recorded of each change stays small.
#[test]
fn peers_that_flap_bring_few_texts_and_short_events() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::create(&dir.path().join("state")).unwrap();
    let in_force = Flapping::default();
    let mut watch = EventWatch::new(state, Recorded::default());
    let mut events = Vec::new();
    for second in 0..120 {
        in_force.0.set(second);
        let now = Clock { boot_id: "this".into(), boot_ns: second * SECOND_NS, unix_ns: 0 };
        events.extend(watch.new_events(&in_force, &now));
    }
    let texts = events.iter().filter(|event| event.text.is_some()).count();
    // Twenty, one more after a minute, and the one that differs by more than peers.
    assert_eq!((events.len(), texts), (240, 22));
    let longest = events.iter().map(|event| event.detail.len()).max().unwrap();
    assert!(longest < 700, "{longest} bytes");
    assert!(events.iter().any(|event| event.text.is_some() && event.detail.starts_with("generation 101, enforce")));
}

#[derive(Default)]
struct Flapping(Cell<u64>);

impl InForce for Flapping {
    fn data_path(&self, _budget: CaptureBudget) -> Result<Option<Box<dyn DataPath>>, Failure> {
        Ok(None)
    }

    fn policy_stamp(&self) -> Vec<Option<Stamp>> {
        vec![None; self.0.get() as usize]
    }

    fn policy(&self) -> Result<Option<PolicyInForce>, Failure> {
        let second = self.0.get();
        let mode = if second < 100 { Mode::Audit } else { Mode::Enforce };
        let peers = (0..3_000).map(|n| format!("10.{}.{}.{}/32", second % 2, n / 250, n % 250).parse().unwrap());
        let policy = Policy { mode, peers: peers.collect(), ..Policy::from_config(&Config::embedded()).unwrap() };
        Ok(Some(PolicyInForce {
            generation: second + 1,
            since_unix_ns: 1,
            mode: mode.to_string(),
            sha256: "ab".to_owned(),
            text: serde_json::to_string(&policy).ok(),
            peers: policy.peers,
        }))
    }
}
