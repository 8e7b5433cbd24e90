//! How the outbound counter hangs at an interface: by the best that the kernel has, repaired when it is taken off, gone after `detach`, and never in the
//! way of the filter.

use super::{
    counters::Cell,
    node::{Node, eventually},
    settings::Settings,
    traffic::{answered, assert_filtered},
};
use node_ebpf_common::Shape;
use nodewall_datapath::{Hook, Layer, Loaded, PinDir, Target, attach_egress, detach_egress, outlets};
use nodewall_testbed::{Family, Lab, Listener, Probe, Protocol, Signal, skip_unless_privileged};

/// How `status` says that the interface's outbound traffic is counted.
fn hook(node: &Node) -> String {
    node.json("status")["interfaces"][0]["egress"].as_str().unwrap().to_owned()
}

fn answers_to_peers(node: &Node) -> u64 {
    node.counters().sent(&Cell::port("cassandra", 9042, Protocol::Udp, "pass", "sent_from_port")).packets
}

/// One datagram from a peer is answered, and the answer is counted.
fn assert_counts(node: &Node) {
    let _sockets = Listener::udp(node.netns(), &[9042]).unwrap();
    let before = answers_to_peers(node);
    answered(node.peers()[0], &[Probe::udp(node.host().socket(Family::V4, 9042))]);
    assert_eq!(answers_to_peers(node), before + 1);
}

/// Queueing disciplines and filters, as `tc` shows them.
fn traffic_control(node: &Node) -> String {
    let tc = |arguments: &[&str]| node.netns().tool("tc", arguments).unwrap();
    tc(&["qdisc", "show", "dev", "eth0"]) + &tc(&["filter", "show", "dev", "eth0", "egress"])
}

#[test]
fn the_kernels_best_is_taken_and_detach_leaves_nothing() {
    if skip_unless_privileged("the_kernels_best_is_taken_and_detach_leaves_nothing") {
        return;
    }
    let node = Node::enforcing();
    let best = hook(&node);
    assert!(["tcx", "clsact"].contains(&best.as_str()), "{best}");
    assert_eq!(traffic_control(&node).contains("clsact"), best == "clsact");
    assert_counts(&node);
    assert!(node.nodewall("detach", &[]).status.success());
    assert!(!node.directories.pins().exists());
    assert!(!traffic_control(&node).contains("clsact"));
}

/// Somebody takes the link away: the filter never notices, and the agent puts it back.
#[test]
fn a_counter_that_was_taken_off_is_put_back() {
    if skip_unless_privileged("a_counter_that_was_taken_off_is_put_back") {
        return;
    }
    let node = Node::enforcing();
    let (best, attachment) = (hook(&node), node.attachment("eth0"));
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    let index = node.netns().run(|| outlets(&pins).unwrap()[0].if_index).unwrap();
    assert!(node.netns().run(|| detach_egress(&pins, index).unwrap()).unwrap());
    eventually("it is put back", || (hook(&node) == best).then_some(()));
    eventually("it is told", || (node.json("status")["repairs"] == 1).then_some(()));
    assert_eq!(node.attachment("eth0"), attachment, "the filter was left alone");
    assert_counts(&node);
    assert_filtered(&node);
}

/// By classic traffic control, as on kernels before 6.6: counts, is adopted by whoever comes next, and goes with all that it brought.
#[test]
fn a_filter_of_traffic_control_counts_is_adopted_and_goes() {
    if skip_unless_privileged("a_filter_of_traffic_control_counts_is_adopted_and_goes") {
        return;
    }
    for foreign_clsact in [false, true] {
        let node = Node::idle(Lab::new().unwrap(), &Settings::default());
        if foreign_clsact {
            node.netns().tool("tc", &["qdisc", "add", "dev", "eth0", "clsact"]).unwrap();
        }
        assert!(node.nodewall("apply", &[]).status.success());
        let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
        node.netns()
            .run(|| {
                let if_index = outlets(&pins).unwrap()[0].if_index;
                let target = Target { name: "eth0".into(), if_index, layer: Layer::Ethernet };
                assert!(detach_egress(&pins, if_index).unwrap());
                let mut loaded = Loaded::new(Some(&pins), Shape::PLAIN).unwrap();
                attach_egress(&mut loaded, &pins, &target, Some(Hook::Clsact)).unwrap();
            })
            .unwrap();
        assert_eq!(hook(&node), "clsact");
        assert!(traffic_control(&node).contains("nodewall_egress"), "{}", traffic_control(&node));
        assert_counts(&node);
        let program = || node.netns().run(|| outlets(&pins).unwrap()[0].program_id).unwrap();
        let first = program();
        assert!(node.nodewall("apply", &[]).status.success());
        assert_eq!(hook(&node), "clsact", "the filter was adopted");
        assert_ne!(program(), first, "its program was replaced");
        assert_eq!(traffic_control(&node).matches(" direct-action ").count(), 1);
        assert_counts(&node);
        assert!(node.nodewall("detach", &[]).status.success());
        assert!(!node.directories.pins().exists());
        let left = traffic_control(&node);
        assert!(!left.contains("nodewall_egress"), "{left}");
        assert_eq!(left.contains("clsact"), foreign_clsact, "{left}");
    }
}

/// Something is in the place of its pin: told as a problem and as the agent's alarm, while the node is filtered like any other; counted as soon
/// as the place is free.
#[test]
fn where_nothing_can_be_counted_the_filter_stands() {
    if skip_unless_privileged("where_nothing_can_be_counted_the_filter_stands") {
        return;
    }
    let mut node = Node::enforcing();
    let best = hook(&node);
    node.end_agent(Signal::TERM);
    let links = node.directories.pins().join("links");
    let pins = PinDir::open(node.directories.pins()).unwrap().unwrap();
    let index = node.netns().run(|| outlets(&pins).unwrap()[0].if_index).unwrap();
    assert!(node.netns().run(|| detach_egress(&pins, index).unwrap()).unwrap());
    // Where a tcx link would be pinned, and where the mark of a filter would be.
    let places = ["egress", "clsact"].map(|end| links.join(format!("eth0-{index}-{end}")));
    for place in &places {
        std::fs::create_dir(place).unwrap();
    }
    let (generation, attachment) = (node.generation(), node.attachment("eth0").unwrap());

    let applied = node.nodewall("apply", &[]);
    assert!(applied.status.code() == Some(3) && applied.stdout.contains("eth0: replaced"), "{applied:?}");
    assert_eq!((node.generation(), hook(&node)), (generation + 1, "none".to_owned()));
    node.start_agent();
    eventually("it is told", || {
        let status = node.json("status");
        let problems = status["problems"].to_string();
        (status["healthy"] == false && problems.contains("what it sends is not counted")).then_some(())
    });
    assert_ne!(node.attachment("eth0").unwrap(), attachment, "the filter's program is the new one");
    assert_filtered(&node);

    for place in &places {
        std::fs::remove_dir(place).unwrap();
    }
    eventually("it is counted again", || (hook(&node) == best).then_some(()));
    eventually("all is well", || (node.json("status")["healthy"] == true).then_some(()));
    assert_counts(&node);
}
