//! The network rung: the real `nodewall` in a namespace of its own, asked by real sockets of other hosts. Each of the mission's
//! rows has a test here. It owns what is asked and what the right answer is; hosts, sockets and processes are the testbed's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod network {
    mod attach;
    mod blocks;
    mod control;
    mod counters;
    mod discovery;
    mod doctor;
    mod evidence;
    mod forged;
    mod frames;
    mod init;
    mod interfaces;
    mod lifecycle;
    mod node;
    mod notify;
    mod objects;
    mod outbound;
    mod outbound_hooks;
    mod peer_matrix;
    mod peers;
    mod privileges;
    mod reload;
    mod replies;
    mod rows;
    mod screen;
    mod settings;
    mod starts;
    mod ten_minutes;
    mod top;
    mod traffic;
    mod trials;
}
