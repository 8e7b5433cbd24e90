//! The faults rung: what an operator fears, done on purpose to the real `nodewall` in namespaces of its own. Plain `cargo test` does a few runs of
//! each; `NODEWALL_FAULTS=full` (`cargo xtask faults --full`) does them all. Each test writes what it measured, beside its bar.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

// The fixture of the network rung; not all of it is needed here.
#[allow(dead_code)]
#[path = "network/counters.rs"]
mod counters;
#[allow(dead_code)]
#[path = "network/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "vm/guest.rs"]
mod guest;
#[allow(dead_code)]
#[path = "network/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "../benches/speed/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "network/settings.rs"]
mod settings;

#[path = "faults/agents.rs"]
mod agents;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/cpus.rs"]
mod cpus;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/interfaces.rs"]
mod interfaces;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/malformed.rs"]
mod malformed;
#[path = "faults/measure.rs"]
mod measure;
#[path = "faults/mistakes.rs"]
mod mistakes;
#[path = "faults/power.rs"]
mod power;
#[path = "faults/record.rs"]
mod record;
#[path = "faults/reload.rs"]
mod reload;
#[path = "faults/rig.rs"]
mod rig;
#[path = "faults/steady.rs"]
mod steady;
#[path = "faults/stopped.rs"]
mod stopped;
#[path = "faults/strangers.rs"]
mod strangers;
#[path = "faults/turnstile.rs"]
mod turnstile;
#[path = "faults/upgrade.rs"]
mod upgrade;
#[path = "faults/watchdog.rs"]
mod watchdog;
