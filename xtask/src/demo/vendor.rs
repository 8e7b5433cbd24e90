//! What the vendor's document says about a cluster node's ports, written down by hand from its text ("Cluster node
//! ports"). It is the demo's own statement of what is right, and must never be derived from nodewall's profile or output.

use std::ops::RangeInclusive;

/// Who may reach a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Must be open to everyone.
    Everyone,
    /// Only cluster nodes need it.
    ClusterNodes,
    /// The document does not name it: not nodewall's business.
    NotNamed,
}

impl Access {
    /// As it stands in the table.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::ClusterNodes => "cluster nodes",
            Self::NotNamed => "not named",
        }
    }

    /// Whether a host that is no peer may reach it.
    pub(super) const fn admits_outsiders(self) -> bool {
        !matches!(self, Self::ClusterNodes)
    }
}

/// One line of the document.
pub(super) struct Line {
    /// Both ends included.
    pub(super) ports: RangeInclusive<u16>,
    pub(super) access: Access,
    /// The document's words, which a wrong cell repeats.
    pub(super) words: &'static str,
}

const fn line(first: u16, last: u16, access: Access, words: &'static str) -> Line {
    Line { ports: first..=last, access, words }
}

const CLOSABLE: &str = "can be closed to traffic coming from outside the Dynatrace cluster";

/// The ports to try, in the document's order, then some that it does not name: among them both neighbours of its range.
pub(super) const LINES: [Line; 18] = [
    line(443, 443, Access::Everyone, "ports 443 must remain open to allow incoming traffic from your data center"),
    line(8443, 8443, Access::ClusterNodes, "doesn't need to be exposed to the outside of the cluster nodes"),
    line(8018, 8018, Access::ClusterNodes, CLOSABLE),
    line(8019, 8019, Access::ClusterNodes, CLOSABLE),
    line(8020, 8021, Access::ClusterNodes, CLOSABLE),
    line(8022, 8022, Access::ClusterNodes, CLOSABLE),
    line(5701, 5711, Access::ClusterNodes, CLOSABLE),
    line(9042, 9042, Access::ClusterNodes, CLOSABLE),
    line(7000, 7000, Access::ClusterNodes, CLOSABLE),
    line(7001, 7001, Access::ClusterNodes, CLOSABLE),
    line(7199, 7199, Access::ClusterNodes, CLOSABLE),
    line(9200, 9200, Access::ClusterNodes, CLOSABLE),
    line(9300, 9300, Access::ClusterNodes, CLOSABLE),
    line(22, 22, Access::NotNamed, "the document does not name it (SSH)"),
    line(80, 80, Access::NotNamed, "the document does not name it"),
    line(5700, 5700, Access::NotNamed, "the document does not name it (just below 5701-5711)"),
    line(5712, 5712, Access::NotNamed, "the document does not name it (just above 5701-5711)"),
    line(9999, 9999, Access::NotNamed, "the document does not name it"),
];

/// Every port to try, with its line.
pub(super) fn ports() -> impl Iterator<Item = (u16, &'static Line)> {
    LINES.iter().flat_map(|line| line.ports.clone().map(move |port| (port, line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_names_24_ports_and_we_try_5_more() {
        let all: BTreeSet<u16> = ports().map(|(port, _)| port).collect();
        assert_eq!((all.len(), ports().count()), (29, 29));
        let count = |access| ports().filter(|(_, line)| line.access == access).count();
        assert_eq!(count(Access::Everyone), 1);
        assert_eq!(count(Access::ClusterNodes), 23);
        assert_eq!(count(Access::NotNamed), 5);
    }
}
