//! The vendor's table, row by row, over real sockets; and what the table does not name.

use std::thread;

use nodewall_testbed::{Family, Listener, Outcome, Probe, Protocol, probe_many, skip_unless_privileged};

use super::counters::{Cells, Counters};
use super::node::{Node, PATIENCE};
use super::settings::Settings;
use super::traffic::{add, answered, everyone, nat, peers_only, probes, silent, unmanaged};

/// Every port of the table, both ends of its range and all between.
const TABLE: [u16; 24] = [
    443, 8443, 8018, 8019, 8020, 8021, 8022, 5701, 5702, 5703, 5704, 5705, 5706, 5707, 5708, 5709, 5710, 5711, 9042,
    7000, 7001, 7199, 9200, 9300,
];

#[test]
fn https_443_is_open_to_everyone() {
    if skip_unless_privileged("https_443_is_open_to_everyone") {
        return;
    }
    everyone(&Node::enforcing(), "https", &[443]);
}

/// As on real nodes, where 443 belongs to nobody and a prerouting rule hands it to the web server on 8022.
#[test]
fn https_443_redirected_to_8022_works_while_8022_straight_is_dropped() {
    if skip_unless_privileged("https_443_redirected_to_8022_works_while_8022_straight_is_dropped") {
        return;
    }
    let node = Node::enforcing();
    nat(node.netns(), "prerouting priority dstnat; tcp dport 443 redirect to :8022");
    let web_server = Listener::tcp(node.netns(), &[8022]).unwrap();
    // Several packets both ways, as a TLS handshake with a certificate chain and a page have.
    let exchange = Family::ALL.map(|family| Probe::tcp(node.host().socket(family, 443)).payload(64 * 1024));
    let straight = Family::ALL.map(|family| Probe::tcp(node.host().socket(family, 8022)));
    let outsider = node.outsider();
    let knocks = thread::scope(|scope| {
        let knocking = scope.spawn(|| silent(outsider, &straight));
        for probed in probe_many(outsider.netns(), &exchange, PATIENCE).unwrap() {
            assert_eq!(probed.outcome, Outcome::Answered { by_port: 8022 });
        }
        knocking.join().unwrap()
    });
    // What came in on 443, and nothing else, reached the web server.
    let arrived = web_server.arrived(Protocol::Tcp, 8022);
    assert_eq!(arrived.sources, Family::ALL.map(|family| (outsider.address(family), 1)).into());
    assert!(arrived.bytes >= 2 * 64 * 1024, "{arrived:?}");
    let mut expected = Cells::new();
    add(&mut expected, "web-nginx", ("drop", "outsider"), &straight, &knocks);
    node.assert_counted(Counters::drops, &expected);
}

#[test]
fn agent_8443_is_for_peers_by_default() {
    if skip_unless_privileged("agent_8443_is_for_peers_by_default") {
        return;
    }
    peers_only(&Node::enforcing(), "agent", &[8443]);
}

#[test]
fn agent_8443_is_for_peers_from_cluster_version_1_166() {
    if skip_unless_privileged("agent_8443_is_for_peers_from_cluster_version_1_166") {
        return;
    }
    peers_only(&Node::with(&Settings::profile("cluster_version = \"1.166\"")), "agent", &[8443]);
}

#[test]
fn agent_8443_is_public_below_cluster_version_1_166() {
    if skip_unless_privileged("agent_8443_is_public_below_cluster_version_1_166") {
        return;
    }
    everyone(&Node::with(&Settings::profile("cluster_version = \"1.165\"")), "agent", &[8443]);
}

/// An upgraded cluster: the word wins over the version.
#[test]
fn agent_8443_is_public_when_the_operator_says_so() {
    if skip_unless_privileged("agent_8443_is_public_when_the_operator_says_so") {
        return;
    }
    let upgraded = Settings::profile("cluster_version = \"1.300\"\nagent_port_8443 = \"public\"");
    everyone(&Node::with(&upgraded), "agent", &[8443]);
}

#[test]
fn nodekeeper_8018_is_for_peers() {
    if skip_unless_privileged("nodekeeper_8018_is_for_peers") {
        return;
    }
    peers_only(&Node::enforcing(), "nodekeeper", &[8018]);
}

#[test]
fn upgrade_ui_8019_is_for_peers() {
    if skip_unless_privileged("upgrade_ui_8019_is_for_peers") {
        return;
    }
    peers_only(&Node::enforcing(), "upgrade-ui", &[8019]);
}

#[test]
fn web_api_8020_and_8021_are_for_peers() {
    if skip_unless_privileged("web_api_8020_and_8021_are_for_peers") {
        return;
    }
    peers_only(&Node::enforcing(), "web-api", &[8020, 8021]);
}

