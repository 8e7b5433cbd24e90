//! The first configuration of a node: what is found on it (`found`), what is asked (`answers`, `ask`), and the file (`file`).
//!
//! Owns the way from facts and answers to a configuration that audits. Must not put anything into force, print results, or take for a peer whom
//! nobody vouches for.

mod answers;
mod ask;
mod file;
mod found;

pub use answers::{Answers, AnswersError, Given, decide};
pub use ask::{Ask, Terminal};
pub use file::{FileError, Placed, packaged_text, place, refuse_existing, text};
pub use found::{Found, FoundInterface, FoundPeer, Knocker, Witness, find};
