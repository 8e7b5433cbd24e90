//! `cargo xtask demo`: the real nodewall on a throw-away network, real traffic from every host to every port, and one table
//! that says what came of it. It owns the order of events; the network is the testbed's, what is right is the vendor's
//! document's, and every rule about a cell is in `verdict`. It never touches the machine's own interfaces.

mod filter;
mod vendor;
mod verdict;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nodewall_testbed::{Family, Host, Lab, Listener, Probe, Protocol, privileged, probe_many};

use crate::build::{self, Profile};
use crate::progress::{Step, seconds};
use filter::Filter;
use vendor::Access;
use verdict::{Conversation, Evidence};

/// A port for cluster nodes, by which the outsider finds out whether the filter is on.
const WITNESS_PORT: u16 = 9042;
/// For what should be answered: long, and never waited out when all is right.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// For what should be dropped: always waited out, once for all. Under the second after which TCP sends its SYN again.
const SILENCE_FOR: Duration = Duration::from_millis(400);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave nodewall out. Every port is open then, so the table must come out wrong: the proof that it can
    #[arg(long)]
    without_nodewall: bool,

    /// Use this nodewall instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "without_nodewall")]
    nodewall: Option<PathBuf>,
}

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

    println!("{}", verdict::table(&evidence));
    let mut wrong: Vec<String> = evidence.iter().flat_map(Evidence::wrong).collect();
    if let Some(filter) = &filter {
        wrong.extend(take_down(&lab, filter)?);
    }

    let conversations: usize = evidence.iter().map(|evidence| evidence.conversations.len()).sum();
    let summary = format!(
        "{} ports × {} protocols × {} families × 3 hosts: {conversations} conversations, {} rows",
        ports.len(),
        Protocol::ALL.len(),
        Family::ALL.len(),
        evidence.len()
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

/// Lets every host ask for every port, all at once, and puts together what is known about each.
fn gather(lab: &Lab, listener: &Listener, filter: Option<&Filter<'_>>) -> Result<Vec<Evidence>> {
    let mut evidence: Vec<Evidence> = Vec::new();
    for (port, access) in vendor::ports() {
        for protocol in Protocol::ALL {
            let (conversations, arrived) = (Vec::new(), listener.arrived(protocol, port));
            evidence.push(Evidence { port, access, protocol, conversations, counted: None, arrived });
        }
    }
    let hosts = [(lab.peer1()?, true), (lab.peer2()?, true), (lab.outsider()?, false)];
    let said = thread::scope(|scope| {
        let evidence = &evidence;
        let asked = hosts.iter().flat_map(|(host, is_peer)| [(*host, *is_peer, true), (*host, *is_peer, false)]);
        let running: Vec<_> = asked
            .map(|(host, is_peer, wanted)| scope.spawn(move || ask(lab, host, is_peer, wanted, evidence)))
            .collect();
        let joined =
            running.into_iter().map(|host| host.join().map_err(|_| anyhow!("a thread that makes probes panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let counted = filter.map(Filter::counters).transpose()?.unwrap_or_default();
    for (at, conversation) in said.into_iter().flatten() {
        if let Some(row) = evidence.get_mut(at) {
            row.conversations.push(conversation);
        }
    }
    for row in &mut evidence {
        row.counted = counted.get(&(row.port, row.protocol.name().to_owned())).cloned();
        row.arrived = listener.arrived(row.protocol, row.port);
    }
    Ok(evidence)
}

/// One host asks, over both families, for every port where it should be answered, or should not; each with the row that it belongs to.
fn ask(lab: &Lab, host: &Host, from_peer: bool, wanted: bool, rows: &[Evidence]) -> Result<Vec<(usize, Conversation)>> {
    let may = |row: &Evidence| from_peer || row.access != Access::ClusterNodes;
    let asked: Vec<(usize, Family, Probe)> = (0..)
        .zip(rows)
        .filter(|(_, row)| may(row) == wanted)
        .flat_map(|(at, row)| {
            Family::ALL.map(|family| (at, family, Probe::new(row.protocol, lab.node().socket(family, row.port))))
        })
        .collect();
    let probes: Vec<Probe> = asked.iter().map(|(.., probe)| *probe).collect();
    let done = probe_many(host.netns(), &probes, if wanted { ANSWER_WITHIN } else { SILENCE_FOR })?;
    let conversations = asked.into_iter().zip(done).map(|((at, family, _), probed)| {
        let (host, address) = (host.name().to_owned(), host.address(family));
        (at, Conversation { host, address, family, from_peer, wanted, probed })
    });
    Ok(conversations.collect())
}

/// Asks for one port from the outsider, as a witness that the filter is on, or off.
fn outsider_reaches(lab: &Lab, port: u16) -> Result<bool> {
    let probe = Probe::tcp(lab.node().socket(Family::V4, port));
    let done = probe_many(lab.outsider()?.netns(), &[probe], SILENCE_FOR)?;
    Ok(done.iter().any(|probed| probed.outcome.is_answered()))
}

/// Ends the agent, looks whether enforcement stays, detaches, and looks whether it is gone. Returns what was wrong.
fn take_down(lab: &Lab, filter: &Filter<'_>) -> Result<Vec<String>> {
    let step = Step::start("ending the agent (enforcement must stay), then `nodewall detach` (it must go)");
    let mut wrong = Vec::new();
    filter.end_agent()?;
    if outsider_reaches(lab, WITNESS_PORT)? {
        wrong.push(format!(
            "after the agent's end the outsider reached {WITNESS_PORT}/tcp: enforcement did not outlive it"
        ));
    }
    filter.detach()?;
    if !outsider_reaches(lab, WITNESS_PORT)? {
        wrong.push(format!("after `nodewall detach` the outsider still does not reach {WITNESS_PORT}/tcp"));
    }
    step.done();
    Ok(wrong)
}
