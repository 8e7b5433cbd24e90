//! The vm rung: what only other kernels and their devices can show. Runs inside the guests of `cargo xtask vm`; on any other machine each
//! test says that it is skipped, because modules and devices of that machine are none of our business.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

// The table of cases and the fixture of the network rung; not all of either is needed here.
#[allow(dead_code)]
mod cases;
#[allow(dead_code)]
#[path = "network/counters.rs"]
mod counters;
#[allow(dead_code)]
#[path = "network/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "network/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "network/settings.rs"]
mod settings;
#[allow(dead_code)]
#[path = "network/traffic.rs"]
mod traffic;

#[path = "vm/devices.rs"]
mod devices;
#[path = "vm/guest.rs"]
mod guest;
#[path = "vm/load.rs"]
mod load;
#[path = "vm/systemd.rs"]
mod systemd;
#[path = "vm/upgrade.rs"]
mod upgrade;
#[path = "vm/wire.rs"]
mod wire;
