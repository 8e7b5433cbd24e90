//! `nodewall init`: the first configuration. Asks, writes one file, and shows what it would do. Puts nothing into force.

use std::path::Path;

use anyhow::anyhow;
use serde::Serialize;

use super::{FINE, Failure, block_on, plan, print};
use crate::{
    cli::{Common, InitArgs},
    control::{self, Affected, Allow, Desired, Difference, Good, Observed},
    init::{self, Answers, Discovery, FoundInterface, FoundPeer, Knocker, Terminal},
    ui,
    view::counters::{Counters, Row},
};
use nodewall_datapath::Maps;
use nodewall_host::state::{Clock, StateDir};
use nodewall_policy::{
    Policy,
    config::{AGENT_PORT, Config, DEFAULT_PATH, Mode, Protocol, show},
};

/// Outsiders that are named in text.
const MAX_NAMED: usize = 10;
/// What to type next, and why.
const NEXT: [(&str, &str); 6] = [
    ("nodewall doctor", "what of this host stands in the way"),
    ("nodewall run", "the agent, auditing; the package's service runs it"),
    ("nodewall events list", "after a day or so: who knocked on closed ports"),
    ("nodewall plan --mode enforce", "who would be cut off"),
    ("nodewall enforce --confirm-within 5m", "drops from then on; goes back by itself"),
    ("nodewall confirm", "keeps it"),
];

/// What came of it, as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    written: bool,
    backup: Option<String>,
    mode: &'static str,
    interfaces: &'a [FoundInterface],
    peers: Vec<String>,
    peers_found: Vec<FoundPeer>,
    peers_file: Option<String>,
    vendor_firewall: bool,
    single_node: bool,
    cluster_version: Option<String>,
    agent_port_8443: &'static str,
    outsiders_8443: Vec<Knocker>,
    counted_8443: Option<u64>,
    not_read: &'a [String],
    plan: Difference,
    cut_off_when_enforced: Vec<Affected>,
    enforce_would_be_refused: Option<String>,
    next: Vec<&'static str>,
    text: &'a str,
}

pub(super) fn run(common: &Common, args: &InitArgs) -> Result<u8, Failure> {
    let path = common.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
    let state = StateDir::open(&common.state_dir)?;
    if !args.stdout {
        refuse_to_write(common, args, &path, state.as_ref())?;
    }
    let given = given(common, args);
    let mut found =
        block_on(init::find(&given.interfaces, &given.peers, given.peers_file.as_deref(), state.as_ref()))??;
    found.counted_8443 = counted_8443(common);
    if given.peers_file.is_some() && found.peers_file.is_none() {
        // Named on purpose: an agent would have no peers by it. It was read before anything else that can fail.
        return Err(anyhow!(found.unread.first().cloned().unwrap_or_default()).into());
    }
    let mut answers = init::decide(given, args.yes, &mut found, Terminal::open())?;
    answers.own = block_on(init::own_towards(&answers.all_peers(&found)))??;
    let text = init::text(&answers, &found)?;
    // What the plan is made from is what was read back, not what was meant.
    let config = Config::parse(&text, &path.display().to_string())?;
    Policy::from_config(&config)?;
    let backup = if args.stdout {
        None
    } else {
        let now_unix_s = Clock::now().unix_ns / 1_000_000_000;
        init::place(&path, &text, args.force, now_unix_s)?
    };
    let plan = differs(state.as_ref(), &config, &answers, &found, Mode::Audit)?;
    let enforced = differs(state.as_ref(), &config, &answers, &found, Mode::Enforce)?;
    let peers = answers.all_peers(&found);
    let outcome = Report {
        file: path.display().to_string(),
        written: !args.stdout,
        backup: backup.map(|backup| backup.display().to_string()),
        mode: Mode::Audit.as_str(),
        interfaces: &found.interfaces,
        peers: peers.iter().map(show).collect(),
        peers_found: found.peers(),
        peers_file: answers.peers_file.as_ref().map(|path| path.display().to_string()),
        vendor_firewall: answers.vendor_firewall,
        single_node: answers.single_node,
        cluster_version: answers.cluster_version.as_ref().map(ToString::to_string),
        agent_port_8443: access_8443(&config)?,
        outsiders_8443: found.outsiders(&peers),
        counted_8443: found.counted_8443,
        not_read: &found.unread,
        plan,
        cut_off_when_enforced: enforced.affected.into_iter().filter(|affected| affected.to == "drop").collect(),
        enforce_would_be_refused: enforced.held,
        next: NEXT.iter().map(|(command, _)| *command).collect(),
        text: &text,
    };
    print(
        common,
        &outcome,
        |outcome| if args.stdout { ui::print_lines(text.trim_end()) } else { print_text(outcome) },
    )?;
    Ok(FINE)
}

