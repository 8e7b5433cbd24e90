//! What the agent serves: metrics, health, the API and the page, on a thread of its own. It only reads (pinned maps, the state directory) through
//! `src/view`, so nothing that a client does can hold the agent.

mod alarm;
mod api;
mod connections;
mod events;
mod exporters;
mod gate;
mod listener;
mod live;
mod metrics;
mod page;
pub mod push;
mod reply;
mod tls;
mod token;

pub use self::{
    exporters::Exporters,
    live::Roots,
    metrics::{ALL as METRICS, Metric},
    token::{Address, Token},
};
