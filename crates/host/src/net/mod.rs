//! What the host's network looks like: links, addresses and port ranges, read from netlink, /proc and the NAT tools.
//! Reads only: nothing here may change an interface, an address, a route, a sysctl or a NAT rule.
//!
//! Everything answers for the network namespace of the **calling thread**. That is why nothing here reads
//! /sys/class/net, which shows the namespace that was current when sysfs was mounted.

mod drivers;
mod firewall;
mod gateways;
mod glob;
mod links;
mod local_ports;
mod names;
mod nat;
mod ranges;
mod select;
mod snapshot;
mod sockets;
mod watch;

pub use drivers::{Driver, Drivers, Queues, XdpFeatures, drivers};
pub use firewall::{Answer, Firewall, Knock, Redirect};
pub use gateways::gateways;
pub use links::{Link, LinkKind, Network, XdpAttached, XdpMode};
pub use local_ports::{LocalPorts, Overlap};
pub use names::{addresses_of, addresses_of_blocking};
pub use nat::{
    Listing, NatOverlap, NatRange, NatReport, listings, masquerade_overlaps, masquerade_ranges, masquerade_ranges_in,
    parse_iptables_save, parse_nft,
};
pub use select::{NotAttachable, SelectError, Selected, Selection, Skipped, Uncovered, resolve, uncovered};
pub use snapshot::snapshot;
pub use sockets::{Connection, Listening, Owner, Sockets, Transport, owners, sockets, tcp_sockets};
pub use watch::LinkWatch;

use std::path::PathBuf;

/// Why the host's network could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The netlink socket could not be opened, or was closed by the kernel.
    #[error("netlink socket ({action}): {source}; the host's interfaces can not be listed without it")]
    Socket {
        /// What was being done with the socket.
        action: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The kernel refused a request, or its answer stopped half-way.
    #[error("netlink: listing {what} failed: {reason}")]
    Dump {
        /// What was asked for: `links` or `addresses`.
        what: &'static str,
        /// What the kernel answered.
        reason: String,
    },
    /// Links came and went faster than they could be listed.
    #[error(
        "the list of interfaces kept changing while it was read ({attempts} attempts; last: {last}); try again once the network is quiet"
    )]
    Unsettled {
        /// How often the list was read.
        attempts: u32,
        /// What did not fit together in the last attempt.
        last: String,
    },
    /// A file under /proc could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file under /proc held something other than ports.
    #[error("{}: expected {expected}, found {found:?}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

#[cfg(test)]
mod test_namespace;
