//! What the host's network looks like: links, addresses and port ranges, read from netlink, /proc and the tools that list rules.
//! Reads only: nothing here may change an interface, an address, a route, a sysctl or a rule.
//!
//! Everything answers for the network namespace of the **calling thread**. That is why nothing here reads
//! /sys/class/net, which shows the namespace that was current when sysfs was mounted.

mod codec;
mod conversations;
mod drivers;
mod error;
mod gateways;
mod generic;
mod iptables;
mod links;
mod listing;
mod local_ports;
mod named_sources;
mod names;
mod nat;
mod nft;
mod nft_rule;
mod other_filters;
mod ports;
mod redirects;
mod routes;
mod rule;
mod select;
mod snapshot;
mod sockets;
mod udp_tunnels;
mod watch;

pub use conversations::{Conversation, EndedConnections, tracked};
pub use drivers::{Driver, Queues, XdpFeatures, drivers};
pub use error::NetError;
pub use gateways::gateways;
pub use links::{Link, Network, XdpAttached};
pub use listing::{Listing, listings};
pub use local_ports::{LocalPorts, Overlap};
pub use named_sources::{NamedSources, named_sources};
pub use names::{addresses_of, addresses_of_blocking};
pub use nat::{Leaving, NatOverlap, NatReport, Translation, source_nat, source_nat_in};
pub use other_filters::{OtherFilters, other_filters};
pub use redirects::{Redirect, tcp_redirects};
pub use routes::{Route, Way, ways_to};
pub use select::{Asked, NotAttachable, SelectError, Selected, Selection, Skipped, inside, resolve, uncovered};
pub use snapshot::snapshot;
pub use sockets::{Connection, Listening, Owner, Sockets, owners, sockets, tcp_sockets};
pub use udp_tunnels::{UdpTunnel, fou};
pub use watch::LinkWatch;
