//! Questions to the evidence: the real executable over a store that the test wrote. Every option, hostile bytes, exit codes, and a store that grows while it is
//! followed. No privilege needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "events/hostile.rs"]
mod hostile;
#[path = "events/list.rs"]
mod list;
#[path = "events/show.rs"]
mod show;
#[path = "events/tail.rs"]
mod tail;
#[path = "events/verify.rs"]
mod verify;
#[path = "events/world.rs"]
mod world;
