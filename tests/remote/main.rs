//! The remote rung: what nodewall asks or tells other machines (where peers come from, the push, Mission Control), against real servers on this host.
//! It must not reach beyond it.
#![cfg(test)]

mod authority;
mod mission_control;
mod peers;
mod push;
mod sources;

use nodewall_rig::binary;
