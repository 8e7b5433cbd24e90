//! What could make nodewall drop replies to this host's own connections (ports that the kernel or NAT hands out), and what outsiders' fragments
//! can fill. Sets nothing, but says which line to run.

use std::{collections::BTreeSet, fs};

use super::finding::{Finding, Findings, Status, Subject};
use nodewall_host::net::{LocalPorts, NatReport};
use nodewall_policy::{Policy, config::LaterFragments};

const FRAGMENT_MEMORY: [(&str, &str); 2] = [
    ("net.ipv4.ipfrag_high_thresh", "/proc/sys/net/ipv4/ipfrag_high_thresh"),
    ("net.ipv6.ip6frag_high_thresh", "/proc/sys/net/ipv6/ip6frag_high_thresh"),
];

/// What the host hands out by itself.
#[derive(Clone, Debug)]
pub struct ReplyFacts {
    /// The kernel's ports for connections; or why they could not be read.
    pub local_ports: Result<LocalPorts, String>,
    /// Source NAT rules.
    pub nat: NatReport,
    /// Interfaces by which nothing leaves that a filtered one's replies answer.
    pub inside: BTreeSet<String>,
    /// Bytes that waiting fragments may take, by setting; only what could be read.
    pub fragment_bytes: Vec<(&'static str, u64)>,
}

/// Reads it, in the calling thread's network namespace. The rest was listed before.
pub fn read(nat: NatReport, inside: BTreeSet<String>) -> ReplyFacts {
    let bytes = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    ReplyFacts {
        local_ports: LocalPorts::read().map_err(|error| error.to_string()),
        nat,
        inside,
        fragment_bytes: FRAGMENT_MEMORY.into_iter().filter_map(|(name, path)| Some((name, bytes(path)?))).collect(),
    }
}

/// Compares it with the policy.
pub fn findings(replies: &ReplyFacts, policy: &Policy) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Replies);
    let restricted = policy.restricted_ports();
    match replies.local_ports.as_ref().map(|local| (local.range, local.overlap(&restricted))) {
        Err(error) => {
            findings.add(Status::Unknown, "local-ports", error);
        }
        Ok((range, None)) => {
            findings.ok("local-ports", format!("ip_local_port_range {range} keeps clear of the policy's ports"));
        }
        Ok((range, Some(overlap))) => findings
            .add(
                Status::Degraded,
                "local-ports",
                format!("ip_local_port_range {range} holds ports of the policy: {}", overlap.ports),
            )
            .because("the kernel may give them to this host's own connections, and the replies would be dropped")
            .advice(format!("{} (and the same line in /etc/sysctl.d)", overlap.sysctl)),
    }
    let overlaps = replies.nat.overlaps(&restricted, &replies.inside);
    for overlap in &overlaps {
        let (found, why) = match &overlap.named {
            Some(named) => (
                format!("source NAT hands out ports {named}: {}", overlap.rule),
                "it may give a connection a port of the policy, and the replies would be dropped",
            ),
            None => (
                format!("source NAT keeps a connection's port, and hands out any when that is taken: {}", overlap.rule),
                "either may be a port of the policy, and the replies would be dropped",
            ),
        };
        findings.add(Status::Degraded, "masquerade", found).because(why).advice(overlap.advice());
    }
    let (denied, unread): (Vec<&String>, Vec<&String>) = replies.nat.unread.iter().partition(|unread| denied(unread));
    if let Some(complaint) = denied.first() {
        findings
            .add(Status::NotLookedAt, "masquerade", "source NAT rules, which may hand out a port of the policy")
            .because(*complaint)
            .advice("run `nodewall doctor` as root");
    }
    for unread in unread {
        findings
            .add(Status::Unknown, "masquerade", format!("a source NAT rule could not be read: {unread}"))
            .because("it may hand out a port of the policy")
            .advice("look at the rule by hand");
    }
    if overlaps.is_empty() && replies.nat.unread.is_empty() {
        findings.ok("masquerade", "no source NAT rule hands out the policy's ports");
    }
    if policy.later_fragments == LaterFragments::All && !replies.fragment_bytes.is_empty() {
        let settings: Vec<String> =
            replies.fragment_bytes.iter().map(|(name, bytes)| format!("{name} = {bytes} bytes")).collect();
        let found = format!("later fragments of anyone wait for their first one: {}", settings.join(", "));
        findings
            .add(Status::Note, "fragments", found)
            .because("an outsider's can fill that memory, and then a peer's fragmented packets are lost; no port opens by it")
            .advice("set later_fragments = \"peers\" if nobody else sends this node fragments");
    }
    findings.into_vec()
}

