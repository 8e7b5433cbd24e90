//! `nodewall peers`: the cluster's nodes as the registry knows them, and an operator's word on them.

use std::{
    collections::BTreeSet,
    time::{Duration, UNIX_EPOCH},
};

use ipnet::IpNet;
use serde::Serialize;

use super::{DEGRADED, FINE, Failure, block_on, print, print_list, read_config, site};
use crate::{
    cli::{AllowArgs, Common, PeersAddArgs, PeersArgs, PeersCommand, PeersRemoveArgs},
    control::{self, AgentError, Allow, Good, Site},
    peers::{Entry, PeerState, Registry, SourceStatus, Undo},
    ui,
    view::peers::{Peers, names},
};
use nodewall_host::state::{Clock, StateDir, Who};
use nodewall_policy::config::{Trust, show};

/// Who knows a peer and who does not, as scripts read it.
#[derive(Serialize)]
struct Different {
    address: String,
    #[serde(flatten)]
    state: PeerState,
    known_by: Vec<String>,
    unknown_to: Vec<String>,
    one_witness: bool,
}

#[derive(Serialize)]
struct Changed {
    address: String,
    added: bool,
    removed: bool,
    /// Number of the policy image that knows of it.
    generation: Option<u64>,
    /// It still is a peer through this prefix.
    covered_by: Option<String>,
}

pub(super) fn run(common: &Common, args: &PeersArgs) -> Result<u8, Failure> {
    match args.command {
        PeersCommand::List => list(common),
        PeersCommand::Diff => diff(common),
        PeersCommand::Add(args) => add(common, args),
        PeersCommand::Remove(args) => remove(common, args),
    }
}

/// What is recorded; where nothing is, what the configuration alone would make of it.
fn registry(common: &Common, now: &Clock) -> Result<Registry, Failure> {
    let recorded =
        StateDir::open(&common.state_dir)?.map(|state| Registry::load(&state)).transpose()?.unwrap_or_default();
    if !recorded.is_new() {
        return Ok(recorded);
    }
    let mut planned = recorded;
    planned.configure(&read_config(common, Trust::Anyone)?, now);
    tracing::info!("nothing is recorded yet: this is what the configuration says; `nodewall apply` puts it into force");
    Ok(planned)
}

fn list(common: &Common) -> Result<u8, Failure> {
    let now = Clock::now();
    let registry = registry(common, &now)?;
    let peers = Peers::of(&registry, &now);
    print_list(common, &peers, &peers.peers, || print_tables(&registry.entries(&now), &registry.sources(&now), &now))?;
    for alarm in registry.alarms(&now) {
        tracing::warn!("{alarm}");
    }
    Ok(FINE)
}

fn print_tables(entries: &[Entry], sources: &[SourceStatus], now: &Clock) -> anyhow::Result<()> {
    let rows = entries.iter().map(|entry| {
        vec![
            show(&entry.prefix),
            state_text(entry),
            since(entry.since_unix_ns, now),
            if entry.sources.is_empty() { "-".into() } else { names(&entry.sources).join(" ") },
        ]
    });
    ui::print_table(&["address", "state", "known for", "sources"], &[2], rows)?;
    ui::print_line("")?;
    let rows = sources.iter().map(|source| {
        let answered = source.age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", whole_seconds(age)));
        let failing = source.failing.as_ref().map_or_else(|| "fine".to_owned(), |(_, error)| error.clone());
        vec![source.name.to_string(), source.peers.to_string(), answered, failing]
    });
    ui::print_table(&["source", "peers", "answered", "state"], &[1, 2], rows)
}

/// The state in words.
fn state_text(entry: &Entry) -> String {
    let left = entry.left.map(whole_seconds);
    match (&entry.state, left) {
        (PeerState::Leaving { until_unix_ns }, Some(left)) => {
            let until = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(*until_unix_ns));
            format!("leaving until {until} ({left})")
        }
        (PeerState::Held { why }, _) => format!("held: {why}"),
        (PeerState::Active, Some(left)) => format!("active for {left}"),
        (state, _) => state.name().to_owned(),
    }
}

fn since(since_unix_ns: u64, now: &Clock) -> String {
    whole_seconds(Duration::from_nanos(now.unix_ns.saturating_sub(since_unix_ns)))
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

fn diff(common: &Common) -> Result<u8, Failure> {
    let now = Clock::now();
    let registry = registry(common, &now)?;
    let different: Vec<Different> = registry
        .differences(&now)
        .into_iter()
        .map(|difference| Different {
            one_witness: difference.has_one_witness(),
            address: show(&difference.prefix),
            known_by: names(&difference.known_by),
            unknown_to: names(&difference.unknown_to),
            state: difference.state,
        })
        .collect();
    let suspicious = different.iter().any(|difference| difference.one_witness);
    print_list(common, &different, &different, || print_diff(&different))?;
    Ok(if suspicious { DEGRADED } else { FINE })
}

fn print_diff(different: &[Different]) -> anyhow::Result<()> {
    let or_dash = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(" ") };
    let rows = different.iter().map(|difference| {
        vec![
            if difference.one_witness { "!" } else { "" }.to_owned(),
            difference.address.clone(),
            difference.state.name().to_owned(),
            or_dash(&difference.known_by),
            or_dash(&difference.unknown_to),
        ]
    });
    ui::print_table(&["", "address", "state", "known by", "unknown to"], &[], rows)?;
    let alone = different.iter().filter(|difference| difference.one_witness).count();
    if alone > 0 {
        ui::print_line("")?;
        ui::print_line(&format!("! {alone} known to one source alone: see that these are nodes of the cluster"))?;
    }
    Ok(())
}

