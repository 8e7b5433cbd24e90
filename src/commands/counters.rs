//! `nodewall counters`: what was counted, per port, verdict and reason; or per peer and port.

use super::{FINE, Failure, live, print_list};
use crate::{
    cli::{Common, CountersArgs},
    ui,
    view::{
        counters::{Counters, Row},
        peer_traffic::{PeerRow, PeerTraffic},
    },
};

pub(super) fn run(common: &Common, args: CountersArgs) -> Result<u8, Failure> {
    let (_, maps) = live(common)?;
    if args.per_peer {
        let traffic = PeerTraffic::read(&maps)?;
        print_list(common, &traffic, &traffic.rows, || print_peer_table(&traffic))?;
    } else {
        let counters = Counters::read(&maps)?;
        print_list(common, &counters, &counters.rows, || print_table(&counters.rows))?;
    }
    Ok(FINE)
}

fn print_table(rows: &[Row]) -> anyhow::Result<()> {
    let cells = rows.iter().map(|row| {
        let port = row.port.map(|p| p.to_string()).or_else(|| row.ports.clone());
        vec![
            row.class.clone().unwrap_or_else(|| "-".into()),
            port.unwrap_or_else(|| "-".into()),
            row.protocol.unwrap_or("-").into(),
            row.direction.into(),
            row.outcome.into(),
            row.reason.into(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    });
    let header = ["class", "port", "protocol", "direction", "outcome", "reason", "packets", "bytes"];
    ui::print_table(&header, &[6, 7], cells)
}

fn print_peer_table(traffic: &PeerTraffic) -> anyhow::Result<()> {
    if !traffic.enabled {
        ui::print_line("Nothing is counted per peer now: set per_peer = true in [counters].")?;
    }
    let cells = traffic.rows.iter().map(|row: &PeerRow| {
        let port = row.port.map(|p| p.to_string()).or_else(|| row.ports.clone());
        vec![
            row.peer.clone(),
            row.class.clone().unwrap_or_else(|| "-".into()),
            port.unwrap_or_else(|| "-".into()),
            row.protocol.unwrap_or("-").into(),
            row.direction.into(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    });
    let header = ["peer", "class", "port", "protocol", "direction", "packets", "bytes"];
    ui::print_table(&header, &[5, 6], cells)
}
