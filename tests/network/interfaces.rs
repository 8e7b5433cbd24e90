//! More than one interface, and interfaces that come later: one policy and one set of counters for all of them.

use std::net::SocketAddr;

use nodewall_cases::frames::{Ip4, transport};
use nodewall_datapath::{Layer, PinDir, Target, detach, detach_egress, links};
use nodewall_testbed::{Host, Lab, Listener, Probe, Protocol, Signal, skip_unless_privileged};

use super::counters::{Cell, Counters};
use super::export::client::{get, wait_until_served};
use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{add, answered, assert_filtered, silent};

/// Peers on both networks, so that both interfaces have someone to let in.
const PEERS: [&str; 4] = ["10.77.0.11", "fd77::11", "10.79.0.11", "fd79::11"];

/// Plugs one more interface of the node's into the switch, with 10.79.0.1 and `fd79::1`; peer1 and the outsider get addresses there.
fn plug_in(node: &Node, interface: &str) {
    let switch = node.lab.switch().unwrap();
    let link = format!("link add {interface} index 200 type veth peer name second netns {}\n", switch.name());
    let addresses = |interface: &str, host: u8| {
        format!("addr add 10.79.0.{host}/24 dev {interface}\naddr add fd79::{host}/64 dev {interface} nodad\n")
    };
    node.netns().ip_batch(&(link + &addresses(interface, 1) + &format!("link set dev {interface} up\n"))).unwrap();
    switch.ip_batch("link set dev second master br0 up\n").unwrap();
    node.peers()[0].netns().ip_batch(&addresses("eth0", 11)).unwrap();
    node.outsider().netns().ip_batch(&addresses("eth0", 66)).unwrap();
}

fn second_network() -> Vec<Probe> {
    let targets = ["10.79.0.1:9042", "[fd79::1]:9042"].map(|text| text.parse::<SocketAddr>().unwrap());
    targets.iter().flat_map(|target| Protocol::ALL.map(|protocol| Probe::new(protocol, *target))).collect()
}

/// Peers are answered on the node's second interface and the outsider is not; all of it is counted with the rest.
fn assert_second_network_filtered(node: &Node) {
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let (mut expected, probes) = (node.counters().named_and_drops(), second_network());
    let [peer, outsider]: [&Host; 2] = [node.peers()[0], node.outsider()];
    add(&mut expected, "cassandra", ("pass", "peer"), &probes, &answered(peer, &probes));
    add(&mut expected, "cassandra", ("drop", "outsider"), &probes, &silent(outsider, &probes));
    node.assert_counted(Counters::named_and_drops, &expected);
}

/// By the kernel's own word.
fn wait_until_attached(node: &Node, interface: &str) {
    eventually("it is attached", || node.link_words(interface).contains(&"xdp".to_owned()).then_some(()));
}

/// The filter's link, and that of the outbound counter or the mark of its filter.
const PINS_OF_AN_INTERFACE: usize = 2;

fn pinned_links(node: &Node) -> usize {
    let pins = node.directories.pins().join("links").read_dir().unwrap();
    // What begins like this is no link: it keeps older executables away.
    pins.filter(|pin| !pin.as_ref().unwrap().file_name().to_string_lossy().starts_with('!')).count()
}

/// In time: a new interface brings addresses of the node's own, and the policy made for them replaces one link after the other.
fn attached_both(node: &Node, second: &str) {
    eventually("one program, in one mode", || {
        let [one, two] = ["eth0", second].map(|interface| node.attachment(interface));
        (one.is_some() && one == two).then_some(())
    });
}

#[test]
fn two_interfaces_have_one_policy_and_one_set_of_counters() {
    if skip_unless_privileged("two_interfaces_have_one_policy_and_one_set_of_counters") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["eth*"]).peers(&PEERS));
    plug_in(&node, "eth1");
    node.start_agent();
    attached_both(&node, "eth1");
    assert_second_network_filtered(&node);
    assert_eq!(node.counters().drops().keys().filter(|cell| cell.port == Some(9042)).count(), 2);
}

#[test]
fn an_interface_that_is_missing_is_attached_when_it_appears() {
    if skip_unless_privileged("an_interface_that_is_missing_is_attached_when_it_appears") {
        return;
    }
    let node = Node::on(Lab::new().unwrap(), &Settings::default().interfaces(&["eth0", "late0"]).peers(&PEERS));
    node.wait_for_log(|line| line.contains("late0: there is no such interface"));
    assert_eq!(node.attachment("late0"), None);
    plug_in(&node, "late0");
    wait_until_attached(&node, "late0");
    attached_both(&node, "late0");
    assert_second_network_filtered(&node);
}