/// Whether a tool's complaint is about the privilege.
pub(super) fn denied(complaint: &str) -> bool {
    ["Permission denied", "Operation not permitted", "you must be root"].iter().any(|words| complaint.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_host::net::{Listing, source_nat_in};
    use nodewall_policy::config::{Config, PortRange, PortSet};

    fn ports(first: u16, last: u16) -> PortRange {
        PortRange::new(first, last).unwrap()
    }

    fn checks(replies: &ReplyFacts, policy: &Policy) -> Vec<(&'static str, Status)> {
        findings(replies, policy).iter().map(|finding| (finding.check, finding.status)).collect()
    }

    #[test]
    fn overlaps_are_degraded_and_name_the_cure() {
        let policy = Policy::from_config(&Config::embedded()).unwrap();
        let clear = ReplyFacts {
            local_ports: Ok(LocalPorts { range: ports(32768, 60999), reserved: PortSet::default() }),
            nat: NatReport::default(),
            inside: BTreeSet::from(["br0".to_owned()]),
            fragment_bytes: vec![("net.ipv4.ipfrag_high_thresh", 4_194_304)],
        };
        assert_eq!(
            checks(&clear, &policy),
            [("local-ports", Status::Ok), ("masquerade", Status::Ok), ("fragments", Status::Note)]
        );
        let peers_only = Policy { later_fragments: LaterFragments::Peers, ..policy.clone() };
        assert_eq!(checks(&clear, &peers_only).len(), 2);

        let saved = "*nat\n-A POSTROUTING -j MASQUERADE --random\n-A POSTROUTING -o br0 -j MASQUERADE\n\
                     -A POSTROUTING -s 10.1.0.0/16 -p tcp -j MASQUERADE --to-ports 20000-20010\n\
                     -A POSTROUTING -p tcp -j MASQUERADE --to-ports 70000\nCOMMIT\n";
        let listing = |tool, answer: Result<&str, &str>| Listing {
            tool,
            answer: answer.map(str::to_owned).map_err(str::to_owned),
        };
        let nat = source_nat_in(&[
            listing("nft", Err("exit status: 1: Operation not permitted")),
            listing("iptables-save", Ok(saved)),
        ]);
        let wide = ReplyFacts {
            local_ports: Ok(LocalPorts { range: ports(1024, 65535), reserved: PortSet::default() }),
            nat,
            ..clear
        };
        assert_eq!(
            checks(&wide, &policy),
            [
                ("local-ports", Status::Degraded),
                ("masquerade", Status::Degraded),
                ("masquerade", Status::NotLookedAt),
                ("masquerade", Status::Unknown),
                ("fragments", Status::Note)
            ]
        );
        let advice = findings(&wide, &policy)[0].advice.clone().unwrap();
        assert!(advice.contains("ip_local_reserved_ports=") && advice.contains("9042"), "{advice}");
        let masquerade = &findings(&wide, &policy)[1];
        assert!(masquerade.found.contains("1024-65535"), "{masquerade:?}");
        let cure = masquerade.advice.as_deref().unwrap();
        assert!(
            cure.contains("iptables -t nat -I POSTROUTING 1 -p tcp -j MASQUERADE --to-ports 9301-65535 --random"),
            "{cure}"
        );
        // Public ports may be handed out: everyone may send to them.
        let public = Config::parse("[profile]\nweb_port_8022 = \"public\"\n", "test.toml").unwrap();
        let found = &findings(&wide, &Policy::from_config(&public).unwrap())[0].found;
        assert!(found.contains("8018-8021") && !found.contains("8022"), "{found}");
    }
}
