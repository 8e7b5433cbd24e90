//! What the real agent tells systemd, heard by a socket in systemd's place. It must not test the messages' form; the unit tests beside them do.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nodewall_testbed::{Lab, Process, Signal, skip_unless_privileged};

use super::node::{Node, PATIENCE, eventually};
use super::settings::Settings;
use super::traffic::assert_filtered;

/// Three looks of the agent.
const STOPPED_FOR: Duration = Duration::from_secs(3);

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What has been said by now.
fn heard(socket: &UnixDatagram) -> Vec<String> {
    let mut messages = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        match socket.recv(&mut bytes) {
            Ok(length) => messages.push(String::from_utf8(bytes[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return messages,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn systemd_hears_when_it_is_ready_reloads_lives_and_stops() {
    if skip_unless_privileged("systemd_hears_when_it_is_ready_reloads_lives_and_stops") {
        return;
    }
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = bind(&path);
    let mut command = node.command("run", &[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000").env_remove("WATCHDOG_PID");
    let agent = Process::spawn("nodewall run", command).unwrap();
    let mut said = Vec::new();
    let mut wait_for = |what: &str, beginning: &str| {
        eventually(what, || {
            said.extend(heard(&socket));
            let at = said.iter().position(|message: &String| message.starts_with(beginning))?;
            Some(said.drain(..=at).collect::<Vec<_>>())
        })
    };
    let before = wait_for("that it is ready", "READY=1");
    // Said when it is so: whoever was waiting may start to listen now.
    assert_filtered(&node);
    let status = before.iter().find(|message| message.starts_with("STATUS=")).unwrap();
    assert!(status.contains("enforce, generation 1, 4 peers, 1 interface; healthy"), "{status}");
    wait_for("a sign of life", "WATCHDOG=1");

    let generation = node.generation();
    node.configure(&Settings::default().peers(&["10.77.0.11", "10.77.0.12", "10.77.0.99", "fd77::11", "fd77::12"]));
    agent.signal(Signal::HUP).unwrap();
    wait_for("that it reloads", "RELOADING=1\nMONOTONIC_USEC=");
    wait_for("that the reload is over", "READY=1");
    assert!(node.generation() > generation, "READY=1 is said after the new policy is in force");
    let status = wait_for("how it does now", "STATUS=").pop().unwrap();
    assert!(status.contains("5 peers"), "{status}");

    // A stopped agent gives no sign of life: none comes from a thread or from somewhere else.
    agent.freeze().unwrap();
    heard(&socket);
    let stopped = Instant::now();
    while stopped.elapsed() < STOPPED_FOR {
        assert_eq!(heard(&socket), Vec::<String>::new());
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.signal(Signal::CONT).unwrap();
    wait_for("a sign of life", "WATCHDOG=1");
    agent.signal(Signal::TERM).unwrap();
    wait_for("that it stops", "STOPPING=1");
    assert!(agent.wait(PATIENCE).unwrap().success());
    assert_filtered(&node);
}

/// Without a service manager nobody starts it anew, and nobody waits.
#[test]
fn a_start_that_is_refused_again_and_again_waits_for_longer_each_time() {
    if skip_unless_privileged("a_start_that_is_refused_again_and_again_waits_for_longer_each_time") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    node.configure_text("mode = \"enforced\"\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = bind(&path);
    let start = || {
        let mut command = node.command("run", &[]);
        command.env("NOTIFY_SOCKET", &path);
        Process::spawn("nodewall run", command).unwrap()
    };
    let refused = |agent: &Process| {
        assert_eq!(agent.wait(PATIENCE).unwrap().code(), Some(1), "{}", agent.output());
        assert!(agent.output().contains("nodewall.toml:1:8"), "{}", agent.output());
        heard(&socket)
    };
    assert_eq!(node.nodewall("run", &[]).status.code(), Some(1));
    assert_eq!(refused(&start()), Vec::<String>::new(), "the first is told at once");
    for wait in ["1s", "2s"] {
        assert!(refused(&start()).concat().ends_with(&format!("it is tried again in {wait}")));
    }
    // Who mends the file does not wait for the rest.
    let waits = start();
    waits.wait_for_line(PATIENCE, |line| line.contains("tried again in 4s")).unwrap();
    node.configure_text("mode = \"enforce!\"\n");
    assert!(refused(&waits).concat().contains("STATUS=the configuration changed"));
    // Nor does who stops it, and starts it again to read why.
    refused(&start());
    let waits = start();
    waits.wait_for_line(PATIENCE, |line| line.contains("tried again in")).unwrap();
    waits.signal(Signal::TERM).unwrap();
    refused(&waits);
    heard(&socket);
    assert_eq!(refused(&start()), Vec::<String>::new());
    node.configure(&Settings::default());
    node.start_agent();
    let counted = node.directories.state_dir().join("refused-starts.json");
    eventually("the refusals are forgotten", || (!counted.exists()).then_some(()));
}
