//! What a counter row is called: the class, ports and protocol by which commands, exports and the ledger tell it. It must not say what was counted.

use node_ebpf_common::{
    counter::{ROW_FIRST, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED},
    maps::RowRecord,
    wire::protocol,
};

use super::{
    compile::{FRAGMENT_CLASS, TUNNEL_CLASS},
    rows::class_name,
};

/// What a counter row is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Class of the port; `None`: the policy names none.
    pub class: Option<String>,
    /// First and last port; `None`: no port, or one that the policy does not name.
    pub ports: Option<(u16, u16)>,
    /// `tcp`, `udp`, `ip`; `None` for packets that were not asked for one.
    pub protocol: Option<&'static str>,
}

impl Place {
    /// Of a row; `records`: what each row is for, in the order of their numbers.
    pub fn of_row(row: u32, records: &[RowRecord]) -> Self {
        let without_port =
            |class: Option<&str>, protocol| Self { class: class.map(str::to_owned), ports: None, protocol };
        match row {
            ROW_TCP_UNMANAGED => without_port(None, Some("tcp")),
            ROW_UDP_UNMANAGED => without_port(None, Some("udp")),
            ROW_IP_TUNNELS => without_port(Some(TUNNEL_CLASS), Some("ip")),
            ROW_LATER_FRAGMENTS => without_port(Some(FRAGMENT_CLASS), Some("ip")),
            ..ROW_FIRST => Self::default(),
            row => records.get(row as usize).map_or_else(Self::default, Self::of),
        }
    }

    /// Of a port's row.
    pub fn of(record: &RowRecord) -> Self {
        let protocol = match record.protocol {
            protocol::TCP => "tcp",
            protocol::UDP => "udp",
            _ => "ip",
        };
        let ports = Some((record.first_port, record.last_port));
        Self { class: Some(class_name(record)), ports, protocol: Some(protocol) }
    }

    /// The port, where the row is of one.
    pub fn port(&self) -> Option<u16> {
        self.ports.filter(|(first, last)| first == last).map(|(first, _)| first)
    }

    /// The ports as `first-last`, where several share the row.
    pub fn range(&self) -> Option<String> {
        self.ports.filter(|(first, last)| first != last).map(|(first, last)| format!("{first}-{last}"))
    }
}
