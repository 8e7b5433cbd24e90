//! Starts from what is on disk, and the guards in front of a policy that would cut somebody off.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{lchown, symlink};

use nodewall_testbed::{Lab, Listener, run_to_end, skip_unless_privileged};

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::{assert_filtered, assert_open, nat};

/// What a power cut leaves: the state directory, and nothing in the kernel.
fn power_cut(node: &Node) {
    fs::remove_dir_all(node.directories.pins()).unwrap();
    let filtered = || node.link_words("eth0").iter().any(|word| word.starts_with("xdp"));
    eventually("the kernel let go of the link", || (!filtered()).then_some(()));
}

#[test]
fn a_boot_with_a_broken_configuration_enforces_the_last_good_policy() {
    if skip_unless_privileged("a_boot_with_a_broken_configuration_enforces_the_last_good_policy") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    node.configure_text("mode = \"enforced\"\n");
    // Nothing was ever in force: refused, and the node is as it was.
    assert_eq!(node.nodewall("apply", &[]).status.code(), Some(1));
    node.configure(&Settings::default());
    assert!(node.nodewall("apply", &[]).status.success());
    let (generation, sha) = (node.generation(), node.json("status")["policy_sha256"].clone());
    node.configure_text("mode = \"enforced\"\n");
    // While it is in force, a broken file changes nothing, and is an error.
    assert_eq!(node.nodewall("apply", &[]).status.code(), Some(1));
    power_cut(&node);
    assert_open(&node);
    let boot = node.nodewall("apply", &[]);
    assert_eq!(boot.status.code(), Some(3), "{boot:?}");
    assert!(boot.stderr.contains("nodewall.toml:1:8") && boot.stderr.contains("last good policy"), "{boot:?}");
    assert_filtered(&node);
    assert_eq!((node.generation(), &node.json("status")["policy_sha256"]), (generation + 1, &sha));
    // The agent does the same, and takes the file as soon as it is right again.
    power_cut(&node);
    node.start_agent();
    assert_filtered(&node);
    node.configure(&Settings::default().top("tunnels = \"all\""));
    eventually("the agent read the mended file", || (node.json("status")["policy_sha256"] != sha).then_some(()));
    assert_filtered(&node);
}

#[test]
fn damaged_state_is_not_believed() {
    if skip_unless_privileged("damaged_state_is_not_believed") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    assert!(node.nodewall("apply", &[]).status.success());
    let first = node.json("status")["policy_sha256"].clone();
    node.configure(&Settings::default().top("tunnels = \"all\""));
    assert!(node.nodewall("apply", &[]).status.success());
    power_cut(&node);
    node.configure_text("mode = \"enforced\"\n");
    let good = node.directories.state_dir().join("good.state");
    let text = fs::read_to_string(&good).unwrap();
    fs::write(&good, text.replace("cluster", "public ")).unwrap();
    let boot = node.nodewall("apply", &[]);
    assert_eq!(boot.status.code(), Some(3), "{boot:?}");
    assert!(boot.stderr.contains("checksum"), "{boot:?}");
    assert_eq!(node.json("status")["policy_sha256"], first, "the policy before it");
    assert_filtered(&node);
}

#[test]
fn a_changed_file_is_read_and_a_broken_one_refused() {
    if skip_unless_privileged("a_changed_file_is_read_and_a_broken_one_refused") {
        return;
    }
    let node = Node::enforcing();
    let generation = node.generation();
    node.configure_text("mode = \"enforced\"\n");
    node.wait_for_log(|line| line.contains("reload refused") && line.contains("nodewall.toml:1:8"));
    assert_eq!(node.generation(), generation);
    let status = node.json("status");
    assert!(status["refused"]["error"].as_str().unwrap().contains("nodewall.toml:1:8"), "{status}");
    node.configure(&Settings::default().top("tunnels = \"all\""));
    eventually("the mended file is in force", || (node.generation() == generation + 1).then_some(()));
    eventually("the refusal is forgotten", || node.json("status")["refused"].is_null().then_some(()));
}

#[test]
fn the_ssh_session_that_a_command_came_through_is_not_cut() {
    if skip_unless_privileged("the_ssh_session_that_a_command_came_through_is_not_cut") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let outsider = node.outsider().ipv4();
    let apply = |port: u16, arguments: &[&str]| {
        let mut command = node.command("apply", arguments);
        command.env("SSH_CONNECTION", format!("{outsider} 50000 10.77.0.1 {port}"));
        run_to_end("apply", command, PATIENCE).unwrap()
    };
    let held = apply(9042, &[]);
    assert_eq!(held.status.code(), Some(1), "{held:?}");
    assert!(held.stderr.contains(&outsider.to_string()) && held.stderr.contains("9042"), "{held:?}");
    assert!(!node.link_words("eth0").iter().any(|word| word.contains("xdp")));
    assert!(apply(9042, &["--mode", "audit"]).status.success());
    // The audited policy is enforced through the same door.
    let mut command = node.command("enforce", &["--allow-affected"]);
    command.env("SSH_CONNECTION", format!("{outsider} 50000 10.77.0.1 9042"));
    assert_eq!(run_to_end("enforce", command, PATIENCE).unwrap().status.code(), Some(1));
    assert!(apply(22, &["--mode", "enforce"]).status.success());
}

