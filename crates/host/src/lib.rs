//! What nodewall asks of the host: its network and its state directory. It must not know the data path.

pub mod net;
pub mod state;
