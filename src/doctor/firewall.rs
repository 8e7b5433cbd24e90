//! The host's own packet filter (the vendor's rules among it) against the policy: what it leaves open that nodewall closes, what it closes that
//! nodewall leaves open, and ports by which a redirect goes round the policy. A rule that could not be read is shown, and nothing is claimed.

mod compare;

use std::net::IpAddr;

use super::{
    Finding, Status, Subject,
    ports::{passes, protocol},
    replies::denied,
};
use nodewall_host::net::{Firewall, Redirect, Transport};
use nodewall_policy::Policy;

use compare::{Compared, Difference, outsider};

/// Compares the rules with the policy for what arrives on these interfaces.
pub fn findings(firewall: &Firewall, policy: &Policy, interfaces: &[String]) -> Vec<Finding> {
    let (denied, unread): (Vec<&String>, Vec<&String>) = firewall.unread.iter().partition(|unread| denied(unread));
    let mut findings = Vec::new();
    if let Some(complaint) = denied.first() {
        findings.push(
            new(Status::NotLookedAt, "unread", "the rules of the host's own packet filter".to_owned())
                .because((*complaint).clone())
                .advice("run `nodewall doctor` as root"),
        );
    }
    findings.extend(unread.into_iter().map(|unread| {
        new(Status::Unknown, "unread", format!("rules could not be read: {unread}"))
            .because("they may open or close ports of the policy")
            .advice("look at them by hand")
    }));
    // Redirects go round the policy however empty the filter is.
    findings.extend(redirects(firewall, policy));
    if firewall.is_empty() {
        if findings.iter().all(|finding| finding.check != "unread") {
            findings.push(Finding::ok(Subject::Firewall, "rules", "no rule of the host's own looks at what comes in"));
        }
        return findings;
    }
    let compared = compare::compare(firewall, policy, interfaces);
    let same = compared.differences.is_empty() && compared.unknown.is_empty();
    findings.extend(judged(&compared));
    if same {
        findings.push(Finding::ok(Subject::Firewall, "rules", "the host's own rules let in whom the policy lets in"));
    }
    findings
}

fn new(status: Status, check: &'static str, found: String) -> Finding {
    Finding::new(Subject::Firewall, status, check, found)
}

fn judged(compared: &Compared) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (difference, ports) in &compared.differences {
        findings.push(match difference {
            Difference::OpenToAll => new(Status::Note, "opens-what-we-close", format!("the host's own rules leave open what nodewall closes: {ports}"))
                .because("nodewall alone keeps outsiders from them; nothing does after a `detach`")
                .advice("nothing, or let the host's rules accept these ports from the cluster's nodes only"),
            Difference::OpenTo(net) => new(Status::Note, "opens-what-we-close", format!("the host's own rules let {net} reach what nodewall closes to it: {ports}"))
                .because("whoever made the rule expects that source to get through")
                .advice("if it should, add it to [peers] or to a rule's also_allow"),
            Difference::ClosedToPeer { peer, by } => new(Status::Degraded, "closes-what-we-open", format!("the host's own rules refuse the peer {peer} on {ports}: {by}"))
                .because("nodewall passes the packets and the host drops them: the cluster's nodes can not reach each other there")
                .advice("let the host's rules accept these ports from the peers"),
            Difference::ClosedToAll { by } => new(Status::Note, "closes-what-we-open", format!("the host's own rules refuse everyone on ports that the policy opens to everyone: {ports}: {by}"))
                .because("agents and users can not reach them, whatever nodewall says")
                .advice("let the host's rules accept them, or make the policy say what you mean"),
            Difference::ClosedToAllowed { net, by } => new(Status::Note, "closes-what-we-open", format!("the host's own rules refuse {net}, which a rule's also_allow lets in, on {ports}: {by}"))
                .because("nodewall passes its packets and the host drops them")
                .advice("let the host's rules accept it, or take it from also_allow"),
        });
    }
    for (rules, ports) in &compared.unknown {
        findings.push(
            new(
                Status::Unknown,
                "unread",
                format!("what becomes of {ports} depends on rules that could not be read: {}", rules.join(" | ")),
            )
            .because("they may be open or closed besides what the policy says")
            .advice("look at the rules by hand"),
        );
    }
    if compared.peers_left_out > 0 {
        findings.push(new(
            Status::Note,
            "peers",
            format!("{} more peers were not compared with the host's own rules", compared.peers_left_out),
        ));
    }
    findings
}

/// nodewall judges the port on the wire, before any redirect: one that the policy does not name may lead to one that it closes.
fn redirects(firewall: &Firewall, policy: &Policy) -> Vec<Finding> {
    let stranger = outsider(true, firewall, policy).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::BROADCAST));
    let mut findings = Vec::new();
    for redirect in firewall.redirects() {
        for &transport in &redirect.transports {
            let to = policy.class_of(protocol(transport), redirect.to);
            let Some(to) = to.filter(|class| !passes(policy, Some(class), stranger)) else { continue };
            let unnamed = way_round(&redirect, transport, policy);
            if let Some(port) = unnamed {
                findings.push(
                    new(
                        Status::Degraded,
                        "redirect",
                        format!(
                            "{transport} {port} leads to {transport} {}, which is for {} ({}): {}",
                            redirect.to, to.access, to.name, redirect.rule
                        ),
                    )
                    .because("nodewall judges the port on the wire, which the policy does not name: everyone gets round it this way")
                    .advice(format!("give port {port} a [[rule]] with access = \"cluster\", or remove the redirect")),
                );
            } else {
                let from: Vec<String> = redirect
                    .from
                    .iter()
                    .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
                    .collect();
                findings.push(Finding::ok(
                    Subject::Firewall,
                    "redirect",
                    format!("{transport} {} leads to {}, and the policy names it", from.join(","), redirect.to),
                ));
            }
        }
    }
    findings
}

/// A port that the redirect takes and the policy does not name.
fn way_round(redirect: &Redirect, transport: Transport, policy: &Policy) -> Option<u16> {
    let mut ports = redirect.from.iter().flat_map(|&(first, last)| first..=last);
    ports.find(|&port| port != redirect.to && policy.class_of(protocol(transport), port).is_none())
}

#[cfg(test)]
mod tests;
