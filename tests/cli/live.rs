//! A node whose policy is live: what `apply`, `status`, `counters`, `explain` and `detach` say of it, and what carries on.

use std::net::UdpSocket;

use nodewall_testbed::{Family, Lab, PATIENCE, Process, Signal, eventually_eq, skip_unless_privileged};
use serde_json::Value;

use crate::binary::{Ran, Scratch, executable};

/// A node and a peer on one wire, and where the node's nodewall keeps its things.
pub(crate) struct Live {
    // First: the pins are removed before the interface is.
    pub(crate) place: Scratch,
    pub(crate) lab: Lab,
}

/// Ethernet, IPv4 and UDP headers.
const HEADER_BYTES: u64 = 14 + 20 + 8;
const PAYLOAD: &[u8] = b"0123456789";

impl Live {
    pub(crate) fn new() -> Self {
        Self { place: Scratch::new(), lab: Lab::builder().direct_pair().build().unwrap() }
    }

    /// Runs a command on the node.
    pub(crate) fn node(&self, arguments: &[&str]) -> Ran {
        self.place.run_in(self.lab.node().netns(), arguments)
    }

    pub(crate) fn apply(&self, flags: &[&str]) -> Ran {
        self.node(&[&["apply", "--interface", "eth0"], flags].concat())
    }

    /// Starts the agent on the node, and waits for what it says once the policy is in force.
    pub(crate) fn run_agent(&self, flags: &[&str]) -> Process {
        let command = self.lab.node().netns().command(executable());
        let command = self.place.on(command, &[&["run", "--interface", "eth0"], flags].concat());
        let agent = Process::spawn("nodewall run", command).unwrap();
        agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
        agent
    }

    /// Sends datagrams from the peer to a port of the node, and waits until they are counted: counters trail a frame by the time of a softirq.
    pub(crate) fn send(&self, port: u16, count: u64) {
        let before = self.udp_received();
        let target = self.lab.node().socket(Family::V4, port);
        let from = self.lab.peer1().unwrap().socket(Family::V4, 0);
        let sent = self.lab.peer1().unwrap().netns().run(move || {
            let socket = UdpSocket::bind(from).unwrap();
            for _ in 0..count {
                socket.send_to(PAYLOAD, target).unwrap();
            }
        });
        sent.unwrap();
        eventually_eq(
            "packets counted (left) are those that were sent (right)",
            || self.udp_received(),
            &(before + count),
        );
    }

    /// All datagrams that the node received; nobody but [`Live::send`] sends any.
    fn udp_received(&self) -> u64 {
        let report = self.node(&["counters", "-o", "json"]).exits(0).json();
        let rows = report["rows"].as_array().unwrap().iter();
        let udp = rows.filter(|row| row["direction"] == "in" && row["protocol"] == "udp");
        udp.map(|row| row["packets"].as_u64().unwrap()).sum()
    }

    /// Rows of `counters` for a UDP port.
    pub(crate) fn udp_rows(&self, port: u16) -> Vec<Value> {
        let report = self.node(&["counters", "-o", "json"]).exits(0).json();
        let rows = report["rows"].as_array().unwrap().iter();
        rows.filter(|row| row["port"] == port && row["protocol"] == "udp").cloned().collect()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.node(&["status", "-o", "json"]).json()["generation"].as_u64().unwrap()
    }
}

/// Asserts that a port has one row of this class and outcome, with exactly these packets.
#[track_caller]
fn assert_row(live: &Live, port: u16, (class, outcome): (&str, &str), packets: u64) {
    let rows = live.udp_rows(port);
    let row: Vec<_> = rows.iter().filter(|row| row["outcome"] == outcome).collect();
    assert_eq!(row.len(), 1, "{rows:#?}");
    assert_eq!(row[0]["class"], class, "{rows:#?}");
    assert_eq!(row[0]["packets"], packets, "{rows:#?}");
    assert_eq!(row[0]["bytes"], packets * (HEADER_BYTES + PAYLOAD.len() as u64), "{rows:#?}");
}

#[test]
fn a_change_raises_the_generation_and_keeps_the_counters_of_every_port() {
    if skip_unless_privileged("a_change_raises_the_generation_and_keeps_the_counters_of_every_port") {
        return;
    }
    let live = Live::new();
    let peer = ["--peer", "10.77.0.11"];
    let first = live.apply(&[&peer[..], &["-o", "json"]].concat()).exits(0).json();
    assert_eq!(first["generation"], 1);
    let eth0 = &first["interfaces"][0];
    assert_eq!([&eth0["name"], &eth0["state"], &eth0["outcome"]], ["eth0", "covered", "attached"]);
    live.send(9042, 7);
    assert_row(&live, 9042, ("cassandra", "pass"), 7);

    let second = live.apply(&[&peer[..], &["-o", "json"]].concat()).exits(0).json();
    assert_eq!(second["generation"], 2);
    assert_eq!(second["interfaces"][0]["outcome"], "replaced");
    assert_eq!(second["policy_sha256"], first["policy_sha256"]);
    assert_row(&live, 9042, ("cassandra", "pass"), 7);
    live.send(9042, 3);
    assert_row(&live, 9042, ("cassandra", "pass"), 10);

    // Ports before and behind it come, its class changes: the port keeps its row.
    let config = live.place.file(
        "nodewall.toml",
        "[peers]\nstatic = [\"10.77.0.12\"]\n[[rule]]\nname = \"early\"\nports = [\"100-120\"]\naccess = \"cluster\"\n\
         [[rule]]\nname = \"my-store\"\nports = [\"9042\", \"9043\"]\naccess = \"cluster\"\n",
    );
    // Another peer in the only peer's place: held until it is said to be meant.
    let held = live.apply(&["--config", &config]).exits(1).err;
    assert!(held.contains("--allow-peer-change"), "{held}");
    assert_eq!(live.generation(), 2);
    live.apply(&["--config", &config, "--allow-peer-change"]).exits(0);
    assert_eq!(live.generation(), 3);
    assert_row(&live, 9042, ("my-store", "pass"), 10);
    live.send(9042, 4);
    live.send(9043, 2);
    live.send(110, 1);
    assert_row(&live, 9042, ("my-store", "pass"), 10);
    assert_row(&live, 9042, ("my-store", "drop"), 4);
    assert_row(&live, 9043, ("my-store", "drop"), 2);
    assert_row(&live, 110, ("early", "drop"), 1);

    // Audit: the same verdict, another outcome.
    live.apply(&["--config", &config, "--mode", "audit"]).exits(0);
    live.send(9043, 5);
    assert_row(&live, 9043, ("my-store", "drop"), 2);
    assert_row(&live, 9043, ("my-store", "would_drop"), 5);
}

