//! The first configuration of a node: what is found on it (`discovery`), what is asked (`answers`, `prompt`), and the file (`file`).
//!
//! Owns the way from facts and answers to a configuration that audits. Must not put anything into force, print results, or take for a peer whom
//! nobody vouches for.

mod answers;
mod discovery;
mod file;
mod prompt;

pub use answers::{Answers, AnswersError, decide};
pub use discovery::{Discovery, FoundInterface, FoundPeer, Knocker, Witness, find, own_towards};
pub use file::{FileError, packaged_text, place, refuse_existing, text};
pub use prompt::{Prompt, Terminal};
