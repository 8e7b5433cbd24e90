//! Nodes and Ansible: the inventory, the run, and who starts agents where there is no systemd. What is expected of a run stands in the tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nodewall_testbed::{Finished, Host, Lab, Listener, Process, Signal, probe_tcp, run_to_end};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::binary::executable;
use crate::node::{Directories, PATIENCE};

/// The usual nodes, in the inventory's order.
pub(crate) const NAMES: [&str; 3] = ["n1", "n2", "n3"];
/// A public port, and one that is the cluster's.
pub(crate) const PUBLIC: u16 = 443;
pub(crate) const CLUSTER: u16 = 9042;
/// A run takes some 20 s; a failure's cost, as all that is waited for.
const RUN_ENDS_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A dropped connection attempt shows by its silence.
const SILENCE: Duration = Duration::from_secs(4);

/// A program that `cargo xtask setup` installed by pip.
pub(crate) fn python(program: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin").join(program);
    assert!(file.exists(), "no {program} in target/python; `cargo xtask setup` installs it");
    file
}

pub(crate) fn packaged() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/ansible")
}

/// One node: its place in the lab, its directories, and its agent once Ansible had it started.
struct Machine {
    name: &'static str,
    /// The lab's name for it.
    host: &'static str,
    /// Where nodewall is on it.
    executable: PathBuf,
    agent: Option<Process>,
    directories: Directories,
    _listener: Listener,
}

/// What Ansible asks of the service manager that there is not.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Start,
    Restart,
}

/// How a run of the playbook ended.
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) output: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!(self.succeeded, "{}", self.output);
        self
    }

    #[track_caller]
    pub(crate) fn fails_saying(self, words: &[&str]) -> Self {
        assert!(!self.succeeded, "{}", self.output);
        for word in words {
            assert!(self.output.contains(word), "no `{word}` in\n{}", self.output);
        }
        self
    }

    /// A count of the recap, such as `changed`; none for a node that the run did not come to.
    pub(crate) fn count(&self, node: &str, what: &str) -> Option<u32> {
        let recap = self.output.split("PLAY RECAP").nth(1)?;
        let line = recap.lines().find(|line| line.split_whitespace().next() == Some(node))?;
        line.split_whitespace().find_map(|word| word.strip_prefix(what)?.strip_prefix('=')?.parse().ok())
    }
}

/// Fields are dropped in this order: agents and pins, the files, the network.
pub(crate) struct Fleet {
    machines: Vec<Machine>,
    home: TempDir,
    /// Who is in the inventory, in its order.
    pub(crate) members: Vec<usize>,
    /// The inventory's variables for all nodes, and those of single ones.
    pub(crate) common: Map<String, Value>,
    pub(crate) own: Vec<Map<String, Value>>,
    pub(crate) lab: Arc<Lab>,
}

impl Fleet {
    /// Three, by all their addresses.
    pub(crate) fn new() -> Self {
        let hosts = NAMES.into_iter().zip(["node", "peer1", "peer2"]);
        let hosts: Vec<_> = hosts.collect();
        let mut fleet = Self::on(Arc::new(Lab::new().unwrap()), &hosts, &[PUBLIC, CLUSTER]);
        // Ansible installs it on the first node; the others have it already, which spares much copying.
        fleet.place_executable(0, fleet.home.path().join("nodewall"));
        fleet.own[0].insert("nodewall_binary_file".into(), executable().into());
        fleet
    }

    /// Each by its name in the inventory and its host's in the lab, with somebody who listens on these ports.
    pub(crate) fn on(lab: Arc<Lab>, hosts: &[(&'static str, &'static str)], ports: &[u16]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let members = (0..hosts.len()).collect();
        let mut fleet = Self { machines: Vec::new(), home, members, common: common(), own: Vec::new(), lab };
        for (name, host) in hosts {
            fleet.add_machine(name, host, ports);
        }
        fleet
    }

    fn add_machine(&mut self, name: &'static str, host: &'static str, ports: &[u16]) {
        let lab = Arc::clone(&self.lab);
        let at = lab.host(host).unwrap();
        let directories = Directories::new();
        // Every module, and what it starts, runs in the node's network: no connection of Ansible's own is needed for that.
        let wrapper = self.home.path().join(format!("python-{name}"));
        let (namespace, python) = (at.netns().path(), python("python"));
        let text =
            format!("#!/bin/sh\nexec nsenter --net='{}' -- '{}' \"$@\"\n", namespace.display(), python.display());
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        let own = json!({
            "ansible_connection": "local",
            "ansible_python_interpreter": wrapper,
            "nodewall_addresses": [at.ipv4(), at.ipv6()],
            "nodewall_executable": executable(),
            "nodewall_binary_file": "",
            "nodewall_config_file": directories.config(),
            "nodewall_state_dir": directories.state_dir(),
            "nodewall_bpffs": directories.pins(),
            "nodewall_start_command": ["touch", self.wish(Wish::Start, name)],
        });
        let Value::Object(own) = own else { unreachable!() };
        self.own.push(own);
        let listener = Listener::tcp(at.netns(), ports).unwrap();
        let executable = executable().into();
        self.machines.push(Machine { name, host, executable, agent: None, directories, _listener: listener });
    }

