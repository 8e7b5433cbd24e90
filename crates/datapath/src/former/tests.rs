//! Amounts by what they mean, from one layout to another. It needs no kernel.

use node_ebpf_common::{maps::CLASS_NAME_BYTES, outbound::Sent};

use std::collections::BTreeMap;

use super::*;

fn row(port: u16) -> RowRecord {
    let class = [b'c'; CLASS_NAME_BYTES];
    RowRecord { first_port: port, last_port: port, protocol: 6, active: 1, reserved: [0; 2], class }
}

fn peer(last: u8) -> PeerRecord {
    let mut address = [0; 16];
    address[3] = last;
    PeerRecord { address, prefix_len: 32, family: 4, active: 1, reserved: 0 }
}

fn table<T: Copy>(len: u32, empty: T, records: &[(usize, T)]) -> Vec<T> {
    let mut all = vec![empty; len as usize];
    for (n, record) in records {
        all[*n] = *record;
    }
    all
}

/// Rows and slots have other numbers here than there, ways and modes another order, the matrix other sizes: an amount is found again by what it means.
#[test]
fn an_amount_is_where_its_meaning_is() {
    let seven = Layout::SEVEN;
    let turned = Layout {
        version: 99,
        slots: 513,
        columns: 64,
        peer_slot: 128,
        peer: [64, 0],
        peer_cells: 513 * 128,
        outbound: [1, 0],
        inbound: seven.inbound.map(|[enforced, audited]| [audited, enforced]),
        ..seven
    };
    let here = (table(Layout::OURS.rows, row(0), &[]), table(Layout::OURS.slots, PeerRecord::default(), &[]));
    let (mut rows, mut peers) = here;
    for row in &mut rows {
        row.protocol = 0;
    }
    (rows[9], rows[11], peers[4]) = (row(9042), row(7000), peer(1));
    for layout in [seven, turned] {
        let free = RowRecord { protocol: 0, ..row(0) };
        let former = Former {
            layout,
            folder: PathBuf::new(),
            counters_id: 1,
            in_force: true,
            rows: table(layout.rows, free, &[(8, row(7000)), (9, row(9042))]),
            peers: table(layout.slots, PeerRecord::default(), &[(2, peer(1)), (3, peer(9))]),
        };
        let all = (layout.inbound_cells + layout.outbound_cells + layout.peer_cells) as usize;
        let mut cells = vec![Counter::default(); all];
        let mut number = 0;
        let mut expected = BTreeMap::<usize, u64>::new();
        // Each amount is another number.
        let mut count = |cell: u32, place: usize, cells: &mut Vec<Counter>| {
            number += 1;
            cells[cell as usize] = Counter { packets: number, bytes: 60 * number };
            // What passes may be in one place, whatever the mode.
            *expected.entry(place).or_default() += number;
        };
        for (reason, there_row, here_row) in [
            (Reason::Outsider, 9, 9),
            (Reason::Peer, 8, 11),
            (Reason::Unmanaged, 4, 4),
            (Reason::BlockedSource, 0, 0),
            (Reason::Icmp, 0, 0),
            (Reason::NoPorts, 0, 0),
        ] {
            let [there, ours] = [layout, Layout::OURS].map(|of| of.inbound[reason.number() as usize]);
            for mode in 0..2 {
                let (from, to) =
                    (there[mode] + there_row * layout.inbound_row, ours[mode] + here_row * Layout::OURS.inbound_row);
                count(from, carried::INBOUND + to as usize, &mut cells);
            }
        }
        for sent in Sent::ALL {
            let from = layout.inbound_cells + layout.outbound[sent as usize] + 9 * layout.outbound_row;
            let to = Layout::OURS.outbound[sent as usize] + 9 * Layout::OURS.outbound_row;
            count(from, carried::OUTBOUND + to as usize, &mut cells);
        }
        let matrix = layout.inbound_cells + layout.outbound_cells;
        for way in Direction::ALL {
            let [from, to] = [layout.peer, Layout::OURS.peer].map(|first| first[way as usize]);
            // A peer on a port; one that is not known here on the same; the first on the ports behind the columns.
            for (slot, column, slot_here, column_here) in [
                (2, layout.column(9), 4, Layout::OURS.column(9)),
                (3, layout.column(8), SLOT_OTHER, Layout::OURS.column(11)),
                (2, layout.columns - 1, 4, Layout::OURS.columns - 1),
            ] {
                let place = to + slot_here * Layout::OURS.peer_slot + column_here;
                count(matrix + from + slot * layout.peer_slot + column, carried::PEERS + place as usize, &mut cells);
            }
        }
        let placed = former.placed(&cells, &rows, &peers);
        for (place, number) in &expected {
            assert_eq!(placed[*place], Counter { packets: *number, bytes: 60 * number }, "{}", layout.version);
        }
        let sum: u64 = placed.iter().map(|counter| counter.packets).sum();
        assert_eq!(sum, expected.values().sum::<u64>(), "nothing twice, nothing elsewhere");
    }
}
