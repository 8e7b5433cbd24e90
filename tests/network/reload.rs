//! SIGHUP: a good configuration comes into force, a broken one changes nothing.

use std::fs;
use std::os::unix::fs::{lchown, symlink};

use nodewall_testbed::{Lab, Listener, Signal, skip_unless_privileged};

use super::node::Node;
use super::settings::Settings;
use super::traffic::{answered, assert_filtered, probes, silent};

fn wait_for_generation(node: &Node, generation: u64) {
    let words = format!("generation={generation} ");
    node.wait_for_log(|line| line.contains("policy enforced") && line.contains(&words));
}

#[test]
fn sighup_brings_a_changed_configuration_into_force() {
    if skip_unless_privileged("sighup_brings_a_changed_configuration_into_force") {
        return;
    }
    let node = Node::enforcing();
    let _sockets = Listener::both(node.netns(), &[8022, 8080]).unwrap();
    silent(node.outsider(), &probes(node.host(), &[8022]));
    answered(node.outsider(), &probes(node.host(), &[8080]));

    let rule = "[[rule]]\nname = \"proxy\"\nports = [\"8080\"]\naccess = \"cluster\"";
    node.configure(&Settings::profile("web_port_8022 = \"public\"").rules(rule));
    node.agent().signal(Signal::HUP).unwrap();
    wait_for_generation(&node, 2);
    answered(node.outsider(), &probes(node.host(), &[8022]));
    silent(node.outsider(), &probes(node.host(), &[8080]));
}

#[test]
fn sighup_changes_the_peers() {
    if skip_unless_privileged("sighup_changes_the_peers") {
        return;
    }
    let node = Node::enforcing();
    let [peer1, peer2] = node.peers();
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let cassandra = probes(node.host(), &[9042]);
    answered(peer2, &cassandra);
    node.configure(&Settings::default().peers(&[&peer1.ipv4().to_string(), "fd77::11/128"]));
    node.agent().signal(Signal::HUP).unwrap();
    wait_for_generation(&node, 2);
    answered(peer1, &cassandra);
    silent(peer2, &cassandra);
}

#[test]
fn sighup_with_a_broken_configuration_keeps_the_old_policy() {
    if skip_unless_privileged("sighup_with_a_broken_configuration_keeps_the_old_policy") {
        return;
    }
    let node = Node::enforcing();
    let (generation, attachment) = (node.generation(), node.attachment("eth0"));
    let nothing_wanted = Settings::default().peers(&[]).to_toml();
    // Not readable, and readable but refused: no peers.
    for (toml, said) in [("mode = \"enforced\"\n", "reload refused"), (nothing_wanted.as_str(), "no peers are named")] {
        node.configure_text(toml);
        node.agent().signal(Signal::HUP).unwrap();
        node.wait_for_log(|line| line.contains("ERROR") && line.contains(said));
        assert_eq!((node.generation(), node.attachment("eth0")), (generation, attachment.clone()));
    }
    assert_filtered(&node);
}

/// As Kubernetes updates a `ConfigMap`, here back to one that was written before the agent started: what counts is which file it is.
#[test]
fn a_configuration_that_is_switched_to_an_older_file_is_noticed() {
    if skip_unless_privileged("a_configuration_that_is_switched_to_an_older_file_is_noticed") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let config = node.directories.config();
    let beside = |name: &str| config.with_file_name(name);
    for (name, settings) in [("..1", Settings::profile("web_port_8022 = \"public\"")), ("..2", Settings::default())] {
        fs::create_dir(beside(name)).unwrap();
        fs::write(beside(name).join("nodewall.toml"), settings.to_toml()).unwrap();
    }
    fs::remove_file(&config).unwrap();
    symlink("..data/nodewall.toml", &config).unwrap();
    let switch = |to: &str| {
        symlink(to, beside("..data_tmp")).unwrap();
        fs::rename(beside("..data_tmp"), beside("..data")).unwrap();
    };
    switch("..2");
    node.start_agent();
    let _sockets = Listener::both(node.netns(), &[8022]).unwrap();
    let asked = probes(node.host(), &[8022]);
    silent(node.outsider(), &asked);
    switch("..1");
    wait_for_generation(&node, 2);
    answered(node.outsider(), &asked);
    switch("..2");
    wait_for_generation(&node, 3);
    silent(node.outsider(), &asked);

    // A link of somebody else's to the same file is another's choice.
    symlink("..1", beside("..data_tmp")).unwrap();
    lchown(beside("..data_tmp"), Some(65_534), None).unwrap();
    fs::rename(beside("..data_tmp"), beside("..data")).unwrap();
    node.wait_for_log(|line| line.contains("reload refused") && line.contains("belongs to user 65534"));
    silent(node.outsider(), &asked);
}
