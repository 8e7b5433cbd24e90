//! A node in a namespace with one wire, nodewall on it, and frames of known kinds from the wire's other end.

use std::{cell::RefCell, collections::BTreeMap, net::TcpListener, process::Command};

use etherparse::PacketBuilder;
pub(crate) use nodewall_testbed::PATIENCE;
use nodewall_testbed::{NetNs, Process, eventually_or};
use serde_json::Value;

use super::{
    grammar::MetricLine,
    receiver::{Manner, Receiver},
};
use crate::binary::{Ran, Scratch, executable, finish};

/// Metric and dimensions of a counter. A port's counter is the same one whatever its class is called, so a class stands only where there is no port.
pub(crate) type Name = (String, BTreeMap<String, String>);

pub(crate) struct World {
    pub(crate) place: Scratch,
    pub(crate) netns: NetNs,
    port: u16,
}

impl World {
    /// A node, and a receiver on its loopback interface.
    pub(crate) fn new(label: &str, choose: impl FnMut(usize) -> Manner + Send + 'static) -> (Self, Receiver) {
        let netns = NetNs::create(label).unwrap();
        // Nothing but the test's own frames is on the wire.
        netns.sysctl(&[("ipv6.conf.all.disable_ipv6", "1"), ("ipv6.conf.default.disable_ipv6", "1")]).unwrap();
        netns.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "far"]).unwrap();
        netns.ip(&["address", "add", "10.0.0.254/24", "dev", "eth0"]).unwrap();
        for interface in ["eth0", "far"] {
            netns.ip(&["link", "set", interface, "up", "arp", "off"]).unwrap();
        }
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let receiver = Receiver::on(listener, None, choose);
        let world = Self { place: Scratch::new(), netns, port: receiver.port };
        world.configure("");
        (world, receiver)
    }

    /// Writes the configuration, with more rules.
    pub(crate) fn configure(&self, rules: &str) {
        let port = self.port;
        self.place.file(
            "nodewall.toml",
            format!(
                "mode = \"enforce\"\ninterfaces = [\"eth0\"]\n[peers]\nstatic = [\"10.0.0.1\"]\n[push]\nurl = \
                 \"http://127.0.0.1:{port}/metrics/ingest\"\ninterval = \"1s\"\n\
                 [[interface]]\nname = \"far\"\nattach = \"none\"\n{rules}"
            ),
        );
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let config = self.place.path("nodewall.toml");
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        self.place.on(self.netns.command(executable()), &all)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments))
    }

    pub(crate) fn start(&self) -> Process {
        let agent = Process::spawn("nodewall run", self.command(&["run"])).unwrap();
        agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
        agent
    }

    /// Starts a command that stays in the foreground, and waits until it says `line`.
    pub(crate) fn hold(&self, arguments: &[&str], line: &str) -> Process {
        let held = Process::spawn(arguments[0], self.command(arguments)).unwrap();
        held.wait_for_line(PATIENCE, |said| said.contains(line)).unwrap();
        held
    }

    /// The kernel's counters as `counters -o json` says them.
    pub(crate) fn counted(&self) -> BTreeMap<Name, u64> {
        let mut counted = BTreeMap::new();
        let json = self.run(&["counters", "-o", "json"]).exits(0).json();
        for row in json["rows"].as_array().unwrap() {
            let text = |key: &str| match &row[key] {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let mut dimensions = BTreeMap::new();
            for key in ["class", "protocol", "direction", "outcome", "reason"] {
                dimensions.extend(text(key).map(|value| (key.to_owned(), value)));
            }
            dimensions.extend(text("port").or_else(|| text("ports")).map(|port| ("port".to_owned(), port)));
            for metric in ["packets", "bytes"] {
                let sum = row[metric].as_u64().unwrap();
                if sum > 0 {
                    *counted.entry(named(&format!("nodewall.{metric}"), &dimensions)).or_default() += sum;
                }
            }
        }
        counted
    }

    /// Waits until what arrived is what was counted.
    pub(crate) fn wait_until_all_arrived(&self, arrived: impl Fn() -> BTreeMap<Name, u64>) {
        let last = RefCell::new((BTreeMap::new(), BTreeMap::new()));
        let told = || format!("arrived (left) is not what was counted (right):\n{:#?}", last.borrow());
        eventually_or(told, || {
            last.replace((arrived(), self.counted()));
            let (arrived, counted) = &*last.borrow();
            (arrived == counted).then_some(())
        });
    }
}

pub(crate) fn sum_of_packets(sums: &BTreeMap<Name, u64>) -> u64 {
    sums.iter().filter(|((key, _), _)| key == "nodewall.packets").map(|(_, sum)| sum).sum()
}

/// A counter's name as [`Name`] has it.
pub(crate) fn named(metric: &str, dimensions: &BTreeMap<String, String>) -> Name {
    let mut dimensions = dimensions.clone();
    if dimensions.contains_key("port") {
        dimensions.remove("class");
    }
    (metric.to_owned(), dimensions)
}

/// Lines added up by [`Name`].
pub(crate) fn totals(lines: impl IntoIterator<Item = MetricLine>) -> BTreeMap<Name, u64> {
    let mut totals = BTreeMap::new();
    for line in lines {
        *totals.entry(named(&line.key, &line.dimensions)).or_default() += line.delta;
    }
    totals
}

/// What the receiver took, added up by [`Name`].
pub(crate) fn arrived(receiver: &Receiver) -> BTreeMap<Name, u64> {
    totals(receiver.requests().into_iter().flat_map(|request| request.taken))
}

/// Frames of seven kinds: from the peer and from others, to named ports and to one that is not, by TCP and UDP, and one without a port.
pub(crate) fn mix() -> Vec<Vec<u8>> {
    let to = [10, 0, 0, 254];
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6]);
    let tcp = |from: u8, port: u16| {
        let builder = ethernet().ipv4([10, 0, 0, from], to, 64).tcp(40_000, port, 1, 1_000).syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        frame
    };
    let udp = |from: u8, port: u16, payload: &[u8]| {
        let builder = ethernet().ipv4([10, 0, 0, from], to, 64).udp(40_000, port);
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    };
    let mut ping = Vec::new();
    ethernet().ipv4([10, 0, 0, 9], to, 64).icmpv4_echo_request(1, 1).write(&mut ping, &[0; 20]).unwrap();
    vec![
        tcp(1, 9042),
        tcp(9, 9042),
        udp(9, 9042, b"some"),
        tcp(9, 7000),
        tcp(1, 5701),
        tcp(9, 50_000),
        udp(9, 7199, b"more"),
        ping,
    ]
}
