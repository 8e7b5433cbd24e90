//! Blocking a source everywhere, and taking it back. Owns whom a block may not hit without `--force`; the list is in `block_list`, the verdict in the data
//! path.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    apply::last_good,
    change::{Site, require_privilege},
    error::AgentError,
    session::{self, Session},
    state_files::note,
    surroundings::own_addresses,
    trial,
    trial_file::is_panic_open,
};
use crate::control::{Block, Blocks, Good};
use nodewall_host::{
    net::{self, gateways},
    state::{Clock, Deadline, StateError, Who},
};
use nodewall_policy::config::show;

/// A shorter prefix is a slip, or an attack on the operator.
const MIN_LENGTH_V4: u8 = 8;
/// As for IPv4.
const MIN_LENGTH_V6: u8 = 32;

/// What is to be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// The source, without host bits.
    pub prefix: IpNet,
    /// For how long; `None`: until it is taken back.
    pub ttl: Option<Duration>,
    /// Why.
    pub reason: Option<String>,
    /// Whatever it hits.
    pub force: bool,
}

/// What a change of the blocks did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The block that was added or taken out.
    pub block: Block,
    /// Number of the policy image that knows of it. `None`: no policy is in force; it counts from the next apply on.
    pub generation: Option<u64>,
    /// A panic-open has lifted all blocks for now.
    pub lifted: bool,
}

/// Drops everything from a source but ARP and neighbour discovery.
pub async fn block(site: &Site, wanted: &Blocking, who: &Who) -> Result<Changed, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    let good = trial::in_force(site)?;
    if !wanted.force
        && let Some(why) = obstacle(&wanted.prefix, good.as_ref(), session::current().as_ref()).await?
    {
        return Err(AgentError::BlockRefused { prefix: show(&wanted.prefix), why });
    }
    let now = Clock::now();
    let block = Block {
        prefix: wanted.prefix,
        since_unix_ns: now.unix_ns,
        until: wanted.ttl.map(|ttl| Deadline::after(&now, ttl)),
        reason: wanted.reason.clone(),
        who: who.clone(),
    };
    let before = Blocks::load(&site.state)?;
    let mut after = before.clone();
    after.take_over(&now);
    after.insert(block.clone());
    let generation = change(site, &lock, &before, &after).await?;
    let ttl = wanted.ttl.map_or_else(|| "until it is taken back".into(), |ttl| format!("for {} s", ttl.as_secs()));
    let reason = wanted.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
    note(&site.state, "block", &format!("{} {ttl}{reason}", show(&wanted.prefix)), Some(who));
    Ok(Changed { block, generation, lifted: is_panic_open(&site.state)? })
}

/// Takes a block back.
pub async fn unblock(site: &Site, prefix: &IpNet, who: &Who) -> Result<Changed, AgentError> {
    require_privilege()?;
    let lock = site.state.lock_policy()?;
    let before = Blocks::load(&site.state)?;
    let mut after = before.clone();
    after.take_over(&Clock::now());
    let Some(block) = after.remove(prefix) else {
        let covers = after.list.iter().find(|block| block.prefix.contains(prefix));
        return Err(AgentError::NotBlocked { prefix: show(prefix), nearest: covers.map(|block| show(&block.prefix)) });
    };
    let generation = change(site, &lock, &before, &after).await?;
    note(&site.state, "unblock", &show(prefix), Some(who));
    Ok(Changed { block, generation, lifted: is_panic_open(&site.state)? })
}

/// Takes out the blocks whose time is over. `None`: there were none.
pub(crate) async fn expire(site: &Site) -> Result<Option<Vec<Block>>, AgentError> {
    // Asked each second, and mostly there is none.
    if Blocks::load(&site.state)?.list.is_empty() {
        return Ok(None);
    }
    let lock = site.state.lock_policy()?;
    let before = Blocks::load(&site.state)?;
    let mut after = before.clone();
    let over = after.take_over(&Clock::now());
    if over.is_empty() {
        return Ok(None);
    }
    change(site, &lock, &before, &after).await?;
    for block in &over {
        note(&site.state, "unblock", &format!("{}: its time is over", show(&block.prefix)), None);
    }
    Ok(Some(over))
}

