//! What the agent serves: metrics, health, the API and the page, on a thread of its own. It only reads (pinned maps, the state directory) through
//! `src/view`, so nothing that a client does can hold the agent.

mod address;
mod alarm;
mod api;
mod connections;
mod events;
mod exporters;
mod gate;
mod keys;
mod listener;
mod live;
mod metrics;
mod page;
pub mod push;
mod reply;
mod taken;
mod tls;
pub mod token;

pub use self::{
    address::Address,
    exporters::Exporters,
    live::Roots,
    metrics::{ALL as METRICS, Metric},
};
