//! nodewall's loader: configuration -> policy -> kernel, and what is read back from there. See ARCHITECTURE.md for the map.
//!
//! A library only so that its own tests and tools can stand on the same code; it promises no stable interface.

pub mod agent;
pub mod cli;
pub mod commands;
pub mod control;
pub mod doctor;
pub mod export;
pub mod init;
mod memory;
pub mod peers;
pub mod ui;
pub mod version;
pub mod view;
