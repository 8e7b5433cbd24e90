//! nodewall's loader: configuration -> policy -> kernel, and what is read back from there. See ARCHITECTURE.md for the map.
//!
//! A library only so that its own tests and tools can stand on the same code; it promises no stable interface.

pub mod agent;
pub mod capture;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod datapath;
pub mod doctor;
pub mod evidence;
pub mod export;
mod https;
pub mod init;
mod memory;
pub mod net;
pub mod peers;
pub mod policy;
pub mod state;
pub mod text;
pub mod ui;
pub mod version;
pub mod view;
