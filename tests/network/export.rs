//! The export rung: what the agent serves, asked by real clients (a real Prometheus among them) in namespaces, under known traffic.
#![allow(
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "Prometheus' numbers are f64; those of the tests are whole and small"
)]

mod access;
pub(crate) mod client;
mod cost;
mod documents;
mod exact;
mod modes;
mod outputs;
mod per_peer;
mod prometheus;
mod slow;
mod stream;
mod trust;
