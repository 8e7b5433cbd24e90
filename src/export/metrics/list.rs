//! Every metric: name, kind, labels, meaning, and what is told under it. docs/METRICS.md says the same at more length; a test compares the two.

use node_ebpf_common::ABI_VERSION;
use prometheus_client::metrics::MetricType;

use super::reading::{
    Labels, Reading, Samples,
    Value::{self, Real, Whole},
    flag, of, one, seconds,
};
use nodewall_evidence::{output::OutputStatus, recorder::RecorderStatus};
use nodewall_policy::config::AttachMode;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As it is exported.
    pub name: &'static str,
    /// A counter only grows, but for `nodewall detach`; a gauge goes up and down; an info is always 1, and its labels are what it says.
    pub kind: MetricType,
    /// Its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
    /// What is told under it.
    pub(super) samples: for<'a> fn(&'a Reading) -> Samples<'a>,
}

impl Metric {
    /// The name without what its kind adds.
    pub(super) fn base(&self) -> &'static str {
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

const PEER_ROW: &[&str] = &["peer", "class", "port", "protocol", "direction"];
const ROW: &[&str] = &["class", "port", "protocol", "direction", "outcome", "reason"];

/// Denied frames and captures, by whether they are in the evidence.
fn outcomes(evidence: &RecorderStatus) -> impl Iterator<Item = (Labels<'_>, Value)> {
    let kept = [("recorded", evidence.flow_packets), ("captured", evidence.captures)];
    let lost = evidence.losses.iter().map(|(kind, packets)| (kind.as_str(), *packets));
    kept.into_iter().chain(lost).map(|(outcome, n)| (vec![outcome.into()], Whole(n)))
}

/// A sample for each output of evidence.
fn outputs(reading: &Reading, value: impl Fn(&OutputStatus) -> Value) -> Samples<'_> {
    let outputs = reading.status.evidence.iter().flat_map(|evidence| &evidence.outputs);
    outputs.map(|output| (vec![output.name.as_str().into()], value(output))).collect()
}

macro_rules! metrics {
    ($($kind:ident $name:literal $labels:expr, $help:literal: $samples:expr;)+) => {
        /// All of them, in the order in which they are exported.
        pub const ALL: &[Metric] = &[$(
            Metric { name: $name, kind: MetricType::$kind, labels: $labels, help: $help, samples: $samples }
        ),+];
    };
}

