//! Audit mode: nothing is dropped, and what would be is counted.

use nodewall_testbed::{Listener, Protocol, skip_unless_privileged};

use super::counters::{Cells, Counters};
use super::node::Node;
use super::settings::Settings;
use super::traffic::{add, answered, probes};

#[test]
fn audit_drops_nothing_and_counts_what_it_would() {
    if skip_unless_privileged("audit_drops_nothing_and_counts_what_it_would") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let sockets = Listener::both(node.netns(), &[9042, 443]).unwrap();
    let probes = probes(node.host(), &[9042]);
    let mut expected = Cells::new();
    for peer in node.peers() {
        add(&mut expected, "cassandra", ("pass", "peer"), &probes, &answered(peer, &probes));
    }
    let knocks = answered(node.outsider(), &probes);
    add(&mut expected, "cassandra", ("would_drop", "outsider"), &probes, &knocks);
    node.assert_counted(Counters::named_and_drops, &expected);
    assert_eq!(sockets.arrived(Protocol::Tcp, 9042).count, 6);
}
