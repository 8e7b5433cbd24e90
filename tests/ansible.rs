//! The Ansible rung: the packaged role, judged by its linter and run by real Ansible against three nodes that are namespaces of this machine. It must not
//! need systemd, SSH or a way beyond this host.
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
#[path = "network/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "network/settings.rs"]
mod settings;

#[path = "ansible/fleet.rs"]
mod fleet;
#[path = "ansible/role.rs"]
mod role;
#[path = "ansible/rollout.rs"]
mod rollout;
#[path = "ansible/stops.rs"]
mod stops;
