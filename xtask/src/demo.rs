//! `cargo xtask demo`: the real nodewall on a throw-away network, real traffic from every host to every port, and one table
//! that says what came of it. It owns the order of events; the network is the testbed's, what is right is the vendor's
//! document's, and every rule about a cell is in `verdict`. It never touches the machine's own interfaces.

mod counters;
mod filter;
mod traffic;
mod vendor;
mod verdict;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use nodewall_testbed::{Family, Lab, Listener, Protocol, privileged};

use crate::build::{self, Profile};
use crate::progress::{Step, seconds};
use counters::Snapshot;
use filter::Filter;
use vendor::{Access, Line};
use verdict::Evidence;

/// A port for cluster nodes, by which the outsider finds out whether the filter is on.
const WITNESS_PORT: u16 = 9042;
const HOSTS_THAT_ASK: usize = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave nodewall out. Every port is open then, so the table must come out wrong: the proof that it can
    #[arg(long)]
    without_nodewall: bool,

    /// Use this nodewall instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "without_nodewall")]
    nodewall: Option<PathBuf>,
}

/// A port to try, the document's line about it, and the protocol.
type Target = (u16, &'static Line, Protocol);

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        privileged(),
        "the demo makes network namespaces and loads a kernel program; run it as root, such as `sudo -E env \"PATH=$PATH\" \
         cargo xtask demo`"
    );
    let executable = match (&args.nodewall, args.without_nodewall) {
        (_, true) => None,
        (Some(file), _) => Some(file.canonicalize().with_context(|| format!("looking for {}", file.display()))?),
        (None, _) => Some(build::nodewall(Profile::Release)?),
    };
    let started = Instant::now();

    let step = Step::start("making a network of namespaces: node, two peers, an outsider; IPv4 and IPv6");
    let lab = Lab::new()?;
    let ports: Vec<u16> = vendor::ports().map(|(port, _)| port).collect();
    let listener = Listener::both(lab.node().netns(), &ports)?;
    step.done();

    let filter = if let Some(executable) = executable {
        let step = Step::start("starting `nodewall run --mode enforce` on the node's interface");
        let filter = Filter::start(&executable, &lab)?;
        ensure!(filter.natively_attached()?, "nodewall says that it enforces, but there is no native XDP program");
        step.done();
        Some(filter)
    } else {
        eprintln!("==> leaving nodewall out, as asked: the table has to come out wrong");
        None
    };

    let step = Step::start("real connections and datagrams from every host to every port (about 1 s)");
    let evidence = gather(&lab, &listener, filter.as_ref())?;
    step.done();

    let rows: Vec<_> = evidence.iter().map(|evidence| evidence.judge(&lab)).collect();
    println!("{}", verdict::table(&rows));
    let mut wrong: Vec<String> = rows.iter().flat_map(verdict::Row::wrong).collect();
    if let Some(filter) = &filter {
        wrong.extend(take_down(&lab, filter)?);
    }

    let conversations: usize = evidence.iter().map(|evidence| evidence.conversations.len()).sum();
    let summary = format!(
        "{} ports × {} protocols × {} families × {HOSTS_THAT_ASK} hosts: {conversations} conversations, {} rows",
        ports.len(),
        Protocol::ALL.len(),
        Family::ALL.len(),
        rows.len()
    );
    if wrong.is_empty() {
        println!("{summary}, all right ({})", seconds(started.elapsed()));
        return Ok(());
    }
    for reason in &wrong {
        println!("wrong: {reason}");
    }
    if let Some(filter) = &filter {
        eprintln!("`nodewall run` logged:\n{}", filter.log());
    }
    bail!("{summary}, {} things wrong", wrong.len())
}

/// Makes all conversations and puts together what is known about each port. Ports that the policy does not name share one
/// row of counters, so they are asked for one after the other, with a look at the counters after each.
fn gather(lab: &Lab, listener: &Listener, filter: Option<&Filter<'_>>) -> Result<Vec<Evidence>> {
    let look = || filter.map_or_else(|| Ok(Snapshot::default()), Filter::counters);
    let targets: Vec<Target> =
        vendor::ports().flat_map(|(port, line)| Protocol::ALL.map(|protocol| (port, line, protocol))).collect();
    let (unnamed, named): (Vec<Target>, Vec<Target>) =
        targets.into_iter().partition(|(_, line, _)| line.access == Access::NotNamed);

    let mut conversations = traffic::converse(lab, &named)?;
    let mut unnamed_evidence = Vec::new();
    let mut now = look()?;
    for target in unnamed {
        let before = now;
        let own = traffic::converse(lab, &[target])?;
        now = look()?;
        unnamed_evidence.push(put_together(target, own, None, (&before, &now), listener));
    }
    // Last, and from zero: nothing but its own conversations may ever have been counted on a named port's row.
    let zero = Snapshot::default();
    let mut evidence = Vec::new();
    for target in named {
        let (port, _, protocol) = target;
        let of_this = |said: &mut traffic::Conversation| (said.port, said.protocol) == (port, protocol);
        let own = conversations.extract_if(.., of_this).collect();
        evidence.push(put_together(target, own, Some(port), (&zero, &now), listener));
    }
    evidence.append(&mut unnamed_evidence);
    Ok(evidence)
}

fn put_together(
    (port, line, protocol): Target,
    conversations: Vec<traffic::Conversation>,
    row: Option<u16>,
    (before, after): (&Snapshot, &Snapshot),
    listener: &Listener,
) -> Evidence {
    let arrived = listener.arrived(protocol, port);
    let counted = after.moved(before, row, protocol);
    let named = after.names(port, protocol);
    Evidence { port, line, protocol, conversations, counted, named, arrived }
}

/// Ends the agent, looks whether enforcement stays, detaches, and looks whether it is gone. Returns what was wrong.
fn take_down(lab: &Lab, filter: &Filter<'_>) -> Result<Vec<String>> {
    let step = Step::start("ending the agent (enforcement must stay), then `nodewall detach` (it must go)");
    let mut wrong = Vec::new();
    filter.end_agent()?;
    if traffic::outsider_reaches(lab, WITNESS_PORT)? {
        wrong.push(format!(
            "after the agent's end the outsider reached {WITNESS_PORT}/tcp: enforcement did not outlive it"
        ));
    }
    filter.detach()?;
    if !traffic::outsider_reaches(lab, WITNESS_PORT)? {
        wrong.push(format!("after `nodewall detach` the outsider still does not reach {WITNESS_PORT}/tcp"));
    }
    step.done();
    Ok(wrong)
}
