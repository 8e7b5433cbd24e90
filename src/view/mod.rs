//! Facts of the live system as values ready to be shown: read once here, shown alike by every command and exporter. It must not print, open sockets or
//! change anything.

pub mod counters;
pub mod denied_sources;
pub mod evidence;
pub mod evidence_sums;
pub mod mission_control;
pub mod observed;
pub mod open_tunnel;
pub mod peer_traffic;
pub mod peers;
pub mod ports;
pub mod push_health;
pub mod status;
pub mod usage;