    /// Where the node has its nodewall, or is to get it.
    pub(crate) fn place_executable(&mut self, number: usize, file: PathBuf) {
        self.own[number].insert("nodewall_executable".into(), json!(file));
        self.machines[number].executable = file;
    }

    /// An executable that Ansible exchanges is started in the old one's place. The command ends when that is done, as a service manager's does.
    pub(crate) fn restart_what_is_exchanged(&mut self) {
        for number in 0..self.machines.len() {
            let wish = self.wish(Wish::Restart, self.machines[number].name).display().to_string();
            let wait = format!("touch '{wish}'; while test -e '{wish}'; do sleep 0.05; done");
            self.own[number].insert("nodewall_restart_command".into(), json!(["sh", "-c", wait]));
        }
    }

    /// By their IPv4 addresses alone, which makes half the connections: for runs that end early.
    pub(crate) fn small() -> Self {
        let mut fleet = Self::new();
        for number in 0..NAMES.len() {
            let addresses = json!([fleet.host(number).ipv4()]);
            fleet.own[number].insert("nodewall_addresses".into(), addresses);
        }
        fleet
    }

    /// The lab's host that is node number N.
    pub(crate) fn host(&self, number: usize) -> &Host {
        self.lab.host(self.machines[number].host).unwrap()
    }

    /// A folder that goes with the fleet.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The file by which Ansible asks for the agent.
    fn wish(&self, wish: Wish, name: &str) -> PathBuf {
        self.home.path().join(format!("{wish:?}-{name}"))
    }

    /// Runs the playbook with `nodewall_enforce` to its end, and meanwhile starts the agents that it asks for.
    pub(crate) fn roll_out(&mut self, enforce: bool) -> Ran {
        self.roll_out_unless(enforce, |_| false)
    }

    /// The same, but kills Ansible as soon as `is_enough`.
    pub(crate) fn roll_out_unless(&mut self, enforce: bool, is_enough: impl Fn(&Self) -> bool) -> Ran {
        let host = |number: &usize| (self.machines[*number].name.to_owned(), self.own[*number].clone().into());
        let hosts: Map<String, Value> = self.members.iter().map(host).collect();
        let inventory = json!({"all": {"vars": self.common, "children": {"nodewall": {"hosts": hosts}}}});
        let file = self.home.path().join("inventory.json");
        fs::write(&file, inventory.to_string()).unwrap();
        let mut command = Command::new(python("ansible-playbook"));
        command.arg("-i").arg(file).arg("-e").arg(json!({"nodewall_enforce": enforce}).to_string());
        command.arg(packaged().join("rollout.yml"));
        surroundings(&mut command, self.home.path());
        let run = Process::spawn("ansible-playbook", command).unwrap();
        let deadline = Instant::now() + RUN_ENDS_WITHIN;
        let status = loop {
            if let Some(status) = run.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", run.output());
            self.start_what_is_wished();
            if is_enough(self) {
                run.signal(Signal::KILL).unwrap();
            }
            thread::sleep(LOOK_EVERY);
        };
        // The pipe's last lines come a moment after the end: this waits for them.
        let _ = run.wait(PATIENCE);
        Ran { succeeded: status.success(), output: run.output() }
    }

    fn start_what_is_wished(&mut self) {
        for number in 0..self.machines.len() {
            let name = self.machines[number].name;
            if fs::remove_file(self.wish(Wish::Start, name)).is_ok() {
                assert!(self.machines[number].agent.is_none(), "{name}'s agent was asked for twice");
                self.start_agent(number);
            }
            let restart = self.wish(Wish::Restart, name);
            if restart.exists() {
                // None runs where the role installs before it starts.
                if let Some(agent) = self.machines[number].agent.take() {
                    assert!(agent.terminate().unwrap().success(), "{}", agent.output());
                    self.start_agent(number);
                    self.agent(number).wait_for_line(PATIENCE, |line| line.contains("policy ")).unwrap();
                }
                fs::remove_file(restart).unwrap();
            }
        }
    }

