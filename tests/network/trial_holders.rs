//! Who holds a trial when the command that began it and the agent are gone. Here that is the guard: a timer of systemd's needs a machine of its own
//! (`tests/vm/systemd.rs`).

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use nodewall_testbed::{Process, Signal, eventually_eq, judge_time, skip_unless_privileged, until};
use rustix::process::{Pid, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::assert_open;
use super::trials::{audited, hold, journal, mode};

/// By when a trial that nobody confirmed has gone back.
const WITHIN: Duration = Duration::from_secs(2);

/// What a trial's file says: a line with its checksum, then the trial.
fn deadline(node: &Node) -> Duration {
    let text = fs::read_to_string(node.directories.state_dir().join("trial.state")).unwrap();
    let trial: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    Duration::from_nanos(trial["deadline"]["boot_ns"].as_u64().unwrap())
}

/// Time since boot.
fn now() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().unwrap()
}

/// The process that the lock of this name says has it, once there is one.
fn holder(node: &Node, lock: &str) -> Pid {
    let lock = node.directories.state_dir().join(lock);
    let read = || Pid::from_raw(fs::read_to_string(&lock).ok()?.trim().parse().ok()?).filter(|pid| lives(*pid));
    eventually("somebody has the lock", read)
}

fn guard(node: &Node) -> Pid {
    until("a guard holds the trial", || held_by(node).contains(&json!("guard")));
    holder(node, "guard.lock")
}

fn held_by(node: &Node) -> Vec<Value> {
    node.json("status")["trial"]["held_by"].as_array().cloned().unwrap_or_default()
}

fn of_process(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
}

/// Not one that has ended and waits for its parent, either.
fn lives(pid: Pid) -> bool {
    of_process(pid, "stat").rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Kills a process that a command under test left behind.
fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
    until("it is dead", || !lives(pid));
}

fn killed(process: &Process) {
    process.signal(Signal::KILL).unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().signal(), Some(9), "{}", process.output());
}

#[test]
fn a_trial_ends_although_its_command_and_the_agent_were_killed() {
    if skip_unless_privileged("a_trial_ends_although_its_command_and_the_agent_were_killed") {
        return;
    }
    let mut node = audited();
    node.start_agent();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "15s"]);
    let deadline = deadline(&node);
    killed(&held);
    assert_eq!(node.end_agent(Signal::KILL).signal(), Some(9));
    until("the policy before is in force again", || mode(&node) == "audit");
    let late = now().saturating_sub(deadline);
    println!("the policy before the trial was back {late:?} after its deadline");
    judge_time(late <= WITHIN, || format!("the trial went back {late:?} after its deadline"));
    assert_open(&node);
    assert_eq!(node.json("status")["trial"], Value::Null);
    // Who ended it writes so when it is done.
    let is_told =
        |last: &Value| last["action"] == "rollback" && last["detail"].as_str().unwrap().contains("its time is over");
    until("the journal tells it", || journal(&node).last().is_some_and(is_told));
}

