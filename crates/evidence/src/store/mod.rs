//! The store: one `SQLite` database in the state directory, written by the agent alone, read by commands beside it. Batches go in whole; the oldest leave
//! when they are too old or too many. It must not know where records come from or who reads them.
//!
//! ```text
//! batches    seq, time, counts, leaves, hash of the one before, hash       the chain
//! segments   first and last seq, seal                                      every so many batches
//! flows, captures, losses, events                                          id, seq, what record.rs says
//! names      interfaces, classes; meta: totals, the anchor of what retention took away, the recorder's notes
//! ```

mod error;
mod files;
mod filter;
mod insert;
mod meta;
mod reader;
mod retention;
mod rows;
mod schema;
mod tables;
mod totals;
mod verify;
mod writer;

pub use error::StoreError;
pub(crate) use files::open_or_set_aside;
pub use files::{FILE, Limits};
pub use filter::Filter;
pub use reader::{Numbered, Reader, Stored};
pub(crate) use schema::{Database, check_pages};
pub use totals::Totals;
pub use writer::{Appended, LastWord, Opened, Writer};
