//! The model of the verdict that the property test compares with: the same files, without what compares and generates.
#![allow(missing_docs, clippy::pedantic, dead_code, reason = "compiled by the tests, which use all of it")]

#[path = "../../tests/model/answer.rs"]
pub mod answer;
#[path = "../../tests/model/parse.rs"]
mod parse;
#[path = "../../tests/model/ports.rs"]
mod ports;
#[path = "../../tests/model/verdict.rs"]
mod verdict;

pub use verdict::judge;
