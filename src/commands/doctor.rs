//! `nodewall doctor`: gathers what the checks look at, and prints what they find. What is right or wrong is the library's (`doctor`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, failure::message, meant, print_list, read_config, reread_config};
use crate::{
    cli::{Common, DoctorArgs, exit_codes::PRIVILEGE},
    control::{AgentError, InterfaceCoverage, takes_layer_3},
    doctor::{self, DataPathState, Finding, InForce, InterfaceFacts, PeerFacts, Status, Subject},
    ui,
    view::{
        mission_control::Reached,
        status::{self, NO_AGENT},
    },
};
use nodewall_datapath::{Buffers, DatapathError};
use nodewall_host::{
    net::{self, NatReport, Network, Selection},
    state::{Clock, StateDir},
};
use nodewall_policy::{
    Facts, Policy, RowTable, compile,
    config::{AttachMode, Config, ConfigOrigin, Trust, Tunnels},
    open_to_all,
};
use nodewall_text::hex;

#[derive(Serialize)]
struct Report {
    /// The worst of all findings.
    status: Status,
    findings: Vec<Finding>,
}

pub(super) fn run(common: &Common, args: DoctorArgs) -> Result<u8, Failure> {
    if args.mission_control { mission_control(common) } else { host(common) }
}

/// The way to Mission Control alone. What came of it is kept, for `status` and the exporters.
fn mission_control(common: &Common) -> Result<u8, Failure> {
    let config = read_config(common, Trust::Anyone)?;
    let findings = block_on(doctor::check_mission_control(&config.mission_link))?;
    if let Ok(Some(state)) = StateDir::open(&common.state_dir) {
        let failed = findings.iter().find(|finding| finding.status == Status::Failed);
        let reached = Reached {
            unix_ns: Clock::now().unix_ns,
            ok: failed.is_none(),
            step: failed.map(|finding| finding.check.to_owned()),
            found: failed.map(|finding| finding.found.clone()),
        };
        if let Err(error) = state.write_note(&reached) {
            tracing::warn!("{}: the result could not be noted: {error}", state.path().display());
        }
    }
    print(common, findings)
}

fn host(common: &Common) -> Result<u8, Failure> {
    let (network, Live { state: live, coverage, open_tunnels }) = in_force(common)?;
    let configured = configured(common);
    let mut findings = Vec::new();

    // Where the configuration can not be read, the kernel is tried with the embedded one.
    let config = configured.clone().unwrap_or_else(|_| Config::embedded());
    findings.extend(configured.as_ref().err().cloned());
    let usable = meant(common, &config)?;
    let policy = configured.is_ok().then_some(&usable);
    let tunnel_ports: BTreeSet<u16> = network.udp_tunnels().map(|tunnel| tunnel.port).collect();
    let facts = Facts { tunnel_ports: tunnel_ports.clone(), ..Facts::default() };
    let compiled = compile(&usable, RowTable::default(), &facts)?;

    let kernel = doctor::probe_kernel(&common.bpffs, &compiled.image, usable.shape());
    findings.extend(doctor::kernel(&kernel));
    findings.extend(doctor::data_path(&live, policy.map(|_| hex(&compiled.image.policy_sha256)).as_deref()));

    let selection = select(&config, &network);
    let multi_buffer =
        kernel.features.as_ref().is_ok_and(|f| f.filter.as_ref().is_ok_and(|f| f.buffers == Buffers::Frags));
    let attached = attached(coverage.as_deref(), selection.as_ref().ok());
    let drivers = net::drivers(&network);
    findings.extend(doctor::interfaces(&InterfaceFacts {
        network: &network,
        drivers: &drivers,
        coverage,
        selection,
        attach_mode: if policy.is_some() { config.attach_mode } else { AttachMode::Native },
        multi_buffer,
        tunnels: policy.map_or(Tunnels::Peers, |policy| policy.tunnels),
        open_tunnels: open_tunnels
            .unwrap_or_else(|| open_to_all(&compiled.image, compiled.rows.records(), &tunnel_ports)),
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
    }));
    let listings = net::listings();
    findings.extend(doctor::other_filters(&net::other_filters(&listings)));
    if let Some(policy) = policy {
        let nat = net::source_nat_in(&listings);
        findings.extend(peers(policy, &network, &nat)?);
        let replies = doctor::read_reply_facts(nat, net::inside(&network, &attached));
        findings.extend(doctor::replies(&replies, policy));
        match doctor::read_listeners() {
            Ok(listeners) => findings.extend(doctor::listeners(&listeners, policy)),
            Err(error) => {
                findings.push(Finding::new(Subject::Listeners, Status::Unknown, "sockets", error.to_string()));
            }
        }
    } else {
        findings.extend([Subject::Peers, Subject::Replies, Subject::Listeners].map(|subject| {
            Finding::new(
                subject,
                Status::Unknown,
                "policy",
                "not compared with the policy: the configuration can not be read",
            )
        }));
    }
    findings.extend(ownership(common, &config));
    findings.sort_by_key(|finding| finding.subject);
    print(common, findings)
}

