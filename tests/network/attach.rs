//! How nodewall is attached: natively unless told otherwise, alone on its interface, or not at all.

use nodewall_testbed::{Lab, Signal, cleanup, run_to_end, skip_unless_privileged, until};

use super::node::{Directories, Node, PATIENCE};
use super::settings::Settings;
use super::traffic::assert_filtered;

#[test]
fn native_is_the_default() {
    if skip_unless_privileged("native_is_the_default") {
        return;
    }
    let node = Node::enforcing();
    let (mode, program) = node.attachment("eth0").unwrap();
    assert_eq!(mode, "native");
    let words = node.link_words("eth0");
    assert!(words.contains(&"xdp".to_owned()) && words.contains(&program.to_string()), "{words:?}");
}

#[test]
fn generic_is_for_those_who_ask() {
    if skip_unless_privileged("generic_is_for_those_who_ask") {
        return;
    }
    let node = Node::with(&Settings::default().top("attach_mode = \"generic\""));
    assert_eq!(node.attachment("eth0").unwrap().0, "generic");
    assert!(node.link_words("eth0").contains(&"xdpgeneric".to_owned()));
    assert_filtered(&node);
}

/// A veth whose other end sends by more queues than it receives by has no native mode (the kernel answers ENOSPC). Generic mode
/// would work there, and is not taken unasked. The interface that can be attached is.
#[test]
fn where_native_is_impossible_only_that_interface_stays_open() {
    if skip_unless_privileged("where_native_is_impossible_only_that_interface_stays_open") {
        return;
    }
    let few = Settings::default().interfaces(&["few0"]);
    let mut node = Node::idle(Lab::new().unwrap(), &few);
    let link = "link add few0 index 200 numrxqueues 1 numtxqueues 1 type veth peer name many numtxqueues 4 numrxqueues 4 netns";
    node.netns().ip_batch(&format!("{link} {}\nlink set few0 up\n", node.lab.switch().unwrap().name())).unwrap();
    for verb in ["run", "apply"] {
        let refused = node.nodewall(verb, &[]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains("few0") && refused.stderr.contains("attach_mode = \"tc\""), "{refused:?}");
        for interface in ["eth0", "few0"] {
            assert!(!node.link_words(interface).iter().any(|word| word.starts_with("xdp")), "{verb}: {interface}");
        }
        assert!(!node.directories.pins().exists(), "a policy that nothing carries is not in force");
    }
    node.configure(&Settings::default().interfaces(&["eth0", "few0"]));
    let applied = node.nodewall("apply", &[]);
    assert_eq!(applied.status.code(), Some(3), "{applied:?}");
    assert!(applied.stdout.contains("few0: NOT FILTERED") && applied.stdout.contains("eth0: attached"), "{applied:?}");
    assert_filtered(&node);
    node.start_agent();
    node.wait_for_log(|line| line.contains("few0") && line.contains("attach_mode = \"tc\""));
    until("status tells of it", || node.json("status")["problems"].to_string().contains("few0"));
    assert_filtered(&node);
    node.end_agent(Signal::TERM);
    assert!(node.nodewall("detach", &[]).status.success());
    let open_on_purpose = "[[interface]]\nname = \"eth0\"\nattach = \"none\"\n";
    node.configure(&few.top("attach_mode = \"generic\"").rules(open_on_purpose));
    assert!(node.nodewall("apply", &[]).status.success());
    assert!(node.link_words("few0").contains(&"xdpgeneric".to_owned()));
}

/// Another way of attaching is taken when an operator's command asks for it, and by nothing else, for the interface is open for a moment.
#[test]
fn the_mode_is_changed_by_apply_and_the_moment_is_told() {
    if skip_unless_privileged("the_mode_is_changed_by_apply_and_the_moment_is_told") {
        return;
    }
    let node = Node::enforcing();
    assert_eq!(node.attachment("eth0").unwrap().0, "native");
    let generic = "[[interface]]\nname = \"eth0\"\nattach = \"generic\"\n";
    node.configure(&Settings::default().rules(generic));
    node.agent().signal(Signal::HUP).unwrap();
    until("status tells that it is not as configured", || {
        node.json("status")["problems"].to_string().contains("it is attached in native mode")
    });
    assert_eq!(node.attachment("eth0").unwrap().0, "native", "the agent opens nothing by itself");
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(node.attachment("eth0").unwrap().0, "generic");
    assert_filtered(&node);
    let journal = std::fs::read_to_string(node.directories.state_dir().join("journal.jsonl")).unwrap();
    assert!(journal.contains("eth0 went from native to generic mode; it stood open for"), "{journal}");
    until("the agent follows", || node.json("status")["healthy"] == true);
}

/// Another nodewall, with directories of its own, is as foreign as any program.
#[test]
fn an_interface_with_another_program_is_refused_by_its_id() {
    if skip_unless_privileged("an_interface_with_another_program_is_refused_by_its_id") {
        return;
    }
    let node = Node::enforcing();
    let (generation, attachment) = (node.generation(), node.attachment("eth0").unwrap());
    let other = Directories::new();
    for verb in ["run", "apply"] {
        let refused = run_to_end(verb, node.command_in(&other, verb, &[]), PATIENCE).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(&format!("program id {}", attachment.1)), "{refused:?}");
        assert!(refused.stderr.contains("eth0"), "{refused:?}");
        assert!(!other.pins().exists(), "{verb} left pins behind");
    }
    assert_eq!((node.generation(), node.attachment("eth0").unwrap()), (generation, attachment));
    assert_filtered(&node);
}

