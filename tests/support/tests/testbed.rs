//! The testbed's own tests: what it says about a network must be true, or every test that stands on it proves nothing.
#![cfg(test)]

use std::io::Write;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use nodewall_testbed::{
    Family, Lab, Listener, NetNs, Outcome, PATIENCE, Probe, Process, Protocol, Signal, eventually, eventually_eq,
    judge_time, probe_many, probe_tcp, probe_udp, run_to_end, skip_unless_privileged,
};

const SHORT: Duration = Duration::from_millis(400);
const PORT: u16 = 9042;
const CLOSED_PORT: u16 = 9043;

fn target(lab: &Lab, family: Family, port: u16) -> std::net::SocketAddr {
    lab.node().socket(family, port)
}

#[test]
fn every_host_answers_every_other() {
    if skip_unless_privileged("every_host_answers_every_other") {
        return;
    }
    let lab = Lab::new().unwrap();
    let listeners: Vec<Listener> = lab.hosts().map(|host| Listener::both(host.netns(), &[PORT]).unwrap()).collect();
    let mut asked = 0;
    for from in lab.hosts() {
        let mut probes = Vec::new();
        for to in lab.hosts().filter(|to| to.name() != from.name()) {
            for family in Family::ALL {
                for protocol in Protocol::ALL {
                    probes.push(Probe::new(protocol, to.socket(family, PORT)));
                }
            }
        }
        for (probe, probed) in probes.iter().zip(probe_many(from.netns(), &probes, PATIENCE).unwrap()) {
            assert_eq!(probed.outcome, Outcome::Answered { by_port: PORT }, "{} -> {probe:?}", from.name());
            asked += 1;
        }
    }
    assert_eq!(asked, 4 * 3 * 2 * 2);

    // The listeners saw exactly that: from each other host, one per family.
    for (host, listener) in lab.hosts().zip(&listeners) {
        for protocol in Protocol::ALL {
            let arrived = listener.arrived(protocol, PORT);
            assert_eq!(arrived.count, 6, "{protocol} at {}", host.name());
            assert!(arrived.bytes > 6 * 16, "{protocol} at {}: {} bytes", host.name(), arrived.bytes);
            let others = lab.hosts().filter(|other| other.name() != host.name());
            let expected = others.flat_map(|other| Family::ALL.map(|family| (other.address(family), 1))).collect();
            assert_eq!(arrived.sources, expected);
        }
    }
}

#[test]
fn a_closed_port_refuses_and_every_one_of_many_does() {
    if skip_unless_privileged("a_closed_port_refuses_and_every_one_of_many_does") {
        return;
    }
    let lab = Lab::new().unwrap();
    let mut probes = Vec::new();
    // More than the kernel's bucket of 50 ICMP errors holds.
    for port in CLOSED_PORT..CLOSED_PORT + 120 {
        for family in Family::ALL {
            probes.push(Probe::tcp(target(&lab, family, port)));
            probes.push(Probe::udp(target(&lab, family, port)));
        }
    }
    for (probe, probed) in probes.iter().zip(probe_many(lab.outsider().unwrap().netns(), &probes, PATIENCE).unwrap()) {
        assert_eq!(probed.outcome, Outcome::Refused, "{probe:?}");
        assert_eq!(probed.sent_packets, 1, "{probe:?}");
    }
}

#[test]
fn what_is_dropped_times_out_together_and_sends_one_packet_each() {
    if skip_unless_privileged("what_is_dropped_times_out_together_and_sends_one_packet_each") {
        return;
    }
    let lab = Lab::new().unwrap();
    let listener = Listener::both(lab.node().netns(), &[PORT]).unwrap();
    let outsider = lab.outsider().unwrap();
    // The node has no way back to the outsider: nothing comes back, as with a filter that drops.
    lab.node().netns().ip(&["route", "add", "blackhole", &outsider.ipv4().to_string()]).unwrap();
    lab.node().netns().ip(&["-6", "route", "add", "blackhole", &outsider.ipv6().to_string()]).unwrap();
    let mut probes = Vec::new();
    for family in Family::ALL {
        let to = target(&lab, family, PORT);
        probes.extend([Probe::tcp(to); 20]);
        probes.extend([Probe::udp(to); 20]);
    }
    let syns = |lab: &Lab| lab.node().netns().snmp("Tcp", "InSegs").unwrap();
    let (before, started) = (syns(&lab), Instant::now());
    let probed = probe_many(outsider.netns(), &probes, SHORT).unwrap();
    let took = started.elapsed();
    judge_time(took < SHORT * 3, || format!("80 dropped probes took {took:?}"));
    let mut sent = 0;
    for (probe, probed) in probes.iter().zip(&probed) {
        assert_eq!(probed.outcome, Outcome::TimedOut, "{probe:?}");
        // On a machine that is slow enough a SYN is sent again before anybody looks.
        let tcp = probe.protocol == Protocol::Tcp;
        assert!(probed.sent_packets == 1 || tcp && probed.sent_packets > 1, "{probe:?}: {probed:?}");
        sent += u64::from(probed.sent_packets) * u64::from(tcp);
    }
    eventually_eq("SYNs that came (left) are those that were sent (right)", || syns(&lab) - before, &sent);
    // SYNs never become connections; the datagrams did arrive, for it is the answers that are lost here.
    assert_eq!(listener.arrived(Protocol::Tcp, PORT).count, 0);
    eventually_eq("datagrams", || listener.arrived(Protocol::Udp, PORT).count, &40);

    // Resends are counted, and happen only when they are asked for.
    let resent = [Probe::udp(target(&lab, Family::V4, PORT)).resends(2)];
    let resent = probe_many(outsider.netns(), &resent, SHORT).unwrap();
    assert_eq!((&resent[0].outcome, resent[0].sent_packets), (&Outcome::TimedOut, 3));
    eventually_eq("datagrams", || listener.arrived(Protocol::Udp, PORT).count, &43);

    // A peer is not concerned.
    let peer = lab.peer1().unwrap().netns();
    assert!(probe_tcp(peer, target(&lab, Family::V4, PORT), PATIENCE).unwrap().is_answered());
}

