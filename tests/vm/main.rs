//! The vm rung: what only other kernels and their devices can show. Runs inside the guests of `cargo xtask vm`; on any other machine each
//! test says that it is skipped, because modules and devices of that machine are none of our business.
#![cfg(test)]

mod bonded;
mod devices;
mod generic_netlink;
mod layer_3;
mod load;
mod many_cpus;
mod realtime;
mod systemd;
mod team;
mod upgrade;
mod ways_in;
mod wire;

use nodewall_model::cases;
use nodewall_rig::{counters, frames, guest, node, settings, traffic};
