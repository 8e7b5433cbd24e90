//! The faults rung: what an operator fears, done on purpose to the real `nodewall` in namespaces of its own. Plain `cargo test` does a few runs of
//! each; `NODEWALL_FAULTS=full` (`cargo xtask faults --full`) does them all. Each test writes what it measured, beside its bar.
#![cfg(test)]

mod agents;
mod clock;
mod cpus;
mod disk;
mod interfaces;
mod kill;
mod layouts;
mod looks;
mod malformed;
mod measure;
mod mistakes;
mod power;
mod record;
mod reload;
mod rig;
mod steady;
mod stopped;
mod strangers;
mod turnstile;
mod upgrade;
mod watchdog;

use nodewall_rig::{binary, frames, guest, node, settings};
use nodewall_testbed::random;
