//! The outputs rung: evidence as it leaves the node, read by the tools that others read it with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

#[path = "outputs/commands.rs"]
mod commands;
#[path = "outputs/made.rs"]
mod made;
#[path = "outputs/pcapng.rs"]
mod pcapng;
#[path = "outputs/syslog.rs"]
mod syslog;
