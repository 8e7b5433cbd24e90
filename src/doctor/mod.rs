//! `nodewall doctor`: facts of this host -> findings, each saying what was found, why it matters and what to do. One file per subject; each
//! reads facts apart from judging them (`findings`, pure). It must not change anything on the host, and prints nothing.

mod data_path;
mod finding;
mod interfaces;
mod kernel;
mod listeners;
mod mission_control;
mod other_filters;
mod ownership;
mod peers;
mod ports;
mod replies;

pub use data_path::{DataPathState, InForce, findings as data_path};
pub use finding::{CHECKS, Finding, Status, Subject, worst};
pub use interfaces::{InterfaceFacts, findings as interfaces};
pub use kernel::{KernelFacts, findings as kernel, probe as probe_kernel};
pub use listeners::{Listeners, findings as listeners, read as read_listeners};
pub use mission_control::check as check_mission_control;
pub use other_filters::findings as other_filters;
pub use ownership::{TrustedPath, findings as ownership, read as read_ownership};
pub use peers::{PeerFacts, PeerWay, findings as peers, read as read_peer_ways};
pub use replies::{ReplyFacts, findings as replies, read as read_reply_facts};