/// The interfaces that are filtered, or would be.
fn attached(coverage: Option<&[InterfaceCoverage]>, selection: Option<&Selection>) -> BTreeSet<u32> {
    let covered = coverage.unwrap_or_default().iter().filter(|interface| interface.is_covered());
    let selected = selection.into_iter().flat_map(|selection| &selection.attach).map(|selected| selected.index);
    covered.filter_map(|interface| interface.if_index).chain(selected).collect()
}

fn peers(policy: &Policy, network: &Network, nat: &NatReport) -> Result<Vec<Finding>, Failure> {
    let peers = &policy.peers;
    Ok(match block_on(doctor::read_peer_ways(peers, network))? {
        Ok(ways) => {
            let ports = policy.restricted_ports();
            doctor::peers(&PeerFacts { peers, network, ways, nat, ports })
        }
        Err(error) => vec![Finding::new(Subject::Peers, Status::Unknown, "peer-route", error.to_string())],
    })
}

/// The configuration, from which a policy can be made; or what is wrong with it.
fn configured(common: &Common) -> Result<Config, Finding> {
    let broken = |error: &anyhow::Error| {
        Finding::new(Subject::Files, Status::Failed, "configuration", message(error).lines().next().unwrap_or_default())
            .because("`apply` and a reload are refused; what is in force stays in force")
            .advice("`nodewall check` shows the place and what was expected")
    };
    let config = reread_config(common, Trust::Anyone).map_err(|error| broken(&error.into()))?;
    Policy::from_config(&config).map_err(|error| broken(&error.into()))?;
    Ok(config)
}

/// What is in force, and the account of the interfaces, as far as that is known.
struct Live {
    state: DataPathState,
    coverage: Option<Vec<InterfaceCoverage>>,
    /// `None`: no policy is in force.
    open_tunnels: Option<BTreeMap<u16, Option<String>>>,
}

/// The links, and what is in force on them.
fn in_force(common: &Common) -> Result<(Network, Live), Failure> {
    let (state, unreadable) = match StateDir::open(&common.state_dir) {
        Ok(state) => (state, None),
        Err(error) => (None, Some(message(&error.into()))),
    };
    let state = match block_on(status::look(&common.bpffs, state.as_ref()))? {
        Ok((report, network)) => return Ok((network, live(report, unreadable))),
        Err(AgentError::Datapath(DatapathError::Privilege { missing })) => DataPathState::MissingPrivilege(missing),
        Err(error) => DataPathState::Unreadable(message(&error.into())),
    };
    Ok((block_on(net::snapshot())??, Live { state, coverage: None, open_tunnels: None }))
}

