//! `nodewall doctor` on a real node: what is wrong with it is found and named, and a healthy one has nothing degraded.

use nodewall_testbed::{Lab, Listener, run_to_end, skip_unless_privileged};
use serde_json::Value;

use super::node::{Directories, Node, PATIENCE};
use super::settings::Settings;

/// The doctor's findings, and the exit code that goes with them.
fn findings(node: &Node) -> (i32, Vec<Value>) {
    findings_of(node, &node.directories)
}

fn findings_of(node: &Node, directories: &Directories) -> (i32, Vec<Value>) {
    let command = node.command_in(directories, "doctor", &["-o", "jsonl"]);
    let finished = run_to_end("doctor", command, PATIENCE).unwrap();
    let code = finished.status.code().unwrap_or_else(|| panic!("{finished:?}"));
    let lines =
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let findings: Vec<Value> = lines.collect();
    assert!(!findings.is_empty(), "{finished:?}");
    (code, findings)
}

fn of_check<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

/// The one finding of this check and status that speaks of `word`.
#[track_caller]
fn the_one<'a>(findings: &'a [Value], check: &str, status: &str, word: &str) -> &'a Value {
    let found: Vec<&Value> = of_check(findings, check)
        .into_iter()
        .filter(|finding| finding["status"] == status && finding["found"].as_str().unwrap().contains(word))
        .collect();
    assert!(found.len() == 1, "{check} {status} {word}: {findings:#?}");
    if status != "ok" {
        assert!(found[0]["why"].is_string() && found[0]["advice"].is_string(), "{found:#?}");
    }
    found[0]
}

fn degraded(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|f| !["ok", "note", "unknown"].contains(&f["status"].as_str().unwrap())).collect()
}

#[test]
fn a_healthy_node_has_nothing_degraded_and_nothing_changes() {
    if skip_unless_privileged("a_healthy_node_has_nothing_degraded_and_nothing_changes") {
        return;
    }
    let node = Node::enforcing();
    let before = (node.generation(), node.attachment("eth0"), node.counters().named_and_drops());
    let (code, findings) = findings(&node);
    assert_eq!((code, degraded(&findings)), (0, Vec::new()));
    the_one(&findings, "in-force", "ok", "mode enforce");
    the_one(&findings, "attached", "ok", "eth0: native, driver veth");
    the_one(&findings, "features", "ok", "XDP links");
    the_one(&findings, "filter", "ok", "instructions verified");
    the_one(&findings, "test-run", "ok", "decides as this program does");
    assert_eq!(before, (node.generation(), node.attachment("eth0"), node.counters().named_and_drops()));
}

/// As a rollout leaves a node: the file says audit for good, and an operator's word outlives it.
#[test]
fn what_an_operator_confirmed_or_added_is_no_drift() {
    if skip_unless_privileged("what_an_operator_confirmed_or_added_is_no_drift") {
        return;
    }
    let node = Node::with(&Settings::audit());
    assert!(node.nodewall("enforce", &["--allow-affected"]).status.success());
    assert!(node.nodewall("peers", &["add", "10.77.0.40"]).status.success());
    assert_eq!(node.nodewall("plan", &[]).stdout, "nothing would change\n");
    let (_, found) = findings(&node);
    the_one(&found, "in-force", "ok", "mode enforce");
    assert!(of_check(&found, "drift").is_empty(), "{found:#?}");
}

#[test]
fn before_anything_is_in_force_the_node_is_degraded_and_native_mode_is_foretold() {
    if skip_unless_privileged("before_anything_is_in_force_the_node_is_degraded_and_native_mode_is_foretold") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let (code, findings) = findings(&node);
    assert_eq!(code, 3);
    the_one(&findings, "in-force", "degraded", "no policy is in force");
    // Linux before 6.3 has only the driver's name to go by, and veth's is known.
    the_one(&findings, "native", "ok", "eth0: driver veth");
    assert!(!node.directories.pins().exists(), "doctor pins nothing");
}

#[test]
fn a_device_without_native_mode_is_named_before_it_is_attached() {
    if skip_unless_privileged("a_device_without_native_mode_is_named_before_it_is_attached") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&["over0"]));
    node.netns().ip(&["link", "add", "over0", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "eth0"]).unwrap();
    node.netns().ip_batch("addr add 10.99.0.1/24 dev over0\nlink set over0 up\n").unwrap();
    let (code, findings) = findings(&node);
    assert_eq!(code, 3);
    the_one(&findings, "native", "degraded", "over0: driver vxlan");
    the_one(&findings, "tunnel", "note", "over0 is a tunnel (vxlan) that is up, addressed (10.99.0.1/24");
}

