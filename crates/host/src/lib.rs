//! What nodewall asks of the host: its network, its state directory, its tools. It must not know the data path.

pub mod net;
pub mod state;
pub mod tool;
