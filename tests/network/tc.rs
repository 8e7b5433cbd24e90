//! The filter at the tc hook: for those who ask, beside other people's programs, changed to and from without an open moment, repaired when somebody takes
//! it away. How it is attached; what it counts is `tc_amounts`, devices without an Ethernet header are `tc_layer_3`.

use std::time::{Duration, Instant};

use node_ebpf_common::Shape;
use nodewall_datapath::{
    Hook, Layer, Link, Loaded, PinDir, Target, attach_egress, attach_tc, detach, detach_egress, inbound_programs, links,
};
use nodewall_testbed::{
    Foreign, Lab, Listener, Protocol, Signal, detach_link, judge_time, run_to_end, skip_unless_privileged, until,
};

use super::{
    frames::{self, Link as Ends},
    node::{Directories, Node, PATIENCE, eventually},
    settings::Settings,
    traffic::assert_filtered,
};

const PORT: u16 = 9_042;

fn at_tc() -> Settings {
    Settings::default().top("attach_mode = \"tc\"")
}

/// Our filter's attachment, as the kernel shows it.
fn attachment(node: &Node) -> Option<Link> {
    let pins = PinDir::open(node.directories.pins()).unwrap()?;
    node.netns().run(|| links(&pins).unwrap()).unwrap().into_iter().next()
}

/// Queueing disciplines and filters, as `tc` shows them.
fn traffic_control(node: &Node) -> String {
    let tc = |arguments: &[&str]| node.netns().tool("tc", arguments).unwrap();
    tc(&["qdisc", "show", "dev", "eth0"]) + &tc(&["filter", "show", "dev", "eth0", "ingress"])
}

fn target(node: &Node) -> Target {
    Target { name: "eth0".into(), if_index: attachment(node).unwrap().if_index, layer: Layer::Ethernet }
}

/// Puts the policy in force with a filter of classic traffic control, as on kernels before 6.6. Without an agent.
fn by_clsact(node: &Node) {
    assert!(node.nodewall("apply", &[]).status.success());
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    let target = target(node);
    node.netns()
        .run(|| {
            let mut loaded = Loaded::new(Some(&pins), Shape::PER_PEER).unwrap();
            assert!(detach(&pins, &target).unwrap());
            attach_tc(&mut loaded, &pins, &target, Some(Hook::Clsact)).unwrap();
        })
        .unwrap();
    assert_eq!(attachment(node).unwrap().hook, Hook::Clsact);
}

fn journal(node: &Node) -> String {
    std::fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap()
}

#[test]
fn tc_is_for_those_who_ask_and_detach_leaves_nothing() {
    if skip_unless_privileged("tc_is_for_those_who_ask_and_detach_leaves_nothing") {
        return;
    }
    let mut node = Node::with(&at_tc());
    assert_eq!(node.attachment("eth0").unwrap().0, "tc");
    assert!(!node.link_words("eth0").iter().any(|word| word.starts_with("xdp")), "no XDP");
    assert_filtered(&node);
    // The agent's end leaves it, and the next agent takes it over.
    assert!(node.end_agent(Signal::TERM).success());
    assert_filtered(&node);
    node.start_agent();
    assert_filtered(&node);
    let if_index = attachment(&node).unwrap().if_index;
    assert!(node.nodewall("detach", &[]).status.success());
    assert!(!node.directories.pins().exists());
    let left = traffic_control(&node);
    assert!(!left.contains("nodewall") && !left.contains("clsact"), "{left}");
    assert_eq!(node.netns().run(|| inbound_programs(if_index)).unwrap(), Vec::<u32>::new());
}

