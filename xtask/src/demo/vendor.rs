//! What the vendor's document says about a cluster node's ports, written down by hand from its text ("Cluster node
//! ports"). It is the demo's own statement of what is right, and must never be derived from nodewall's profile or output.

use std::ops::RangeInclusive;

/// Who may reach a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Must be open to everyone: "ports 443 must remain open to allow incoming traffic from your data center".
    Everyone,
    /// Only cluster nodes need it: "can be closed to traffic coming from outside the Dynatrace cluster".
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
}

/// The ports to try, in the document's order, then some that it does not name: among them both neighbours of its range.
const LINES: [(Access, &[RangeInclusive<u16>]); 3] = [
    (Access::Everyone, &[443..=443]),
    (
        Access::ClusterNodes,
        &[8443..=8443, 8018..=8022, 5701..=5711, 9042..=9042, 7000..=7001, 7199..=7199, 9200..=9200, 9300..=9300],
    ),
    (Access::NotNamed, &[22..=22, 80..=80, 5700..=5700, 5712..=5712, 9999..=9999]),
];

/// Every port to try.
pub(super) fn ports() -> impl Iterator<Item = (u16, Access)> {
    let of = |(access, ranges): &(Access, &'static [RangeInclusive<u16>])| {
        let access = *access;
        ranges.iter().cloned().flatten().map(move |port| (port, access))
    };
    LINES.iter().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_names_24_ports_and_we_try_5_more() {
        let all: BTreeSet<u16> = ports().map(|(port, _)| port).collect();
        assert_eq!((all.len(), ports().count()), (29, 29));
        let count = |access| ports().filter(|(_, of)| *of == access).count();
        assert_eq!([Access::Everyone, Access::ClusterNodes, Access::NotNamed].map(count), [1, 23, 5]);
    }
}