#[test]
fn a_second_syn_is_counted() {
    if skip_unless_privileged("a_second_syn_is_counted") {
        return;
    }
    let lab = Lab::new().unwrap();
    let outsider = lab.outsider().unwrap();
    lab.node().netns().ip(&["route", "add", "blackhole", &outsider.ipv4().to_string()]).unwrap();
    let probes = [Probe::tcp(target(&lab, Family::V4, CLOSED_PORT))];
    let probed = probe_many(outsider.netns(), &probes, Duration::from_millis(1500)).unwrap();
    assert_eq!(probed[0].outcome, Outcome::TimedOut);
    assert!(probed[0].sent_packets >= 2, "{probed:?}");
}

#[test]
fn a_network_that_says_no_is_unreachable() {
    if skip_unless_privileged("a_network_that_says_no_is_unreachable") {
        return;
    }
    let lab = Lab::new().unwrap();
    let outsider = lab.outsider().unwrap().netns();
    for protocol in Protocol::ALL {
        let nowhere = Probe::new(protocol, "192.0.2.1:9".parse().unwrap());
        let probed = probe_many(outsider, &[nowhere], PATIENCE).unwrap();
        assert!(matches!(probed[0].outcome, Outcome::Unreachable(_)), "{:?}", probed[0]);
        assert_eq!(probed[0].sent_packets, 0);
    }
    outsider.ip(&["route", "add", "prohibit", &lab.node().ipv4().to_string()]).unwrap();
    let forbidden = probe_udp(outsider, target(&lab, Family::V4, PORT), PATIENCE).unwrap();
    assert!(matches!(forbidden, Outcome::Unreachable(_)), "{forbidden:?}");
}

/// The node's own counters (the kernel's, not ours) say how many packets came: what `sent_packets` claims must be that.
#[test]
fn sent_packets_are_what_the_other_side_received() {
    if skip_unless_privileged("sent_packets_are_what_the_other_side_received") {
        return;
    }
    let lab = Lab::new().unwrap();
    let _listener = Listener::both(lab.node().netns(), &[PORT]).unwrap();
    let peer = lab.peer1().unwrap().netns();
    let received = |protocol: &str, name: &str| lab.node().netns().snmp(protocol, name).unwrap();
    let mut probes = vec![Probe::tcp(target(&lab, Family::V4, PORT)); 20];
    probes.extend([Probe::tcp(target(&lab, Family::V6, PORT)); 20]);
    probes.extend([Probe::tcp(target(&lab, Family::V4, CLOSED_PORT)); 5]);
    let before = received("Tcp", "InSegs");
    let sent: u32 = probe_many(peer, &probes, PATIENCE).unwrap().iter().map(|probed| probed.sent_packets).sum();
    let besides = || peer.segments_besides_probes().unwrap();
    let by_probes = || received("Tcp", "InSegs") - before - besides();
    eventually_eq("segments received (left), sent (right)", by_probes, &u64::from(sent));

    let before = received("Udp", "InDatagrams");
    let probes = vec![Probe::udp(target(&lab, Family::V4, PORT)); 20];
    let sent: u32 = probe_many(peer, &probes, PATIENCE).unwrap().iter().map(|probed| probed.sent_packets).sum();
    assert_eq!(sent, 20);
    assert_eq!(received("Udp", "InDatagrams") - before, 20);
}

