//! Server-sent events: status and counters each second, few streams, and none for a client that does not read.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use nodewall_testbed::{PATIENCE, judge_time, skip_unless_privileged};
use serde_json::Value;

use super::{
    client::{PORT, Reply, api, served, token},
    exact::{Mix, by_cpu},
};
use crate::node::{Node, eventually};

pub(super) fn open(node: &Node) -> BufReader<TcpStream> {
    open_with(node, "Authorization", &format!("Bearer {}", token(node)))
}

/// The same with this header.
pub(super) fn open_with(node: &Node, name: &str, value: &str) -> BufReader<TcpStream> {
    let connect = || {
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n").unwrap();
        BufReader::new(stream)
    };
    node.netns().run(connect).unwrap()
}

/// The next event's name and data.
pub(super) fn event(stream: &mut BufReader<TcpStream>) -> (String, Value) {
    let mut name = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream ended");
        if let Some(told) = line.strip_prefix("event: ") {
            told.trim_end().clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn ticks_come_each_second_and_the_counters_move_by_what_was_sent() {
    if skip_unless_privileged("ticks_come_each_second_and_the_counters_move_by_what_was_sent") {
        return;
    }
    let node = served();
    let mut stream = open(&node);
    let peers_packets = |tick: &Value| {
        let rows = tick["counters"]["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["port"] == 9042 && row["reason"] == "peer");
        row.map_or(0, |row| row["packets"].as_u64().unwrap())
    };
    let (name, first) = event(&mut stream);
    assert_eq!((name.as_str(), peers_packets(&first)), ("tick", 0), "{first}");
    assert_eq!((&first["status"]["mode"], &first["status"]["healthy"]), (&Value::from("enforce"), &Value::from(true)));
    let mix = Mix::of(&node);
    by_cpu(&node, &mix.peer_9042, 5_000);
    // Those that were made before all of it was counted may still be in the socket.
    let mut ticks = vec![first];
    eventually("the frames in a tick", || {
        ticks.push(event(&mut stream).1);
        (peers_packets(ticks.last().unwrap()) == 5_000 * mix.cpus as u64 && ticks.len() > 3).then_some(())
    });
    // A tick is made a second after the one before was; what it takes to read its values comes and goes.
    let times: Vec<u64> = ticks.iter().map(|tick| tick["unix_ms"].as_u64().unwrap()).collect();
    let span_ms = times.last().unwrap() - times[0];
    assert!(times.is_sorted() && span_ms >= 1_000, "they came at once: {times:?}");
    judge_time(times.windows(2).all(|two| (900..2_500).contains(&(two[1] - two[0]))), || format!("{times:?}"));
}

#[test]
fn streams_are_few_and_a_place_is_free_when_one_ends() {
    if skip_unless_privileged("streams_are_few_and_a_place_is_free_when_one_ends") {
        return;
    }
    let node = served();
    let mut streams: Vec<_> = (0..8).map(|_| open(&node)).collect();
    for stream in &mut streams {
        event(stream);
    }
    let refused: Reply = api(&node, "/api/v1/stream");
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "10"));
    assert_eq!(api(&node, "/api/v1/status").status, 200, "streams do not keep others out");
    drop(streams);
    let mut again = eventually("a place is free", || {
        let mut stream = open(&node);
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        line.contains(" 200 ").then_some(stream)
    });
    event(&mut again);
}
