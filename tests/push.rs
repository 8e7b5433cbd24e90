//! The push rung: what the vendor's receiver gets is what the kernel counted, or less by what is told to be lost, whatever becomes of the receiver and of the
//! agent. The receiver is a real HTTP server that reads the protocol by the vendor's grammar and refuses anything off.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "push/agent.rs"]
mod agent;
#[path = "sources/authority.rs"]
#[expect(dead_code, reason = "shared with the sources rung, which uses all of it")]
mod authority;
#[path = "cli/binary.rs"]
#[expect(dead_code, reason = "shared with the cli rung, which uses all of it")]
mod binary;
#[path = "push/grammar.rs"]
mod grammar;
#[path = "push/kills.rs"]
mod kills;
#[path = "push/receiver.rs"]
mod receiver;
#[path = "push/sending.rs"]
mod sending;
#[path = "push/world.rs"]
mod world;
