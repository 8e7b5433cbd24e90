//! `nodewall init` on a real node: interfaces, the vendor's rules in iptables, connections, the evidence of an audit; and a person at a real terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nodewall_testbed::{Host, Lab, Listener, Signal, probe_udp, run_to_end, skip_unless_privileged};
use serde_json::{Value, json};

use crate::binary::executable;

use super::node::{Directories, Node, PATIENCE, eventually};
use super::screen::Screen;
use super::settings::Settings;
use super::traffic::assert_open;

/// As the vendor's firewall service writes them.
const PORTS: &str = "5701:5711,7000,7001,7199,8018,8019,8020,8021,9042,9200,9300";

/// A node without a configuration.
fn fresh() -> Node {
    let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    fs::remove_file(node.directories.config()).unwrap();
    node
}

/// The same where there is no way in yet.
fn fresh_and_down() -> Node {
    let node = fresh();
    node.netns().ip(&["link", "set", "eth0", "down"]).unwrap();
    node
}

fn vendors_rule(node: &Node, source: &str) {
    let rule = ["-w", "-A", "INPUT", "-s", source, "-p", "tcp", "-m", "multiport", "--dports", PORTS, "-j", "ACCEPT"];
    node.netns().tool("iptables", &rule).unwrap();
}

fn connect(from: &Host, to: &str) -> TcpStream {
    let to: std::net::SocketAddr = to.parse().unwrap();
    from.netns().run(|| TcpStream::connect(to)).unwrap().unwrap()
}

