//! The ports that the policy in force names, who may reach them, and what was counted there: the page's table. It must not print.

use node_ebpf_common::{
    PolicyImage,
    counter::ROW_FIRST,
    maps::RowRecord,
    rule::{GROUP_PEER, Row},
};
use serde::Serialize;
use std::collections::BTreeSet;

use super::counters::Counters;
use nodewall_datapath::{DatapathError, Maps};
use nodewall_policy::{Place, class_name};

/// A port, or a range that shares a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Port class.
    pub class: Option<String>,
    /// The port; `null` for a range.
    pub port: Option<u16>,
    /// First and last port of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: Option<&'static str>,
    /// `public`, `cluster` or `closed`; `null` for a port that the policy does not name any more.
    pub access: Option<&'static str>,
    /// Sources besides those of `access` are let in (`also_allow`).
    pub also_allow: bool,
    /// What is denied here goes on: the policy audits, or this class does.
    pub audited: bool,
    /// Frames let in, dropped, that would have been dropped (audit), sent.
    #[serde(flatten)]
    pub packets: Packets,
}

/// What was counted on a port since the node was filtered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// Let in.
    pub passed_packets: u64,
    /// Dropped.
    pub dropped_packets: u64,
    /// Would have been dropped: counted in audit mode.
    pub would_drop_packets: u64,
    /// Sent.
    pub sent_packets: u64,
}

/// Every port that the policy names or once named, in the order of their numbers.
pub fn read(maps: &Maps) -> Result<Vec<Port>, DatapathError> {
    Ok(join(&*maps.policy()?, &maps.rows()?, &Counters::read(maps)?))
}

fn join(image: &PolicyImage, records: &[RowRecord], counters: &Counters) -> Vec<Port> {
    let named = (ROW_FIRST..).zip(records.iter().skip(ROW_FIRST as usize)).filter(|(_, record)| record.protocol != 0);
    let mut ports: Vec<(u16, Port)> = named
        .map(|(row, record)| {
            let place = Place::of(record);
            let rule = image.rows.get(row as usize).filter(|_| record.active == 1);
            let port = Port {
                port: place.port(),
                ports: place.range(),
                class: place.class,
                protocol: place.protocol,
                access: rule.copied().map(access),
                also_allow: rule.is_some_and(|rule| rule.allow & !GROUP_PEER != 0),
                audited: rule.is_some_and(Row::only_audits),
                packets: Packets::default(),
            };
            (record.first_port, port)
        })
        .collect();
    for row in &counters.rows {
        let same = |port: &Port| {
            (&port.class, port.port, &port.ports, port.protocol) == (&row.class, row.port, &row.ports, row.protocol)
        };
        let Some((_, port)) = ports.iter_mut().find(|(_, port)| same(port)) else { continue };
        let counted = match (row.direction, row.outcome) {
            ("out", _) => &mut port.packets.sent_packets,
            (_, "pass") => &mut port.packets.passed_packets,
            (_, "drop") => &mut port.packets.dropped_packets,
            _ => &mut port.packets.would_drop_packets,
        };
        *counted += row.packets;
    }
    ports.sort_by(|(a, one), (b, two)| (a, one.protocol).cmp(&(b, two.protocol)));
    ports.into_iter().map(|(_, port)| port).collect()
}

fn access(rule: Row) -> &'static str {
    match (rule.is_open(), rule.allow & GROUP_PEER != 0) {
        (true, _) => "public",
        (false, true) => "cluster",
        (false, false) => "closed",
    }
}

/// Names of the classes that only audit while the rest is enforced.
pub(super) fn audited(maps: &Maps) -> Result<Vec<String>, DatapathError> {
    let image = maps.policy()?;
    let records = maps.rows()?;
    let audits = |(row, record): &(&Row, &RowRecord)| image.enforce != 0 && record.active == 1 && row.only_audits();
    let named = image.rows.iter().zip(&records).skip(ROW_FIRST as usize).filter(audits);
    Ok(named.map(|(_, record)| class_name(record)).collect::<BTreeSet<_>>().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::counters::Row;
    use nodewall_policy::Facts;
    use nodewall_policy::Policy;
    use nodewall_policy::RowTable;
    use nodewall_policy::compile;
    use nodewall_policy::config::Config;

    #[test]
    fn access_is_the_images_and_counts_are_the_counters() {
        let text = "[profile]\naudit = [\"agent\"]\n[peers]\nstatic = [\"10.0.0.11\"]\n[[rule]]\nname = \"jmx\"\nports = [\"7199\"]\nprotocols = [\"tcp\"]\naccess = \"closed\"\n\
                    also_allow = [\"192.0.2.0/24\"]\n";
        let policy = Policy::from_config(&Config::parse(text, "test.toml").unwrap()).unwrap();
        let compiled = compile(&policy, RowTable::default(), &Facts::default()).unwrap();
        let row = |direction, outcome, packets| Row {
            class: Some("cassandra".into()),
            port: Some(9042),
            ports: None,
            protocol: Some("tcp"),
            direction,
            outcome,
            reason: "peer",
            packets,
            bytes: 0,
        };
        let rows = vec![row("in", "pass", 5), row("in", "drop", 7), row("in", "would_drop", 9), row("out", "pass", 11)];
        let ports = join(&compiled.image, compiled.rows.records(), &Counters { generation: 1, rows });
        let find = |number, protocol| {
            ports.iter().find(|port| port.port == Some(number) && port.protocol == Some(protocol)).unwrap()
        };
        let shown = |number, protocol| (find(number, protocol).access, find(number, protocol).also_allow);
        assert_eq!(shown(443, "tcp"), (Some("public"), false));
        assert_eq!(shown(9042, "udp"), (Some("cluster"), false));
        assert_eq!(shown(7199, "tcp"), (Some("closed"), true));
        assert!(find(8443, "tcp").audited && find(8443, "udp").audited && !find(9042, "tcp").audited);
        let counted = Packets { passed_packets: 5, dropped_packets: 7, would_drop_packets: 9, sent_packets: 11 };
        assert_eq!(find(9042, "tcp").packets, counted);
        assert_eq!(find(9042, "udp").packets, Packets::default());
        assert!(ports.is_sorted_by_key(|port| port.port));
    }
}
