//! The kernel rung: frames by test run through the loaded programs, and what the kernel made of them. It attaches nothing.
#![cfg(test)]

mod cases;
mod denied;
mod outbound;
mod peer_traffic;
mod policy_map;
mod property;
mod translated;