fn add(common: &Common, args: PeersAddArgs) -> Result<u8, Failure> {
    let PeersAddArgs { peer, ttl, allow } = args;
    let site = site(common, false)?;
    let who = Who::here("nodewall peers add");
    let now = Clock::now();
    let undo = record(&site, |registry| {
        know_configured(registry, common, &now)?;
        Ok(registry.operator_add(peer, ttl, &who, &now)?)
    })?;
    let generation = put_in_force(&site, peer, allow, undo)?;
    let until = ttl.map_or_else(
        || "until `nodewall peers remove`".to_owned(),
        |ttl| format!("for {}", humantime::format_duration(ttl)),
    );
    let changed = Changed { address: show(&peer), added: true, removed: false, generation, covered_by: None };
    print_changed(common, &changed, &format!("{} is a peer {until}", show(&peer)))?;
    if ttl.is_some() && site.state.agent().is_none() {
        tracing::warn!("no agent runs: the peer leaves with the first command or agent after its time");
    }
    Ok(if generation.is_some() { FINE } else { DEGRADED })
}

fn remove(common: &Common, args: PeersRemoveArgs) -> Result<u8, Failure> {
    let PeersRemoveArgs { peer, allow } = args;
    let site = site(common, false)?;
    let who = Who::here("nodewall peers remove");
    let now = Clock::now();
    let (undo, covered_by) = record(&site, |registry| {
        know_configured(registry, common, &now)?;
        let undo = registry.operator_remove(peer, &who, &now)?;
        Ok((undo, registry.covering(&peer, &now)))
    })?;
    let generation = put_in_force(&site, peer, allow, undo)?;
    let changed = Changed { address: show(&peer), added: false, removed: true, generation, covered_by };
    let text = match &changed.covered_by {
        None => format!("{} is no longer a peer", show(&peer)),
        Some(by) => format!("{} is no longer listed, and still a peer through {by}", show(&peer)),
    };
    print_changed(common, &changed, &text)?;
    Ok(if generation.is_some() && changed.covered_by.is_none() { FINE } else { DEGRADED })
}

/// Before the first apply, the configuration's own peers are not recorded yet.
fn know_configured(registry: &mut Registry, common: &Common, now: &Clock) -> Result<(), Failure> {
    if registry.is_new() {
        registry.configure(&read_config(common, Trust::OwnerOnly)?, now);
    }
    Ok(())
}

/// Changes the registry on disk, and notes what changed.
fn record<T>(site: &Site, change: impl FnOnce(&mut Registry) -> Result<T, Failure>) -> Result<T, Failure> {
    let _lock = site.state.lock_policy()?;
    let mut registry = Registry::load(&site.state)?;
    let done = change(&mut registry)?;
    registry.save(&site.state)?;
    control::note_peer_changes(&site.state, &mut registry);
    Ok(done)
}

/// The number of the policy that the change is in; `None`: it counts from the next apply on. A change that can not be put into force is taken back.
fn put_in_force(site: &Site, peer: IpNet, allow: AllowArgs, undo: Undo) -> Result<Option<u64>, Failure> {
    // One peer by hand is meant, however small the cluster; what else waits for the guard goes on waiting.
    let allow = Allow { peer_change: allow.allow_peer_change || is_the_only_change(site, peer)? };
    match block_on(control::peers_changed(site, allow))? {
        Ok(Some(policy)) => Ok(Some(policy.generation)),
        Ok(None) => Ok(Good::last(&site.state)?.map(|good| good.generation)),
        Err(AgentError::NothingInForce | AgentError::Detached) => Ok(None),
        Err(error) => {
            let taken_back = record(site, |registry| {
                registry.undo(undo, &Clock::now());
                Ok(())
            });
            if let Err(also) = taken_back {
                tracing::error!("{}; the peers on disk are not those in force", also.text());
            }
            Err(error.into())
        }
    }
}

/// Whether the peers in force and those recorded differ by `peer` alone.
fn is_the_only_change(site: &Site, peer: IpNet) -> Result<bool, Failure> {
    let Some(good) = Good::last(&site.state)? else { return Ok(false) };
    let in_force: BTreeSet<IpNet> = good.desired.policy.peers.into_iter().collect();
    let recorded = Registry::load(&site.state)?.active(&Clock::now());
    Ok(in_force.symmetric_difference(&recorded).all(|net| *net == peer))
}

fn print_changed(common: &Common, changed: &Changed, text: &str) -> anyhow::Result<()> {
    print(common, changed, |changed| {
        ui::print_line(text)?;
        if changed.generation.is_none() {
            ui::print_line("no policy is in force: it counts from the next `nodewall apply` on")?;
        }
        Ok(())
    })
}