fn init(node: &Node, arguments: &[&str]) -> Value {
    let ran = node.nodewall("init", &[arguments, &["-o", "json"]].concat());
    assert!(ran.status.success(), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn files_beside(node: &Node) -> Vec<PathBuf> {
    let directory = node.directories.config().parent().unwrap().to_path_buf();
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

fn sources(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["source"].as_str().unwrap()).collect()
}

#[test]
fn without_a_terminal_it_says_which_flags_are_missing() {
    if skip_unless_privileged("without_a_terminal_it_says_which_flags_are_missing") {
        return;
    }
    let node = fresh_and_down();
    let missing = |arguments: &[&str]| {
        let ran = node.nodewall("init", arguments);
        assert!(ran.status.code() == Some(2) && ran.stdout.is_empty(), "{ran:?}");
        ran.stderr
    };
    let both = missing(&[]);
    for flag in
        ["--interface ", "--peer ", "--peers-file", "--vendor-firewall", "--single-node", "--cluster-version", "--yes"]
    {
        assert!(both.contains(flag), "{flag}: {both}");
    }
    let version = missing(&["--peer", "10.77.0.11", "--interface", "eth0"]);
    assert!(version.contains("--cluster-version") && !version.contains("--single-node"), "{version}");
    assert!(!version.contains("--interface"), "{version}");
    let peers = missing(&["--agent-port-8443", "public"]);
    assert!(peers.contains("--single-node") && !peers.contains("--cluster-version"), "{peers}");
    let none = missing(&["--yes", "--interface", "eth0"]);
    assert!(none.contains("no peer is known") && none.contains("--single-node"), "{none}");
    let both_ways = missing(&["--single-node", "--peer", "10.77.0.11"]);
    assert!(both_ways.contains("--single-node") && both_ways.contains("--peer names some"), "{both_ways}");
    let enforce = missing(&["--yes", "--single-node", "--mode", "enforce"]);
    assert!(enforce.contains("nodewall enforce"), "{enforce}");
    assert_eq!(files_beside(&node), [] as [PathBuf; 0], "nothing was written");
}

#[test]
fn what_is_found_is_written_shown_and_read_back() {
    if skip_unless_privileged("what_is_found_is_written_shown_and_read_back") {
        return;
    }
    let node = fresh();
    vendors_rule(&node, "10.77.0.11");
    let _theirs = Listener::tcp(node.peers()[1].netns(), &[9042]).unwrap();
    let _ours = Listener::tcp(node.netns(), &[8443, 9200]).unwrap();
    let _to_peer = connect(node.host(), "10.77.0.12:9042");
    let _knocks = ["10.77.0.1:9200", "10.77.0.1:8443"].map(|to| connect(node.outsider(), to));
    // Who is a peer does not follow from a connection that anybody can make.
    let told = eventually("all connections are there", || {
        let told = init(&node, &["--yes", "--stdout", "--cluster-version", "1.300", "--interface", "eth0"]);
        (sources(&told["outsiders_8443"]) == ["10.77.0.66"]).then_some(told)
    });
    assert_eq!((&told["written"], files_beside(&node)), (&json!(false), vec![]));
    let told = init(&node, &["--yes", "--cluster-version", "1.300", "--interface", "eth0"]);
    // Itself among them, as in the other nodes' files.
    assert_eq!(told["peers"], json!(["10.77.0.1", "10.77.0.11", "10.77.0.12"]));
    assert_eq!(told["vendor_firewall"], json!(true));
    let found: Vec<(&Value, &Value)> =
        told["peers_found"].as_array().unwrap().iter().map(|peer| (&peer["address"], &peer["found_by"])).collect();
    assert_eq!(
        found,
        [
            (&json!("10.77.0.11"), &json!(["vendor_firewall"])),
            (&json!("10.77.0.12"), &json!(["connected_to"])),
            (&json!("10.77.0.66"), &json!(["connected_from"])),
        ]
    );
    assert_eq!(told["interfaces"], json!([{"name": "eth0", "because": "named"}]));
    assert_eq!(told["counted_8443"], Value::Null, "nothing is in force yet");
    assert_eq!((&told["mode"], &told["agent_port_8443"]), (&json!("audit"), &json!("cluster")));
    assert_eq!(told["plan"]["peers_added"], json!(["10.77.0.1", "10.77.0.11", "10.77.0.12"]));
    assert_eq!(told["plan"]["affected"], json!([]), "an audit cuts nobody off");
    let cut: Vec<(&Value, &Value)> = told["cut_off_when_enforced"]
        .as_array()
        .unwrap()
        .iter()
        .map(|affected| (&affected["source"], &affected["port"]))
        .collect();
    let outsider = json!("10.77.0.66");
    assert_eq!(cut, [(&outsider, &json!(8443)), (&outsider, &json!(9200))]);

    let written = fs::read_to_string(node.directories.config()).unwrap();
    assert_eq!(told["text"], json!(written));
    for line in [
        "mode = \"audit\"",
        "vendor_firewall = true",
        "static = [\"10.77.0.1\", \"10.77.0.12\"]",
        "cluster_version = \"1.300\"",
    ] {
        assert!(written.lines().any(|written| written == line), "{line}: {written}");
    }
    assert_eq!(fs::metadata(node.directories.config()).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(files_beside(&node).len(), 1, "nothing is left of the making: {:?}", files_beside(&node));
    // The agent puts it into force as it is, and asks the vendor's rules itself.
    let mut node = node;
    node.start_agent();
    assert_eq!(node.json("status")["mode"], "audit");
    assert_open(&node);
}

#[test]
fn it_never_replaces_a_configuration_unasked_and_keeps_the_old_one() {
    if skip_unless_privileged("it_never_replaces_a_configuration_unasked_and_keeps_the_old_one") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    let path = node.directories.config();
    let old = fs::read(&path).unwrap();
    let flags = ["--peer", "10.77.0.12", "--agent-port-8443", "public", "--interface", "eth0"];
    let refused = node.nodewall("init", &flags);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), old);
    // A peers file that others can write is no peers file.
    let peers = path.with_file_name("peers");
    fs::write(&peers, "10.77.0.11\n").unwrap();
    fs::set_permissions(&peers, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = node.nodewall("init", &[&flags[..], &["--force", "--peers-file", peers.to_str().unwrap()]].concat());
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("can be written by others"), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), old);
    fs::set_permissions(&peers, fs::Permissions::from_mode(0o644)).unwrap();
    let told = init(&node, &[&flags[..], &["--force", "--peers-file", peers.to_str().unwrap()]].concat());
    assert_eq!(told["peers"], json!(["10.77.0.1", "10.77.0.11", "10.77.0.12"]));
    assert_eq!(told["agent_port_8443"], json!("public"));
    let backup = told["backup"].as_str().unwrap();
    assert_eq!(fs::read(backup).unwrap(), old);
    assert_eq!(node.json("check")["mode"], "audit");

    // Where the last good policy enforces, a file that audits would open the node.
    node.configure(&Settings::default());
    node.start_agent();
    let before = fs::read(&path).unwrap();
    let refused = node.nodewall("init", &[&flags[..], &["--force"]].concat());
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("this node enforces"), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
    node.end_agent(Signal::TERM);
}

