//! The agent under real names: peers from DNS and from service discovery are in force at its first start, follow their sources, and outlive them.

use std::{
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nodewall_testbed::{NetNs, PATIENCE, Process, eventually_or, find_tool, judge_time, skip_unless_privileged};

use super::unbound::Unbound;
use crate::binary::{Scratch, executable};

const TARGETS: &str = r#"[{"targets":["10.0.0.2:9042","10.0.0.4:9042"]}]"#;

/// A namespace with one wire, and nodewall's place in it.
struct Node {
    netns: NetNs,
    place: Scratch,
    config: String,
}

impl Node {
    fn command(&self, arguments: &[&str]) -> Command {
        self.place.on(self.netns.command(executable()), arguments)
    }

    fn start(&self) -> Process {
        let agent = Process::spawn("nodewall run", self.command(&["run", "--config", &self.config])).unwrap();
        agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
        agent
    }

    /// Whether the kernel's policy takes it for a peer.
    fn is_peer(&self, source: &str) -> bool {
        let mut command = self.netns.command(executable());
        command
            .args(["explain", "--source", source, "--port", "9042", "-o", "json", "--bpffs"])
            .arg(self.place.bpffs());
        let answer = crate::binary::finish(command).exits(0).json();
        answer["reason"] == "peer"
    }

    fn eventually(&self, what: &str, is_so: impl Fn() -> bool) {
        let told = || format!("{what}: {}", self.place.run_in(&self.netns, &["peers", "list"]).out);
        eventually_or(told, || is_so().then_some(()));
    }
}

/// Answers every request on a port of the namespace, until the thread's process ends.
fn serve(netns: &NetNs) -> u16 {
    use std::io::{Read as _, Write as _};
    let listener = netns.run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 4096]);
            let _ = stream.read(&mut head);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TARGETS}", TARGETS.len());
        }
    });
    port
}

#[test]
fn peers_of_the_network_are_enforced_follow_their_sources_and_outlive_them() {
    if skip_unless_privileged("peers_of_the_network_are_enforced_follow_their_sources_and_outlive_them") {
        return;
    }
    let netns = NetNs::create("names").unwrap();
    netns.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "far"]).unwrap();
    netns.ip(&["address", "add", "10.0.0.254/24", "dev", "eth0"]).unwrap();
    for interface in ["eth0", "far"] {
        netns.ip(&["link", "set", interface, "up"]).unwrap();
    }
    // Asked again after 5 s, the least that counts.
    let zone = "  local-zone: \"cluster.example.\" static\n  local-data: \"nodes.cluster.example. 1 IN A 10.0.0.1\"\n  \
                local-data: \"nodes.cluster.example. 1 IN A 10.0.0.2\"\n";
    let command = netns.command(find_tool("unbound").unwrap());
    let unbound = Unbound::try_start("127.0.0.1:5300".parse().unwrap(), command, zone, "").unwrap();
    let (place, port) = (Scratch::new(), serve(&netns));
    let config = format!(
        "mode = \"enforce\"\ninterfaces = [\"eth0\"]\n[peers]\nwithin = [\"10.0.0.0/24\"]\ndns = [\"nodes.cluster.example\"]\n\
         dns_server = \"127.0.0.1:5300\"\n[peers.http_sd]\nurl = \"http://127.0.0.1:{port}/sd\"\n"
    );
    let node = Node { config: place.file("nodewall.toml", config), netns, place };
    let agent = node.start();
    for (source, is_peer) in [("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.4", true), ("10.0.0.3", false)] {
        assert_eq!(node.is_peer(source), is_peer, "{source}");
    }

    // A node joins; and someone from outside the bounds.
    unbound.control(&["local_data", "nodes.cluster.example. 1 IN A 10.0.0.3"]);
    unbound.control(&["local_data", "nodes.cluster.example. 1 IN A 192.0.2.66"]);
    let begin = Instant::now();
    node.eventually("10.0.0.3 joins", || node.is_peer("10.0.0.3"));
    let took = begin.elapsed();
    println!("a new A record with a time to live of 1 s is in force after {took:?}");
    judge_time(took < Duration::from_secs(10), || format!("{took:?}"));
    assert!(!node.is_peer("192.0.2.66"));

    // The server goes; nobody else does.
    drop(unbound);
    node.eventually("status tells of the silent source", || {
        let status = node.place.run_in(&node.netns, &["status", "-o", "json"]);
        status.json()["problems"].to_string().contains("dns:nodes.cluster.example")
    });
    agent.terminate().unwrap();
    let _agent = node.start();
    for source in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        assert!(node.is_peer(source), "{source}");
    }
}
