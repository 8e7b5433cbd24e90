//! Interfaces: how each is or could be filtered, what of its driver stands in the way, and the ways into this host that nothing covers.

mod driver;
mod facts;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Findings, Status, Subject};
use crate::control::{CoverageState, InterfaceCoverage};
use nodewall_host::net::{Driver, Link};
use nodewall_policy::config::AttachMode;

pub use facts::InterfaceFacts;

/// Judges them.
pub fn findings(interfaces: &InterfaceFacts<'_>) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Interfaces);
    let account = interfaces.coverage.as_deref().unwrap_or_default();
    let covered = account.iter().filter(|interface| interface.is_covered());
    let filtered: BTreeMap<u32, &InterfaceCoverage> = covered.filter_map(|i| Some((i.if_index?, i))).collect();
    let mut wanted: BTreeSet<u32> = filtered.keys().copied().collect();
    match &interfaces.selection {
        Ok(selection) => {
            wanted.extend(selection.attach.iter().map(|selected| selected.index));
            let told = |name: &String| account.iter().any(|i| i.name == *name && i.state == CoverageState::Missing);
            for name in selection.missing.iter().filter(|name| !told(name)) {
                findings
                    .add(Status::Degraded, "missing", format!("interface {name} does not exist"))
                    .because("the configuration names it, and nothing is filtered there")
                    .advice("nothing, if it will appear (a running agent attaches it then); else correct `interfaces`");
            }
        }
        Err(why) => {
            let (found, advice) = why.rsplit_once("; ").unwrap_or((why, "correct `interfaces`"));
            findings.add(Status::Degraded, "selection", found).because("`apply` is refused like this").advice(advice);
        }
    }
    for link in wanted.iter().filter_map(|index| interfaces.network.by_index(*index)) {
        one(interfaces, link, &filtered, &mut findings);
    }
    for interface in account {
        not_covered(interface, &mut findings);
    }
    for link in interfaces.network.links().filter(|link| is_unseen(link) && !wanted.contains(&link.index)) {
        unseen(link, &mut findings);
    }
    tunnels::tunnels(interfaces, &mut findings);
    findings.into_vec()
}

/// What arrives by it was not judged where it entered the host: it was encrypted, or no packet yet.
fn is_unseen(link: &Link) -> bool {
    let in_the_clear = ["ipip", "sit", "gre", "ip6tnl", "ip6gre", "vti", "vti6"];
    link.up && link.addressed() && link.layer_3() && !in_the_clear.contains(&link.kind.as_str())
}

fn unseen(link: &Link, findings: &mut Findings) {
    let name = &link.name;
    findings
        .add(Status::Note, "no-link-header", format!("{name}: what comes out of this device is not filtered by port"))
        .because("it has no Ethernet header, so it is no part of the default set; whoever is at its other end reaches the cluster's ports")
        .advice(format!("give {name} an [[interface]] with attach = \"tc\", and name it in `interfaces` where those are named"));
}

/// What the account says of an interface that is not as it should be. Another's program is a finding of its own.
fn not_covered(interface: &InterfaceCoverage, findings: &mut Findings) {
    let Some(problem) = interface.problem().filter(|_| !interface.foreign) else { return };
    let (found, advice) =
        problem.split_once("; ").unwrap_or((&problem, "see `nodewall status` and the agent's messages"));
    let (check, because) = match interface.state {
        CoverageState::Missing => ("missing", "it is asked for, and nothing is filtered there"),
        CoverageState::Covered => ("incomplete", "it is filtered, and not as configured"),
        _ => ("uncovered", "whoever reaches this host through it reaches the cluster's ports"),
    };
    findings.add(Status::Degraded, check, found).because(because).advice(advice);
}

/// One interface that is filtered or is to be.
fn one(
    interfaces: &InterfaceFacts<'_>,
    link: &Link,
    filtered: &BTreeMap<u32, &InterfaceCoverage>,
    findings: &mut Findings,
) {
    let unknown = Driver::default();
    let driver = interfaces.drivers.get(&link.index).unwrap_or(&unknown);
    let (name, mtu) = (&link.name, link.mtu);
    let of = driver.name.as_deref().map_or_else(|| "driver unknown".to_owned(), |driver| format!("driver {driver}"));
    let covered = filtered.get(&link.index);
    let ours = |program: u32| covered.and_then(|covered| covered.program_id) == Some(program);
    let at_tc = covered.is_some_and(|covered| covered.attach_mode == Some(AttachMode::Tc));
    match &link.xdp {
        // Whatever XDP program runs there before.
        Some(_) if at_tc => findings.ok("attached", format!("{name}: tc, behind another XDP program, {of}, MTU {mtu}")),
        None if at_tc && link.ethernet() && driver::native(driver) == Some(true) => findings
            .add(Status::Note, "tc", format!("{name}: at the tc hook, {of}, MTU {mtu}"))
            .because("the filter runs in the kernel's stack, where a denied packet costs more than in the driver")
            .advice("the driver has native XDP: set attach_mode = \"native\""),
        None if at_tc => findings.ok("attached", format!("{name}: tc, {of}, MTU {mtu}")),
        // Not knowing what is ours, nothing is called foreign.
        Some(xdp) if !ours(xdp.program_id) && interfaces.coverage.is_some() => {
            let id = xdp.program_id;
            findings
                .add(
                    Status::Degraded,
                    "foreign-program",
                    format!("{name}: another XDP program is attached (id {id}, {})", xdp.mode),
                )
                .because("nodewall does not share an interface, and is not attached beside it")
                .advice(format!("`bpftool prog show id {id}` tells whose it is; remove it, or leave {name} out"));
        }
        Some(xdp) if xdp.mode == AttachMode::Generic => {
            let gro = if driver.gro == Some(true) { "; GRO is on" } else { "" };
            findings
                .add(Status::Note, "generic", format!("{name}: generic mode, {of}, MTU {mtu}{gro}"))
                .because("the filter runs in the kernel's stack: slower, and with GRO it counts aggregates of several packets as one")
                .advice(if driver::native(driver) == Some(true) {
                    "the driver has native XDP: set attach_mode = \"native\"".to_owned()
                } else {
                    "set attach_mode = \"tc\": it counts the packets of aggregates, and bulk traffic is faster".to_owned()
                });
        }
        Some(xdp) => {
            findings.ok("attached", format!("{name}: {}, {of}, MTU {mtu}", xdp.mode));
            if link.kind == "bond" {
                bond(name, findings);
            }
        }
        // That it is not attached is said under the data path or as uncovered.
        None if !filtered.is_empty() || interfaces.attach_mode != AttachMode::Native => {}
        None => driver::could_be_attached(interfaces, link, driver, &of, findings),
    }
}

/// drivers/net/bonding: `bond_enslave`, `bond_xdp_check` and their callers.
fn bond(name: &str, findings: &mut Findings) {
    findings
        .add(Status::Note, "bond", format!("{name}: a bond that is filtered natively takes not every change"))
        .because(
            "the kernel enslaves no card that has no native XDP; by its source it also refuses one that has a program of its own, and the \
             modes broadcast, balance-tlb and balance-alb",
        )
        .advice(format!(
            "nothing until you need one of these; then give {name} an [[interface]] with attach = \"tc\" and `nodewall apply` it before the change"
        ));
}

#[cfg(test)]
mod tests;
