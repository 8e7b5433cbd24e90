//! The cli rung: the real binary, what it prints and with what exit codes. The contract is what scripts rely on: keys, exit codes, where an error
//! points, and that a refusal leaves nothing behind. What needs the kernel says so and is skipped without the privilege.
#![cfg(test)]

mod check;
mod doctor;
mod events;
mod explain;
mod frames;
mod live;
mod live_output;
mod malformed;
mod manual;
mod outputs;
mod replay;
mod snapshots;
mod terminals;
mod trust;
mod usage;

use nodewall_rig::{binary, browser};
