//! The ledger: packets and bytes of all traffic per port, direction, outcome and peer, by minute, hour and day. A database of its own beside the evidence, so
//! that neither can take the other's room. It must not read the kernel or a clock: what was counted and when comes in from the recorder.
//!
//! ```text
//! counted (the kernel's sums so far) -> Book (what is new of each account) -> Writer (minute, hour, day; spans; losses) -> Reader
//! ```

mod account;
mod amounts;
mod book;
mod counted;
mod firsts;
mod reader;
mod rules;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub use account::{Account, Period, Step};
pub use amounts::Amount;
pub use book::Book;
pub use counted::{Counted, InCell, OutCell, PeerCell};
pub use firsts::First;
pub use reader::{Asked, Entry, LedgerLoss, LedgerReader, Usage};
pub use rules::{Keep, Rules};
pub use writer::{LedgerWriter, Loss};

/// Name of the database within the store's directory.
pub const FILE: &str = "ledger.db";