#[test]
fn a_plan_names_what_would_change_and_who_is_connected() {
    if skip_unless_privileged("a_plan_names_what_would_change_and_who_is_connected") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    assert!(node.nodewall("apply", &[]).status.success());
    assert!(node.nodewall("plan", &[]).status.success());
    let generation = node.generation();
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let target = (node.host().ipv4(), 9042);
    let outside = node.outsider().netns().run(|| TcpStream::connect(target).unwrap()).unwrap();
    let inside = node.peers()[0].netns().run(|| TcpStream::connect(target).unwrap()).unwrap();
    // Itself by its own address, which no wire sees.
    let itself = node.netns().run(|| TcpStream::connect(target).unwrap()).unwrap();
    // Through the vendor's own redirect: the socket's port is 8022, the port on the wire is open to everyone.
    nat(node.netns(), "prerouting priority dstnat; tcp dport 443 redirect to :8022");
    let _web = Listener::both(node.netns(), &[8022]).unwrap();
    let browser = node.outsider().netns().run(|| TcpStream::connect((target.0, 443)).unwrap()).unwrap();
    node.configure(
        &Settings::default()
            .top("tunnels = \"all\"")
            .rules("[[rule]]\nname = \"ops\"\nports = [\"7199\"]\naccess = \"closed\""),
    );
    let planned = node.nodewall("plan", &["-o", "json"]);
    assert_eq!(planned.status.code(), Some(5), "{planned:?}");
    let plan: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
    let settings: Vec<_> = plan["settings"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(settings, ["mode", "tunnels"]);
    let port =
        plan["ports"].as_array().unwrap().iter().find(|p| p["ports"] == "7199" && p["protocol"] == "tcp").unwrap();
    assert_eq!((&port["from"], &port["to"]), (&"cluster (cassandra)".into(), &"closed (ops)".into()));
    let source = node.outsider().ipv4().to_string();
    assert_eq!(
        plan["affected"],
        serde_json::json!([{
            "source": source, "port": 9042, "protocol": "tcp", "from": "pass", "to": "drop", "reason": "outsider",
            "conversation": true, "current": true, "connected": true, "packets": null, "last_unix_ns": null,
        }])
    );
    let text = node.nodewall("plan", &[]).stdout;
    assert!(text.contains("~ mode: audit -> enforce") && text.contains(&format!("! {source}")), "{text}");
    assert_eq!(node.generation(), generation, "a plan changes nothing");
    // An agent remembers who was connected.
    node.configure(&Settings::audit());
    let mut node = node;
    node.start_agent();
    let noted = node.directories.state_dir().join("seen.json");
    eventually("the agent noted who is connected", || noted.exists().then_some(()));
    drop((outside, inside, itself, browser));
    let wanted = format!("! {source} was in conversation with port 9042/tcp");
    eventually("the connection is closed and remembered", || {
        node.nodewall("plan", &["--mode", "enforce"]).stdout.contains(&wanted).then_some(())
    });
    let noted = fs::read_to_string(noted).unwrap();
    assert!(noted.contains(&source) && !noted.contains(&format!("\"{}\"", node.host().ipv4())), "{noted}");
}

#[test]
fn damaged_files_that_only_refine_the_policy_do_not_keep_a_node_open() {
    if skip_unless_privileged("damaged_files_that_only_refine_the_policy_do_not_keep_a_node_open") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::audit());
    assert!(node.nodewall("apply", &[]).status.success());
    assert!(node.nodewall("enforce", &["--allow-affected"]).status.success());
    assert!(node.nodewall("enforce", &["--allow-affected"]).stdout.contains("enforces already"));
    let outsider = node.outsider().ipv4().to_string();
    assert!(node.nodewall("block", &[&outsider]).status.success());
    power_cut(&node);
    for name in ["mode.state", "blocks.state", "trial.state"] {
        fs::write(node.directories.state_dir().join(name), "cut off").unwrap();
    }
    // A lever must not act on what it can not read; a start says so and goes on.
    assert_eq!(node.nodewall("unblock", &[&outsider]).status.code(), Some(1));
    let boot = node.nodewall("apply", &[]);
    assert!(boot.status.success(), "{boot:?}");
    for name in ["mode.state", "blocks.state", "trial.state"] {
        assert!(boot.stderr.contains(name), "{boot:?}");
    }
    assert_eq!(node.json("status")["mode"], "enforce", "the operator's word outlives its file");
    assert_filtered(&node);
}

/// A user who came by the directory above (its rights were wrong for a while) moves the state away, and puts another with a link in its place.
#[test]
fn what_an_agent_writes_goes_into_the_state_directory_that_it_began_with() {
    if skip_unless_privileged("what_an_agent_writes_goes_into_the_state_directory_that_it_began_with") {
        return;
    }
    let node = Node::enforcing();
    let state = node.directories.state_dir();
    assert!(node.nodewall("block", &["198.51.100.7", "--ttl", "3s"]).status.success());
    let (away, precious) = (state.with_file_name("away"), state.with_file_name("precious"));
    fs::write(&precious, "precious").unwrap();
    fs::rename(&state, &away).unwrap();
    fs::create_dir(&state).unwrap();
    // All that it may look for is there, so that nothing else keeps it from writing.
    for entry in fs::read_dir(&away).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        fs::copy(entry.path(), state.join(entry.file_name())).unwrap();
    }
    fs::remove_file(state.join("journal.jsonl")).unwrap();
    symlink(&precious, state.join("journal.jsonl")).unwrap();
    // It lifts the block in time, and writes that down.
    node.wait_for_log(|line| line.contains("block ran out"));
    let journal = || [away.join("journal.jsonl"), precious.clone()].map(|path| fs::read_to_string(path).unwrap());
    eventually("the journal", || journal().concat().contains("its time is over").then_some(()));
    assert_eq!(journal()[1], "precious", "written where a stranger chose");
    // And nobody believes what was planted.
    lchown(&state, Some(65_534), None).unwrap();
    let asked = node.nodewall("peers", &["list"]);
    assert!(!asked.status.success() && asked.stderr.contains("belongs to user 65534"), "{asked:?}");
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    assert!(node.nodewall("peers", &["list"]).status.success());
}