/// The packaged file, as it came, is nobody's work; one changed word in it is.
#[test]
fn the_packaged_configuration_makes_way() {
    if skip_unless_privileged("the_packaged_configuration_makes_way") {
        return;
    }
    let node = fresh();
    let path = node.directories.config();
    let packaged = include_str!("../../packaging/nodewall.toml");
    let flags = ["--peer", "10.77.0.12", "--agent-port-8443", "cluster", "--interface", "eth0"];
    fs::write(&path, packaged.replace("single_node = false", "single_node = true")).unwrap();
    let refused = node.nodewall("init", &flags);
    assert!(refused.status.code() == Some(1) && refused.stderr.contains("--force"), "{refused:?}");
    fs::write(&path, packaged).unwrap();
    let told = init(&node, &flags);
    assert_eq!(fs::read_to_string(told["backup"].as_str().unwrap()).unwrap(), packaged);
    assert!(fs::read_to_string(&path).unwrap().contains("\"10.77.0.12\"]\n"));
    let again = node.nodewall("init", &flags);
    assert!(again.status.code() == Some(1) && again.stderr.contains("--force"), "{again:?}");
}

/// Nothing is left in a directory where others could change it before it is read.
#[test]
fn where_others_can_write_no_configuration_is_put() {
    if skip_unless_privileged("where_others_can_write_no_configuration_is_put") {
        return;
    }
    let node = fresh();
    let path = node.directories.config();
    let above = path.parent().unwrap();
    let flags = ["--peer", "10.77.0.12", "--agent-port-8443", "cluster", "--interface", "eth0"];
    fs::set_permissions(above, fs::Permissions::from_mode(0o777)).unwrap();
    // With its state elsewhere: that is judged first.
    let refused = run_to_end("init", node.command_in(&Directories::new(), "init", &flags), PATIENCE).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&format!("chmod go-w {}", above.display())), "{refused:?}");
    assert!(!path.exists(), "nothing is left there");
    fs::set_permissions(above, fs::Permissions::from_mode(0o700)).unwrap();
    init(&node, &flags);
}

/// The same rule as the agent's: every way in.
#[test]
fn interfaces_are_found_by_the_agents_rule() {
    if skip_unless_privileged("interfaces_are_found_by_the_agents_rule") {
        return;
    }
    let node = fresh_and_down();
    let flags = ["--yes", "--stdout", "--peer", "10.77.0.11"];
    let none = node.nodewall("init", &flags);
    assert!(none.status.code() == Some(2) && none.stderr.contains("name one with --interface"), "{none:?}");
    let bridge = "link add nw0 type bridge\naddr add 10.99.1.1/24 dev nw0\nlink set nw0 up\n";
    node.netns().ip_batch(&format!("{bridge}link set eth0 up\n")).unwrap();
    let told = init(&node, &flags);
    assert_eq!(told["interfaces"], json!([{"name": "eth0", "because": "a way in"}]));
    assert_eq!(told["plan"]["interfaces_added"], json!(["eth0"]));
    // The rule is not written down as a list: what comes later is found, too.
    assert!(told["text"].as_str().unwrap().contains("\n#interfaces = "), "{told}");
}

/// An audit has seen who uses 8443; whoever decides about it is told.
#[test]
fn outsiders_of_an_audit_are_named() {
    if skip_unless_privileged("outsiders_of_an_audit_are_named") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let _server = Listener::udp(node.netns(), &[8443]).unwrap();
    let knock = probe_udp(node.outsider().netns(), "10.77.0.1:8443".parse().unwrap(), PATIENCE).unwrap();
    assert!(knock.is_answered(), "an audit drops nothing: {knock:?}");
    let told = eventually("the evidence has it", || {
        let told = init(&node, &["--yes", "--stdout", "--peer", "10.77.0.11", "--interface", "eth0"]);
        (!told["outsiders_8443"].as_array().unwrap().is_empty()).then_some(told)
    });
    assert_eq!(sources(&told["outsiders_8443"]), ["10.77.0.66"]);
    assert!(told["outsiders_8443"][0]["denied_packets"].as_u64().unwrap() > 0, "{told}");
    // The kernel's counters have it also where nobody records.
    assert_eq!(told["counted_8443"], 1, "{told}");
}

