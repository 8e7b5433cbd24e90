//! Every metric: name, kind, labels, meaning. docs/METRICS.md says the same at more length; a test compares the two.

/// What a metric's value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for `nodewall detach`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; the labels are what it says.
    Info,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As it is exported.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// Its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

impl Metric {
    /// The name without what its kind adds.
    pub(super) fn base(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

const PEER_ROW: &[&str] = &["peer", "class", "port", "protocol", "direction"];
const ROW: &[&str] = &["class", "port", "protocol", "direction", "outcome", "reason"];

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal $labels:expr, $help:literal;)+) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)+
        /// All of them, in the order in which they are exported.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    PACKETS = Counter "nodewall_packets_total" ROW, "Frames that were judged.";
    BYTES = Counter "nodewall_bytes_total" ROW, "Bytes of the frames that were judged: link-layer header and the IP packet's own length.";
    PEER_PACKETS = Counter "nodewall_peer_packets_total" PEER_ROW, "Frames from and to a peer on ports that the policy names.";
    PEER_BYTES = Counter "nodewall_peer_bytes_total" PEER_ROW, "Their bytes: link-layer header and the IP packet's own length.";
    ENFORCING = Gauge "nodewall_enforcing" &[], "1 when drop verdicts drop, 0 in audit mode or without a policy.";
    ATTACHED = Info "nodewall_attached_info" &["interface", "mode"], "An interface that is filtered, in the driver (native) or above it (generic).";
    UNCOVERED = Gauge "nodewall_uncovered_interfaces" &[], "Interfaces that carry the node's addresses and are not filtered.";
    GENERATION = Gauge "nodewall_policy_generation" &[], "Number of the policy in force; each change makes a new one.";
    POLICY = Info "nodewall_policy_info" &["sha256"], "Hash of what the policy in force was made from.";
    PEERS = Gauge "nodewall_peers" &["source", "state"], "Peers that a source knows, by whether they count.";
    PEERS_IN_FORCE = Gauge "nodewall_peers_in_force" &[], "Peers of the policy in force, a prefix counted as one.";
    PEERS_BLOCKED = Gauge "nodewall_peers_blocked" &[], "Peers whose packets are dropped, as an operator blocked them or part of them.";
    SOURCE_ANSWERED = Gauge "nodewall_peer_source_last_success_timestamp_seconds" &["source"], "Unix time of the source's last good answer; 0: it never gave one.";
    SOURCE_FAILING = Gauge "nodewall_peer_source_failing" &["source"], "1 when the source's last answer was no good one.";
    BLOCKS = Gauge "nodewall_blocks" &[], "Sources that an operator blocked.";
    TRIAL = Gauge "nodewall_trial_active" &[], "1 while a change is in force that goes back by itself (enforce on trial, panic-open).";
    HEALTHY = Gauge "nodewall_healthy" &[], "1 when nodewall status names no problem.";
    PROBLEMS = Gauge "nodewall_problems" &[], "Problems that nodewall status names.";
    AGENT_START = Gauge "nodewall_agent_start_timestamp_seconds" &[], "Unix time at which the agent started.";
    REPAIRS = Counter "nodewall_repairs_total" &[], "Times the agent found something of the data path gone or changed, and set it right.";
    REATTACHED = Counter "nodewall_reattachments_total" &[], "Interfaces that appeared while the agent ran, and were attached to.";
    REATTACH_GAP = Gauge "nodewall_reattach_gap_seconds" &[], "The longest time for which such an interface stood open.";
    PUSHED = Gauge "nodewall_push_last_success_timestamp_seconds" &[], "Unix time at which the vendor's receiver last took something; 0: it never did.";
    PUSH_FAILURES = Gauge "nodewall_push_failures" &[], "Pushes since then that brought nothing.";
    PUSH_WAITING = Gauge "nodewall_push_waiting_lines" &[], "Lines that wait to be pushed.";
    PUSH_LOST_PACKETS = Counter "nodewall_push_lost_packets_total" &[], "Counts of packets that were pushed once and never again, though they may not have arrived.";
    PUSH_LOST_BYTES = Counter "nodewall_push_lost_bytes_total" &[], "The same of bytes.";
    EVIDENCE = Counter "nodewall_evidence_records_total" &["outcome"], "Denied frames and captures, by whether they are in the evidence.";
    EVIDENCE_RECORDED = Gauge "nodewall_evidence_last_record_timestamp_seconds" &[], "Unix time at which evidence was last written; 0: it never was.";
    MISSION_CONTROL = Gauge "nodewall_mission_control_ok" &["step"], "1 when nodewall doctor --mission-control last reached it, 0 when a step failed.";
    MISSION_CONTROL_TRIED = Gauge "nodewall_mission_control_check_timestamp_seconds" &[], "Unix time at which that was tried.";
    BUILD = Info "nodewall_build_info" &["version", "abi"], "This build, and the version of the data path's maps.";
    SCRAPE = Gauge "nodewall_scrape_duration_seconds" &[], "Time that reading the values of this scrape took.";
}
