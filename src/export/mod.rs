//! What leaves the node. It reads what `view` reads, and the state directory. Must not put anything into force.

mod kernel;
pub mod push;
