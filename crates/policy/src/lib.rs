//! Configuration and policy, from text to image: nodewall.toml -> [`config::Config`] -> [`Policy`] -> [`Compiled`]. Pure: it needs no kernel, no
//! runtime and no privilege; of the host it reads only the files that it is told to.

mod canonical;
mod compile;
pub mod config;
mod merge;
mod peer_slots;
mod place;
mod policy;
mod probe;
mod profile;
mod rows;
mod sources;
mod tunnels;

#[cfg(test)]
mod tests;

pub use compile::{CompileError, Compiled, FRAGMENT_CLASS, Facts, TUNNEL_CLASS, compile};
pub use peer_slots::{PeerTable, peer_of};
pub use place::Place;
pub use policy::{Origin, Policy, PolicyError, PolicySource, PortClass, PortEntry, mode_in_words};
pub use probe::probe_frame;
pub use rows::{RowTable, class_name};
pub use sources::{FEW_LENGTHS, Lengths, source_of};
pub use tunnels::open_to_all;
