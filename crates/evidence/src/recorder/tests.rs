//! The recorder over a data path and a policy that are made up: what is denied, missing and changed is in the store, and adds up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use node_ebpf_common::{
    counter::Counter,
    flow::{FlowEntry, FlowKey},
    maps::RowRecord,
};

use super::*;
use crate::{
    ledger::{Counted, Keep, Rules, Step},
    record::{EventKind, LossKind},
    store::{Filter, Limits, Reader},
};
use nodewall_host::state::Stamp;

const KEEP: Rules = Rules {
    learning_s: 0,
    keep: [
        Keep { step: Step::Minute, periods: 2_880, max_bytes: 1 << 20 },
        Keep { step: Step::Hour, periods: 2_160, max_bytes: 1 << 20 },
        Keep { step: Step::Day, periods: 730, max_bytes: 1 << 20 },
    ],
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

#[test]
fn what_was_denied_is_in_flows_or_known_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::create(&dir.path().join("state")).unwrap();
    let shown = Shown::default();
    // An outsider on the row of unnamed TCP ports.
    let key = FlowKey { word: (4 * 16 + 10) << 49 | 0x0100_a8c0, ..FlowKey::default() };
    let flow = FlowEntry { key, sums: Counter { packets: 5, bytes: 500 }, ..FlowEntry::default() };
    let sweep = Sweep { flows: vec![flow], denied_packets: 8, not_attributed: [3, 300], ..Sweep::default() };
    // Two frames were denied before anybody looked.
    *shown.0.lock().unwrap() = Kernel { sweeps: vec![sweep], denied: [10, 1_000], generation: 1 };
    let limits = Limits { max_bytes: 16 << 20, max_age_ns: u64::MAX };
    let budget = CaptureBudget { snap_bytes: 64, per_second: 1 };
    let settings = Settings { limits, budget, ledger: KEEP, outputs: Vec::new() };
    let mut worker = Worker::new(state.clone(), Box::new(shown.clone()), settings, Alarm::default());
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
