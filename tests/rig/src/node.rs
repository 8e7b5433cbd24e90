//! The fixture: a lab whose node has a configuration, directories of its own, and the real `nodewall`. It owns starting, asking
//! and ending nodewall; what is expected of it stands in the tests.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use nodewall_testbed::cleanup::{self, Guard};
use nodewall_testbed::{Finished, Host, Lab, NetNs, Process, Signal, eventually_eq, run_to_end};
pub use nodewall_testbed::{PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    counters::{Cells, Counters},
    settings::Settings,
};
use crate::binary::executable;

const PINS_BELOW: &str = "/sys/fs/bpf";
const PINS_PREFIX: &str = "nwt-";

/// A pin directory and a state directory that no other test has. Both go when it is dropped, or at a signal.
pub struct Directories {
    pins: PathBuf,
    state: TempDir,
    _removal: Guard,
}

impl Directories {
    pub fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        remove_stale_pins();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new(PINS_BELOW).join(format!("{PINS_PREFIX}{}-{number}", process::id()));
        let remove = pins.clone();
        // Without its pin the kernel lets go of a link.
        let removal = cleanup::guard(move || drop(fs::remove_dir_all(remove)));
        Self { pins, state: tempfile::tempdir().unwrap(), _removal: removal }
    }

    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Where the maps are pinned: the one folder with a number, that of their layout.
    pub fn maps(&self) -> PathBuf {
        let is_number = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
        };
        let mut folders = fs::read_dir(&self.pins).unwrap().map(|entry| entry.unwrap().path()).filter(is_number);
        let folder = folders.next().expect("no maps are pinned");
        assert_eq!(folders.next(), None, "of two layouts");
        folder
    }

    pub fn config(&self) -> PathBuf {
        self.state.path().join("nodewall.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.state()
    }

    fn state(&self) -> PathBuf {
        let state = self.state.path().join("state");
        let _ = DirBuilder::new().mode(0o700).create(&state);
        state
    }
}

/// Removes, once, the pins of test runs that were killed.
fn remove_stale_pins() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        for entry in fs::read_dir(PINS_BELOW).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let maker = name.strip_prefix(PINS_PREFIX).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
}

/// A node under nodewall. Its fields are dropped in this order: the agent, its pins, the network.
pub struct Node {
    agent: Option<Process>,
    pub directories: Directories,
    /// Shared, so that threads can use its hosts while the agent is restarted.
    pub lab: Arc<Lab>,
}

impl Node {
    /// The usual lab under the embedded profile, enforced.
    pub fn enforcing() -> Self {
        Self::with(&Settings::default())
    }

    pub fn with(settings: &Settings) -> Self {
        Self::on(Lab::new().unwrap(), settings)
    }

    /// Starts the agent and waits until its policy is in force.
    pub fn on(lab: Lab, settings: &Settings) -> Self {
        let mut node = Self::idle(lab, settings);
        node.start_agent();
        node
    }

    /// The same before anything was started.
    pub fn idle(lab: Lab, settings: &Settings) -> Self {
        let node = Self { agent: None, directories: Directories::new(), lab: Arc::new(lab) };
        node.configure(settings);
        node
    }

    /// Writes the configuration. The agent reads it when it starts and at SIGHUP.
    pub fn configure(&self, settings: &Settings) {
        self.configure_text(&settings.to_toml());
    }

    pub fn configure_text(&self, toml: &str) {
        fs::write(self.directories.config(), toml).unwrap();
    }

    pub fn host(&self) -> &Host {
        self.lab.node()
    }

    pub fn netns(&self) -> &NetNs {
        self.lab.node().netns()
    }

    pub fn outsider(&self) -> &Host {
        self.lab.outsider().unwrap()
    }

    pub fn peers(&self) -> [&Host; 2] {
        [self.lab.peer1().unwrap(), self.lab.peer2().unwrap()]
    }

    pub fn start_agent(&mut self) {
        assert!(self.agent.is_none(), "an agent of this fixture runs already");
        let agent = Process::spawn("nodewall run", self.command("run", &[])).unwrap();
        agent
            .wait_for_line(PATIENCE, |line| line.contains("policy enforced") || line.contains("policy audited"))
            .unwrap();
        self.agent = Some(agent);
    }

