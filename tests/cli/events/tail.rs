//! `events tail`: a store that grows while it is followed.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use super::world::{SECOND, T0, World, batches, flow, key};
use node_ebpf_common::Reason;
use nodewall_evidence::record::Batch;
use nodewall_testbed::{PATIENCE, Process, Signal, eventually, until};
use serde_json::Value;

fn more(port: u16) -> Batch {
    let flows =
        vec![flow(key(Some("198.51.100.3"), "tcp", Some(port), Reason::Closed), Some("x"), T0 + 30 * SECOND, 2)];
    Batch { unix_ns: T0 + 40 * SECOND, flows, ..Batch::default() }
}

/// A tail that has begun: it said so by a record that was appended until it did.
fn started(world: &World, arguments: &[&str]) -> (Process, nodewall_evidence::store::Writer) {
    let process = Process::spawn("tail", world.command(&[&["tail"], arguments].concat())).unwrap();
    let mut writer = world.writer();
    until("it shows something", || {
        writer.append(&more(1)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        !process.output().is_empty()
    });
    (process, writer)
}

#[test]
fn a_batch_that_is_appended_while_it_runs_is_shown_once_and_in_order() {
    let world = World::new();
    let (process, mut writer) = started(&world, &["-o", "jsonl"]);
    for batch in batches() {
        writer.append(&batch).unwrap();
    }
    writer.append(&more(4711)).unwrap();
    process.wait_for_line(PATIENCE, |line| line.contains("4711")).unwrap();
    let output = process.output();
    let rows: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // What was there before it began is not shown.
    assert!(rows.iter().all(|row| row["batch"].as_u64().unwrap() > 3), "{output}");
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "{output}");
    let seqs: Vec<u64> = rows.iter().map(|row| row["batch"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "{output}");
    // All that the three batches held: 5 flows, a capture, 2 losses, 2 events.
    let of =
        |kind: &str| rows.iter().filter(|row| row["kind"] == kind && row["port"] != 1 && row["port"] != 4711).count();
    assert_eq!(["flow", "capture", "loss", "event"].map(of), [5, 1, 2, 2], "{output}");
    // It is the record that `show` shows.
    let id = rows.last().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(world.run(&["show", &id, "-o", "json"]).exits(0).json()["port"], 4711);
    process.signal(Signal::INT).unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(process.output(), output, "it ends without a word");
}

#[test]
fn a_filter_shows_only_what_it_names() {
    let world = World::new();
    let (process, mut writer) = started(&world, &["--source", "198.51.100.0/24"]);
    for batch in batches() {
        writer.append(&batch).unwrap();
    }
    writer.append(&more(4711)).unwrap();
    let line = process.wait_for_line(PATIENCE, |line| line.contains("4711/tcp")).unwrap();
    assert!(line.starts_with('f') && line.contains("  198.51.100.3  4711/tcp  x  closed  drop  eth0  2"), "{line}");
    assert!(process.output().lines().all(|line| line.contains("198.51.100.3")), "{}", process.output());
    assert_eq!(process.terminate().unwrap().code(), Some(0));
}

/// Also when there is nothing to write that would tell it.
#[test]
fn it_ends_when_nobody_reads_any_more() {
    let world = World::new();
    let mut command: Command = world.command(&["tail"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let said: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(said.is_empty(), "{said:?}");
}

/// A damaged store is set aside by the agent, and a new one begun, whose numbers begin again.
#[test]
fn a_new_store_is_followed_from_its_beginning() {
    let world = World::new();
    let (process, writer) = started(&world, &["-o", "jsonl"]);
    drop(writer);
    let evidence = world.state().join("evidence");
    std::fs::rename(&evidence, world.state().join("aside")).unwrap();
    let mut writer = world.writer();
    writer.append(&more(4712)).unwrap();
    let line = process.wait_for_line(PATIENCE, |line| line.contains("4712")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["id"], "f1");
    // On the other stream, which is read by another thread.
    until("it says so", || process.output().contains("a new one begun"));
    assert_eq!(process.terminate().unwrap().code(), Some(0));
}