#[test]
fn payloads_of_many_packets_come_back_whole() {
    if skip_unless_privileged("payloads_of_many_packets_come_back_whole") {
        return;
    }
    let lab = Lab::builder().mtu(1400).build().unwrap();
    let listener = Listener::both(lab.node().netns(), &[PORT]).unwrap();
    let mut probes = Vec::new();
    for family in Family::ALL {
        probes.push(Probe::tcp(target(&lab, family, PORT)).payload(300_000));
        probes.push(Probe::udp(target(&lab, family, PORT)).payload(20_000));
    }
    for probed in probe_many(lab.peer1().unwrap().netns(), &probes, PATIENCE).unwrap() {
        assert_eq!(probed.outcome, Outcome::Answered { by_port: PORT });
    }
    assert!(listener.arrived(Protocol::Tcp, PORT).bytes >= 600_000);
    assert!(listener.arrived(Protocol::Udp, PORT).bytes >= 40_000);
}

#[test]
fn a_probe_says_which_port_answered_and_comes_from_where_it_was_told() {
    if skip_unless_privileged("a_probe_says_which_port_answered_and_comes_from_where_it_was_told") {
        return;
    }
    let lab = Lab::builder().host("other", 99).build().unwrap();
    let peer = lab.peer1().unwrap().netns();
    peer.ip(&["addr", "add", "10.77.0.200/24", "dev", "eth0"]).unwrap();
    let listener = Listener::both(lab.node().netns(), &[8022]).unwrap();
    let second: IpAddr = "10.77.0.200".parse().unwrap();
    let probes = [Probe::tcp(target(&lab, Family::V4, 8022)).from_address(second)];
    let probed = probe_many(peer, &probes, PATIENCE).unwrap();
    assert_eq!(probed[0].outcome, Outcome::Answered { by_port: 8022 });
    assert_eq!(listener.arrived(Protocol::Tcp, 8022).sources, [(second, 1)].into());
    let other = lab.host("other").unwrap();
    assert!(probe_tcp(other.netns(), target(&lab, Family::V6, 8022), PATIENCE).unwrap().is_answered());
    assert!(lab.host("nobody").is_err());
}

#[test]
fn a_direct_pair_needs_no_switch() {
    if skip_unless_privileged("a_direct_pair_needs_no_switch") {
        return;
    }
    let lab = Lab::builder().direct_pair().build().unwrap();
    assert!(lab.switch().is_none());
    let _listener = Listener::both(lab.node().netns(), &[PORT]).unwrap();
    for family in Family::ALL {
        let peer = lab.peer1().unwrap().netns();
        assert!(probe_tcp(peer, target(&lab, family, PORT), PATIENCE).unwrap().is_answered());
        assert!(probe_udp(peer, target(&lab, family, PORT), PATIENCE).unwrap().is_answered());
    }
}

#[test]
fn a_listener_stops_on_drop_and_says_what_it_can_not_bind() {
    if skip_unless_privileged("a_listener_stops_on_drop_and_says_what_it_can_not_bind") {
        return;
    }
    let netns = NetNs::create("alone").unwrap();
    let local = (IpAddr::from([127, 0, 0, 1]), PORT).into();
    let listener = Listener::tcp(&netns, &[PORT]).unwrap();
    assert!(probe_tcp(&netns, local, PATIENCE).unwrap().is_answered());
    let taken = Listener::tcp(&netns, &[PORT]).unwrap_err().to_string();
    assert!(taken.contains("TCP port 9042"), "{taken}");
    drop(listener);
    // A child that another test is starting at this moment holds a copy of the socket between its fork and its exec.
    eventually("nobody listens any more", || {
        (probe_tcp(&netns, local, PATIENCE).unwrap() == Outcome::Refused).then_some(())
    });
    Listener::udp(&netns, &[PORT]).unwrap();
}

#[test]
fn namespaces_are_gone_after_drop_and_after_a_panic_inside() {
    if skip_unless_privileged("namespaces_are_gone_after_drop_and_after_a_panic_inside") {
        return;
    }
    let lab = Lab::new().unwrap();
    let mut paths: Vec<_> = lab.hosts().map(|host| host.netns().path()).collect();
    paths.extend(lab.switch().map(NetNs::path));
    assert_eq!(paths.len(), 5);
    assert!(paths.iter().all(|path| path.exists()));
    drop(lab);
    assert!(!paths.iter().any(|path| path.exists()), "{paths:?}");

    let mut path = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let netns = NetNs::create("panics").unwrap();
        path = Some(netns.path());
        let _ = netns.run(|| panic!("on purpose"));
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert!(!path.unwrap().exists());
}

