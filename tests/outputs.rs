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
#[path = "outputs/report.rs"]
mod report;
#[path = "outputs/syslog.rs"]
mod syslog;

#[allow(dead_code, reason = "the page rung's; a report needs less of it")]
#[path = "network/browser.rs"]
mod browser;
#[path = "outputs/duckdb.rs"]
mod duckdb;
