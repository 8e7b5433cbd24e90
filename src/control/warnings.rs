//! What is allowed but may hurt, each a sentence that says how to mend it. Reads only.

use super::change::Applied;
use nodewall_host::net::{self, LocalPorts, NatReport};
use nodewall_policy::{FEW_LENGTHS, Policy, config::Access};

/// Warnings about a policy that is in force on this host. The future asks the host's NAT tools, which may take seconds; it does not borrow
/// `applied`, so that an agent need not wait for it.
pub fn warnings(applied: &Applied) -> impl Future<Output = Vec<String>> + Send + use<> {
    let mut warnings = known(applied);
    let restricted = restricted_ports(applied.policy());
    async move {
        // No report at all only when the runtime is shutting down.
        let report = tokio::task::spawn_blocking(net::masquerade_ranges).await.unwrap_or_default();
        warnings.extend(nat(&report, &restricted));
        warnings
    }
}

fn known(applied: &Applied) -> Vec<String> {
    let mut warnings = applied.policy().warnings.clone();
    warnings.extend(applied.uncovered.iter().map(|u| format!("{} is not filtered: {}", u.name, u.why)));
    warnings.extend(
        applied.missing.iter().map(|name| format!("interface {name} does not exist; it is attached when it appears")),
    );
    for (family, lengths) in [("IPv4", applied.lengths.v4), ("IPv6", applied.lengths.v6)] {
        if lengths > FEW_LENGTHS {
            warnings.push(format!(
                "the sources use {lengths} different {family} prefix lengths, and each costs every packet to a protected port a probe; \
                 {FEW_LENGTHS} or fewer are cheap"
            ));
        }
    }
    let restricted = restricted_ports(applied.policy());
    match LocalPorts::read() {
        Ok(local) => {
            if let Some(overlap) = local.overlap(restricted.iter().copied()) {
                warnings.push(overlap.to_string());
            }
        }
        Err(error) => warnings.push(format!("can not compare ip_local_port_range with the policy: {error}")),
    }
    warnings
}

fn nat(report: &NatReport, restricted: &[(u16, u16)]) -> Vec<String> {
    let overlaps = net::masquerade_overlaps(report, restricted.iter().copied());
    let unread = report.unread.iter().map(|tool| format!("can not compare the NAT rules with the policy: {tool}"));
    overlaps.iter().map(ToString::to_string).chain(unread).collect()
}

/// Ports that are not open to everyone, both ends included.
fn restricted_ports(policy: &Policy) -> Vec<(u16, u16)> {
    let classes = policy.classes.iter().filter(|c| c.access != Access::Public);
    classes.flat_map(|c| &c.ports).map(|entry| (entry.ports.first(), entry.ports.last())).collect()
}