#[test]
fn enforcing_without_peers_is_refused_with_three_ways_out() {
    if skip_unless_privileged("enforcing_without_peers_is_refused_with_three_ways_out") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default().peers(&[]));
    for verb in ["run", "apply"] {
        let refused = node.nodewall(verb, &[]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        for way_out in ["--peer", "single_node = true", "mode = \"audit\""] {
            assert!(refused.stderr.contains(way_out), "no {way_out} in: {}", refused.stderr);
        }
        assert!(!node.link_words("eth0").iter().any(|word| word.contains("xdp")));
        assert!(!node.directories.pins().exists());
    }
    // Each of the three works.
    let [peer, _] = node.peers();
    let (peer, single) = (peer.ipv4().to_string(), Settings::default().peers(&[]).top("single_node = true"));
    assert!(node.nodewall("apply", &["--mode", "audit"]).status.success());
    assert!(node.nodewall("apply", &["--peer", &peer]).status.success());
    node.configure(&single);
    // Its one peer goes: more than half of them.
    assert_eq!(node.nodewall("apply", &[]).status.code(), Some(1));
    assert!(node.nodewall("apply", &["--allow-peer-change"]).status.success());
}

/// `ip netns exec` gives its command a mount namespace with a fresh /sys: pins made there are gone when it ends.
#[test]
fn where_pins_would_die_with_the_process_nothing_is_said_to_be_in_force() {
    if skip_unless_privileged("where_pins_would_die_with_the_process_nothing_is_said_to_be_in_force") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let exec = |verb: &str| {
        let inside = node.command(verb, &[]);
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", node.netns().name()]).arg(inside.get_program()).args(inside.get_args());
        run_to_end(verb, command, PATIENCE).unwrap()
    };
    for verb in ["apply", "run", "status"] {
        let refused = exec(verb);
        assert_eq!(refused.status.code(), Some(1), "{verb}: {refused:?}");
        assert!(refused.stderr.contains("nsenter --net="), "{verb}: {refused:?}");
        assert!(!node.link_words("eth0").iter().any(|word| word.starts_with("xdp")), "{verb}");
    }
    // Nor that nothing is, where something is.
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(exec("status").status.code(), Some(1));
    assert_filtered(&node);
}

/// As `mount -a` does it: the pins are hidden, and the program goes on filtering.
#[test]
fn a_second_bpffs_over_the_pins_is_told_and_no_detach_is_claimed() {
    if skip_unless_privileged("a_second_bpffs_over_the_pins_is_told_and_no_detach_is_claimed") {
        return;
    }
    let mut node = Node::enforcing();
    assert!(node.end_agent(Signal::TERM).success());
    let pins = node.directories.pins().to_owned();
    let mount = |arguments: &[&str]| run_to_end("mount", command(arguments, &pins), PATIENCE).unwrap();
    let hide = mount(&["mount", "-t", "bpf", "-o", "mode=0700", "bpf"]);
    assert!(hide.status.success(), "{hide:?}");
    let shown = cleanup::guard({
        let pins = pins.clone();
        move || drop(command(&["umount"], &pins).status())
    });
    let status = node.nodewall("status", &[]);
    assert!(
        status.status.code() == Some(3) && status.stdout.contains("eth0: a program of nodewall runs there"),
        "{status:?}"
    );
    let detached = node.nodewall("detach", &[]);
    assert_eq!(detached.status.code(), Some(1), "{detached:?}");
    assert!(detached.stderr.contains("eth0 still runs a program of nodewall"), "{detached:?}");
    assert!(!detached.stderr.contains("the node is open"), "{detached:?}");
    assert_filtered(&node);
    let applied = node.nodewall("apply", &[]);
    assert!(applied.stderr.contains("a program of nodewall runs there"), "{applied:?}");
    assert_filtered(&node);
    drop(shown);
    assert!(node.nodewall("apply", &[]).stdout.contains("eth0: replaced"));
    let status = node.nodewall("status", &[]).stdout;
    assert!(status.matches("problem: ").count() == 1 && status.contains("problem: no agent runs"), "{status}");
}

fn command(words: &[&str], path: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).arg(path);
    command
}

/// Another device has the index of one that went away: nothing of it is adopted.
#[test]
fn a_device_with_the_index_of_one_that_moved_away_is_attached_anew() {
    if skip_unless_privileged("a_device_with_the_index_of_one_that_moved_away_is_attached_anew") {
        return;
    }
    for mode in ["native", "tc"] {
        let settings = Settings::default().top(&format!("attach_mode = \"{mode}\"")).interfaces(&["eth0", "late0"]);
        let mut node = Node::idle(Lab::new().unwrap(), &settings);
        let late = "link add late0 index 200 type veth peer name far0 index 201\nlink set late0 up\nlink set far0 up\n";
        node.netns().ip_batch(late).unwrap();
        node.start_agent();
        assert_eq!(node.attachment("late0").unwrap().0, mode);
        assert!(node.end_agent(Signal::TERM).success());
        node.netns().ip(&["link", "set", "late0", "netns", node.outsider().netns().name()]).unwrap();
        node.netns().ip(&["link", "add", "late0", "index", "200", "type", "veth", "peer", "name", "near0"]).unwrap();
        assert_eq!(node.attachment("late0"), None, "status does not take the new device for the old");
        let applied = node.nodewall("apply", &[]);
        assert!(applied.stdout.contains("late0: attached") && applied.stdout.contains("eth0: replaced"), "{applied:?}");
        assert_eq!(node.attachment("late0").unwrap().0, mode);
        assert_eq!(node.link_words("late0").contains(&"xdp".to_owned()), mode == "native");
    }
}