fn live(report: status::Status, unreadable: Option<String>) -> Live {
    let (Some(mode), Some(generation), Some(policy_sha256)) = (report.mode, report.generation, report.policy_sha256)
    else {
        let coverage = Some(report.interfaces);
        return Live { state: DataPathState::NothingInForce, coverage, open_tunnels: None };
    };
    // What nobody was there to read is among the problems.
    let refused = report.refused.filter(|refused| !refused.unattended);
    let covered = report.interfaces.iter().filter(|interface| interface.is_covered());
    let force = InForce {
        mode: mode.to_owned(),
        audited: report.audited,
        generation,
        policy_sha256,
        peers: report.peers,
        interfaces: covered.filter_map(|i| Some((i.name.clone(), i.attach_mode?.to_string()))).collect(),
        agent: report.agent.map(|agent| agent.pid),
        captures: report.evidence.and_then(|evidence| evidence.captures_problem),
        refused: refused.map(|refused| format!("{} was refused: {}", refused.attempt, refused.error)),
    };
    // What is wrong with interfaces and tunnels is a finding of theirs.
    // That no agent runs is a finding of its own.
    let others = report.other_problems.into_iter().filter(|problem| problem != NO_AGENT);
    let problems = others.chain(unreadable).collect();
    let open_tunnels = report.open_tunnels.into_iter().map(|open| (open.tunnel.port, open.class)).collect();
    Live {
        state: DataPathState::InForce(force, problems),
        coverage: Some(report.interfaces),
        open_tunnels: Some(open_tunnels),
    }
}

fn select(config: &Config, network: &Network) -> Result<Selection, String> {
    let patterns = (!config.interfaces.is_empty()).then_some(config.interfaces.as_slice());
    net::resolve(network, patterns, takes_layer_3(config.attach_mode, &config.interface_attach))
        .map_err(|error| error.to_string())
}

fn ownership(common: &Common, config: &Config) -> Vec<Finding> {
    let mut paths = Vec::new();
    if let ConfigOrigin::Named(path) | ConfigOrigin::Standard(path) = &config.origin {
        paths.push(doctor::read_ownership("the configuration", path));
    }
    paths.extend(config.peers.file.iter().map(|path| doctor::read_ownership("the peers file", path)));
    paths.push(doctor::read_ownership("the state directory", &common.state_dir));
    doctor::ownership(&paths)
}

fn print(common: &Common, findings: Vec<Finding>) -> Result<u8, Failure> {
    let status = doctor::worst(&findings);
    let unseen = findings.iter().any(|finding| finding.status == Status::NotLookedAt);
    let report = Report { status, findings };
    print_list(common, &report, &report.findings, || print_text(&report.findings))?;
    Ok(match status {
        _ if unseen => PRIVILEGE,
        Status::Degraded | Status::Failed => DEGRADED,
        _ => FINE,
    })
}

/// Grouped by subject; one line for what is well, three for what is not.
fn print_text(findings: &[Finding]) -> anyhow::Result<()> {
    for group in findings.chunk_by(|a, b| a.subject == b.subject) {
        if let Some(first) = group.first() {
            ui::print_line(first.subject.title())?;
        }
        for finding in group {
            ui::print_line(&format!("  {:<13}  {}", word(finding.status), finding.found))?;
            for (label, text) in [("why", &finding.why), ("do", &finding.advice)] {
                if let Some(text) = text {
                    ui::print_line(&format!("  {:<13}    {label:<3}  {text}", ""))?;
                }
            }
        }
        ui::print_line("")?;
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let counts: Vec<String> =
        [Status::Failed, Status::Degraded, Status::NotLookedAt, Status::Unknown, Status::Note, Status::Ok]
            .into_iter()
            .filter(|status| count(*status) > 0)
            .map(|status| format!("{} {}", count(status), word(status)))
            .collect();
    ui::print_line(&counts.join(", "))
}

fn word(status: Status) -> String {
    status.name().replace('_', " ")
}