/// On disk first, then in force; a failure takes the list on disk back.
async fn change(
    site: &Site,
    lock: &nodewall_host::state::PolicyLock,
    before: &Blocks,
    after: &Blocks,
) -> Result<Option<u64>, AgentError> {
    after.save(&site.state)?;
    if trial::in_force(site)?.is_none() {
        return Ok(None);
    }
    match last_good(site, lock).await {
        Ok(policy) => Ok(Some(policy.generation)),
        Err(error) => {
            let restored: Result<(), StateError> = before.save(&site.state);
            if let Err(also) = restored {
                tracing::error!("{also}; the list of blocks on disk is not the one in force");
            }
            Err(error)
        }
    }
}

/// Whom a block of `prefix` would hurt.
async fn obstacle(
    prefix: &IpNet,
    good: Option<&Good>,
    session: Option<&Session>,
) -> Result<Option<String>, AgentError> {
    let network = net::snapshot().await?;
    let gateways = gateways()?;
    let peers = good.map(|good| good.desired.policy.peers.clone()).unwrap_or_default();
    Ok(judge(prefix, &peers, &own_addresses(&network), &gateways, session))
}

fn judge(
    prefix: &IpNet,
    peers: &[IpNet],
    own: &[IpAddr],
    gateways: &[IpAddr],
    session: Option<&Session>,
) -> Option<String> {
    let shortest = if prefix.addr().is_ipv4() { MIN_LENGTH_V4 } else { MIN_LENGTH_V6 };
    if prefix.prefix_len() < shortest {
        return Some(format!("a prefix shorter than /{shortest} is more than an incident"));
    }
    if let Some(peer) = peers.iter().find(|peer| peer.contains(prefix) || prefix.contains(*peer)) {
        return Some(format!("it hits the peer {}", show(peer)));
    }
    if let Some(address) = own.iter().find(|address| prefix.contains(*address)) {
        return Some(format!("it hits this node's own address {address}"));
    }
    if let Some(gateway) = gateways.iter().find(|gateway| prefix.contains(*gateway)) {
        return Some(format!("it hits the default gateway {gateway}"));
    }
    let session = session.filter(|session| prefix.contains(&session.client))?;
    Some(format!("this SSH session comes from {}", session.client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hurt_the_node_or_its_operator_needs_force() {
        let peers = ["10.0.0.11/32".parse().unwrap(), "2001:db8:1::/64".parse().unwrap()];
        let own = ["10.0.0.1".parse().unwrap()];
        let gateways = ["10.0.9.254".parse().unwrap()];
        let session = Session { client: "192.0.2.7".parse().unwrap(), server_port: 22 };
        let why = |prefix: &str| judge(&prefix.parse().unwrap(), &peers, &own, &gateways, Some(&session));
        for (prefix, word) in [
            ("10.0.0.11/32", "peer 10.0.0.11"),
            ("10.0.0.8/29", "peer 10.0.0.11"),
            ("2001:db8:1::7/128", "peer 2001:db8:1::/64"),
            ("10.0.0.0/29", "own address 10.0.0.1"),
            ("10.0.9.254/32", "gateway 10.0.9.254"),
            ("192.0.2.0/24", "SSH session"),
            ("64.0.0.0/7", "shorter than /8"),
            ("2a00::/31", "shorter than /32"),
        ] {
            assert!(why(prefix).is_some_and(|why| why.contains(word)), "{prefix}: {:?}", why(prefix));
        }
        for prefix in ["198.51.100.4/32", "64.0.0.0/8", "2a00::/32", "10.0.0.2/32"] {
            assert_eq!(why(prefix), None, "{prefix}");
        }
    }
}