    pub(crate) fn start_agent(&mut self, number: usize) {
        let agent = Process::spawn("nodewall run", self.command(number, &["run"])).unwrap();
        self.machines[number].agent = Some(agent);
    }

    /// Ends the agent as a fault would.
    pub(crate) fn kill_agent(&mut self, number: usize) {
        let agent = self.machines[number].agent.take().expect("no agent runs");
        agent.signal(Signal::KILL).unwrap();
        agent.wait(PATIENCE).unwrap();
    }

    /// The node's installed executable, called as the role calls it.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = self.live_command(number, arguments);
        command.arg("--config").arg(self.config(number));
        command
    }

    fn live_command(&self, number: usize, arguments: &[&str]) -> Command {
        let machine = &self.machines[number];
        let mut command = self.host(number).netns().command(&machine.executable);
        command.args(arguments).arg("--state-dir").arg(machine.directories.state_dir());
        command.arg("--bpffs").arg(machine.directories.pins()).args(["--color", "never"]);
        command
    }

    /// Runs one of nodewall's commands on the node to its end.
    pub(crate) fn nodewall(&self, number: usize, arguments: &[&str]) -> Finished {
        run_to_end("nodewall", self.command(number, arguments), PATIENCE).unwrap()
    }

    /// The same for one that answers for what is in force, unless a configuration is named.
    pub(crate) fn live(&self, number: usize, arguments: &[&str]) -> Finished {
        run_to_end("nodewall", self.live_command(number, arguments), PATIENCE).unwrap()
    }

    /// What a command says with `-o json`.
    pub(crate) fn json(&self, number: usize, arguments: &[&str]) -> Value {
        let finished = self.nodewall(number, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {finished:?}"))
    }

    pub(crate) fn status(&self, number: usize) -> Value {
        self.json(number, &["status"])
    }

    /// What the node's journal calls the things that were done.
    pub(crate) fn journal(&self, number: usize) -> Vec<String> {
        let file = self.machines[number].directories.state_dir().join("journal.jsonl");
        let lines = fs::read_to_string(file).unwrap_or_default();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["action"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn config(&self, number: usize) -> PathBuf {
        self.machines[number].directories.config()
    }

    pub(crate) fn agent(&self, number: usize) -> &Process {
        self.machines[number].agent.as_ref().expect("Ansible did not ask for an agent")
    }

    /// Nothing was written, loaded or started.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, number: usize) {
        let machine = &self.machines[number];
        let state = machine.directories.state_dir();
        assert!(machine.agent.is_none() && !self.wish(Wish::Start, machine.name).exists(), "an agent was asked for");
        for path in [machine.directories.config(), machine.directories.pins().into()] {
            assert!(!path.exists(), "{}", path.display());
        }
        assert_eq!(fs::read_dir(state).unwrap().count(), 0);
    }

    /// Whether a host that is no peer is answered.
    pub(crate) fn outsider_reaches(&self, number: usize, port: u16) -> bool {
        self.reaches(self.lab.outsider().unwrap(), number, port)
    }

    pub(crate) fn reaches(&self, from: &Host, number: usize, port: u16) -> bool {
        let target = (self.host(number).ipv4(), port).into();
        probe_tcp(from.netns(), target, SILENCE).unwrap().is_answered()
    }
}

/// What the inventory says of all nodes: quick looks, no systemd.
fn common() -> Map<String, Value> {
    let Value::Object(common) = json!({
        "nodewall_become": false,
        "nodewall_service_manager": "none",
        "nodewall_interfaces": ["eth0"],
        // Enough for a loaded machine to start an agent.
        "nodewall_gate_retries": 15,
        "nodewall_gate_delay": 1,
        "nodewall_check_timeout": 5,
        // Nobody waits for it where the trial is confirmed.
        "nodewall_confirm_within": 300,
        "nodewall_check_ports": [CLUSTER],
    }) else {
        unreachable!()
    };
    common
}

/// Ansible with nothing of this machine's user: all that it writes lies below `home`.
pub(crate) fn surroundings(command: &mut Command, home: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = python("python");
    let programs = programs.parent().unwrap().display();
    command.env_clear().env("PATH", format!("{programs}:{path}")).env("HOME", home).env("LC_ALL", "C.UTF-8");
    command.env("ANSIBLE_HOME", home).env("ANSIBLE_LOCAL_TEMP", home.join("local"));
    command.env("ANSIBLE_REMOTE_TMP", home.join("remote")).env("ANSIBLE_ASYNC_DIR", home.join("async"));
    command.env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_PIPELINING", "1").current_dir(home);
}
