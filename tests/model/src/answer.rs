//! What an implementation says about a frame, in words that all of them share. Must not compute any of it.

use std::fmt;

use ipnet::IpNet;
use node_ebpf_common::{Reason, Verdict, counter::Outcome};
use nodewall_policy::config::{Mode, Protocol};

/// Where a frame is going, as far as the policy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A port.
    Port(Protocol, u16),
    /// A protocol that carries whole IP packets.
    Tunnel,
    /// A fragment after the first, whose port nobody knows.
    LaterFragment,
}

/// One implementation's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    pub reason: Reason,
    /// What becomes of the frame: what is denied may go on, by the policy's mode or the class's.
    pub outcome: Outcome,
    /// The class that names the port; `None` for no port and for unmanaged ones.
    pub class: Option<String>,
    /// What it is counted as; `None` without a port.
    pub to: Option<To>,
    /// The narrowest peer that the source belongs to, where the source matters.
    pub peer: Option<IpNet>,
    /// Bytes to count; `None` where the implementation does not tell (a test run).
    pub bytes: Option<u32>,
}

impl Answer {
    /// An answer without a port.
    pub fn unported(reason: Reason, mode: Mode, bytes: usize) -> Self {
        let (verdict, outcome) = (verdict_of(reason), outcome_of(reason, mode));
        Self { verdict, reason, outcome, class: None, to: None, peer: None, bytes: u32::try_from(bytes).ok() }
    }

    /// The same, with the bytes to count.
    pub fn counting(mut self, bytes: usize) -> Self {
        self.bytes = u32::try_from(bytes).ok();
        self
    }

    /// Whether two implementations agree. Bytes count only where both tell them.
    pub fn agrees(&self, other: &Self) -> bool {
        let bytes = self.bytes.zip(other.bytes).is_none_or(|(a, b)| a == b);
        let words = |a: &Self| (a.verdict, a.reason, a.outcome, a.to, a.peer);
        bytes && words(self) == words(other) && self.class == other.class
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.verdict.name(), self.reason.name(), self.outcome.name())?;
        match self.to {
            Some(To::Port(protocol, port)) => write!(f, ", {protocol}/{port}")?,
            Some(To::Tunnel) => write!(f, ", IP tunnel")?,
            Some(To::LaterFragment) => write!(f, ", later fragment")?,
            None => {}
        }
        if let Some(class) = &self.class {
            write!(f, " ({class})")?;
        }
        if let Some(peer) = self.peer {
            write!(f, ", peer {peer}")?;
        }
        self.bytes.map_or(Ok(()), |bytes| write!(f, ", {bytes} bytes"))
    }
}

/// What becomes of a frame where this mode counts.
pub fn outcome_of(reason: Reason, mode: Mode) -> Outcome {
    match (verdict_of(reason), mode) {
        (Verdict::Pass, _) => Outcome::Pass,
        (Verdict::Drop, Mode::Enforce) => Outcome::Drop,
        (Verdict::Drop, Mode::Audit) => Outcome::WouldDrop,
    }
}

/// What each reason does to a frame, said again here so that the number's bit is checked by somebody.
pub fn verdict_of(reason: Reason) -> Verdict {
    match reason {
        Reason::Unmanaged
        | Reason::Public
        | Reason::Peer
        | Reason::AllowedSource
        | Reason::NonIp
        | Reason::OwnMulticast
        | Reason::Icmp
        | Reason::OtherProtocol
        | Reason::LaterFragment
        | Reason::Encapsulated => Verdict::Pass,
        Reason::Outsider
        | Reason::Closed
        | Reason::SpoofedSource
        | Reason::BlockedSource
        | Reason::TunnelOutsider
        | Reason::FragmentOutsider
        | Reason::ShortFrame
        | Reason::TooManyVlanTags
        | Reason::MalformedIpv4
        | Reason::MalformedIpv6
        | Reason::ExtensionChain
        | Reason::NoPorts => Verdict::Drop,
    }
}
