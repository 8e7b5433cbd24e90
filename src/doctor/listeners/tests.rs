//! Tests of `listeners`: real sockets in a namespace, against the embedded profile.
use std::net::{TcpListener, UdpSocket};

use nodewall_testbed::{in_own_namespace, ip};

use super::*;
use nodewall_policy::config::Config;

/// What is read in a namespace of its own, while these are bound; nothing where the test is skipped.
fn seen(tcp: &[&str], udp: &[&str]) -> Option<Listeners> {
    let mut seen = None;
    in_own_namespace(|| {
        ip("link set lo up");
        let _tcp: Vec<_> = tcp.iter().map(|address| TcpListener::bind(address).unwrap()).collect();
        let _udp: Vec<_> = udp.iter().map(|address| UdpSocket::bind(address).unwrap()).collect();
        seen = Some(read().unwrap());
    });
    seen
}

fn policy(rules: &str) -> Policy {
    Policy::from_config(&Config::parse(rules, "test.toml").unwrap()).unwrap()
}

fn lines(listeners: &Listeners, policy: &Policy, check: &str) -> Vec<(Status, String)> {
    let findings = findings(listeners, policy).into_iter().filter(|finding| finding.check == check);
    findings.map(|finding| (finding.status, finding.found)).collect()
}

#[test]
fn a_listener_that_the_policy_does_not_name_is_named_with_its_process() {
    let Some(seen) =
        seen(&["0.0.0.0:22", "0.0.0.0:9042", "[::]:10250", "127.0.0.1:2379"], &["0.0.0.0:514", "127.0.0.1:323"])
    else {
        return;
    };
    let unnamed = lines(&seen, &policy(""), "unnamed-listener");
    assert_eq!(unnamed.len(), 2, "{unnamed:?}");
    assert_eq!(unnamed[0], (Status::Ok, "open to everyone on purpose: tcp 22".to_owned()));
    assert_eq!(unnamed[1].0, Status::Note);
    assert!(unnamed[1].1.contains("tcp 10250, udp 514"), "{unnamed:?}");
    assert!(unnamed[1].1.contains(&format!("(pid {})", std::process::id())), "{unnamed:?}");

    let named = policy("[[rule]]\nname = \"kubelet\"\nports = [\"10250\"]\naccess = \"closed\"\n");
    assert!(lines(&seen, &named, "unnamed-listener")[1].1.contains("udp 514"));
    let closed = lines(&seen, &named, "closed-listener");
    assert!(closed.len() == 1 && closed[0].1.contains("tcp 10250"), "{closed:?}");
}

#[test]
fn a_clients_udp_socket_is_no_server() {
    let Some(mut seen) = seen(&[], &["0.0.0.0:40000"]) else { return };
    assert_eq!(lines(&seen, &policy(""), "unnamed-listener"), []);
    seen.local_ports = PortRange::new(50_000, 60_999);
    assert_eq!(lines(&seen, &policy(""), "unnamed-listener").len(), 1);
}

#[test]
fn cluster_ports_without_a_listener_are_named_by_class() {
    let Some(seen) = seen(&["0.0.0.0:9042", "0.0.0.0:7000", "127.0.0.1:7199"], &[]) else { return };
    let silent = lines(&seen, &policy(""), "silent-port");
    assert_eq!(silent.len(), 1);
    let (status, text) = &silent[0];
    assert_eq!(*status, Status::Note);
    // 7199 on loopback is not there for the cluster; UDP is not expected where a class has TCP.
    assert!(text.contains("cassandra tcp 7001,7199;") && !text.contains("9042") && !text.contains("udp"), "{text}");
    assert!(text.contains("hazelcast tcp 5701-5711"), "{text}");

    let udp = policy(
        "[profile]\nname = \"none\"\n[[rule]]\nname = \"gossip\"\nports = [\"9999\"]\nprotocols = [\"udp\"]\naccess = \"cluster\"\n",
    );
    let silent = lines(&seen, &udp, "silent-port");
    assert!(silent[0].1.contains("nobody listens on any cluster port: gossip udp 9999"), "{silent:?}");
}
