//! The peers rung: the registry's rules under a made-up clock, the local sources against real files and the system's own iptables, and the command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "cli/binary.rs"]
#[expect(dead_code, reason = "shared with the cli rung, which uses all of it")]
mod binary;
#[path = "peers/bounds.rs"]
mod bounds;
#[path = "peers/command.rs"]
mod command;
#[path = "peers/file.rs"]
mod file;
#[path = "peers/firewall.rs"]
mod firewall;
#[path = "peers/leaving.rs"]
mod leaving;
#[path = "peers/operator.rs"]
mod operator;
#[path = "peers/union.rs"]
mod union;
#[path = "peers/world.rs"]
mod world;
