//! The network rung: the real `nodewall` in a namespace of its own, asked by real sockets of other hosts. Each of the mission's
//! rows has a test here. It owns what is asked and what the right answer is; hosts, sockets and processes are the testbed's.
#![cfg(test)]

mod affected;
mod ansible;
mod attach;
mod audit;
mod blocks;
mod changes;
mod containers;
mod control;
mod discovery;
mod doctor;
mod evidence;
mod examples;
mod export;
mod forged;
mod init;
mod interfaces;
mod levers;
mod lifecycle;
mod multicast;
mod notify;
mod objects;
mod outbound;
mod outbound_hooks;
mod packages;
mod page;
mod peer_matrix;
mod peers;
mod peers_by_interface;
mod places;
mod privileges;
mod reload;
mod replies;
mod rows;
mod screen;
mod starts;
mod tc;
mod tc_amounts;
mod tc_layer_3;
mod ten_minutes;
mod top;
mod top_colors;
mod trial_holders;
mod trials;
mod tunnels;
mod usage;
mod ways;

use nodewall_rig::{binary, browser, counters, frames, node, settings, traffic};
