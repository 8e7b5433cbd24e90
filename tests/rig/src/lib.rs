//! The rig: the real `nodewall` on a node of the testbed, and those who look at it (a terminal's user, a browser, raw frames). It knows nodewall by its
//! command line and its files alone, and none of its code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    missing_docs,
    reason = "only tests use it, and what it finds wrong fails them"
)]

pub mod binary;
pub mod browser;
pub mod counters;
pub mod frames;
pub mod guest;
pub mod node;
pub mod settings;
pub mod traffic;
