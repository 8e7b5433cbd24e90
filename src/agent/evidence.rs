//! What is in force, as the recorder of evidence is shown it: the pinned data path's tables, and the last good policy. It must not record anything itself.

use std::path::PathBuf;

use node_ebpf_common::{Verdict, maps::RowRecord};

use crate::control::{self, Good};
use nodewall_datapath::{self as datapath, Evidence, Maps, PinDir};
use nodewall_evidence::ledger::{self, Counted, InCell, OutCell};
use nodewall_evidence::recorder::{CaptureBudget, DataPath, Failure, InForce, PolicyInForce, RawCapture, Sweep};
use nodewall_host::state::{Stamp, StateDir};
use nodewall_policy::peer_of;

/// The node that an agent looks after.
pub(super) struct Pinned {
    pub(super) bpffs: PathBuf,
    pub(super) state: StateDir,
}

impl InForce for Pinned {
    fn data_path(&self, budget: CaptureBudget) -> Result<Option<Box<dyn DataPath>>, Failure> {
        let Some((pins, maps)) = Maps::live(&self.bpffs)? else { return Ok(None) };
        let counters_id = maps.counters_id(&pins)?;
        let evidence = maps.evidence(of_kernel(budget))?;
        Ok(Some(Box::new(Live { pins, maps, evidence, counters_id })))
    }

    fn policy_stamp(&self) -> Vec<Option<Stamp>> {
        control::stamps(&self.state).into()
    }

    fn policy(&self) -> Result<Option<PolicyInForce>, Failure> {
        let Some(good) = Good::last(&self.state)? else { return Ok(None) };
        let policy = good.desired.policy;
        Ok(Some(PolicyInForce {
            generation: good.generation,
            since_unix_ns: good.since_unix_ns,
            mode: policy.mode.to_string(),
            sha256: good.policy_sha256,
            text: serde_json::to_string(&policy).ok(),
            peers: policy.peers,
        }))
    }
}

/// A data path that is swept.
struct Live {
    pins: PinDir,
    maps: Maps,
    evidence: Evidence,
    counters_id: u32,
}

impl DataPath for Live {
    fn counters_id(&self) -> u32 {
        self.counters_id
    }

    fn is_pinned(&self) -> Result<bool, Failure> {
        Ok(self.maps.are_pinned(&self.pins)?)
    }

    fn generation(&self) -> Result<u64, Failure> {
        Ok(self.maps.in_force_facts()?.generation)
    }

    fn rows(&self) -> Result<Vec<RowRecord>, Failure> {
        Ok(self.maps.rows()?)
    }

    fn denied(&self) -> Result<[u64; 2], Failure> {
        let cells = self.maps.cells(&self.maps.rows()?)?;
        let denied = cells.iter().filter(|cell| cell.reason.verdict() == Verdict::Drop);
        Ok(denied.fold([0; 2], |[packets, bytes], cell| [packets + cell.counter.packets, bytes + cell.counter.bytes]))
    }

    fn began_unix_ns(&self) -> Option<u64> {
        self.maps.began_unix_ns(&self.pins).ok().flatten()
    }

    fn counted(&self) -> Result<Counted, Failure> {
        let rows = self.maps.rows()?;
        let came = self.maps.cells(&rows)?.into_iter();
        let came = came.map(|cell| InCell { row: cell.row, outcome: cell.outcome, counter: cell.counter }).collect();
        let sent = self.maps.outbound_cells(&rows)?.into_iter();
        let sent = sent.map(|cell| OutCell { row: cell.row, counter: cell.counter }).collect();
        let peers = self.maps.peer_cells(&rows)?.into_iter().filter_map(|cell| {
            let peer = peer_of(&cell.peer?)?;
            Some(ledger::PeerCell { row: cell.row?, direction: cell.direction, peer, counter: cell.counter })
        });
        let peers = peers.collect();
        Ok(Counted { rows, came, sent, peers })
    }

    fn configure(&mut self, budget: CaptureBudget) {
        self.evidence.configure(of_kernel(budget));
    }

    fn captures_problem(&self) -> Option<String> {
        self.evidence.refused().map(ToString::to_string)
    }

    fn has_moved(&self) -> bool {
        self.evidence.moved()
    }

    fn sweep(&mut self, elapsed_ns: u64) -> Result<Sweep, Failure> {
        let swept = self.evidence.sweep(elapsed_ns)?;
        let captures = swept.captures.into_iter();
        Ok(Sweep {
            flows: swept.flows,
            denied_packets: swept.denied_packets,
            not_attributed: [swept.not_attributed_packets, swept.not_attributed_bytes],
            over_budget: swept.over_budget,
            unread: swept.unread,
            captures: captures
                .map(|datapath::Captured { entry, cpu, frame }| RawCapture { entry, cpu, frame })
                .collect(),
        })
    }
}

fn of_kernel(CaptureBudget { snap_bytes, per_second }: CaptureBudget) -> datapath::CaptureBudget {
    datapath::CaptureBudget { snap_bytes, per_second }
}