#[test]
fn listeners_and_silent_ports_are_named() {
    if skip_unless_privileged("listeners_and_silent_ports_are_named") {
        return;
    }
    let node = Node::enforcing();
    let (_, before) = findings(&node);
    the_one(&before, "silent-port", "note", "nobody listens on any cluster port");
    assert!(of_check(&before, "unnamed-listener").is_empty(), "{before:#?}");

    let _sockets = Listener::start(node.netns(), &[9042, 10250, 22], &[]).unwrap();
    let (code, after) = findings(&node);
    assert_eq!(code, 0, "worth knowing, and no fault: {after:#?}");
    let unnamed = the_one(&after, "unnamed-listener", "note", "tcp 10250");
    // The sockets are this process's.
    assert!(unnamed["found"].as_str().unwrap().contains(&format!("(pid {})", std::process::id())), "{unnamed}");
    the_one(&after, "unnamed-listener", "ok", "tcp 22");
    let silent = the_one(&after, "silent-port", "note", "cassandra tcp 7000-7001,7199;");
    assert!(!silent["found"].as_str().unwrap().contains("9042"), "{silent}");
}

#[test]
fn an_interface_that_nothing_covers_is_named() {
    if skip_unless_privileged("an_interface_that_nothing_covers_is_named") {
        return;
    }
    let node = Node::enforcing();
    let switch = node.lab.switch().unwrap().name();
    node.netns()
        .ip(&["link", "add", "side0", "index", "201", "type", "veth", "peer", "name", "side", "netns", switch])
        .unwrap();
    node.netns().ip_batch("addr add 10.98.0.1/24 dev side0\nlink set side0 up\n").unwrap();
    let (code, findings) = findings(&node);
    assert_eq!(code, 3);
    the_one(&findings, "uncovered", "degraded", "side0 is not filtered");
    the_one(&findings, "attached", "ok", "eth0: native");
    assert!(of_check(&findings, "problem").is_empty(), "and it is said once: {findings:#?}");
}

/// Another nodewall with directories of its own is as foreign as any program.
#[test]
fn a_foreign_program_is_named_by_its_id() {
    if skip_unless_privileged("a_foreign_program_is_named_by_its_id") {
        return;
    }
    let node = Node::enforcing();
    let (_, program) = node.attachment("eth0").unwrap();
    let (code, findings) = findings_of(&node, &Directories::new());
    assert_eq!(code, 3);
    the_one(&findings, "foreign-program", "degraded", &format!("id {program}"));
}

#[test]
fn ports_that_the_host_hands_out_are_degraded() {
    if skip_unless_privileged("ports_that_the_host_hands_out_are_degraded") {
        return;
    }
    let node = Node::enforcing();
    node.netns().sysctl(&[("ipv4.ip_local_port_range", "1024 65535")]).unwrap();
    let rule = ["-t", "nat", "-A", "POSTROUTING", "-p", "tcp", "-j", "MASQUERADE", "--to-ports", "9000-9100"];
    node.netns().tool("iptables", &rule).unwrap();
    let (code, findings) = findings(&node);
    assert_eq!(code, 3);
    let ports = the_one(&findings, "local-ports", "degraded", "1024-65535");
    assert!(ports["advice"].as_str().unwrap().contains("ip_local_reserved_ports="), "{ports}");
    the_one(&findings, "masquerade", "degraded", "9000-9100");
}

#[test]
fn another_packet_filter_is_named_with_the_number_of_its_rules() {
    if skip_unless_privileged("another_packet_filter_is_named_with_the_number_of_its_rules") {
        return;
    }
    let node = Node::enforcing();
    let (_, before) = findings(&node);
    the_one(&before, "packet-filter", "ok", "no other packet filter");
    for rule in [
        "-t nat -A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 8022",
        "-A INPUT -p tcp --dport 9042 -s 10.77.0.12 -j DROP",
        "-A INPUT -p tcp --dport 9200 -m limit --limit 5/min -j DROP",
    ] {
        node.netns().tool("iptables", &rule.split(' ').collect::<Vec<_>>()).unwrap();
    }
    node.netns().tool("ip6tables", &["-A", "INPUT", "-p", "tcp", "--dport", "9042", "-j", "DROP"]).unwrap();
    for command in [
        "add table inet fw",
        "add chain inet fw in { type filter hook input priority 0 ; policy drop ; }",
        "add rule inet fw in accept",
    ] {
        node.netns().tool("nft", &command.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let (code, after) = findings(&node);
    assert_eq!(code, 0, "it works beside nodewall: {after:#?}");
    the_one(&after, "packet-filter", "note", "is active: 5 rules, 1 chain that drops");
}

#[test]
fn generic_mode_and_audit_are_notes() {
    if skip_unless_privileged("generic_mode_and_audit_are_notes") {
        return;
    }
    let node = Node::with(&Settings::audit().top("attach_mode = \"generic\""));
    let (code, findings) = findings(&node);
    assert_eq!(code, 0, "{:#?}", degraded(&findings));
    let generic = the_one(&findings, "generic", "note", "eth0: generic mode");
    assert!(generic["advice"].as_str().unwrap().contains("\"native\""), "veth has native XDP: {generic}");
    the_one(&findings, "mode", "note", "audit");
}