    pub fn agent(&self) -> &Process {
        self.agent.as_ref().expect("no agent runs")
    }

    /// Waits for a line that the agent logs, from its first line on.
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.agent().wait_for_line(PATIENCE, wanted).unwrap()
    }

    /// Ends the agent with this signal and returns how it ended.
    pub fn end_agent(&mut self, signal: Signal) -> ExitStatus {
        let agent = self.agent.take().expect("no agent runs");
        agent.signal(signal).unwrap();
        agent.wait(PATIENCE).unwrap()
    }

    /// The command line of one of nodewall's commands on this node.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        self.command_in(&self.directories, verb, arguments)
    }

    /// The same with directories of another instance.
    pub fn command_in(&self, directories: &Directories, verb: &str, arguments: &[&str]) -> Command {
        let mut command = self.netns().command(executable());
        command.arg(verb).arg("--config").arg(self.directories.config());
        command.arg("--bpffs").arg(directories.pins()).arg("--state-dir").arg(directories.state());
        command.args(["--color", "never"]).args(arguments);
        command
    }

    /// Runs one of nodewall's commands to its end.
    pub fn nodewall(&self, verb: &str, arguments: &[&str]) -> Finished {
        run_to_end(verb, self.command(verb, arguments), PATIENCE).unwrap()
    }

    /// The same without `--config`, for commands that then answer for what is in force.
    pub fn nodewall_live(&self, verb: &str, arguments: &[&str]) -> Finished {
        let mut command = self.netns().command(executable());
        command.arg(verb).arg("--bpffs").arg(self.directories.pins()).args(["--color", "never"]).args(arguments);
        run_to_end(verb, command, PATIENCE).unwrap()
    }

    /// What a command says with `-o json`.
    pub fn json(&self, verb: &str) -> Value {
        let finished = self.nodewall(verb, &["-o", "json"]);
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{verb}: {error}: {finished:?}"))
    }

    pub fn generation(&self) -> u64 {
        self.json("status")["generation"].as_u64().unwrap()
    }

    /// How one interface is attached, by `status`; nothing when it is not.
    pub fn attachment(&self, interface: &str) -> Option<(String, u64)> {
        let status = self.json("status");
        let mut covered = status["interfaces"].as_array().unwrap().iter().filter(|i| i["state"] == "covered");
        let found = covered.find(|i| i["name"] == interface)?;
        Some((found["attach_mode"].as_str().unwrap().to_owned(), found["program_id"].as_u64().unwrap()))
    }

    /// What the kernel shows of the interface: the words `xdp` and `xdpgeneric` are there when a program is.
    pub fn link_words(&self, interface: &str) -> Vec<String> {
        let shown = self.netns().ip(&["link", "show", "dev", interface]).unwrap();
        shown.split_whitespace().map(str::to_owned).collect()
    }

    pub fn counters(&self) -> Counters {
        Counters::parse(&self.json("counters"))
    }

    /// Waits until a part of the counters comes to this: they trail the probe that moved them by the time of a softirq.
    ///
    /// So many passed TCP frames may be counted besides as the other hosts' kernels sent besides the probes.
    pub fn assert_counted(&self, part: impl Fn(&Counters) -> Cells, expected: &Cells) {
        let hosts = || self.peers().into_iter().chain([self.outsider()]);
        let without_besides = || {
            let mut counted = part(&self.counters());
            // Asked after the counters: what is counted was sent.
            let mut sent: u64 = hosts().map(|host| host.netns().segments_besides_probes().unwrap()).sum();
            for (cell, count) in &mut counted {
                if cell.outcome == "pass" && cell.protocol.as_deref() == Some("tcp") {
                    let besides = count.saturating_sub(expected.get(cell).copied().unwrap_or_default()).min(sent);
                    (*count, sent) = (*count - besides, sent - besides);
                }
            }
            counted
        };
        eventually_eq("counted (left) is not what was sent (right)", without_besides, expected);
    }

    /// Asserts that nothing was dropped, and nothing would have been.
    pub fn assert_no_drops(&self) {
        assert_eq!(self.counters().drops(), Cells::new());
    }
}
