//! What is recorded: the closed set of kinds, each a plain value. It must not know how they are stored, shown or sent.
//!
//! Times are UTC in Unix nanoseconds; a batch also says how the boot clock stood to it, so that a clock that was set shows. A source address is what the
//! frame said: nothing here proves who sent it.

use std::net::IpAddr;

use node_ebpf_common::Reason;

/// Whether a denied frame was dropped, or only would have been (audit mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Dropped.
    Drop,
    /// Let through, as nothing is enforced.
    WouldDrop,
}

impl Outcome {
    /// As the counters have it: `drop`, `would_drop`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// What tells one denied flow from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who sent it, as the frame said. `None`: a frame without a sound IP header.
    pub source: Option<IpAddr>,
    /// `tcp`, `udp`, `tunnel`, `fragment`, `other` (no port) or `none` (no IP packet that could be read).
    pub protocol: &'static str,
    /// Destination port; `None` where there is none.
    pub port: Option<u16>,
    /// Why.
    pub reason: Reason,
    /// Dropped, or only told.
    pub outcome: Outcome,
    /// Name of the interface that it came in by; its number in decimal when it is gone.
    pub interface: String,
}

/// A flow over a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which.
    pub key: FlowKey,
    /// Class of the port under the policy that judged; `None` where the policy names none.
    pub class: Option<String>,
    /// The link-layer sender of the first frame of the span.
    pub mac: [u8; 6],
    /// Policy in force at the first frame.
    pub generation: u64,
    /// No frame of the span is older. As exact as a sweep of the kernel's table (about a second).
    pub first_unix_ns: u64,
    /// No frame of the span is younger.
    pub last_unix_ns: u64,
    /// Frames.
    pub packets: u64,
    /// Bytes, as the counters count them.
    pub bytes: u64,
}

/// One frame, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The flow that it is of.
    pub key: FlowKey,
    /// As in [`Flow`].
    pub class: Option<String>,
    /// The link-layer sender.
    pub mac: [u8; 6],
    /// Policy in force.
    pub generation: u64,
    /// When, by the wall clock as it stood at the sweep.
    pub unix_ns: u64,
    /// When, by the boot clock (`CLOCK_BOOTTIME`): this is what the kernel wrote down.
    pub boot_ns: u64,
    /// The processor that judged it.
    pub cpu: u32,
    /// Length of the frame.
    pub original_bytes: u32,
    /// Its first bytes, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// Something that is not in the evidence, or not in detail; every count in the kernel is in a flow or in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossKind {
    /// Denied frames that the kernel's flow table had no room for: counted, sender unknown.
    NotAttributed,
    /// Denied frames whose flows the agent knew and did not keep (its own memory's or the disk's limit).
    NotKept,
    /// Denied frames of a time without a recording agent, or that a killed agent had not written yet.
    Unrecorded,
    /// First frames of flows that were not captured as the budget was spent.
    CaptureBudget,
    /// First frames of flows that were not captured as nobody emptied the buffer in time.
    CaptureBuffer,
    /// Captures that could not be written to the store.
    CaptureStore,
}

impl LossKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NotAttributed,
        Self::NotKept,
        Self::Unrecorded,
        Self::CaptureBudget,
        Self::CaptureBuffer,
        Self::CaptureStore,
    ];

    /// Whether captures are missing; else frames that the policy denies. The two are never added up: a captured frame is in a flow, too.
    pub const fn is_of_captures(self) -> bool {
        matches!(self, Self::CaptureBudget | Self::CaptureBuffer | Self::CaptureStore)
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAttributed => "not_attributed",
            Self::NotKept => "not_kept",
            Self::Unrecorded => "unrecorded",
            Self::CaptureBudget => "capture_budget",
            Self::CaptureBuffer => "capture_buffer",
            Self::CaptureStore => "capture_store",
        }
    }
}

/// An amount of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Of what.
    pub kind: LossKind,
    /// Since when.
    pub first_unix_ns: u64,
    /// Until when.
    pub last_unix_ns: u64,
    /// Frames.
    pub packets: u64,
    /// Bytes; 0 for captures.
    pub bytes: u64,
}

/// Something that was done, or came about, and that explains the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub unix_ns: u64,
    /// What.
    pub kind: EventKind,
    /// In one line: to what, and why.
    pub detail: String,
    /// Who wanted it, as JSON; `None`: nobody, or it is not known.
    pub who: Option<String>,
    /// The policy's whole text where `kind` is [`EventKind::Policy`]; `None`: only peers differ from the one before, and that too often.
    pub text: Option<String>,
}

/// Kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The agent started.
    AgentStarted,
    /// The agent ended in order.
    AgentStopped,
    /// The agent before did not; `detail` says what it wrote last, and what is missing since.
    AgentCutOff,
    /// A policy came into force; `detail` has generation, mode and hash.
    Policy,
    /// Peers came or went.
    Peers,
    /// A port was used for the first time.
    PortFirstUse,
    /// A peer used a port that it had not used before.
    PeerFirstUse,
    /// A peer sent nothing for longer than ever.
    PeerSilent,
    /// An operator's lever, or what followed from one: the journal's action (`block`, `enforce`, `detach`, …).
    Operator(String),
}

impl EventKind {
    /// All but the operators'.
    pub const OWN: [Self; 8] = [
        Self::AgentStarted,
        Self::AgentStopped,
        Self::AgentCutOff,
        Self::Policy,
        Self::Peers,
        Self::PortFirstUse,
        Self::PeerFirstUse,
        Self::PeerSilent,
    ];

    /// The stable name; for [`Self::Operator`] the action.
    pub fn name(&self) -> &str {
        match self {
            Self::AgentStarted => "agent_started",
            Self::AgentStopped => "agent_stopped",
            Self::AgentCutOff => "agent_cut_off",
            Self::Policy => "policy",
            Self::Peers => "peers",
            Self::PortFirstUse => "port_first_use",
            Self::PeerFirstUse => "peer_first_use",
            Self::PeerSilent => "peer_silent",
            Self::Operator(action) => action,
        }
    }
}

/// What a sweep found, and what happened meanwhile: stored whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// When it was put together.
    pub unix_ns: u64,
    /// Wall clock minus boot clock at that time, ns.
    pub boot_offset_ns: i64,
    /// Denied flows.
    pub flows: Vec<Flow>,
    /// Captured frames.
    pub captures: Vec<Capture>,
    /// What is missing.
    pub losses: Vec<Loss>,
    /// What was done.
    pub events: Vec<Event>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.captures.is_empty() && self.losses.is_empty() && self.events.is_empty()
    }

    /// The first time of what is in it; its own if nothing is.
    pub fn oldest_unix_ns(&self) -> u64 {
        let flows = self.flows.iter().map(|flow| flow.first_unix_ns);
        let captures = self.captures.iter().map(|capture| capture.unix_ns);
        let losses = self.losses.iter().map(|loss| loss.first_unix_ns);
        let events = self.events.iter().map(|event| event.unix_ns);
        flows.chain(captures).chain(losses).chain(events).min().unwrap_or(self.unix_ns)
    }
}
