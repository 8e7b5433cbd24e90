//! Other packet filters on this host: whether there are any. Must not say what their rules do.

use super::{
    finding::{Finding, Findings, Status, Subject},
    replies::denied,
};
use nodewall_host::net::OtherFilters;

const CHECK: &str = "packet-filter";

/// The one finding.
pub fn findings(filters: &OtherFilters) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Firewall);
    let OtherFilters { rules, dropping_chains, unasked } = filters;
    let not_asked = unasked.join("; ");
    if *rules > 0 || *dropping_chains > 0 {
        let mut found = format!("another packet filter is active: {rules} rule{}", if *rules == 1 { "" } else { "s" });
        if *dropping_chains > 0 {
            found += &format!(", {} what no rule takes", chains(*dropping_chains));
        }
        if !unasked.is_empty() {
            found += &format!(" (and what could not be asked: {not_asked})");
        }
        findings
            .add(Status::Note, CHECK, found)
            .because("it works beside nodewall: what nodewall passes it judges as before, and it may refuse a peer, or redirect a port that the policy does not name to one that it closes")
            .advice("nothing, if its rules are meant; `nft list ruleset`, `iptables-save` and `ip6tables-save` show them");
    } else if let Some(complaint) = unasked.iter().find(|complaint| denied(complaint)) {
        findings
            .add(Status::NotLookedAt, CHECK, "whether another packet filter is active")
            .because(complaint)
            .advice("run `nodewall doctor` as root");
    } else if unasked.is_empty() {
        findings.ok(CHECK, "no other packet filter has rules");
    } else {
        let found = format!("no rule of another packet filter was found, but not all could be asked: {not_asked}");
        findings
            .add(Status::Unknown, CHECK, found)
            .because("its rules may refuse what nodewall passes")
            .advice("nothing, if this host has no other packet filter; else look at its rules by its own tools");
    }
    findings.into_vec()
}

fn chains(count: usize) -> String {
    if count == 1 { "1 chain that drops".to_owned() } else { format!("{count} chains that drop") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn one_finding_says_how_many_rules_or_why_nobody_knows() {
        let of = |rules, dropping_chains, unasked: &[&str]| {
            let unasked = unasked.iter().map(|&why| why.to_owned()).collect();
            let found = findings(&OtherFilters { rules, dropping_chains, unasked });
            assert_eq!(found.len(), 1);
            (found[0].status, found[0].found.clone())
        };
        assert_eq!(of(0, 0, &[]).0, Status::Ok);
        assert_eq!(of(1, 0, &[]), (Status::Note, "another packet filter is active: 1 rule".to_owned()));
        assert!(of(12, 2, &[]).1.contains("12 rules, 2 chains that drop"));
        assert_eq!(of(0, 1, &[]).0, Status::Note);
        assert!(of(3, 0, &["nft is not installed"]).1.contains("nft is not installed"));
        assert_eq!(of(0, 0, &["nft is not installed"]).0, Status::Unknown);
        assert_eq!(of(0, 0, &["nft: exit status: 1: Operation not permitted"]).0, Status::NotLookedAt);
    }
}
