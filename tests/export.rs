//! The export rung: what the agent serves, asked by real clients (a real Prometheus among them) in namespaces, under known traffic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    // Prometheus' numbers are f64; those of the tests are whole and small.
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::float_cmp,
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

#[path = "export/access.rs"]
mod access;
#[path = "export/client.rs"]
mod client;
#[path = "export/cost.rs"]
mod cost;
#[path = "export/documents.rs"]
mod documents;
#[path = "export/exact.rs"]
mod exact;
#[path = "export/per_peer.rs"]
mod per_peer;
#[path = "export/prometheus.rs"]
mod prometheus;
#[path = "export/slow.rs"]
mod slow;
#[path = "export/stream.rs"]
mod stream;