/// Classic traffic control: adopted by whoever comes next, and gone with all that it brought.
#[test]
fn a_filter_of_traffic_control_filters_is_adopted_and_goes() {
    if skip_unless_privileged("a_filter_of_traffic_control_filters_is_adopted_and_goes") {
        return;
    }
    for foreign_clsact in [false, true] {
        let node = Node::idle(Lab::new().unwrap(), &at_tc());
        if foreign_clsact {
            node.netns().tool("tc", &["qdisc", "add", "dev", "eth0", "clsact"]).unwrap();
        }
        by_clsact(&node);
        assert!(traffic_control(&node).contains("nodewall_ingress"), "{}", traffic_control(&node));
        assert_filtered(&node);
        let first = attachment(&node).unwrap();
        let applied = node.nodewall("apply", &[]);
        assert!(applied.stdout.contains("eth0: replaced"), "{applied:?}");
        let second = attachment(&node).unwrap();
        assert_eq!((second.hook, &second.pin), (Hook::Clsact, &first.pin), "the filter was adopted");
        assert_ne!(second.program_id, first.program_id, "its program was replaced");
        assert_eq!(traffic_control(&node).matches(" direct-action ").count(), 1);
        assert_eq!(node.attachment("eth0").unwrap(), ("tc".to_owned(), u64::from(second.program_id)));
        assert_filtered(&node);
        // Without its mark it is known by its maps.
        std::fs::remove_file(&second.pin).unwrap();
        assert!(node.nodewall("apply", &[]).status.success());
        assert_eq!(traffic_control(&node).matches(" direct-action ").count(), 1);
        assert!(node.nodewall("detach", &[]).status.success());
        assert!(!node.directories.pins().exists());
        let left = traffic_control(&node);
        assert!(!left.contains("nodewall"), "{left}");
        // A clsact whose mark was lost may be anybody's.
        assert!(left.contains("clsact"), "{left}");
    }
}

/// Both directions hang at one clsact: who goes last takes it away.
#[test]
fn the_clsact_of_both_directions_goes_with_the_last() {
    if skip_unless_privileged("the_clsact_of_both_directions_goes_with_the_last") {
        return;
    }
    for inbound_first in [false, true] {
        let node = Node::idle(Lab::new().unwrap(), &at_tc());
        by_clsact(&node);
        let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
        let target = target(&node);
        node.netns()
            .run(|| {
                let mut loaded = Loaded::new(Some(&pins), Shape::PER_PEER).unwrap();
                detach_egress(&pins, target.if_index).unwrap();
                attach_egress(&mut loaded, &pins, &target, Some(Hook::Clsact)).unwrap();
                let take_away = |inbound: bool| {
                    if inbound { detach(&pins, &target) } else { detach_egress(&pins, target.if_index) }.unwrap();
                };
                take_away(inbound_first);
                assert!(traffic_control(&node).contains("clsact"));
                take_away(!inbound_first);
            })
            .unwrap();
        assert!(!traffic_control(&node).contains("clsact"), "{}", traffic_control(&node));
    }
}

/// Somebody deletes the queueing discipline, or detaches the link: it is put back at once, and the journal tells how long the interface stood open.
#[test]
fn a_filter_that_somebody_deletes_is_put_back_and_the_gap_is_told() {
    if skip_unless_privileged("a_filter_that_somebody_deletes_is_put_back_and_the_gap_is_told") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &at_tc());
    by_clsact(&node);
    node.start_agent();
    let told = |node: &Node| journal(node).matches("stood open for").count();
    let (before, began) = (told(&node), Instant::now());
    node.netns().tool("tc", &["qdisc", "del", "dev", "eth0", "clsact"]).unwrap();
    eventually("it is put back", || attachment(&node));
    let gap = began.elapsed();
    judge_time(gap <= Duration::from_secs(1), || format!("a deleted clsact was put back after {gap:?}"));
    eventually("it is told", || (told(&node) > before).then_some(()));
    assert_filtered(&node);

    let link = attachment(&node).unwrap();
    if link.hook == Hook::Tcx {
        let repairs = node.json("status")["repairs"].as_u64().unwrap();
        detach_link(&link.pin).unwrap();
        eventually("the link is put back", || attachment(&node));
        eventually("it is told", || (node.json("status")["repairs"].as_u64().unwrap() > repairs).then_some(()));
        assert_filtered(&node);
    }
}

