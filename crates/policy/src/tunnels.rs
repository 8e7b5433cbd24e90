//! Which tunnels an image leaves open to everyone. Reads images and rows; must not make them.

use std::collections::{BTreeMap, BTreeSet};

use node_ebpf_common::{
    PolicyImage,
    counter::{ROW_FIRST, ROW_IP_TUNNELS},
    maps::RowRecord,
    packet::TABLE_UDP,
};

use super::rows::class_name;

/// Those of the UDP `ports` that anyone may send to, each with the class that says so (`None`: no class names it). They are ports that the host's
/// kernel takes packets out of, so whoever may send there reaches every port. None, where `tunnels` lets everyone in anyway.
pub fn open_to_all(image: &PolicyImage, rows: &[RowRecord], ports: &BTreeSet<u16>) -> BTreeMap<u16, Option<String>> {
    let lets_in = |row: u32| image.row(row).is_open();
    if lets_in(ROW_IP_TUNNELS) {
        return BTreeMap::new();
    }
    let row_of = |port: u16| image.row_of(TABLE_UDP, u32::from(port.swap_bytes()));
    let class = |row: u32| rows.get(row as usize).filter(|_| row >= ROW_FIRST).map(class_name);
    ports
        .iter()
        .map(|port| (*port, row_of(*port)))
        .filter(|(_, row)| lets_in(*row))
        .map(|(port, row)| (port, class(row)))
        .collect()
}
