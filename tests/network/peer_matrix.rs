//! `counters --per-peer` against what real hosts sent and received: each peer's frames and bytes, both ways, exactly.

use std::collections::BTreeMap;

use nodewall_testbed::{Family, Host, Listener, Probe, Protocol, Signal, skip_unless_privileged};

use super::counters::{Cell, Sent};
use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{answered, probes};

/// Peer, port, protocol, direction.
type Key = (String, u64, String, String);

fn matrix(node: &Node) -> BTreeMap<Key, Sent> {
    let finished = node.nodewall("counters", &["--per-peer", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(json["enabled"], true, "{json}");
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows = json["rows"].as_array().unwrap().iter().map(|row| {
        assert_eq!(row["class"], "cassandra", "{row}");
        let key = (text(row, "peer"), row["port"].as_u64().unwrap(), text(row, "protocol"), text(row, "direction"));
        (key, Sent { packets: row["packets"].as_u64().unwrap(), bytes: row["bytes"].as_u64().unwrap() })
    });
    rows.collect()
}

fn per_peer() -> Settings {
    Settings::default().rules("[counters]\nper_peer = true\n")
}

fn key(peer: &Host, family: Family, port: u64, protocol: Protocol, direction: &str) -> Key {
    (peer.address(family).to_string(), port, protocol.name().into(), direction.into())
}

/// Waits for the last segments of connections, then holds the matrix to the counters: a row's peers are the row.
fn settled(node: &Node) -> BTreeMap<Key, Sent> {
    eventually("the peers of a row come to the row", || {
        let (before, counters, after) = (matrix(node), node.counters(), matrix(node));
        let sum = |protocol: &str, direction: &str| {
            let rows = after.iter().filter(|((_, port, p, d), _)| (*port, &**p, &**d) == (9042, protocol, direction));
            rows.fold(Sent::default(), |sum, (_, row)| Sent {
                packets: sum.packets + row.packets,
                bytes: sum.bytes + row.bytes,
            })
        };
        let same = Protocol::ALL.into_iter().all(|protocol| {
            let cell = |reason| Cell::port("cassandra", 9042, protocol, "pass", reason);
            let passed = Sent { packets: counters.packets(&cell("peer")), bytes: counters.bytes(&cell("peer")) };
            let [to, from] = ["sent_to_port", "sent_from_port"].map(|reason| counters.sent(&cell(reason)));
            let sent = Sent { packets: to.packets + from.packets, bytes: to.bytes + from.bytes };
            sum(protocol.name(), "in") == passed && sum(protocol.name(), "out") == sent
        });
        (same && before == after).then_some(after)
    })
}

#[test]
fn each_peer_is_counted_both_ways_exactly() {
    if skip_unless_privileged("each_peer_is_counted_both_ways_exactly") {
        return;
    }
    let node = Node::with(&per_peer());
    let peers = node.peers();
    let _ours = Listener::both(node.netns(), &[9042]).unwrap();
    let _theirs = peers.map(|peer| Listener::both(peer.netns(), &[9042]).unwrap());
    // The first asks twice over each family, the second once; the node asks the second twice.
    for peer in [peers[0], peers[0], peers[1]] {
        answered(peer, &probes(node.host(), &[9042]));
    }
    for _ in 0..2 {
        answered(node.host(), &probes(peers[1], &[9042]));
    }
    let outsider = node.outsider();
    let _outside = Listener::both(outsider.netns(), &[9042]).unwrap();
    answered(node.host(), &[Probe::udp(outsider.socket(Family::V4, 9042))]);

    let matrix = {
        // The outsider is no peer: what was sent to it is on the row and of nobody.
        let one = node.counters().sent(&Cell::port("cassandra", 9042, Protocol::Udp, "pass", "sent_to_port"));
        assert_eq!(one.packets, 5);
        matrix(&node)
    };
    for family in Family::ALL {
        let packets = |peer, protocol, direction| {
            matrix.get(&key(peer, family, 9042, protocol, direction)).copied().unwrap_or_default().packets
        };
        // A datagram for a datagram. Answers to what the node asked come to a port that nobody names.
        assert_eq!([packets(peers[0], Protocol::Udp, "in"), packets(peers[0], Protocol::Udp, "out")], [2, 2]);
        assert_eq!([packets(peers[1], Protocol::Udp, "in"), packets(peers[1], Protocol::Udp, "out")], [1, 3]);
        for peer in peers {
            assert!(packets(peer, Protocol::Tcp, "in") >= 4 && packets(peer, Protocol::Tcp, "out") >= 4, "{matrix:?}");
        }
    }
    assert_eq!(matrix.len(), 16, "two peers, two families, two protocols, two ways: {matrix:?}");
}

/// Restarts, a killed agent, a peer that leaves and comes back among others: its number is its own, and carries on.
#[test]
fn restarts_and_swaps_keep_each_peers_numbers() {
    if skip_unless_privileged("restarts_and_swaps_keep_each_peers_numbers") {
        return;
    }
    let mut node = Node::with(&per_peer());
    let lab = std::sync::Arc::clone(&node.lab);
    let (one, two) = (lab.peer1().unwrap(), lab.peer2().unwrap());
    let _ours = Listener::both(node.netns(), &[9042]).unwrap();
    let ask = |node: &Node, peer: &Host| {
        answered(peer, &[Probe::udp(node.host().socket(Family::V4, 9042))]);
    };
    let udp = |peer: &Host, direction| key(peer, Family::V4, 9042, Protocol::Udp, direction);
    let packets = |node: &Node, peer: &Host| {
        let all = settled(node);
        ["in", "out"].map(|direction| all.get(&udp(peer, direction)).copied().unwrap_or_default().packets)
    };
    for (round, signal) in [(1, Signal::TERM), (2, Signal::KILL)] {
        ask(&node, one);
        ask(&node, two);
        assert_eq!([packets(&node, one), packets(&node, two)], [[round; 2]; 2]);
        node.end_agent(signal);
        node.start_agent();
    }
    let reload = |node: &Node, settings: &Settings| {
        let generation = node.generation();
        node.configure(settings);
        node.agent().signal(Signal::HUP).unwrap();
        eventually("the new policy", || (node.generation() > generation).then_some(()));
    };
    // A peer that sorts before all others comes, and the first goes.
    let [one_v4, two_v4] = [one, two].map(|peer| peer.address(Family::V4).to_string());
    reload(&node, &per_peer().peers(&["10.0.0.1", "fd77::11", &two_v4, "fd77::12"]));
    ask(&node, two);
    assert_eq!([packets(&node, one), packets(&node, two)], [[2; 2], [3; 2]]);
    reload(&node, &per_peer().peers(&["10.0.0.1", "fd77::11", &one_v4, &two_v4, "fd77::12"]));
    ask(&node, one);
    assert_eq!([packets(&node, one), packets(&node, two)], [[3; 2]; 2]);
}

/// 300 peers, of which the lab's hosts are the last: no slot is left for them.
#[test]
fn peers_beyond_those_with_cells_of_their_own_are_counted_as_others() {
    if skip_unless_privileged("peers_beyond_those_with_cells_of_their_own_are_counted_as_others") {
        return;
    }
    let mut peers: Vec<String> = (0..298).map(|n| format!("10.66.{}.{}", n / 250, n % 250 + 1)).collect();
    let lab = nodewall_testbed::Lab::new().unwrap();
    peers.extend([lab.peer1().unwrap(), lab.peer2().unwrap()].map(|peer| peer.address(Family::V4).to_string()));
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let node = Node::on(lab, &per_peer().peers(&peers));
    let _ours = Listener::both(node.netns(), &[9042]).unwrap();
    for peer in node.peers() {
        answered(peer, &[Probe::udp(node.host().socket(Family::V4, 9042))]);
    }
    let other = |direction: &str| ("other".to_owned(), 9042, "udp".to_owned(), direction.to_owned());
    let all = settled(&node);
    let packets: BTreeMap<Key, u64> = all.into_iter().map(|(key, sent)| (key, sent.packets)).collect();
    assert_eq!(packets, BTreeMap::from([(other("in"), 2), (other("out"), 2)]));
    let table = node.nodewall("counters", &["--per-peer"]).stdout;
    assert!(table.lines().next().unwrap().starts_with("PEER") && table.contains("other"), "{table}");
}
