//! A rule of a packet filter in the words of no tool, as far as it is about who may open a TCP connection to this host. It must not know how tools write.

use ipnet::IpNet;

use nodewall_policy::config::{PortSet, Protocol};

/// One condition; all of a rule's must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Empty: a protocol that is neither.
    Protocols(Vec<Protocol>),
    DestinationPorts(PortSet),
    /// Any of these.
    Sources(Vec<IpNet>),
    /// A name; a `+` at the end stands for any rest.
    Interface(String),
    IsV6(bool),
    /// Holds for the first packet of a connection, or does not.
    Constant(bool),
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Accept,
    /// Dropped or rejected.
    Refuse,
    /// Goes to another port of this host.
    Redirect(u16),
    /// Marks, counts, logs: the next rule decides.
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// Could be anything.
    Unread,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: String,
    pub(super) conditions: Vec<Condition>,
    /// Conditions that must not hold.
    pub(super) exceptions: Vec<Condition>,
    /// It has conditions besides that could not be read.
    pub(super) partly_read: bool,
    pub(super) target: Target,
    /// For people.
    pub(super) shown: String,
}