/// A flood to a cluster port goes on while `apply` changes the mode there and back: not one datagram reaches the socket, and none is missing in the counters.
#[test]
fn the_mode_is_changed_to_tc_and_back_without_an_open_moment() {
    if skip_unless_privileged("the_mode_is_changed_to_tc_and_back_without_an_open_moment") {
        return;
    }
    let node = Node::enforcing();
    let sockets = Listener::udp(node.netns(), &[PORT]).unwrap();
    let (from, to) = (node.outsider().ipv4().into(), node.host().ipv4().into());
    let frame = frames::udp(Ends::between(node.outsider(), node.host()), (from, 40_000), (to, PORT), b"knock");
    let flood = node.outsider().netns().flood("eth0", vec![frame], 20_000, PATIENCE).unwrap();
    let single =
        |mode: &str| Settings::default().rules(&format!("[[interface]]\nname = \"eth0\"\nattach = \"{mode}\"\n"));
    for (from, to) in [("native", "tc"), ("tc", "generic"), ("generic", "tc"), ("tc", "native")] {
        node.configure(&single(to));
        node.agent().signal(Signal::HUP).unwrap();
        let problem = format!("it is attached in {from} mode and attach_mode = \\\"{to}\\\"");
        until("status tells that it is not as configured", || {
            node.json("status")["problems"].to_string().contains(&problem)
        });
        assert_eq!(node.attachment("eth0").unwrap().0, from, "the agent changes no mode by itself");
        let applied = node.nodewall("apply", &[]);
        assert!(applied.status.success(), "{applied:?}");
        assert_eq!(node.attachment("eth0").unwrap().0, to);
        let told = format!("eth0 went from {from} to {to} mode; it was filtered all the time");
        assert!(journal(&node).contains(&told), "{}", journal(&node));
        until("the agent follows", || node.json("status")["healthy"] == true);
        assert_eq!(
            node.netns()
                .run(|| links(&PinDir::open(node.directories.pins()).unwrap().unwrap()).unwrap().len())
                .unwrap(),
            1
        );
    }
    let sent = flood.stop().unwrap().total_packets();
    eventually("all of it is counted", || (dropped(&node) >= sent).then_some(()));
    assert_eq!(sockets.arrived(Protocol::Udp, PORT).count, 0, "of {sent} datagrams");
}

fn dropped(node: &Node) -> u64 {
    node.counters().drops().values().sum()
}

/// The XDP program of somebody else stays where it is, and what it lets pass is filtered.
#[test]
fn the_xdp_program_of_others_stays_and_what_it_passes_is_filtered() {
    if skip_unless_privileged("the_xdp_program_of_others_stays_and_what_it_passes_is_filtered") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &at_tc());
    let foreign = Foreign::attach(node.netns(), "eth0").unwrap();
    node.start_agent();
    assert_eq!(node.attachment("eth0").unwrap().0, "tc");
    assert!(node.link_words("eth0").contains(&foreign.id().to_string()), "{:?}", node.link_words("eth0"));
    assert_filtered(&node);
    until("all is well", || node.json("status")["healthy"] == true);
    // XDP beside another's XDP stays refused, and what filters goes on.
    node.configure(&Settings::default());
    let applied = node.nodewall("apply", &[]);
    assert_eq!(applied.status.code(), Some(3), "{applied:?}");
    assert!(node.json("status")["problems"].to_string().contains(&format!("program id {}", foreign.id())));
    assert_filtered(&node);
}

/// Another nodewall, with directories of its own, would filter by another policy at the same hook.
#[test]
fn another_nodewall_at_the_hook_is_refused_by_its_id() {
    if skip_unless_privileged("another_nodewall_at_the_hook_is_refused_by_its_id") {
        return;
    }
    let node = Node::with(&at_tc());
    let attached = node.attachment("eth0").unwrap();
    let other = Directories::new();
    for verb in ["run", "apply"] {
        let refused = run_to_end(verb, node.command_in(&other, verb, &[]), PATIENCE).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(&format!("program id {}", attached.1)), "{refused:?}");
        assert!(!other.pins().exists(), "{verb} left pins behind");
    }
    assert_eq!(node.attachment("eth0").unwrap(), attached);
    assert_filtered(&node);
}

/// Made anew, also with the same index: covered again.
#[test]
fn a_device_that_is_made_anew_is_covered_again() {
    if skip_unless_privileged("a_device_that_is_made_anew_is_covered_again") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &at_tc().interfaces(&["eth0", "late0"]));
    let make = "link add late0 index 200 type veth peer name far0 index 201\nlink set late0 up\nlink set far0 up\n";
    node.netns().ip_batch(make).unwrap();
    node.start_agent();
    let (mode, first) = node.attachment("late0").unwrap();
    assert_eq!(mode, "tc");
    for round in 0..3 {
        node.netns().ip(&["link", "del", "late0"]).unwrap();
        node.netns().ip_batch(make).unwrap();
        let again = eventually("it is covered again", || node.attachment("late0"));
        assert_eq!(again, ("tc".to_owned(), first), "round {round}: by the same program");
    }
}