/// Gone and back again under another index: attached anew, and the other interface never noticed.
#[test]
fn an_interface_that_comes_back_is_attached_again() {
    if skip_unless_privileged("an_interface_that_comes_back_is_attached_again") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["eth0", "late0"]).peers(&PEERS));
    plug_in(&node, "late0");
    node.start_agent();
    node.netns().ip(&["link", "del", "late0"]).unwrap();
    eventually("the agent forgets late0", || (pinned_links(&node) == PINS_OF_AN_INTERFACE).then_some(()));
    for host in [node.peers()[0], node.outsider()] {
        host.netns().ip_batch("addr flush dev eth0 to 10.79.0.0/24\naddr flush dev eth0 to fd79::/64\n").unwrap();
    }
    plug_in(&node, "late0");
    wait_until_attached(&node, "late0");
    assert_second_network_filtered(&node);
    let journal = std::fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap();
    assert!(journal.contains("late0 was attached; it stood open for"), "{journal}");
}

#[test]
fn one_missing_interface_does_not_keep_the_other_open() {
    if skip_unless_privileged("one_missing_interface_does_not_keep_the_other_open") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["eth0", "late0"]));
    let applied = node.nodewall("apply", &[]);
    assert_eq!(applied.status.code(), Some(3), "{applied:?}");
    assert_filtered(&node);
}

#[test]
fn what_a_pattern_covers_is_attached_when_it_appears() {
    if skip_unless_privileged("what_a_pattern_covers_is_attached_when_it_appears") {
        return;
    }
    let node = Node::on(Lab::new().unwrap(), &Settings::default().interfaces(&["eth*"]).peers(&PEERS));
    // A name that the pattern does not cover stays open, and is named.
    node.netns().ip(&["link", "add", "plain0", "type", "veth", "peer", "name", "plain1"]).unwrap();
    plug_in(&node, "eth7");
    wait_until_attached(&node, "eth7");
    attached_both(&node, "eth7");
    assert_second_network_filtered(&node);
    assert!(!node.link_words("plain0").contains(&"xdp".to_owned()));
    let agent = &node.json("status")["agent"];
    assert_eq!(agent["interfaces_reattached"], 1, "{agent}");
    assert!(agent["reattach_gap_max_ns"].as_u64().unwrap() > 0, "{agent}");
}

/// The link is to the device, not to its name.
#[test]
fn a_renamed_interface_stays_filtered_and_so_does_one_that_was_down() {
    if skip_unless_privileged("a_renamed_interface_stays_filtered_and_so_does_one_that_was_down") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["eth0", "late0"]).peers(&PEERS));
    plug_in(&node, "late0");
    node.start_agent();
    let up_again = "addr add fd79::1/64 dev wan0 nodad\n";
    let renamed = format!("link set late0 down\nlink set late0 name wan0\nlink set wan0 up\n{up_again}");
    node.netns().ip_batch(&renamed).unwrap();
    node.netns().ip(&["neigh", "flush", "dev", "wan0"]).unwrap();
    assert_second_network_filtered(&node);
    assert_eq!(node.attachment("wan0").unwrap().0, "native");
    // Another device takes the old name: it is attached, too.
    node.netns().ip(&["link", "add", "late0", "type", "veth", "peer", "name", "other0"]).unwrap();
    wait_until_attached(&node, "late0");
    assert_eq!(node.attachment("wan0").unwrap(), node.attachment("late0").unwrap());
}

#[test]
fn an_interface_that_was_moved_away_and_back_is_filtered() {
    if skip_unless_privileged("an_interface_that_was_moved_away_and_back_is_filtered") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["eth0", "late0"]).peers(&PEERS));
    plug_in(&node, "late0");
    node.start_agent();
    let elsewhere = node.outsider().netns();
    node.netns().ip(&["link", "set", "late0", "netns", elsewhere.name()]).unwrap();
    eventually("the agent misses late0", || node.attachment("late0").is_none().then_some(()));
    elsewhere.ip(&["link", "set", "late0", "netns", node.netns().name()]).unwrap();
    node.netns()
        .ip_batch("addr add 10.79.0.1/24 dev late0\naddr add fd79::1/64 dev late0 nodad\nlink set late0 up\n")
        .unwrap();
    wait_until_attached(&node, "late0");
    eventually("status knows late0", || node.attachment("late0"));
    assert_second_network_filtered(&node);
}

/// A wire of the node's own: a frame that is sent from `far0` comes in by `way0`. Neither has an address.
fn way_in(node: &Node) {
    let script = "link add way0 type veth peer name far0\nlink set way0 addrgenmode none\nlink set far0 addrgenmode none\n\
                  link set way0 up\nlink set far0 up\n";
    node.netns().ip_batch(script).unwrap();
}

/// What `nodewall status` says of an interface.
fn state(node: &Node, interface: &str) -> String {
    let status = node.json("status");
    let found = status["interfaces"].as_array().unwrap().iter().find(|one| one["name"] == interface);
    found.map_or_else(|| "none".to_owned(), |one| one["state"].as_str().unwrap().to_owned())
}

fn told(node: &Node, verb: &str) -> String {
    let said = node.nodewall(verb, &[]);
    said.stdout + &said.stderr
}

