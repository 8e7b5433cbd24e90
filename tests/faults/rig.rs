//! The node that faults are done to: two hosts on one wire, so that nothing is lost between them, five peers that exist as sources of frames only, and
//! a witness behind the filter. What is expected stands in the tests.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use nodewall_testbed::{Catcher, Flood, Host, Lab, Process, Signal, Tap};
use serde_json::Value;

use crate::frames::{self, Link};
use crate::node::{Node, PATIENCE, eventually};
use crate::settings::Settings;

/// Frames per second that a flood aims at, and that it must reach.
pub(crate) const FLOOD_PPS: u32 = 150_000;
pub(crate) const FLOOD_AT_LEAST_PPS: f64 = 100_000.0;
/// No flood goes on for longer, whatever happens.
const FLOOD_AT_MOST: Duration = Duration::from_secs(3_600);

pub(crate) const CASSANDRA: u16 = 9042;
/// The host at the other end of the wire, which is no peer.
pub(crate) const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const PEERS: [&str; 5] = ["10.77.0.21", "10.77.0.22", "10.77.0.23", "10.77.0.24", "10.77.0.25"];

/// The embedded profile, enforced for the five peers.
pub(crate) fn settings() -> Settings {
    Settings::default().peers(&PEERS)
}

/// The address of the peer of this number, from 21.
pub(crate) const fn peer(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

/// A node that nothing was started on yet.
pub(crate) fn idle(settings: &Settings) -> Node {
    Node::idle(Lab::builder().direct_pair().build().unwrap(), settings)
}

/// A node whose agent enforces.
pub(crate) fn enforcing(settings: &Settings) -> Node {
    let mut node = idle(settings);
    node.start_agent();
    node
}

/// The node's state directory.
pub(crate) fn state_dir(node: &Node) -> PathBuf {
    node.directories.state_dir()
}

/// The node's configuration.
pub(crate) fn config_file(node: &Node) -> PathBuf {
    state_dir(node).with_file_name("nodewall.toml")
}

/// The host at the other end of the node's wire.
pub(crate) fn other(node: &Node) -> &Host {
    node.lab.peer1().unwrap()
}

/// A datagram from an address, which the sender need not have, to a port of the node.
pub(crate) fn datagram(node: &Node, from: Ipv4Addr, port: u16) -> Vec<u8> {
    let to: IpAddr = node.host().ipv4().into();
    frames::udp(Link::between(other(node), node.host()), (from.into(), 40_000), (to, port), b"a fault is near")
}

/// Sends these frames in turn, from the other end of the wire.
pub(crate) fn flood(node: &Node, frames: Vec<Vec<u8>>) -> Flood {
    flood_at(node, frames, FLOOD_PPS)
}

/// The same at another rate.
pub(crate) fn flood_at(node: &Node, frames: Vec<Vec<u8>>, rate_pps: u32) -> Flood {
    other(node).netns().flood("eth0", frames, rate_pps, FLOOD_AT_MOST).unwrap()
}

/// An agent that this process started and watches.
pub(crate) fn spawn_agent(node: &Node, arguments: &[&str]) -> Process {
    Process::spawn("nodewall run", node.command("run", arguments)).unwrap()
}

/// Waits until the agent says that its policy is in force.
pub(crate) fn wait_until_enforced(agent: &Process) {
    agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
}

/// Kills it, which must still run.
pub(crate) fn kill(agent: &Process) {
    agent.signal(Signal::KILL).unwrap();
    let ended: ExitStatus = agent.wait(PATIENCE).unwrap();
    assert_eq!(ended.signal(), Some(9), "it ended by itself ({ended}):\n{}", agent.output());
}

/// Packets in the counters' rows of this port with this outcome, over UDP.
pub(crate) fn counted(counters: &Value, port: u16, outcome: &str) -> u64 {
    let rows = counters["rows"].as_array().unwrap().iter();
    let wanted = rows.filter(|row| row["port"] == port && row["protocol"] == "udp" && row["outcome"] == outcome);
    wanted.map(|row| row["packets"].as_u64().unwrap()).sum()
}

/// Waits until the counters of a port stand still (they trail a frame by the time of a softirq) and reach a sum, and returns them.
pub(crate) fn settled(node: &Node, port: u16, total: u64) -> Value {
    let sum =
        |counters: &Value| ["pass", "drop", "would_drop"].map(|outcome| counted(counters, port, outcome)).iter().sum();
    let (mut last, mut still) = (0, 0);
    eventually("the counters stand still", || {
        let counters = node.json("counters");
        let now: u64 = sum(&counters);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (now == total || still > 20).then_some(counters)
    })
}

/// What is read when nothing moves any more: three looks, a moment apart, say the same. For what nobody knows the sum of.
pub(crate) fn still<T: PartialEq>(what: &str, mut look: impl FnMut() -> T) -> T {
    let (mut last, mut same) = (look(), 0);
    eventually(what, || {
        thread::sleep(Duration::from_millis(100));
        let now = look();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= 2).then_some(())
    });
    last
}

/// Sockets on the ports that must stay unreachable, and a tap behind the filter.
pub(crate) struct Witness {
    ports: Vec<u16>,
    sockets: Catcher,
    tap: Option<Tap>,
    leaked_packets: u64,
}

impl Witness {
    pub(crate) fn of(node: &Node, ports: &[u16]) -> Self {
        Self { tap: Some(Tap::open(node.netns(), "eth0").unwrap()), ..Self::of_sockets(node, ports) }
    }

    /// For a filter at the tc hook, before which packet sockets see all that comes.
    pub(crate) fn of_sockets(node: &Node, ports: &[u16]) -> Self {
        let sockets = Catcher::open(node.netns(), ports).unwrap();
        Self { ports: ports.to_vec(), sockets, tap: None, leaked_packets: 0 }
    }

    /// How many datagrams to these ports got behind the filter so far, by the tap or by a socket, whichever saw more.
    pub(crate) fn leaked_packets(&mut self) -> u64 {
        let (mut tapped, mut caught) = (0, 0);
        self.sockets.drain(|_| caught += 1).unwrap();
        let mut lost = 0;
        if let Some(tap) = &mut self.tap {
            tap.drain(|frame| tapped += u64::from(self.ports.iter().any(|port| is_to(frame, *port)))).unwrap();
            lost = u64::from(tap.lost_packets().unwrap());
        }
        self.leaked_packets += tapped.max(caught) + lost;
        self.leaked_packets
    }
}

/// Whether this frame is an IPv4 UDP datagram without options to the port.
fn is_to(frame: &[u8], port: u16) -> bool {
    frame.get(12..15) == Some(&[0x08, 0x00, 0x45])
        && frame.get(23) == Some(&17)
        && frame.get(36..38) == Some(&port.to_be_bytes())
}
