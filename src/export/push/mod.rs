//! Push to the vendor: what is new in the counters goes to the local agent or to the environment, each difference at most once.
//! Must not change anything but its own files in the state directory.

mod kernel;
mod line;
mod sender;
mod state;
mod thread;

pub use self::{
    sender::run,
    state::{PushState, Snapshot},
    thread::Pusher,
};
