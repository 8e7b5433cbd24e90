//! The journal over a directory of its own: what is found again across rotations, what is joined, and what keeps its place.

#![allow(clippy::indexing_slicing)]

use std::fs::{self, OpenOptions};

use super::*;

fn directory() -> (tempfile::TempDir, StateDir) {
    let parent = tempfile::tempdir().unwrap();
    let state = StateDir::create(&parent.path().join("state")).unwrap();
    (parent, state)
}

fn operator() -> Who {
    Who { command: "block".into(), ..Who::default() }
}

fn bytes(state: &StateDir) -> u64 {
    fs::read_dir(state.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// As many lines as fill `files` files.
fn flood(state: &StateDir, files: u64) {
    let much = "x".repeat(DETAIL_BYTES);
    for _ in 0..files * FILE_BYTES / DETAIL_BYTES as u64 {
        state.journal("peers", &much, None).unwrap();
    }
}

#[test]
fn a_flood_of_what_others_cause_washes_no_command_out() {
    let (_parent, state) = directory();
    state.journal("block", "192.0.2.7/32", Some(&operator())).unwrap();
    state.journal("unblock", "192.0.2.7/32: its time is over", None).unwrap();
    flood(&state, 3);
    state.journal("enforce", "on trial", Some(&operator())).unwrap();
    flood(&state, 3);
    let size = bytes(&state);
    assert!(size <= 3 * FILE_BYTES + 2 * DETAIL_BYTES as u64, "{size} bytes");
    let all = state.journal_tail(|_| true).unwrap().new;
    let commands: Vec<&str> =
        all.iter().filter(|entry| entry.action != "peers").map(|entry| entry.action.as_str()).collect();
    assert_eq!(commands, ["block", "unblock", "enforce"]);
    assert!(all.is_sorted_by(|a, b| a.number < b.number), "each once, in order");
}

#[test]
fn what_is_new_is_found_across_a_rotation() {
    let (_parent, state) = directory();
    flood(&state, 1);
    state.journal("detach", "eth0", Some(&operator())).unwrap();
    let last = state.journal_tail(|_| false).unwrap().known.unwrap();
    let is_new = |entry: &Entry| entry.number > last.number;
    assert_eq!(state.journal_tail(is_new).unwrap().new, []);
    flood(&state, 1);
    state.journal("apply", "generation 2", Some(&operator())).unwrap();
    let Tail { known, new } = state.journal_tail(is_new).unwrap();
    assert_eq!((known.as_ref(), new.len() as u64), (Some(&last), FILE_BYTES / DETAIL_BYTES as u64 + 1));
    assert_eq!(new.last().unwrap().action, "apply");
}

#[test]
fn a_journal_without_an_end_is_given_one() {
    let (_parent, state) = directory();
    let line = |action: &str, who: &str| {
        format!("{{\"unix_ns\":1,\"action\":\"{action}\",\"detail\":\"{}\",\"who\":{who}}}\n", "10.0.0.1 ".repeat(400))
    };
    let who = serde_json::to_string(&operator()).unwrap();
    let mut old = line("block", &who);
    for _ in 0..16_000 {
        old += &line("peers", "null");
    }
    old += &line("detach", &who);
    old += "{\"unix_ns\":2,\"action\":\"cut off by the power";
    assert!(old.len() as u64 > 12 * FILE_BYTES);
    fs::write(state.file(JOURNAL), old).unwrap();
    state.journal("apply", "generation 2", Some(&operator())).unwrap();
    assert!(bytes(&state) <= 2 * FILE_BYTES, "{} bytes", bytes(&state));
    let all = state.journal_tail(|_| true).unwrap().new;
    let commands: Vec<_> =
        all.iter().filter(|entry| entry.action != "peers").map(|entry| (entry.action.as_str(), entry.number)).collect();
    assert_eq!(commands, [("block", 0), ("detach", 0), ("apply", 1)]);
}

#[test]
fn a_line_that_the_power_cut_takes_none_with_it() {
    let (_parent, state) = directory();
    state.journal("block", "192.0.2.7/32", Some(&operator())).unwrap();
    let mut half = OpenOptions::new().append(true).open(state.file(JOURNAL)).unwrap();
    half.write_all(b"{\"number\":2,\"unix").unwrap();
    state.journal("unblock", &"ä".repeat(DETAIL_BYTES), Some(&operator())).unwrap();
    let all = state.journal_tail(|_| true).unwrap().new;
    assert_eq!(
        all.iter().map(|entry| (entry.number, entry.action.as_str())).collect::<Vec<_>>(),
        [(1, "block"), (2, "unblock")]
    );
    assert!(all[1].detail.ends_with("ä… (16384 bytes more)"), "{}", all[1].detail);
}
