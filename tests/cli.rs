//! The cli rung: the real binary, what it prints and with what exit codes. The contract is what scripts rely on: keys, exit codes, where an error
//! points, and that a refusal leaves nothing behind. What needs the kernel says so and is skipped without the privilege.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "cli/binary.rs"]
mod binary;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/frames.rs"]
mod frames;
#[path = "cli/live.rs"]
mod live;
#[path = "cli/live_output.rs"]
mod live_output;
#[path = "cli/malformed.rs"]
mod malformed;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/snapshots.rs"]
mod snapshots;
#[path = "cli/usage.rs"]
mod usage;
