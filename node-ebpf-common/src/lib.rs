//! What kernel and userspace share: the verdict function and the memory it works on. `no_std`, no I/O, no allocation;
//! every line here runs in the XDP program, so all of it is bounded work and inlined.
//!
//! ```text
//! inbound:  frame -> packet -> decide -> Decision { reason, row, peer, bytes } -> counter cell
//! outbound: frame -> packet -> account -> Outbound { row, sent, mission_control, peer } -> outbound cell
//! both:     -> cell of the peer matrix, where the policy asks for it
//! ```
#![cfg_attr(not(test), no_std)]
#![allow(
    clippy::inline_always,
    reason = "a call costs the kernel program more than the whole lookup, and old verifiers refuse some"
)]

pub mod address;
pub mod aggregate;
pub mod area;
pub mod capture;
pub mod counter;
pub mod decide;
pub mod flow;
pub mod frame;
pub mod images;
pub mod layout;
pub mod maps;
pub mod outbound;
mod own_copy;
pub mod packet;
pub mod peer_traffic;
pub mod policy;
pub mod query;
pub mod reason;
pub mod rule;
pub mod shape;
pub mod verifier;
pub mod wire;

pub use decide::{Decision, decide};
pub use frame::Frame;
pub use layout::Layout;
pub use policy::PolicyImage;
pub use reason::{Reason, Verdict};
pub use shape::Shape;

/// Version of every layout that kernel and userspace share (image, counters, rows, reason numbers). Raised by every change of
/// one of them; a live datapath of another version is taken over by [`layout`], never adopted.
pub const ABI_VERSION: u32 = 10;
