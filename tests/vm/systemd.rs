//! The two units under a real systemd as the guest's first process, with a stand-in for the vendor's services and an outsider who knocks without end
//! (`systemd/`). The tests run one after the other; each leaves the agent running. Only the guest of `cargo xtask vm --only systemd` has a systemd.

mod package;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guest::{fact, skip_outside};

const CONFIG: &str = "/etc/nodewall/nodewall.toml";
const NODEWALL: &str = "/usr/bin/nodewall";
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
pub(crate) const UNITS: [&str; 2] = ["nodewall-apply.service", "nodewall.service"];
/// An emulated processor is slow.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn fine(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}\n{}", journal());
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn journal() -> String {
    let output = run("journalctl", &["--no-pager", "-n", "400", "-u", UNITS[0], "-u", UNITS[1], "-o", "cat"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn show(unit: &str, property: &str) -> String {
    fine("systemctl", &["show", "--value", "-p", property, unit]).trim().to_owned()
}

pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", journal());
        sleep(Duration::from_millis(200));
    }
}

fn agent_pid() -> String {
    show(UNITS[1], "MainPID")
}

/// Active, and healthy as an operator outside of the unit's sandbox sees it: its pins are visible there.
pub(crate) fn healthy() -> bool {
    show(UNITS[1], "ActiveState") == "active" && run(NODEWALL, &["status"]).status.success()
}

/// The outsider's attempts so far: at 443 that were answered, at 9042, and those of them that were answered.
pub(crate) fn knocks() -> (usize, usize, usize) {
    let text = fs::read_to_string("/run/knocks").unwrap();
    let count = |line: &str| text.lines().filter(|found| *found == line).count();
    let reached = count("9042 reached");
    (count("443 reached"), count("9042 not") + reached, reached)
}

/// The outsider knocked all the while and later, reached what is open to all, and never what is the cluster's.
pub(crate) fn nobody_came_in(before: (usize, usize, usize)) {
    eventually("the outsider to knock", || {
        let now = knocks();
        now.0 > before.0 && now.1 > before.1
    });
    assert_eq!(knocks().2, 0, "an outsider reached 9042\n{}", journal());
}

pub(crate) fn reaches(source: &str, port: &str) -> bool {
    run("ip", &["netns", "exec", "wire", "perl", "/guest/knock.pl", source, port]).status.success()
}

#[test]
fn boot_closes_the_ports_before_the_network_and_before_anything_listens() {
    if skip_outside("boot_closes_the_ports_before_the_network_and_before_anything_listens") {
        return;
    }
    let entered_us = |unit: &str| -> u64 { show(unit, "ActiveEnterTimestampMonotonic").parse().unwrap() };
    let started_us = |unit: &str| -> u64 { show(unit, "InactiveExitTimestampMonotonic").parse().unwrap() };
    assert_eq!(
        (show(UNITS[0], "Result"), show(UNITS[0], "ActiveState")),
        ("success".into(), "active".into()),
        "{}",
        journal()
    );
    let closed_us = entered_us(UNITS[0]);
    for (what, later_us) in [
        ("network-pre.target", entered_us("network-pre.target")),
        ("the network", started_us("wire-up.service")),
        ("sysinit.target", entered_us("sysinit.target")),
        ("the listener", started_us("vendor.service")),
        ("the agent", started_us(UNITS[1])),
    ] {
        assert!(0 < closed_us && closed_us <= later_us, "{what} at {later_us} us, the filter at {closed_us} us");
    }
    fact("systemd", fine("systemctl", &["--version"]).lines().next().unwrap());
    nobody_came_in((0, 0, 0));
    assert!(reaches("10.77.0.11", "9042"), "the peer is not served");
}

#[test]
fn crash_is_followed_by_a_restart_and_the_filter_stays() {
    if skip_outside("crash_is_followed_by_a_restart_and_the_filter_stays") {
        return;
    }
    eventually("a healthy agent", healthy);
    let (pid, before) = (agent_pid(), knocks());
    fine("systemctl", &["kill", "--signal=SIGKILL", "--kill-whom=main", UNITS[1]]);
    eventually("another agent", || agent_pid() != pid && agent_pid() != "0" && healthy());
    nobody_came_in(before);
}

#[test]
fn evidence_reaches_the_journal() {
    if skip_outside("evidence_reaches_the_journal") {
        return;
    }
    let of_outsider = |record: &Value| {
        record["source"]["ip"] == "10.77.0.99"
            && record["destination"]["port"] == 9042
            && record["event"]["action"] == "drop"
    };
    eventually("the outsider in the journal", || {
        let lines = fine("journalctl", &["--no-pager", "-o", "cat", "-t", "nodewall-evidence"]);
        let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.iter().any(of_outsider)
    });
    // The unit's own messages are apart from it.
    let said = fine("journalctl", &["--no-pager", "-o", "cat", "-t", "nodewall", "-u", UNITS[1]]);
    assert!(said.contains("policy enforced") && !said.contains("10.77.0.99"), "{said}");
}

/// Debian's own setting of `kernel.perf_event_paranoid` asks for more than the unit has. Flows do not depend on it.
#[test]
fn evidence_has_captures_where_the_kernel_lets_it() {
    if skip_outside("evidence_has_captures_where_the_kernel_lets_it") {
        return;
    }
    let captures = || -> usize {
        let listed = fine(NODEWALL, &["events", "list", "--kind", "captures", "--port", "9042", "-o", "jsonl"]);
        listed.lines().count()
    };
    eventually("a healthy agent", healthy);
    let found = fs::read_to_string(PARANOID).unwrap();
    assert_eq!(found.trim(), "3", "Debian's kernel");
    let status = fine(NODEWALL, &["status"]);
    assert!(status.contains("frames are not captured") && status.contains("perf_event_paranoid is 3"), "{status}");
    assert_eq!(captures(), 0);
    fs::write(PARANOID, "2").unwrap();
    fine("systemctl", &["restart", UNITS[1]]);
    eventually("captures", || captures() > 0);
    assert!(!fine(NODEWALL, &["status"]).contains("not captured"));
    // And by the drop-in, with the kernel as it was.
    fs::write(PARANOID, found.trim()).unwrap();
    let drop_in = "/etc/systemd/system/nodewall.service.d/captures.conf";
    fs::copy("/guest/captures.conf", drop_in).unwrap();
    fine("systemctl", &["daemon-reload"]);
    fine("systemctl", &["restart", UNITS[1]]);
    let before = captures();
    eventually("more captures", || captures() > before);
    fs::remove_file(drop_in).unwrap();
    fine("systemctl", &["daemon-reload"]);
    fine("systemctl", &["restart", UNITS[1]]);
    eventually("a healthy agent", healthy);
}

#[test]
fn hung_agent_is_restarted_by_the_watchdog() {
    if skip_outside("hung_agent_is_restarted_by_the_watchdog") {
        return;
    }
    eventually("a healthy agent", healthy);
    let (pid, before) = (agent_pid(), knocks());
    // Alive for as long as it looks around.
    sleep(Duration::from_secs(10));
    assert_eq!(agent_pid(), pid, "the watchdog ended a living agent\n{}", journal());
    fine("systemctl", &["kill", "--signal=SIGSTOP", "--kill-whom=main", UNITS[1]]);
    eventually("another agent", || agent_pid() != pid && agent_pid() != "0" && healthy());
    assert!(journal().contains("Watchdog timeout"), "{}", journal());
    nobody_came_in(before);
}

#[test]
fn ready_is_said_when_the_policy_stands() {
    if skip_outside("ready_is_said_when_the_policy_stands") {
        return;
    }
    eventually("a healthy agent", healthy);
    fine("systemctl", &["restart", UNITS[1]]);
    // `restart` came back, so READY=1 was said.
    assert_eq!(show(UNITS[1], "SubState"), "running");
    let text = show(UNITS[1], "StatusText");
    assert!(text.contains("enforce, generation") && text.contains("3 peers, 1 interface"), "{text}");
    eventually("a healthy agent", healthy);
}

#[test]
fn reload_takes_a_new_peer_in_and_refuses_a_broken_file() {
    if skip_outside("reload_takes_a_new_peer_in_and_refuses_a_broken_file") {
        return;
    }
    eventually("a healthy agent", healthy);
    let (pid, before) = (agent_pid(), knocks());
    let config = fs::read_to_string(CONFIG).unwrap();
    assert!(!reaches("10.77.0.12", "9042"));
    fs::write(CONFIG, config.replace("\"10.77.0.11\"", "\"10.77.0.11\", \"10.77.0.12\"")).unwrap();
    fine("systemctl", &["reload", UNITS[1]]);
    eventually("the new peer to be served", || reaches("10.77.0.12", "9042"));
    fs::write(CONFIG, "mode = \"enforced\"\n").unwrap();
    assert!(!run("systemctl", &["reload", UNITS[1]]).status.success(), "a broken file was taken");
    assert!(reaches("10.77.0.12", "9042"));
    fs::write(CONFIG, config).unwrap();
    fine("systemctl", &["reload", UNITS[1]]);
    eventually("the peer to be gone again", || !reaches("10.77.0.12", "9042"));
    assert_eq!(agent_pid(), pid, "a reload is no restart");
    nobody_came_in(before);
}

#[test]
fn sandbox_gives_three_capabilities_and_shows_the_pins() {
    if skip_outside("sandbox_gives_three_capabilities_and_shows_the_pins") {
        return;
    }
    eventually("a healthy agent", healthy);
    let status = fs::read_to_string(format!("/proc/{}/status", agent_pid())).unwrap();
    for line in ["CapEff:\t000000c000001000", "CapBnd:\t000000c000001000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|found| found == line), "{line}: {status}");
    }
    assert!(Path::new("/sys/fs/bpf/nodewall/links").read_dir().unwrap().next().is_some());
    for unit in UNITS {
        let said = fine("systemd-analyze", &["security", "--no-pager", "--threshold=20", unit]);
        let level = said.lines().rev().find_map(|line| line.split_once("exposure level for ")).unwrap().1.to_owned();
        fact(&format!("exposure_{}", unit.replace(".service", "")), &level);
    }
    // What is outside can not be written, whatever the agent might be made to do.
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", agent_pid())).unwrap();
    let of = |place: &str| mounts.lines().rev().find(|line| line.split(' ').nth(1) == Some(place)).unwrap().to_owned();
    let writable = |place: &str| of(place).split(' ').nth(3).unwrap().starts_with("rw");
    for (place, is_writable) in
        [("/", false), ("/sys/fs/bpf", false), ("/run/nodewall-bpf", true), ("/var/lib/nodewall", true)]
    {
        assert_eq!(writable(place), is_writable, "{place}: {mounts}");
    }
}

#[test]
fn stop_leaves_the_filter() {
    if skip_outside("stop_leaves_the_filter") {
        return;
    }
    eventually("a healthy agent", healthy);
    let before = knocks();
    fine("systemctl", &["stop", UNITS[1], UNITS[0]]);
    assert_eq!(show(UNITS[1], "ActiveState"), "inactive");
    nobody_came_in(before);
    assert!(reaches("10.77.0.11", "9042") && !reaches("10.77.0.12", "9042"));
    fine("systemctl", &["start", UNITS[0], UNITS[1]]);
    eventually("a healthy agent", healthy);
}

/// What `status -o json` says; nothing while it can say nothing.
pub(crate) fn status() -> Value {
    serde_json::from_slice(&run(NODEWALL, &["status", "-o", "json"]).stdout).unwrap_or_default()
}

/// Transient units of trials that systemd knows.
fn trial_units() -> String {
    fine("systemctl", &["list-units", "--all", "--plain", "--no-legend", "nodewall-trial-*"])
}

fn begin_trial(within: &str) -> Child {
    let mut command = Command::new(NODEWALL);
    command
        .args(["enforce", "--allow-affected", "--confirm-within", within])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let countdown = command.spawn().unwrap();
    eventually("a trial", || status()["trial"]["kind"] == "enforce" && status()["mode"] == "enforce");
    countdown
}

#[test]
fn trial_is_ended_by_a_timer_when_its_countdown_and_the_agent_were_killed() {
    if skip_outside("trial_is_ended_by_a_timer_when_its_countdown_and_the_agent_were_killed") {
        return;
    }
    eventually("a healthy agent", healthy);
    // Where nothing is dropped he would come in; and an agent that was killed is to stay dead.
    fine("systemctl", &["stop", "outsider.service"]);
    let drop_in = Path::new("/run/systemd/system/nodewall.service.d/dead.conf");
    fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    fs::write(drop_in, "[Service]\nRestart=no\n").unwrap();
    fine("systemctl", &["daemon-reload"]);
    fine(NODEWALL, &["apply", "--mode", "audit"]);

    let mut countdown = begin_trial("45s");
    eventually("all three", || status()["trial"]["held_by"] == json!(["countdown", "agent", "timer"]));
    countdown.kill().unwrap();
    countdown.wait().unwrap();
    fine("systemctl", &["kill", "--signal=SIGKILL", "--kill-whom=main", UNITS[1]]);
    eventually("no agent", || show(UNITS[1], "ActiveState") == "failed");
    let held = status();
    assert_eq!((&held["trial"]["held_by"], &held["mode"]), (&json!(["timer"]), &json!("enforce")), "{held}");
    assert!(trial_units().contains(".timer"));
    // Each with its own patience: the trial's time takes most of the first.
    eventually("its time to be over", || status()["trial"]["seconds_left"].as_u64().unwrap_or_default() == 0);
    eventually("the policy before it", || status()["mode"] == "audit");
    assert_eq!(status()["trial"], Value::Null);
    assert_eq!(show(UNITS[1], "ActiveState"), "failed");
    let said = fine("journalctl", &["--no-pager", "-o", "cat", "-u", "nodewall-trial-*"]);
    assert!(said.contains("its time is over; mode audit again"), "{said}");
    eventually("nothing to be left of the timer", || trial_units().is_empty());

    // What is settled before takes its timer along.
    for settle in ["rollback", "confirm"] {
        let mut countdown = begin_trial("1h");
        assert!(trial_units().contains(".timer"), "{settle}");
        let settled = run(NODEWALL, &[settle]);
        assert!(matches!(settled.status.code(), Some(0 | 3)), "{settle}: {settled:?}");
        eventually("its timer to be gone", || trial_units().is_empty());
        countdown.wait().unwrap();
    }
    fs::remove_file(drop_in).unwrap();
    fine("systemctl", &["daemon-reload"]);
    fine(NODEWALL, &["apply", "--mode", "enforce"]);
    fine("systemctl", &["start", UNITS[1], "outsider.service"]);
    eventually("a healthy agent", healthy);
    nobody_came_in(knocks());
}

#[test]
fn upgrade_lets_nobody_in() {
    if skip_outside("upgrade_lets_nobody_in") {
        return;
    }
    eventually("a healthy agent", healthy);
    let (pid, before) = (agent_pid(), knocks());
    // As a package does it: written beside, renamed, restarted. A longer file is another one.
    let new = "/usr/bin/nodewall.new";
    fs::copy(NODEWALL, new).unwrap();
    let mut bytes = fs::read(new).unwrap();
    bytes.extend_from_slice(b"another build");
    fs::write(new, bytes).unwrap();
    fs::rename(new, NODEWALL).unwrap();
    fine("systemctl", &["restart", UNITS[1]]);
    assert_ne!(agent_pid(), pid);
    eventually("a healthy agent", healthy);
    let running = fs::metadata(format!("/proc/{}/exe", agent_pid())).unwrap().len();
    assert_eq!(running, fs::metadata(NODEWALL).unwrap().len());
    nobody_came_in(before);
}