#[test]
fn a_guard_has_nothing_of_whoever_began_the_trial_and_goes_with_it() {
    if skip_unless_privileged("a_guard_has_nothing_of_whoever_began_the_trial_and_goes_with_it") {
        return;
    }
    let node = audited();
    let mut command = node.command("enforce", &["--allow-affected", "--confirm-within", "1h"]);
    let lent = File::open(node.directories.config()).unwrap();
    // As a shell's `exec 9<file` lends it.
    rustix::io::fcntl_setfd(&lent, rustix::io::FdFlags::empty()).unwrap();
    command.current_dir(node.directories.state_dir());
    let held = Process::spawn("enforce", command).unwrap();
    held.wait_for_line(PATIENCE, |line| line.contains("on trial")).unwrap();
    drop(lent);
    let guard = guard(&node);
    assert_eq!(of_process(guard, "comm"), "nw-trial-guard\n");
    let stat = of_process(guard, "stat");
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (parent, session) = (fields[1], fields[3]);
    assert_ne!(parent, held.id().to_string());
    assert_ne!(session, of_process(Pid::from_raw(held.id().cast_signed()).unwrap(), "stat").split(' ').nth(5).unwrap());
    let folder = format!("/proc/{}", guard.as_raw_nonzero());
    let open = || -> Vec<_> {
        let files = fs::read_dir(format!("{folder}/fd")).unwrap();
        let files = files.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        files.filter(|file| file.is_absolute() && !file.starts_with("/dev")).collect()
    };
    // Beside it there is the trial's file, whenever it looks.
    let state = node.directories.state_dir();
    eventually_eq("what the guard has open", open, &vec![state.clone(), state.join("guard.lock")]);
    assert_eq!(fs::read_link(format!("{folder}/cwd")).unwrap(), Path::new("/"));
    for (file, null) in ["0", "1", "2"].map(|fd| (format!("{folder}/fd/{fd}"), Path::new("/dev/null"))) {
        assert_eq!(fs::read_link(&file).unwrap(), null, "{file}");
    }
    assert_eq!(held_by(&node), ["countdown", "guard"]);
    assert!(node.nodewall("confirm", &[]).status.success());
    assert!(held.wait(PATIENCE).unwrap().success(), "{}", held.output());
    until("the guard is gone", || !lives(guard));
    assert_eq!(mode(&node), "enforce");
}

#[test]
fn a_holder_ends_no_later_trial() {
    if skip_unless_privileged("a_holder_ends_no_later_trial") {
        return;
    }
    let node = audited();
    let first = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "15s"]);
    let (over, frozen) = (deadline(&node), guard(&node));
    // Neither must see that its trial is over before the next one is there.
    kill_process(frozen, Signal::STOP).unwrap();
    first.freeze().unwrap();
    node.nodewall("rollback", &[]);
    assert_eq!(mode(&node), "audit");
    let second = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    until("the first trial's time is over", || now() > over);
    kill_process(frozen, Signal::CONT).unwrap();
    until("the first trial's guard is gone", || !lives(frozen));
    first.signal(Signal::CONT).unwrap();
    assert_eq!(first.wait(PATIENCE).unwrap().code(), Some(1), "{}", first.output());
    assert!(first.output().contains("not confirmed"), "{}", first.output());
    let status = node.json("status");
    assert_eq!((&status["mode"], &status["trial"]["kind"]), (&"enforce".into(), &"enforce".into()), "{status}");
    // The second one has a guard of its own, which goes on when the countdown does not.
    killed(&second);
    let guard = guard(&node);
    assert_ne!(guard, frozen);
    assert_eq!(held_by(&node), ["guard"]);
    assert_eq!(node.nodewall("rollback", &[]).status.code(), Some(3));
    until("its guard is gone, too", || !lives(guard));
}

#[test]
fn the_holders_go_with_the_state_directory() {
    if skip_unless_privileged("the_holders_go_with_the_state_directory") {
        return;
    }
    let node = audited();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    let (guard, state) = (guard(&node), node.directories.state_dir());
    // Whoever looks in between may make a lock in it. Moved away it would be held, and the trial end in time.
    until("the state is gone", || fs::remove_dir_all(&state).is_ok());
    until("the guard is gone", || !lives(guard));
    assert_eq!(held.wait(PATIENCE).unwrap().code(), Some(1), "{}", held.output());
}

#[test]
fn a_trial_that_nobody_holds_is_told_and_ended_by_the_next_start() {
    if skip_unless_privileged("a_trial_that_nobody_holds_is_told_and_ended_by_the_next_start") {
        return;
    }
    let node = audited();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "15s"]);
    kill(guard(&node));
    killed(&held);
    until("it is said that nobody ended the trial", || {
        node.json("status")["problems"].to_string().contains("should have ended, and is held by nobody")
    });
    assert!(node.nodewall("apply", &[]).status.success());
    assert_eq!(mode(&node), "audit");
    assert_eq!(node.json("status")["trial"], Value::Null);
}

