//! The model: a second implementation of the verdict, written from the RFCs, the catalogue of evasions and the policy's text, so that a mistake in the
//! first one has no twin here. Deliberately plain: slices, `IpNet::contains`, linear scans. It must not use `node-ebpf-common` (but for the names of
//! the reasons) or the compiled image. The rules it implements:
//!
//! **Link.** An Ethernet header has 14 bytes, a VLAN tag (0x8100, 0x88a8) 4. Up to 8 tags are skipped; a ninth is too many, whether or not it is
//! whole. A frame that ends within the header or a tag is short. `PPPoE` session, MPLS and `MACsec` are encapsulated; what else is not IP is not IP.
//!
//! **IPv4** (RFC 791). Malformed: fewer than 20 bytes, version not 4, header length below 20, total length below the header length or beyond the
//! frame. A total length of 0 means "to the end of the frame" if the frame is longer than 65,535 bytes (receive-offload aggregates), else it lies. A
//! fragment offset other than 0 makes a later fragment, whatever its protocol: it passes, unless the policy wants those from peers only.
//!
//! **IPv6** (RFC 8200). Malformed: fewer than 40 bytes, version not 6, payload length beyond the frame. A payload length of 0 means "to the end" if the
//! frame is longer than 65,575 bytes, else a payload of nothing. Extension headers: hop-by-hop 0, routing 43, destination options 60, mobility 135,
//! HIP 139, Shim6 140 (8-byte units beyond the first 8), fragment 44 (8 bytes), authentication 51 (4-byte units, RFC 4302: length + 2). Up to 8,
//! in any order and repeated; a ninth, or one that does not end within the packet, is an unfinished chain. A fragment header within those 8 with
//! an offset other than 0 makes a later fragment at once; with offset 0 the walk goes on.
//!
//! **Protocol**, the same under both: TCP 6 and UDP 17 need 4 bytes (the ports) within the packet; ICMP 1 and 58; tunnels 4, 41, 47; encapsulated 50,
//! 115 and under IPv4 also 51; everything else is another protocol.
//!
//! **Port.** The destination's class, by protocol and port; else the class of UDP tunnels (4789, 8472, 6081, and what else the node unpacks); else
//! unmanaged. What the node unpacks is a tunnel also where the profile, which does not know of it, makes the port public. Unmanaged and public
//! ports pass whoever sent it. Elsewhere: a source that no wire can have, or the node's own, is spoofed; then a peer, then an allowed prefix, then the
//! class's refusal. Peers are never let in by a closed class. IPv4 and IPv6 are strangers: no address of one is ever in a prefix of the other.
//!
//! **Blocks.** Nothing from a blocked source passes, whatever else it may do: whole packets to any port, public and unnamed ones too, tunnels, fragments, and
//! sound packets without a port. What drops for its form keeps that reason. A source that no wire can have, and the node's own, is never taken for a
//! blocked one. Not IP, so untouched: ARP. Untouched also: neighbour discovery (RFC 4861), which is `ICMPv6` directly behind the IPv6 header, of type 133 to
//! 137 with code 0 and at least 8 bytes within the packet, and arrives with hop limit 255. Under the row of later fragments, blocked ones count only where
//! the policy asks who sent them.
//!
//! **Mode.** What is denied is dropped under a policy that enforces, but for what a class that only audits denies: a source that lies among it, a blocked one
//! not. Under one that audits nothing is dropped.
//!
//! **Bytes.** Link header and IP packet; the whole frame where there is no sound IP packet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "only tests use it, and what it finds wrong fails them"
)]

pub mod answer;
pub mod cases;
#[cfg(feature = "kernel")]
pub mod compare;
pub mod generated;
pub mod grammar;
#[cfg(feature = "kernel")]
pub mod harness;
pub mod node;
mod parse;
pub mod policies;
mod ports;
pub mod shrink;
pub mod tally;
pub mod verdict;

use answer::Answer;
use node::Node;
use policies::Case;

/// The model's answer for `frame` under the policy of a case, on its node, with its blocks.
pub fn judge(frame: &[u8], case: &Case) -> Answer {
    let Case { own, tunnels, blocked, .. } = case;
    verdict::judge(frame, &case.meaning, &Node { own, tunnels, blocked, interface: Some(policies::INTERFACE) })
}
