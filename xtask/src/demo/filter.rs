//! The real nodewall in the node's namespace: starting the agent, asking for its counters, ending it, detaching. It knows
//! nodewall by its command line alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nodewall_testbed::cleanup::{self, Guard};
use nodewall_testbed::{Host, Lab, Process, run_to_end};
use serde::Deserialize;

/// Loading and verifying takes well under a second; a loaded machine gets longer.
const READY_WITHIN: Duration = Duration::from_secs(20);
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// The words of the line that the agent logs when every interface is filtered.
const READY_WORDS: &str = "policy enforced";
/// A configuration of the machine's owner, which must not change what the demo shows.
const MACHINES_CONFIGURATION: &str = "/etc/nodewall/nodewall.toml";

/// The published format of `nodewall counters -o json`, as far as it is of use here.
#[derive(Deserialize)]
struct Counters {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    class: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    direction: String,
    outcome: String,
    packets: u64,
}

/// The packets of one port and protocol.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) passed: u64,
    pub(super) dropped: u64,
    /// Audit mode's answer, which enforcement must never give, and any outcome that the format does not know.
    pub(super) other: u64,
    pub(super) classes: BTreeSet<String>,
}

/// A running nodewall with a pin directory and a state directory of its own.
pub(super) struct Filter<'lab> {
    node: &'lab Host,
    executable: PathBuf,
    pins: PathBuf,
    state: PathBuf,
    agent: Process,
    // After the agent: it is ended first, then its directories are removed.
    _directories: Guard,
}

impl<'lab> Filter<'lab> {
    /// Starts `nodewall run` in enforce mode, with both peers' addresses, and waits until it enforces.
    pub(super) fn start(executable: &Path, lab: &'lab Lab) -> Result<Self> {
        let pins = PathBuf::from(format!("/sys/fs/bpf/nodewall-demo-{}", process::id()));
        let state = std::env::temp_dir().join(format!("nodewall-demo-{}", process::id()));
        let (remove_pins, remove_state) = (pins.clone(), state.clone());
        let directories = cleanup::guard(move || {
            // Gone already after `detach`. Without pins the kernel lets go of the program, and so does its link.
            let _ = fs::remove_dir_all(remove_pins);
            let _ = fs::remove_dir_all(remove_state);
        });
        fs::DirBuilder::new().mode(0o700).create(&state).with_context(|| format!("making {}", state.display()))?;
        let node = lab.node();
        let mut command = nodewall(executable, node, "run", &pins, &state);
        command.args(["--interface", node.interface(), "--mode", "enforce"]);
        for peer in [lab.peer1()?, lab.peer2()?] {
            command.args(["--peer", &peer.ipv4().to_string(), "--peer", &peer.ipv6().to_string()]);
        }
        if Path::new(MACHINES_CONFIGURATION).exists() {
            let defaults = state.join("defaults.toml");
            fs::write(&defaults, "").with_context(|| format!("writing {}", defaults.display()))?;
            command.arg("--config").arg(defaults);
        }
        let agent = Process::spawn("nodewall run", command)?;
        let ready = agent.wait_for_line(READY_WITHIN, |line| line.contains(READY_WORDS));
        ready.with_context(|| format!("waiting for its line with the words `{READY_WORDS}`"))?;
        Ok(Self { node, executable: executable.to_owned(), pins, state, agent, _directories: directories })
    }

    /// What came in on each port that the policy names, by port and protocol.
    pub(super) fn counters(&self) -> Result<BTreeMap<(u16, String), Counted>> {
        let said = self.ask("counters", &["-o", "json"])?;
        let counters: Counters =
            serde_json::from_str(&said).with_context(|| format!("`nodewall counters -o json` printed:\n{said}"))?;
        let mut ports = BTreeMap::<_, Counted>::new();
        for row in counters.rows.into_iter().filter(|row| row.direction == "in") {
            let (Some(port), Some(protocol)) = (row.port, row.protocol) else { continue };
            let counted = ports.entry((port, protocol)).or_default();
            *match row.outcome.as_str() {
                "pass" => &mut counted.passed,
                "drop" => &mut counted.dropped,
                _ => &mut counted.other,
            } += row.packets;
            counted.classes.extend(row.class);
        }
        Ok(ports)
    }

    /// Everything that the agent has logged.
    pub(super) fn log(&self) -> String {
        self.agent.output()
    }

    /// Whether the node's interface carries a native XDP program, by the kernel's own word.
    pub(super) fn natively_attached(&self) -> Result<bool> {
        Ok(self.link()?.split_whitespace().any(|word| word == "xdp"))
    }

    /// Ends the agent with SIGTERM. It must leave enforcement in place.
    pub(super) fn end_agent(&self) -> Result<()> {
        let status = self.agent.terminate()?;
        ensure!(status.success(), "`nodewall run` ended with {status} on SIGTERM; it logged:\n{}", self.log());
        Ok(())
    }

    /// Runs `nodewall detach` and looks whether anything is left.
    pub(super) fn detach(&self) -> Result<()> {
        self.ask("detach", &[])?;
        ensure!(!self.pins.exists(), "`nodewall detach` left {} behind", self.pins.display());
        let link = self.link()?;
        ensure!(!link.contains("xdp"), "`nodewall detach` left an XDP program on the interface: {link}");
        Ok(())
    }

    fn link(&self) -> Result<String> {
        Ok(self.node.netns().ip(&["link", "show", "dev", self.node.interface()])?)
    }

    fn ask(&self, verb: &str, arguments: &[&str]) -> Result<String> {
        let mut command = nodewall(&self.executable, self.node, verb, &self.pins, &self.state);
        command.args(arguments);
        let finished = run_to_end(&format!("nodewall {verb}"), command, COMMAND_WITHIN)?;
        let (status, said) = (finished.status, finished.stderr.trim());
        ensure!(status.success(), "`nodewall {verb}` failed ({status}): {said}\nthe agent logged:\n{}", self.log());
        Ok(finished.stdout)
    }
}

/// Not through `cmd`: the child enters the node's namespace and is guarded by the testbed.
fn nodewall(executable: &Path, node: &Host, verb: &str, pins: &Path, state: &Path) -> Command {
    let mut command = node.netns().command(executable);
    command.arg(verb).arg("--bpffs").arg(pins).arg("--state-dir").arg(state);
    command
}
