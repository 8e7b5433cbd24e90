//! The testbed: network namespaces joined by veth pairs, with real listeners, real TCP connections and UDP datagrams, and
//! guarded child processes. nodewall's network tests and `cargo xtask demo` stand on it. It must not know nodewall's
//! internals, and it never touches a link, an address or a route outside the namespaces that it made itself.
//!
//! Everything that is made here is taken away again: on drop, on panic, and on SIGINT or SIGTERM (see [`cleanup`]).
//! Namespaces that a killed run left behind are removed by the next one.
#![allow(clippy::print_stdout, reason = "to whoever runs the tests")]

#[cfg(not(target_os = "linux"))]
compile_error!("the testbed is made of Linux network namespaces");

mod catch;
pub mod cleanup;
mod error;
mod find_tool;
mod flood;
mod foreign;
mod ip;
mod lab;
mod listen;
mod netns;
mod offload;
mod option;
mod privilege;
mod probe;
mod process;
pub mod program;
pub mod random;
mod raw;
mod reserved_port;
mod tap;
mod tcp_info;
mod tool;
mod tun;
mod unnamed;
mod wait;

pub use catch::{Catcher, Caught};
pub use error::{Error, Result};
pub use find_tool::find_tool;
pub use flood::{Flood, Flooded};
pub use foreign::{Foreign, detach_link};
pub use lab::{Host, Lab, LabBuilder};
pub use listen::{Arrived, Listener};
pub use netns::NetNs;
pub use option::keep_errors;
pub use privilege::{privileged, skip_unless_privileged};
pub use probe::{Outcome, Probe, Probed, probe_many, probe_tcp, probe_udp};
pub use process::{Finished, Process, run_to_end};
pub use raw::RawSender;
pub use reserved_port::ReservedPort;
pub use rustix::process::Signal;
pub use tap::Tap;
pub use tun::{Tun, Unsaid};
pub use unnamed::{in_own_namespace, in_own_namespace_async, ip, try_ip};
pub use wait::{PATIENCE, eventually, eventually_eq, eventually_or, judge_time, times_are_judged, until};

use std::fmt;

/// The two protocols that have ports here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A connection with an exchange.
    Tcp,
    /// A datagram and its answer.
    Udp,
}

impl Protocol {
    /// Both, TCP first.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The two address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