/// This host answers on one interface for the address of another (the weak host model), so an address makes no way in.
#[test]
fn a_way_in_without_an_address_is_covered_by_default() {
    if skip_unless_privileged("a_way_in_without_an_address_is_covered_by_default") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&[]));
    way_in(&node);
    node.start_agent();
    wait_until_attached(&node, "way0");
    assert_eq!(["eth0", "way0"].map(|name| state(&node, name)), ["covered", "covered"]);
    let syn = Ip4::new("10.77.0.66", 6, transport(6, 9042)).frame();
    node.netns().send_frames("far0", &[syn]).unwrap();
    let denied = Cell::port("cassandra", 9042, Protocol::Tcp, "drop", "outsider");
    node.assert_counted(Counters::named_and_drops, &[(denied, 1)].into());
    // One that is down is none, until it is up.
    node.netns().ip_batch("link add way1 type veth peer name far1\n").unwrap();
    assert_eq!(state(&node, "way1"), "none");
    node.netns().ip_batch("link set way1 up\nlink set far1 up\n").unwrap();
    wait_until_attached(&node, "way1");
}

#[test]
fn every_command_tells_the_same_of_an_interface() {
    if skip_unless_privileged("every_command_tells_the_same_of_an_interface") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    way_in(&node);
    node.start_agent();
    let open = "way0 is not filtered: `interfaces` does not name it";
    assert_eq!(["eth0", "way0", "far0"].map(|name| state(&node, name)), ["covered", "released", "released"]);
    for verb in ["status", "doctor", "plan", "apply"] {
        assert!(told(&node, verb).contains(open), "{verb}: {}", told(&node, verb));
    }
    assert_eq!(node.nodewall("status", &[]).status.code(), Some(3));
    wait_until_served(&node);
    let metrics = |node: &Node| get(node, "/metrics").body;
    let released = r#"nodewall_interface_info{interface="way0",state="released",mode=""} 1"#;
    assert!(metrics(&node).contains(released), "{}", metrics(&node));
    assert!(metrics(&node).contains("nodewall_uncovered_interfaces 2"));
    // On purpose: nobody complains any more.
    let acknowledged =
        "[[interface]]\nname = \"way0\"\nattach = \"none\"\n[[interface]]\nname = \"far0\"\nattach = \"none\"\n";
    node.configure(&Settings::default().rules(acknowledged));
    node.agent().signal(Signal::HUP).unwrap();
    eventually("it is acknowledged", || (state(&node, "way0") == "not_eligible").then_some(()));
    for verb in ["status", "doctor", "plan", "apply"] {
        assert!(!told(&node, verb).contains("way0 is not filtered"), "{verb}: {}", told(&node, verb));
    }
    assert_eq!(node.nodewall("status", &[]).status.code(), Some(0));
    assert!(metrics(&node).contains("nodewall_uncovered_interfaces 0"));
    // In another mode than the rest, which `status` shows.
    let generic =
        "[[interface]]\nname = \"way0\"\nattach = \"generic\"\n[[interface]]\nname = \"far0\"\nattach = \"none\"\n";
    node.configure(&Settings::default().interfaces(&["eth0", "way0"]).rules(generic));
    node.agent().signal(Signal::HUP).unwrap();
    eventually("it is covered", || (state(&node, "way0") == "covered").then_some(()));
    let mode = |interface: &str| node.attachment(interface).unwrap().0;
    assert_eq!(["eth0", "way0"].map(mode), ["native", "generic"]);
}

/// What somebody takes off is a repair even when a network event has the agent look after its interfaces before the watchdog looks; it is no interface that
/// appeared, whose time open is told.
#[test]
fn what_was_taken_off_is_a_repair_whoever_finds_it_first() {
    if skip_unless_privileged("what_was_taken_off_is_a_repair_whoever_finds_it_first") {
        return;
    }
    let node = Node::enforcing();
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    let index = node.netns().run(|| links(&pins).unwrap()[0].if_index).unwrap();
    let target = Target { name: "eth0".to_owned(), if_index: index, layer: Layer::Ethernet };
    let harms: [(&str, &dyn Fn()); 2] = [
        ("its link was gone", &|| assert!(node.netns().run(|| detach(&pins, &target).unwrap()).unwrap())),
        ("its outbound counter was gone", &|| {
            assert!(node.netns().run(|| detach_egress(&pins, index).unwrap()).unwrap());
        }),
    ];
    // Either may be first, so each is tried a few times.
    for (before, (what, harm)) in (0_u64..6).zip(harms.iter().cycle()) {
        harm();
        node.netns().ip_batch(&format!("link set dev eth0 alias looked-at-{before}\n")).unwrap();
        eventually(what, || (node.json("status")["repairs"].as_u64()? == before + 1).then_some(()));
        let status = node.json("status");
        assert_eq!(
            (&status["healthy"], &status["agent"]["interfaces_reattached"]),
            (&true.into(), &0.into()),
            "{status}"
        );
        let found = status["agent"]["last_repair"]["found"].as_str().unwrap();
        assert!(found.contains(what), "{found}");
    }
    let journal = std::fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap();
    assert_eq!(journal.matches("eth0 was attached again; it stood open for at most").count(), 3, "{journal}");
    assert_filtered(&node);
}