metrics! {
    Counter "nodewall_packets_total" ROW, "Frames that were judged.":
        |r| r.rows(|row| row.packets);
    Counter "nodewall_bytes_total" ROW, "Bytes of the frames that were judged: link-layer header and the IP packet's own length.":
        |r| r.rows(|row| row.bytes);
    Counter "nodewall_peer_packets_total" PEER_ROW, "Frames from and to a peer on ports that the policy names.":
        |r| r.peer_rows(|row| row.packets);
    Counter "nodewall_peer_bytes_total" PEER_ROW, "Their bytes: link-layer header and the IP packet's own length.":
        |r| r.peer_rows(|row| row.bytes);
    Gauge "nodewall_enforcing" &[], "1 when drop verdicts drop, 0 in audit mode or without a policy.":
        |r| one(flag(r.status.mode == Some("enforce")));
    Gauge "nodewall_class_audited" &["class"], "1 for each class that only audits while the rest is enforced.":
        |r| r.status.audited.iter().map(|class| (vec![class.into()], Whole(1))).collect();
    Info "nodewall_interface_info" &["interface", "state", "mode"], "An interface, what it has to do with the filter, and how it is attached: in the driver (native) or in the stack above it (tc, generic).":
        |r| r.status.interfaces.iter().map(|i| {
            let mode = i.attach_mode.map_or("", AttachMode::as_str);
            (vec![i.name.as_str().into(), i.state.as_str().into(), mode.into()], Whole(1))
        }).collect();
    Gauge "nodewall_uncovered_interfaces" &[], "Interfaces that should be filtered and are not, and ways in that nobody acknowledges as open.":
        |r| one(Whole(r.status.interfaces.iter().filter(|i| i.wrong && !i.is_covered()).count() as u64));
    Gauge "nodewall_open_tunnels" &[], "UDP ports whose packets the kernel unpacks, and that the policy in force lets everyone send to.":
        |r| one(Whole(r.status.open_tunnels.len() as u64));
    Gauge "nodewall_policy_generation" &[], "Number of the policy in force; each change makes a new one.":
        |r| of(r.status.generation.as_ref(), |generation| Whole(*generation));
    Info "nodewall_policy_info" &["sha256"], "Hash of what the policy in force was made from.":
        |r| r.status.policy_sha256.iter().map(|hash| (vec![hash.into()], Whole(1))).collect();
    Gauge "nodewall_peers" &["source", "state"], "Peers that a source knows, by whether they count.":
        |r| r.peers.by_source.iter().map(|((source, state), n)| (vec![source.into(), (*state).into()], Whole(*n))).collect();
    Gauge "nodewall_peers_in_force" &[], "Peers of the policy in force, a prefix counted as one.":
        |r| one(Whole(r.status.peers.into()));
    Gauge "nodewall_peers_blocked" &[], "Peers whose packets are dropped, as an operator blocked them or part of them.":
        |r| one(Whole(r.peers.blocked));
    Gauge "nodewall_peer_source_last_success_timestamp_seconds" &["source"], "Unix time of the source's last good answer; 0: it never gave one.":
        |r| r.peers.answered_unix_ns.iter().map(|(source, at)| (vec![source.into()], seconds(at.unwrap_or(0)))).collect();
    Gauge "nodewall_peer_source_failing" &["source"], "1 when the source's last answer was no good one.":
        |r| r.peers.answered_unix_ns.keys().map(|source| (vec![source.into()], flag(r.peers.failing.contains(source)))).collect();
    Gauge "nodewall_blocks" &[], "Sources that an operator blocked.":
        |r| one(Whole(r.status.blocks.len() as u64));
    Gauge "nodewall_trial_active" &[], "1 while a change is in force that goes back by itself (enforce on trial, panic-open).":
        |r| one(flag(r.status.trial.is_some()));
    Gauge "nodewall_next_change_seconds" &["what", "talks"], "Time until the next thing changes by itself: a peer is none any more (talks: it talked with this node within the hour), a block or a trial ends.":
        |r| r.next_changes();
    Gauge "nodewall_cut_peers" &[], "Peers that ceased to be such within the last hour, and had talked with this node within the hour before.":
        |r| one(Whole(r.status.cut_peers));
    Gauge "nodewall_healthy" &[], "1 when nodewall status names no problem.":
        |r| one(flag(r.status.healthy));
    Gauge "nodewall_problems" &[], "Problems that nodewall status names.":
        |r| one(Whole(r.status.problems.len() as u64));
    Gauge "nodewall_agent_start_timestamp_seconds" &[], "Unix time at which the agent started.":
        |r| of(r.status.agent.as_ref(), |agent| seconds(agent.started_unix_ns));
    Counter "nodewall_repairs_total" &[], "Times the agent found something of the data path gone or changed, and set it right.":
        |r| one(Whole(r.status.repairs));
    Counter "nodewall_reattachments_total" &[], "Interfaces that appeared while the agent ran, and were attached to.":
        |r| of(r.status.agent.as_ref(), |agent| Whole(agent.interfaces_reattached));
    Gauge "nodewall_reattach_gap_seconds" &[], "The longest time for which such an interface stood open.":
        |r| of(r.status.agent.as_ref(), |agent| seconds(agent.reattach_gap_max_ns));
    Gauge "nodewall_push_last_success_timestamp_seconds" &[], "Unix time at which the vendor's receiver last took something; 0: it never did.":
        |r| of(r.status.push.as_ref(), |push| seconds(push.last_success_unix_ns.unwrap_or(0)));
    Gauge "nodewall_push_failures" &[], "Pushes since then that brought nothing.":
        |r| of(r.status.push.as_ref(), |push| Whole(push.failures.into()));
    Gauge "nodewall_push_waiting_lines" &[], "Lines that wait to be pushed.":
        |r| of(r.status.push.as_ref(), |push| Whole(push.waiting_lines));
    Counter "nodewall_push_lost_packets_total" &[], "Counts of packets that were pushed once and never again, though they may not have arrived.":
        |r| of(r.status.push.as_ref(), |push| Whole(push.totals.lost.packets));
    Counter "nodewall_push_lost_bytes_total" &[], "The same of bytes.":
        |r| of(r.status.push.as_ref(), |push| Whole(push.totals.lost.bytes));
    Counter "nodewall_evidence_records_total" &["outcome"], "Frames that the policy denies, dropped or let in by audit, and captures of them, by whether they are in the evidence.":
        |r| r.status.evidence.iter().flat_map(outcomes).collect();
    Gauge "nodewall_evidence_last_record_timestamp_seconds" &[], "Unix time at which evidence was last written; 0: it never was.":
        |r| of(r.status.evidence.as_ref(), |evidence| seconds(evidence.last_unix_ns));
    Counter "nodewall_peer_first_uses_total" &[], "Ports that a peer used and had not used before, since the agent began and had learnt what is usual.":
        |r| of(r.status.evidence.as_ref(), |evidence| Whole(evidence.first_uses));
    Counter "nodewall_evidence_output_sent_lines_total" &["output"], "Lines of evidence that an output took since it was started.":
        |r| outputs(r, |output| Whole(output.sent));
    Counter "nodewall_evidence_output_lost_lines_total" &["output"], "Lines of evidence that an output will never get: no room was left for them, or it can not take them.":
        |r| outputs(r, |output| Whole(output.lost));
    Gauge "nodewall_evidence_output_waiting_lines" &["output"], "Lines of evidence that wait for an output.":
        |r| outputs(r, |output| Whole(output.waiting));
    Gauge "nodewall_evidence_output_failing_since_timestamp_seconds" &["output"], "Unix time since which an output takes nothing; 0: it works.":
        |r| outputs(r, |output| seconds(output.failing_since_unix_ns.unwrap_or(0)));
    Gauge "nodewall_mission_control_ok" &["step"], "1 when nodewall doctor --mission-control last reached it, 0 when a step failed.":
        |r| r.status.mission_control.iter().map(|reached| (vec![reached.step.as_deref().unwrap_or_default().into()], flag(reached.ok))).collect();
    Gauge "nodewall_mission_control_check_timestamp_seconds" &[], "Unix time at which that was tried.":
        |r| of(r.status.mission_control.as_ref(), |reached| seconds(reached.unix_ns));
    Info "nodewall_build_info" &["version", "abi"], "This build, and the version of the data path's maps.":
        |_| vec![(vec![env!("CARGO_PKG_VERSION").into(), ABI_VERSION.to_string().into()], Whole(1))];
    Gauge "nodewall_scrape_duration_seconds" &[], "Time that reading the values of this scrape took.":
        |r| one(Real(r.began.elapsed().as_secs_f64()));
}