#[test]
fn a_boot_ends_a_trial() {
    if skip_unless_privileged("a_boot_ends_a_trial") {
        return;
    }
    let node = audited();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "1h"]);
    let guard = guard(&node);
    killed(&held);
    // What a boot leaves: the file, written under another name of the boot, and nothing in the kernel.
    let file = node.directories.state_dir().join("trial.state");
    let text = fs::read_to_string(&file).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let body = text.lines().nth(1).unwrap().replace(boot.trim(), "before");
    assert_ne!(Some(body.as_str()), text.lines().nth(1));
    let sum: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&file, format!("nodewall-state 1 sha256 {sum}\n{body}")).unwrap();
    until("the guard sees a trial that is not its own", || !lives(guard));
    assert_eq!(mode(&node), "enforce");
    fs::remove_dir_all(node.directories.pins()).unwrap();
    let boot = node.nodewall("apply", &[]);
    assert!(boot.status.success(), "{boot:?}");
    let status = node.json("status");
    assert_eq!((&status["mode"], &status["trial"]), (&json!("audit"), &Value::Null), "{status}");
    let done: Vec<_> = journal(&node).iter().map(|entry| entry["action"].clone()).collect();
    assert!(done.ends_with(&[json!("enforce"), json!("rollback"), json!("apply")]), "{done:?}");
}

#[test]
fn a_trial_ends_although_the_maps_pins_are_gone() {
    if skip_unless_privileged("a_trial_ends_although_the_maps_pins_are_gone") {
        return;
    }
    let node = audited();
    // Of all maps, and of one.
    for one in [None, Some("nw_policy")] {
        let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "15s"]);
        killed(&held);
        let guard = guard(&node);
        // It comes when all is prepared, however long that takes.
        kill_process(guard, Signal::STOP).unwrap();
        let maps = node.directories.maps();
        match one {
            None => fs::remove_dir_all(&maps).unwrap(),
            Some(name) => fs::remove_file(maps.join(name)).unwrap(),
        }
        kill_process(guard, Signal::CONT).unwrap();
        until("the guard has done its work", || !lives(guard));
        let status = node.json("status");
        assert_eq!((&status["mode"], &status["trial"]), (&json!("audit"), &Value::Null), "{one:?}: {status}");
        only_unattended(&status);
        assert_open(&node);
    }
    // Nor do they stop an `apply`.
    fs::remove_file(node.directories.maps().join("nw_policy")).unwrap();
    assert!(node.nodewall("apply", &[]).status.success());
    only_unattended(&node.json("status"));
}

/// Nothing is wrong but that no agent runs.
fn only_unattended(status: &Value) {
    let problems = status["problems"].as_array().unwrap();
    assert!(problems.len() == 1 && problems[0].as_str().unwrap().starts_with("no agent runs"), "{status}");
}

#[test]
fn an_agent_follows_the_end_of_a_trial_that_it_slept_through() {
    if skip_unless_privileged("an_agent_follows_the_end_of_a_trial_that_it_slept_through") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::audit());
    node.start_agent();
    let held = hold(&node, "enforce", &["--allow-affected", "--confirm-within", "15s"]);
    until("the agent knows of the trial", || node.agent().output().contains("a command changed the policy"));
    // Not in the middle of a change, which nobody could go on with.
    let lock = File::open(node.directories.state_dir().join("policy.lock")).unwrap();
    lock.lock().unwrap();
    node.agent().freeze().unwrap();
    lock.unlock().unwrap();
    fs::remove_dir_all(node.directories.pins()).unwrap();
    assert_eq!(held.wait(PATIENCE).unwrap().code(), Some(1), "{}", held.output());
    node.agent().signal(Signal::CONT).unwrap();
    eventually_eq("the agent audits", || node.json("status")["mode"].clone(), &json!("audit"));
    until("all is well", || node.json("status")["healthy"] == true);
    assert_open(&node);
}
