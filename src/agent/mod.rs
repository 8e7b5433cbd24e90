//! The foreground agent: what wakes it, and what it does then. It must not print: commands do, and events go to `tracing`.

mod back_off;
mod confine;
mod evidence;
mod keeper;
mod notify;
mod peer_watch;
mod run;
mod start;
mod watchdog;

pub use back_off::back_off;
pub use confine::{Confined, confine, writable};
pub use run::run;
pub use start::Start;
