//! What is allowed but may hurt, each a sentence that says how to mend it. Reads only.

use std::collections::BTreeSet;

use super::program::Applied;
use nodewall_host::net::{self, LocalPorts, NatReport};
use nodewall_policy::{FEW_LENGTHS, config::PortSet};

/// Warnings about a policy that is in force on this host. The future asks the host's NAT tools, which may take seconds; it does not borrow
/// `applied`, so that an agent need not wait for it.
pub fn warnings(applied: &Applied) -> impl Future<Output = Vec<String>> + Send + use<> {
    let mut warnings = known(applied);
    let restricted = applied.in_force.policy().restricted_ports();
    let attached: BTreeSet<u32> = applied.coverage.covered().filter_map(|interface| interface.if_index).collect();
    async move {
        // No report at all only when the runtime is shutting down.
        let report = tokio::task::spawn_blocking(net::source_nat).await.unwrap_or_default();
        let inside = net::snapshot().await.map(|network| net::inside(&network, &attached)).unwrap_or_default();
        warnings.extend(nat(&report, &restricted, &inside));
        warnings
    }
}

fn known(applied: &Applied) -> Vec<String> {
    let mut warnings = applied.in_force.policy().warnings.clone();
    for (family, lengths) in [("IPv4", applied.in_force.lengths.v4), ("IPv6", applied.in_force.lengths.v6)] {
        if lengths > FEW_LENGTHS {
            warnings.push(format!(
                "the sources use {lengths} different {family} prefix lengths, and each costs every packet to a protected port a probe; \
                 {FEW_LENGTHS} or fewer are cheap"
            ));
        }
    }
    let covered: BTreeSet<&str> = applied.coverage.covered().map(|interface| interface.name.as_str()).collect();
    for name in applied.in_force.policy().interface_peers.keys().filter(|name| !covered.contains(name.as_str())) {
        warnings.push(format!(
            "`peers` of [[interface]] {name} has no effect: {name} is not filtered itself; name the interface that is \
             (of a VLAN device its card, of a slave its bond)"
        ));
    }
    let restricted = applied.in_force.policy().restricted_ports();
    match LocalPorts::read() {
        Ok(local) => {
            if let Some(overlap) = local.overlap(&restricted) {
                warnings.push(overlap.to_string());
            }
        }
        Err(error) => warnings.push(format!("can not compare ip_local_port_range with the policy: {error}")),
    }
    warnings
}

fn nat(report: &NatReport, restricted: &PortSet, inside: &BTreeSet<String>) -> Vec<String> {
    let overlaps = report.overlaps(restricted, inside);
    let unread = report.unread.iter().map(|tool| format!("can not compare the NAT rules with the policy: {tool}"));
    overlaps.iter().map(ToString::to_string).chain(unread).collect()
}