#[test]
fn a_person_at_a_terminal_is_asked() {
    if skip_unless_privileged("a_person_at_a_terminal_is_asked") {
        return;
    }
    let node = fresh_and_down();
    vendors_rule(&node, "10.77.0.11");
    let screen = Screen::start(&node, &node.command("init", &[]));
    let mut asked = BTreeMap::<&str, usize>::new();
    let mut answer = |question: &'static str, keys: &str| {
        // A question that comes again is not yet there while the answer to the first is read.
        let times = asked.entry(question).or_default();
        *times += 1;
        screen.shows(question, |text| {
            let is_last = text.trim_end().lines().next_back().is_some_and(|line| line.contains(question));
            is_last && text.matches(question).count() == *times
        });
        if !keys.is_empty() {
            screen.press(keys);
        }
        screen.press("Enter");
    };
    screen.shows("what is found", |text| text.contains("eth0: it is down"));
    answer("Which?", "");
    answer("Which?", "lo");
    answer("Which?", "eth0");
    answer("Follow the vendor's firewall rules?", "what");
    answer("Follow the vendor's firewall rules?", "y");
    answer("More addresses", "10.77.0.300");
    answer("More addresses", "10.77.0.12");
    answer("Version of the cluster", "1.160");
    answer("Who may reach 8443", "");
    let end = screen.shows("the end", |text| text.contains("ended with 0"));
    assert!(end.contains("nodewall enforce --confirm-within 5m"), "{end}");
    let written = fs::read_to_string(node.directories.config()).unwrap();
    for line in
        ["mode = \"audit\"", "vendor_firewall = true", "static = [\"10.77.0.12\"]", "cluster_version = \"1.160\""]
    {
        assert!(written.lines().any(|written| written == line), "{line}: {written}");
    }
    let checked = node.json("check");
    let agent = checked["classes"].as_array().unwrap().iter().find(|class| class["name"] == "agent").unwrap();
    assert_eq!(agent["access"], "public", "before 1.166 agents report there");
}

#[test]
fn who_leaves_before_the_end_has_written_nothing() {
    if skip_unless_privileged("who_leaves_before_the_end_has_written_nothing") {
        return;
    }
    let node = fresh_and_down();
    let screen = Screen::start(&node, &node.command("init", &[]));
    screen.shows("the first question", |text| text.contains("Which?"));
    screen.press("C-d");
    screen.shows("the end", |text| text.contains("ended with 1"));
    assert_eq!(files_beside(&node), [] as [PathBuf; 0]);
}

/// README's path on each node of a cluster: what they mean is one policy, so that `NodewallPolicyDisagreement` (one hash for a cluster) has nothing to say.
#[test]
fn three_nodes_that_were_set_up_one_by_one_have_one_policy() {
    if skip_unless_privileged("three_nodes_that_were_set_up_one_by_one_have_one_policy") {
        return;
    }
    let node = fresh();
    let [second, third] = node.peers();
    let hosts = [node.host(), second, third];
    let addresses = hosts.map(|host| host.ipv4().to_string());
    let hashes: BTreeSet<String> = (0..hosts.len())
        .map(|n| {
            let directories = Directories::new();
            let run = |verb: &str, arguments: &[&str]| {
                let mut command = hosts[n].netns().command(executable());
                command.arg(verb).arg("--config").arg(directories.config()).arg("--bpffs").arg(directories.pins());
                command.arg("--state-dir").arg(directories.state_dir()).args(arguments);
                run_to_end(verb, command, PATIENCE).unwrap()
            };
            let mut flags = vec!["--yes", "--cluster-version", "1.300", "--interface", hosts[n].interface()];
            for other in addresses.iter().enumerate().filter(|(other, _)| *other != n) {
                flags.extend(["--peer", other.1]);
            }
            let written = run("init", &flags);
            assert!(written.status.success(), "{written:?}");
            let applied = run("apply", &[]);
            assert!(applied.status.success(), "{applied:?}");
            let status: Value = serde_json::from_str(&run("status", &["-o", "json"]).stdout).unwrap();
            assert_eq!(status["peers"], 3, "{status}");
            let detached = run("detach", &[]);
            assert!(detached.status.success(), "{detached:?}");
            status["policy_sha256"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(hashes.len(), 1, "{hashes:?}");
}
