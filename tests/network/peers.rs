//! Peers that are not in the configuration: a watched file, `peers add` and `remove`, and how soon and how often they reach the kernel.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nodewall_testbed::{Lab, Listener, judge_time, skip_unless_privileged};

use super::node::{Node, eventually};
use super::settings::Settings;
use super::traffic::{answered, probes, silent};

/// The bar, from the change of the file to the kernel.
const WITHIN: Duration = Duration::from_secs(1);

fn peers_file(node: &Node) -> PathBuf {
    node.directories.state_dir().join("peers.txt")
}

/// Replaces the file, as orchestration does: written beside, then renamed.
fn write_peers(node: &Node, lines: &str) {
    let (file, new) = (peers_file(node), node.directories.state_dir().join("peers.new"));
    fs::write(&new, lines).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

/// A node whose peers stand in a file: two that are not there, and peer1.
fn with_file() -> Node {
    let lab = Lab::new().unwrap();
    let mut node = Node::idle(lab, &Settings::default());
    write_peers(&node, "# the cluster\n10.77.0.11\n10.77.0.201 # not up yet\n10.77.0.202\n");
    let file = format!("file = \"{}\"", peers_file(&node).display());
    node.configure_text(&Settings::default().peers(&[]).to_toml().replace("static = []", &file));
    node.start_agent();
    node
}

fn reason(node: &Node, source: IpAddr) -> String {
    let explained = node.nodewall_live("explain", &["--source", &source.to_string(), "--port", "9042", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&explained.stdout).unwrap();
    answer["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_changed_file_reaches_the_kernel_within_a_second() {
    if skip_unless_privileged("a_changed_file_reaches_the_kernel_within_a_second") {
        return;
    }
    let node = with_file();
    let [peer1, peer2] = node.peers();
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    let cassandra: Vec<_> = probes(node.host(), &[9042]).into_iter().filter(|probe| probe.target.is_ipv4()).collect();
    answered(peer1, &cassandra);
    silent(peer2, &cassandra);
    // The best of three: other tests use the processors, too.
    let mut best = Duration::MAX;
    for (peer2_is_in, lines) in [(true, "10.77.0.12\n"), (false, ""), (true, "10.77.0.12\n")] {
        std::thread::sleep(WITHIN);
        let wanted = if peer2_is_in { "peer" } else { "outsider" };
        write_peers(&node, &format!("10.77.0.11\n10.77.0.201\n10.77.0.202\n{lines}"));
        let changed = Instant::now();
        eventually("the change is in force", || (reason(&node, peer2.ipv4().into()) == wanted).then_some(()));
        best = best.min(changed.elapsed());
    }
    println!("a changed file is in force after {best:?}");
    judge_time(best <= WITHIN, || format!("{best:?}"));
    answered(peer2, &cassandra);
    let journal = fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap();
    assert!(journal.contains("10.77.0.12") && journal.contains("\"peers\""), "{journal}");
}

#[test]
fn a_bad_line_keeps_the_last_good_peers_and_is_an_alarm() {
    if skip_unless_privileged("a_bad_line_keeps_the_last_good_peers_and_is_an_alarm") {
        return;
    }
    let node = with_file();
    let generation = node.generation();
    write_peers(&node, "10.77.0.11\n10.77.0.12\nnode three\n");
    let alarm = eventually("status tells", || {
        let problems = node.json("status")["problems"].to_string();
        problems.contains("its last answer").then_some(problems)
    });
    assert!(alarm.contains("peers.txt:3"), "{alarm}");
    // Each write is a question anew, as time is to other sources. It is told that it fails, and not how often it was asked.
    for bad in ["node three", "node four", "node three", "node four"] {
        write_peers(&node, &format!("10.77.0.11\n10.77.0.12\n{bad}\n"));
        node.wait_for_log(|line| line.contains(bad));
        std::thread::sleep(WITHIN);
    }
    assert_eq!((node.generation(), reason(&node, node.peers()[0].ipv4().into()).as_str()), (generation, "peer"));
    write_peers(&node, "10.77.0.11\n10.77.0.201\n10.77.0.202\n10.77.0.12\n");
    eventually("the mended file is in force", || {
        (reason(&node, node.peers()[1].ipv4().into()) == "peer").then_some(())
    });
    node.wait_for_log(|line| line.contains("answers again"));
    for bad in ["node three", "node four"] {
        let log = node.agent().output();
        let told = log.lines().filter(|line| line.contains("its last answer stays") && line.contains(bad));
        assert_eq!(told.count(), 1, "{log}");
    }
    eventually("the alarm is over", || node.json("status")["healthy"].as_bool().unwrap().then_some(()));
}

#[test]
fn a_file_that_flaps_swaps_once_a_second_at_most() {
    if skip_unless_privileged("a_file_that_flaps_swaps_once_a_second_at_most") {
        return;
    }
    let node = with_file();
    let (first, began) = (node.generation(), Instant::now());
    // Four seconds; longer only while every look met the half that changes nothing.
    for round in 0..200 {
        if round >= 40 && node.generation() > first {
            break;
        }
        let more = if round % 2 == 0 { "10.77.0.12\n" } else { "" };
        write_peers(&node, &format!("10.77.0.11\n10.77.0.201\n10.77.0.202\n{more}"));
        // No rhythm that the agent's looks could fall into, so that they saw one half only.
        std::thread::sleep(Duration::from_millis(if round % 2 == 0 { 100 } else { 40 } + 17 * (round % 7)));
    }
    let (swaps, seconds) = (node.generation() - first, began.elapsed().as_secs());
    assert!(swaps >= 1 && swaps <= seconds + 2, "{swaps} swaps in {seconds} s");
    write_peers(&node, "10.77.0.11\n10.77.0.201\n10.77.0.202\n10.77.0.12\n");
    eventually("the last word counts", || (reason(&node, node.peers()[1].ipv4().into()) == "peer").then_some(()));
}

#[test]
fn a_file_that_lost_most_of_its_lines_is_held() {
    if skip_unless_privileged("a_file_that_lost_most_of_its_lines_is_held") {
        return;
    }
    let node = with_file();
    let generation = node.generation();
    for lines in ["10.77.0.201\n", "# nothing\n"] {
        write_peers(&node, lines);
        eventually("status tells", || node.json("status")["problems"].to_string().contains("held").then_some(()));
        assert_eq!((node.generation(), reason(&node, node.peers()[0].ipv4().into()).as_str()), (generation, "peer"));
    }
    write_peers(&node, "10.77.0.11\n10.77.0.201\n10.77.0.202\n");
    eventually("the alarm is over", || node.json("status")["healthy"].as_bool().unwrap().then_some(()));
}

#[test]
fn a_node_is_added_and_removed_by_hand() {
    if skip_unless_privileged("a_node_is_added_and_removed_by_hand") {
        return;
    }
    let mut node = with_file();
    let peer2: IpAddr = node.peers()[1].ipv4().into();
    assert!(node.nodewall("peers", &["add", &peer2.to_string(), "--ttl", "1h"]).status.success());
    assert_eq!(reason(&node, peer2), "peer");
    let listed = node.nodewall("peers", &["list", "-o", "json"]).stdout;
    assert!(listed.contains("operator") && listed.contains("10.77.0.12"), "{listed}");
    // The same again: the newer word counts.
    assert!(node.nodewall("peers", &["add", &peer2.to_string(), "--ttl", "2s"]).status.success());
    eventually("its time is over", || (reason(&node, peer2) == "outsider").then_some(()));
    // Removed by hand, it stays out although the file still names it, also over a restart.
    let peer1: IpAddr = node.peers()[0].ipv4().into();
    assert!(node.nodewall("peers", &["remove", &peer1.to_string()]).status.success());
    assert_eq!(reason(&node, peer1), "outsider");
    assert!(node.end_agent(nodewall_testbed::Signal::TERM).success());
    node.start_agent();
    assert_eq!(reason(&node, peer1), "outsider");
    assert!(node.nodewall("peers", &["add", &peer1.to_string()]).status.success());
    assert_eq!(reason(&node, peer1), "peer");
}

#[test]
fn a_boot_without_its_sources_knows_the_peers() {
    if skip_unless_privileged("a_boot_without_its_sources_knows_the_peers") {
        return;
    }
    let mut node = with_file();
    assert!(node.end_agent(nodewall_testbed::Signal::TERM).success());
    fs::remove_dir_all(node.directories.pins()).unwrap();
    fs::remove_file(peers_file(&node)).unwrap();
    eventually("the kernel let go of the link", || {
        (!node.link_words("eth0").iter().any(|word| word.starts_with("xdp"))).then_some(())
    });
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(reason(&node, node.peers()[0].ipv4().into()), "peer");
    assert_eq!(reason(&node, node.peers()[1].ipv4().into()), "outsider");
}