/// Before anybody is asked anything.
fn refuse_to_write(common: &Common, args: &InitArgs, path: &Path, state: Option<&StateDir>) -> Result<(), Failure> {
    if common.mode.is_some() {
        let text = "--mode: init writes a configuration that audits; `nodewall enforce --confirm-within 5m` enforces";
        return Err(Failure::usage(anyhow!(text)));
    }
    if !args.force {
        init::refuse_existing(path)?;
    }
    let Some(state) = state.filter(|state| !state.is_detached()) else { return Ok(()) };
    if Good::last(state)?.is_some_and(|good| good.desired.policy.mode == Mode::Enforce) {
        // A running agent follows the file at once.
        return Err(anyhow!(
            "this node enforces, and a configuration that audits would open it; `nodewall init --stdout` shows what it would be, \
             to be merged by hand into {}",
            path.display()
        )
        .into());
    }
    Ok(())
}

/// What flags have answered.
fn given(common: &Common, args: &InitArgs) -> Answers {
    Answers {
        interfaces: common.interfaces.clone(),
        peers: common.peers.clone(),
        peers_file: args.peers_file.clone(),
        vendor_firewall: args.vendor_firewall,
        single_node: args.single_node,
        cluster_version: args.cluster_version.clone(),
        agent_port_8443: args.agent_port_8443,
        ..Answers::default()
    }
}

/// What the configuration would change, with the peers that its sources name now: the agent asks them before its first policy, too.
fn differs(
    state: Option<&StateDir>,
    config: &Config,
    answers: &Answers,
    found: &Discovery,
    mode: Mode,
) -> Result<Difference, Failure> {
    let (mut desired, _): (Desired, _) = control::desired(state, config, None)?;
    desired.policy.mode = mode;
    desired.policy.peers.extend(answers.all_peers(found));
    desired.policy.peers.sort_unstable();
    desired.policy.peers.dedup();
    Ok(block_on(control::plan((state, None), &desired, Allow::default(), Observed::default()))??)
}

/// Frames to 8443 that are denied or only audited, also where no agent records who sends them. `None`: nothing is in force, or only root may see.
fn counted_8443(common: &Common) -> Option<u64> {
    let (_, maps) = Maps::live(&common.bpffs).ok()??;
    let rows = Counters::read(&maps).ok()?.rows;
    let is_denied = |row: &&Row| {
        row.port == Some(AGENT_PORT) && row.direction == "in" && matches!(row.outcome, "drop" | "would_drop")
    };
    Some(rows.iter().filter(is_denied).map(|row| row.packets).sum())
}

fn access_8443(config: &Config) -> Result<&'static str, Failure> {
    let policy = Policy::from_config(config)?;
    Ok(policy.class_of(Protocol::Tcp, AGENT_PORT).map_or("unmanaged", |class| class.access.as_str()))
}

fn print_text(outcome: &Report<'_>) -> anyhow::Result<()> {
    let line = ui::print_line;
    line(&format!("wrote {} (mode audit: nothing is dropped)", outcome.file))?;
    if let Some(backup) = &outcome.backup {
        line(&format!("the configuration before is {backup}"))?;
    }
    for problem in outcome.not_read {
        line(&format!("not read: {problem}"))?;
    }
    line("")?;
    for interface in outcome.interfaces {
        line(&format!("interface {} ({})", interface.name, interface.because))?;
    }
    for peer in &outcome.peers {
        let found = outcome.peers_found.iter().find(|found| found.address == *peer);
        let by: Vec<&str> = found.iter().flat_map(|found| &found.found_by).map(|witness| witness.text()).collect();
        let by = if by.is_empty() { "this node".to_owned() } else { by.join("; ") };
        line(&format!("peer {peer} ({by})"))?;
    }
    for left in outcome.peers_found.iter().filter(|found| !outcome.peers.contains(&found.address)) {
        let by: Vec<&str> = left.found_by.iter().map(|witness| witness.text()).collect();
        line(&format!("not taken for a peer: {} ({})", left.address, by.join("; ")))?;
    }
    if outcome.single_node {
        line("no peers: a cluster of one node")?;
    }
    line(&format!("8443 is {}", outcome.agent_port_8443))?;
    if let Some(counted) = outcome.counted_8443.filter(|counted| *counted > 0) {
        line(&format!("  {counted} frames to it were counted that the policy in force denies, or would"))?;
    }
    for outsider in outcome.outsiders_8443.iter().take(MAX_NAMED) {
        line(&format!("  seen on it, and no peer: {}", outsider.text()))?;
    }
    line("")?;
    line("what `nodewall plan` says:")?;
    plan::print_text(&outcome.plan)?;
    line("")?;
    line("who would be cut off when it enforces, of those connected now or within the hour:")?;
    for affected in &outcome.cut_off_when_enforced {
        let port = affected.port.map_or_else(|| affected.protocol.to_owned(), |port| port.to_string());
        line(&format!("  {} on port {port} ({})", affected.source, affected.reason))?;
    }
    if outcome.cut_off_when_enforced.is_empty() {
        line("  nobody")?;
    }
    if let Some(held) = &outcome.enforce_would_be_refused {
        line(&format!("  enforcing would be refused: {held}"))?;
    }
    line("")?;
    line("next:")?;
    let widest = NEXT.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    NEXT.iter().try_for_each(|(command, why)| line(&format!("  {command:widest$}  # {why}")))
}