#[test]
fn what_a_dead_run_left_is_removed_and_what_others_made_is_not() {
    if skip_unless_privileged("what_a_dead_run_left_is_removed_and_what_others_made_is_not") {
        return;
    }
    // A child makes a lab and is killed the hard way.
    let mut child = test_child("helper_that_holds_a_lab", "NODEWALL_TESTBED_HOLD");
    let names = names_it_prints(&child);
    child.signal(Signal::KILL).unwrap();
    child.wait(PATIENCE).unwrap();
    child = test_child("helper_that_makes_a_namespace_and_ends", "NODEWALL_TESTBED_ONCE");
    assert!(child.wait(PATIENCE).unwrap().success(), "{}", child.output());
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name} is still there");
    }
}

#[test]
fn a_signal_cleans_up_and_ends_the_process() {
    if skip_unless_privileged("a_signal_cleans_up_and_ends_the_process") {
        return;
    }
    let child = test_child("helper_that_holds_a_lab", "NODEWALL_TESTBED_HOLD");
    let names = names_it_prints(&child);
    let grandchild = child.wait_for_line(PATIENCE, |line| line.contains("grandchild ")).unwrap();
    let grandchild = grandchild.rsplit_once(' ').unwrap().1.to_owned();
    let proc_entry = std::path::Path::new("/proc").join(grandchild);
    assert!(proc_entry.exists());
    let status = child.terminate().unwrap();
    assert_eq!(status.code(), Some(128 + 15), "{}", child.output());
    assert_eq!(names.len(), 5);
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name} is still there");
    }
    assert!(!proc_entry.exists());
}

/// Runs one of the helpers below, in a process of its own that is this very test executable.
fn test_child(helper: &str, variable: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", helper, "--nocapture"]).env(variable, "1");
    Process::spawn(helper, command).unwrap()
}

fn names_it_prints(child: &Process) -> Vec<String> {
    let line = child.wait_for_line(PATIENCE, |line| line.contains("holding ")).unwrap();
    let (_, names) = line.split_once("holding ").unwrap();
    names.split(' ').map(str::to_owned).collect()
}

/// No test by itself: what the signal tests end from outside.
#[test]
#[expect(clippy::disallowed_methods, reason = "the parent reads it at once")]
fn helper_that_holds_a_lab() {
    if std::env::var_os("NODEWALL_TESTBED_HOLD").is_none() {
        return;
    }
    let lab = Lab::new().unwrap();
    let mut command = lab.node().netns().command("sleep");
    command.arg("600");
    let sleeper = Process::spawn("sleep", command).unwrap();
    let names = lab.hosts().map(|host| host.netns().name()).chain(lab.switch().map(NetNs::name));
    println!("holding {}", names.collect::<Vec<_>>().join(" "));
    println!("grandchild {}", sleeper.id());
    std::io::stdout().flush().unwrap();
    let _ = sleeper.wait(Duration::from_mins(1));
    panic!("nobody ended this process");
}

/// No test by itself: its first namespace removes the stale ones.
#[test]
fn helper_that_makes_a_namespace_and_ends() {
    if std::env::var_os("NODEWALL_TESTBED_ONCE").is_some() {
        NetNs::create("once").unwrap();
    }
}

#[test]
fn a_child_runs_in_its_namespace_and_its_lines_are_waited_for() {
    if skip_unless_privileged("a_child_runs_in_its_namespace_and_its_lines_are_waited_for") {
        return;
    }
    let netns = NetNs::create("child").unwrap();
    netns.ip(&["link", "add", "only-here", "type", "bridge"]).unwrap();
    let mut command = netns.command("sh");
    command.args(["-c", "cat /proc/net/dev; echo ready >&2; exec sleep 3600"]);
    let process = Process::spawn("shell", command).unwrap();
    process.wait_for_line(PATIENCE, |line| line == "ready").unwrap();
    process.wait_for_line(PATIENCE, |line| line.contains("only-here:")).unwrap();
    let never = process.wait_for_line(Duration::from_millis(50), |line| line == "never").unwrap_err().to_string();
    assert!(never.contains("shell did not say") && never.contains("ready"), "{never}");
    assert!(process.try_wait().unwrap().is_none());
    assert!(!process.terminate().unwrap().success());

    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 3"]);
    let early = Process::spawn("early", command).unwrap();
    let error = early.wait_for_line(PATIENCE, |line| line == "never").unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("out") && error.contains("err"), "{error}");
}

#[test]
fn a_command_that_runs_too_long_is_ended() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; exec sleep 3600"]);
    // Time enough for a word.
    let error = run_to_end("slow", command, Duration::from_secs(4)).unwrap_err().to_string();
    assert!(error.contains("slow did not end") && error.contains("begun"), "{error}");

    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 3"]);
    let finished = run_to_end("quick", command, PATIENCE).unwrap();
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(finished.status.code(), Some(3));
}