#[test]
fn a_refused_change_leaves_the_last_good_policy_in_force() {
    if skip_unless_privileged("a_refused_change_leaves_the_last_good_policy_in_force") {
        return;
    }
    let live = Live::new();
    live.apply(&["--peer", "10.77.0.11"]).exits(0);
    // Degraded: no agent runs.
    let status = || live.node(&["status", "-o", "json"]).exits(3).json();
    let before = status();
    assert_eq!(before["refused"], serde_json::json!(null));
    let broken = live.place.file("broken.toml", "mode = \"enforced\"\n");
    live.apply(&["--config", &broken, "--peer", "10.77.0.11"]).exits(1);
    live.apply(&["--peer", "10.77.0"]).exits(2);
    // The node's own address makes no cluster.
    assert!(live.apply(&["--peer", "10.77.0.1"]).exits(1).err.contains("this node's own address"));
    let mut after = status();
    assert!(after["refused"]["error"].as_str().unwrap().contains("this node's own address"), "{after}");
    after["refused"] = serde_json::json!(null);
    assert_eq!(after, before);
    // What is accepted next, ends it.
    live.apply(&["--peer", "10.77.0.11"]).exits(0);
    assert_eq!(status()["refused"], serde_json::json!(null));
}

#[test]
fn the_agent_may_end_and_come_back_and_nothing_is_lost() {
    if skip_unless_privileged("the_agent_may_end_and_come_back_and_nothing_is_lost") {
        return;
    }
    let live = Live::new();
    let agent = live.run_agent(&["--peer", "10.77.0.12"]);
    live.send(9042, 3);
    let second = live.node(&["run", "--interface", "eth0", "--peer", "10.77.0.12"]).exits(1);
    assert!(
        second.err.contains("another nodewall agent is running") && second.err.contains(&agent.id().to_string()),
        "{}",
        second.err
    );

    assert!(agent.terminate().unwrap().success());
    let output = agent.output();
    for line in output.lines() {
        let mut words = line.split_whitespace();
        let (time, level) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(time.ends_with('Z') && time.contains('T'), "not a line of its own: {line:?}\n{output}");
        assert!(["INFO", "WARN"].contains(&level), "{line:?}\n{output}");
    }
    assert!(output.contains("SIGTERM") && output.contains("enforcement stays in place"), "{output}");

    assert!(live.node(&["status"]).exits(3).out.contains("problem: no agent runs"));
    live.send(9042, 2);
    assert_row(&live, 9042, ("cassandra", "drop"), 5);
    let generation = live.generation();
    let agent = live.run_agent(&["--peer", "10.77.0.12"]);
    assert_eq!(live.generation(), generation + 1);
    live.send(9042, 1);
    assert_row(&live, 9042, ("cassandra", "drop"), 6);
    assert!(agent.terminate().unwrap().success());
}

#[test]
fn a_refused_reload_is_one_line_and_changes_nothing() {
    if skip_unless_privileged("a_refused_reload_is_one_line_and_changes_nothing") {
        return;
    }
    let live = Live::new();
    let config = live.place.file("nodewall.toml", "[peers]\nstatic = [\"10.77.0.12\"]\n");
    let agent = live.run_agent(&["--config", &config]);
    let generation = live.generation();
    live.place.file("nodewall.toml", "mode = \"x\"\ntunnels = \"y\"\n[peers]\nstatic = [\"z\", \"10.0.0.1/8\"]\n");
    agent.signal(Signal::HUP).unwrap();
    let refusal = agent.wait_for_line(PATIENCE, |line| line.contains("reload refused")).unwrap();
    assert!(refusal.contains("nodewall.toml:1:8"), "{refusal}");
    assert_eq!(live.generation(), generation);
    let status = live.node(&["status", "-o", "json"]).exits(3).json();
    assert!(status["refused"]["error"].as_str().unwrap().contains("nodewall.toml:1:8"), "{status}");
    live.place.file("nodewall.toml", "tunnels = \"all\"\n[peers]\nstatic = [\"10.77.0.12\"]\n");
    agent.signal(Signal::HUP).unwrap();
    let enforced =
        |line: &str| line.contains("policy enforced") && line.contains(&format!("generation={}", generation + 1));
    agent.wait_for_line(PATIENCE, enforced).unwrap();
    assert!(agent.terminate().unwrap().success());
    for line in agent.output().lines() {
        assert!(
            line.split_whitespace().next().is_some_and(|t| t.ends_with('Z')),
            "not a line of its own: {line:?}\n{}",
            agent.output()
        );
    }
}
