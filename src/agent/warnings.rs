//! What is allowed but may hurt, each a sentence that says how to mend it. Reads only.

use super::apply::Applied;
use crate::{
    net::{self, LocalPorts},
    policy::{FEW_LENGTHS, Policy},
};
use crate::config::Access;

/// Warnings about a policy that is in force on this host.
pub async fn warnings(applied: &Applied) -> Vec<String> {
    let mut warnings = applied.policy.warnings.clone();
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
    let restricted = restricted_ports(&applied.policy);
    match LocalPorts::read() {
        Ok(local) => {
            if let Some(overlap) = local.overlap(restricted.iter().copied()) {
                warnings.push(format!(
                    "the kernel may choose local ports {} for connections that this node opens (ip_local_port_range is {}-{}), and the replies \
                     would be dropped as strangers' packets; reserve them: {}",
                    ranges(&overlap.ports),
                    overlap.range.0,
                    overlap.range.1,
                    overlap.sysctl
                ));
            }
        }
        Err(error) => warnings.push(format!("can not compare ip_local_port_range with the policy: {error}")),
    }
    let nat = tokio::task::spawn_blocking(net::masquerade_ranges).await;
    if let Ok(report) = nat {
        for overlap in net::masquerade_overlaps(&report, restricted.iter().copied()) {
            warnings.push(format!(
                "a NAT rule gives outgoing connections the source ports {}, and the replies to {} would be dropped; \
                 change the port range of the rule ({})",
                ranges(&[overlap.range.ports]),
                ranges(&overlap.ports),
                overlap.range.rule
            ));
        }
    }
    warnings
}

/// Ports that are not open to everyone, both ends included.
fn restricted_ports(policy: &Policy) -> Vec<(u16, u16)> {
    let classes = policy.classes.iter().filter(|c| c.access != Access::Public);
    classes.flat_map(|c| &c.ports).map(|entry| (entry.ports.first(), entry.ports.last())).collect()
}

fn ranges(ports: &[(u16, u16)]) -> String {
    let one = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}
