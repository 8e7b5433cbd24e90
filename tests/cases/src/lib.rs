//! The one table of cases: a policy, a frame, and what must come of it. Runs on the host and through the kernel program; each case says which
//! counter moves and by how many bytes. Rows follow the catalogue of evasions: every shape that Linux delivers is here. It knows neither the policy
//! compiler nor the kernel, so that the verdict function's own crate can run it, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    missing_docs,
    reason = "only tests use it"
)]

mod blocked;
pub mod frames;
pub mod ipv4;
mod ipv6;
mod link;
mod ports;
mod table;

pub use table::{BLOCKED, Case, OUTSIDER, OUTSIDER6, OWN, OWN6, On, PEER, PEER6, PREFIX_PEER, Policy};

/// The whole table.
pub fn all() -> Vec<Case> {
    [ports::cases(), link::cases(), ipv4::cases(), ipv6::cases(), blocked::cases()].into_iter().flatten().collect()
}
