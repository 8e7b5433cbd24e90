//! The outputs rung: evidence as it leaves the node, read by the tools that others read it with.

mod commands;
mod made;
mod pcapng;
mod report;
mod syslog;
mod syslog_ng;

mod duckdb;