#[test]
fn web_nginx_8022_is_for_peers_by_default() {
    if skip_unless_privileged("web_nginx_8022_is_for_peers_by_default") {
        return;
    }
    peers_only(&Node::enforcing(), "web-nginx", &[8022]);
}

/// "An equivalent to 443 if usage of a non-privileged port is required."
#[test]
fn web_nginx_8022_is_public_when_the_operator_says_so() {
    if skip_unless_privileged("web_nginx_8022_is_public_when_the_operator_says_so") {
        return;
    }
    everyone(&Node::with(&Settings::profile("web_port_8022 = \"public\"")), "web-nginx", &[8022]);
}

#[test]
fn hazelcast_5701_to_5711_are_for_peers_with_both_ends() {
    if skip_unless_privileged("hazelcast_5701_to_5711_are_for_peers_with_both_ends") {
        return;
    }
    peers_only(&Node::enforcing(), "hazelcast", &(5701..=5711).collect::<Vec<_>>());
}

#[test]
fn hazelcast_neighbours_5700_and_5712_are_open() {
    if skip_unless_privileged("hazelcast_neighbours_5700_and_5712_are_open") {
        return;
    }
    unmanaged(&Node::enforcing(), &[5700, 5712]);
}

#[test]
fn cassandra_9042_7000_7001_and_7199_are_for_peers() {
    if skip_unless_privileged("cassandra_9042_7000_7001_and_7199_are_for_peers") {
        return;
    }
    peers_only(&Node::enforcing(), "cassandra", &[9042, 7000, 7001, 7199]);
}

#[test]
fn elasticsearch_9200_and_9300_are_for_peers() {
    if skip_unless_privileged("elasticsearch_9200_and_9300_are_for_peers") {
        return;
    }
    peers_only(&Node::enforcing(), "elasticsearch", &[9200, 9300]);
}

#[test]
fn the_current_profile_gives_5711_to_nodekeeper() {
    if skip_unless_privileged("the_current_profile_gives_5711_to_nodekeeper") {
        return;
    }
    peers_only(&Node::with(&Settings::profile("name = \"dynatrace-managed-current\"")), "nodekeeper", &[5711, 8018]);
}

#[test]
fn the_current_profile_ends_hazelcast_at_5710() {
    if skip_unless_privileged("the_current_profile_ends_hazelcast_at_5710") {
        return;
    }
    peers_only(&Node::with(&Settings::profile("name = \"dynatrace-managed-current\"")), "hazelcast", &[5701, 5710]);
}

#[test]
fn the_current_profile_keeps_activegate_9998_for_peers() {
    if skip_unless_privileged("the_current_profile_keeps_activegate_9998_for_peers") {
        return;
    }
    peers_only(&Node::with(&Settings::profile("name = \"dynatrace-managed-current\"")), "activegate", &[9998]);
}

#[test]
fn the_default_profile_does_not_name_9998() {
    if skip_unless_privileged("the_default_profile_does_not_name_9998") {
        return;
    }
    unmanaged(&Node::enforcing(), &[9998]);
}

#[test]
fn what_the_policy_does_not_name_passes_and_is_counted() {
    if skip_unless_privileged("what_the_policy_does_not_name_passes_and_is_counted") {
        return;
    }
    // The neighbours of every named port, so that no rule is wider than it says.
    let neighbours = [
        80, 442, 444, 6999, 7002, 7198, 7200, 8017, 8023, 8080, 8442, 8444, 9041, 9043, 9199, 9201, 9299, 9301, 50_000,
    ];
    unmanaged(&Node::enforcing(), &neighbours);
}

#[test]
fn ssh_is_not_cut_off_by_either_embedded_profile() {
    if skip_unless_privileged("ssh_is_not_cut_off_by_either_embedded_profile") {
        return;
    }
    for profile in ["dynatrace-managed", "dynatrace-managed-current"] {
        unmanaged(&Node::with(&Settings::profile(&format!("name = {profile:?}"))), &[22]);
    }
}

/// Each peer reaches the node and the node reaches each peer, on every port of the table.
#[test]
fn peers_and_the_node_reach_one_another_on_all_ports() {
    if skip_unless_privileged("peers_and_the_node_reach_one_another_on_all_ports") {
        return;
    }
    let node = Node::enforcing();
    let hosts = || node.peers().into_iter().chain([node.host()]);
    let _sockets: Vec<Listener> = hosts().map(|host| Listener::both(host.netns(), &TABLE).unwrap()).collect();
    for peer in node.peers() {
        answered(peer, &probes(node.host(), &TABLE));
        answered(node.host(), &probes(peer, &TABLE));
    }
    node.assert_no_drops();
}
