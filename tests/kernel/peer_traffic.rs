//! The peer matrix in the kernel, by test runs: a frame of a peer's, or to one, moves its cell and no other; generated frames hold the kernel to the
//! host, and the matrix to the counters beside it; slots keep their peers, and are empty when they get another.

use std::collections::BTreeMap;

use ipnet::IpNet;
use node_ebpf_common::{
    Reason, Shape,
    counter::{Counter, ROW_FIRST, ROWS},
    decide,
    outbound::account,
    peer_traffic::{self, COLUMN_SHARED, Direction, OWN_PEERS, cell, column},
};
use nodewall_datapath::{EgressEngine, KernelEngine, Maps, Sending};
use nodewall_model::{
    cases::frames::{Ip4, Ip6, TCP, UDP, transport},
    grammar::{Frames, seeded},
    policies,
};
use nodewall_policy::{Compiled, Facts, PeerTable, Policy, RowTable, compile, config::Config, peer_of};
use nodewall_testbed::skip_unless_privileged;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config as Runs, TestRunner},
};

/// Frames of other lengths than these are refused by some kernels' test runs.
const NEVER_REFUSED_BYTES: std::ops::Range<usize> = 54..3_200;
const GENERATED: usize = 3_000;

fn meaning(text: &str) -> Policy {
    Policy::from_config(&Config::parse(text, "t").unwrap()).unwrap()
}

fn per_peer(peers: &[&str]) -> Policy {
    meaning(&format!("[counters]\nper_peer = true\n[peers]\nstatic = {peers:?}\n"))
}

fn compiled(policy: &Policy, before: Option<&Compiled>) -> Compiled {
    let rows = before.map_or_else(RowTable::default, |before| before.rows.clone());
    let peers = before.map_or_else(PeerTable::default, |before| before.peers.clone());
    compile(policy, rows, &Facts { generation: 1, peers, ..Facts::default() }).unwrap()
}

fn row_of(compiled: &Compiled, protocol: u8, port: u16) -> u32 {
    let named =
        |r: &node_ebpf_common::maps::RowRecord| r.protocol == protocol && (r.first_port..=r.last_port).contains(&port);
    compiled.rows.records().iter().position(named).unwrap() as u32
}

fn slot_of(compiled: &Compiled, peer: &str) -> u32 {
    let peer: IpNet = peer.parse().unwrap();
    compiled.peers.records().iter().position(|record| peer_of(record) == Some(peer)).unwrap() as u32
}

fn from_v4(source: &'static str, protocol: u8, port: u16) -> Vec<u8> {
    Ip4::new(source, protocol, transport(protocol, port)).frame()
}

/// The same packet with its addresses changed over.
fn reversed(mut frame: Vec<u8>) -> Vec<u8> {
    let (source, bytes) = match frame.get(12..14) {
        Some([0x08, 0x00]) => (26, 4),
        Some([0x86, 0xdd]) => (22, 16),
        _ => return frame,
    };
    if frame.len() >= source + 2 * bytes {
        frame[source..source + 2 * bytes].rotate_left(bytes);
    }
    frame
}

const fn plain(frame: &[u8]) -> Sending<'_> {
    Sending { frame, pieces: 0, wire_bytes: 0 }
}

/// Every cell of the map that is not zero, whoever it belongs to.
fn moved(maps: &Maps) -> BTreeMap<u32, Counter> {
    let cells = (0..peer_traffic::CELLS).zip((0..peer_traffic::SLOTS).flat_map(|slot| maps.slot_cells(slot).unwrap()));
    cells.filter(|(_, counter)| *counter != Counter::default()).collect()
}

fn add(cells: &mut BTreeMap<u32, Counter>, index: u32, bytes: u64) {
    let counter = cells.entry(index).or_default();
    counter.packets += 1;
    counter.bytes += bytes;
}

#[test]
fn a_frame_moves_the_cell_of_its_peer_and_port() {
    if skip_unless_privileged("a_frame_moves_the_cell_of_its_peer_and_port") {
        return;
    }
    let policy = per_peer(&["10.0.0.11", "10.0.1.0/24", "2001:db8::11"]);
    let compiled = compiled(&policy, None);
    let row = |protocol, port| column(row_of(&compiled, protocol, port));
    let slots = ["10.0.0.11/32", "10.0.1.0/24", "2001:db8::11/128"].map(|peer| slot_of(&compiled, peer));
    let six = Ip6::new("2001:db8::11", TCP, transport(TCP, 9300)).frame();
    let cells = [
        (from_v4("10.0.0.11", TCP, 9042), Some((row(TCP, 9042), slots[0]))),
        (from_v4("10.0.0.11", UDP, 9042), Some((row(UDP, 9042), slots[0]))),
        (from_v4("10.0.1.77", TCP, 9042), Some((row(TCP, 9042), slots[1]))),
        (six, Some((row(TCP, 9300), slots[2]))),
        (from_v4("10.0.2.1", TCP, 9042), None),
        (from_v4("10.0.0.11", TCP, 3306), None),
    ];
    let mut inbound = KernelEngine::new(&compiled.image, Shape::PER_PEER, None).unwrap();
    let mut outbound = EgressEngine::new(&compiled.image).unwrap();
    let mut expected = [BTreeMap::new(), BTreeMap::new()];
    for (frame, at) in &cells {
        let back = reversed(frame.clone());
        inbound.run(frame).unwrap();
        outbound.run(plain(&back)).unwrap();
        if let Some((column, slot)) = at {
            for direction in Direction::ALL {
                add(&mut expected[direction as usize], cell(direction, *column, *slot), frame.len() as u64);
            }
        }
        assert_eq!(moved(inbound.maps()), expected[0], "{frame:02x?}");
        assert_eq!(moved(outbound.maps()), expected[1], "{back:02x?}");
    }
    // Whom anybody may reach is not asked who he is; whom this node asks is.
    let public = from_v4("10.0.0.11", TCP, 443);
    inbound.run(&public).unwrap();
    outbound.run(plain(&reversed(public.clone()))).unwrap();
    assert_eq!(moved(inbound.maps()), expected[0]);
    add(&mut expected[1], cell(Direction::Out, row(TCP, 443), slots[0]), public.len() as u64);
    assert_eq!(moved(outbound.maps()), expected[1]);

    let off = compile(&Policy { per_peer: false, ..policy }, compiled.rows.clone(), &Facts::default()).unwrap();
    // Inbound it is the program's shape, outbound the policy.
    outbound.swap(&off.image).unwrap();
    let mut without = KernelEngine::new(&off.image, Shape::EVIDENCE, None).unwrap();
    without.run(&cells[0].0).unwrap();
    assert!(moved(without.maps()).is_empty(), "switched off");
    outbound.run(plain(&reversed(cells[0].0.clone()))).unwrap();
    assert_eq!([moved(inbound.maps()), moved(outbound.maps())], expected, "switched off");
}

/// Frames by the grammar, in and out: the kernel's whole matrix is the host's, and its sums are what the row counted as passed for being a peer's.
#[test]
fn host_and_kernel_agree_and_the_sums_are_the_rows() {
    if skip_unless_privileged("host_and_kernel_agree_and_the_sums_are_the_rows") {
        return;
    }
    let mut runner = TestRunner::new_with_rng(Runs::default(), seeded(11));
    let mut of_peers = [0; 2];
    for case in &policies::all() {
        let policy = Policy { per_peer: true, ..case.meaning.clone() };
        let (own_addresses, blocked) = (case.own.clone(), case.blocked.clone());
        let facts = Facts { generation: 1, own_addresses, blocked, ..Facts::default() };
        let compiled = compile(&policy, RowTable::default(), &facts).unwrap();
        let mut inbound = KernelEngine::new(&compiled.image, Shape::PER_PEER, None).unwrap();
        inbound.maps_mut().write_peers(&[], compiled.peers.records()).unwrap();
        let mut outbound = EgressEngine::new(&compiled.image).unwrap();
        let mut expected = [BTreeMap::new(), BTreeMap::new()];
        for _ in 0..GENERATED {
            let frame = (Frames { about: case }).new_tree(&mut runner).unwrap().current().frame;
            let back = reversed(frame.clone());
            match inbound.run(&frame) {
                Err(_) if !NEVER_REFUSED_BYTES.contains(&frame.len()) => {}
                run => {
                    run.unwrap();
                    let decision = decide(frame.as_slice(), &compiled.image);
                    if let Some(cell) = peer_traffic::inbound(&decision) {
                        add(&mut expected[0], cell, decision.bytes.into());
                    }
                }
            }
            match outbound.run(plain(&back)) {
                Err(_) if !NEVER_REFUSED_BYTES.contains(&back.len()) => {}
                run => {
                    run.unwrap();
                    if let Some(cell) = peer_traffic::outbound(&account(back.as_slice(), &compiled.image)) {
                        add(&mut expected[1], cell, back.len() as u64);
                    }
                }
            }
        }
        assert_eq!(moved(inbound.maps()), expected[0], "{}", case.name);
        assert_eq!(moved(outbound.maps()), expected[1], "{}", case.name);

        let counted = inbound.maps().cells(compiled.rows.records()).unwrap();
        let mut rows: BTreeMap<u32, Counter> = BTreeMap::new();
        for cell in counted.iter().filter(|cell| cell.reason == Reason::Peer && cell.row >= ROW_FIRST) {
            let sum = rows.entry(column(cell.row)).or_default();
            sum.packets += cell.counter.packets;
            sum.bytes += cell.counter.bytes;
        }
        let mut sums: BTreeMap<u32, Counter> = BTreeMap::new();
        for cell in inbound.maps().peer_cells(compiled.rows.records()).unwrap() {
            assert!(cell.peer.is_some(), "{}: so few peers have slots of their own", case.name);
            let sum = sums.entry(cell.row.map_or(COLUMN_SHARED, column)).or_default();
            sum.packets += cell.counter.packets;
            sum.bytes += cell.counter.bytes;
        }
        assert_eq!(sums, rows, "{}", case.name);
        of_peers[0] += expected[0].values().map(|c| c.packets).sum::<u64>();
        of_peers[1] += expected[1].values().map(|c| c.packets).sum::<u64>();
    }
    assert!(of_peers.iter().all(|frames| *frames > GENERATED as u64 / 10), "{of_peers:?}");
}

/// More peers and more rows than have cells of their own share the last ones, and nothing is lost.
#[test]
fn the_other_peers_and_the_last_column_take_the_rest() {
    if skip_unless_privileged("the_other_peers_and_the_last_column_take_the_rest") {
        return;
    }
    let peers: Vec<IpNet> =
        (0..300_u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0a01_0000 + n).to_be_bytes()))).collect();
    let rule =
        "[profile]\nname = \"none\"\n[[rule]]\nname = \"wide\"\nports = [\"20001-20200\"]\naccess = \"cluster\"\n";
    let policy = Policy { per_peer: true, peers: peers.clone(), ..meaning(&format!("single_node = true\n{rule}")) };
    let compiled = compiled(&policy, None);
    let mut engine = KernelEngine::new(&compiled.image, Shape::PER_PEER, None).unwrap();
    engine.maps_mut().write_peers(&[], compiled.peers.records()).unwrap();
    let frames = |port: u16| {
        let named = peers.iter().map(move |peer| (peer.network(), port));
        named.map(|(address, port)| {
            let mut frame = from_v4("10.1.0.0", TCP, port);
            let std::net::IpAddr::V4(address) = address else { unreachable!() };
            frame[26..30].copy_from_slice(&address.octets());
            frame
        })
    };
    for frame in frames(20_001) {
        engine.run(&frame).unwrap();
    }
    let cells = engine.maps().peer_cells(compiled.rows.records()).unwrap();
    let packets = |of_slot: bool| -> Vec<u64> {
        cells.iter().filter(|cell| cell.peer.is_some() == of_slot).map(|cell| cell.counter.packets).collect()
    };
    assert_eq!((packets(true), packets(false)), (vec![1; OWN_PEERS as usize], vec![300 - u64::from(OWN_PEERS)]));
    let frame = from_v4("10.1.0.0", TCP, 1);
    for port in 20_001..=20_200_u16 {
        let mut frame = frame.clone();
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        engine.run(&frame).unwrap();
    }
    let cells = engine.maps().peer_cells(compiled.rows.records()).unwrap();
    let shared: Vec<u64> = cells.iter().filter(|cell| cell.row.is_none()).map(|cell| cell.counter.packets).collect();
    // Some rows are those of tunnel ports.
    let behind = (20_001..=20_200).filter(|port| column(row_of(&compiled, TCP, *port)) == COLUMN_SHARED).count();
    assert!(behind > 50 && compiled.rows.records().len() == ROWS as usize);
    assert_eq!(shared, [behind as u64]);
}

/// Swaps in which peers leave, come back and take over slots: numbers and cells stay with their peer, and nobody gets another's.
#[test]
fn a_slot_that_is_given_to_another_peer_is_empty() {
    if skip_unless_privileged("a_slot_that_is_given_to_another_peer_is_empty") {
        return;
    }
    let net = |n: u32| IpNet::from(std::net::IpAddr::from((0x0a01_0000 + n).to_be_bytes()));
    let with = |numbers: Vec<u32>| Policy {
        per_peer: true,
        peers: numbers.into_iter().map(net).collect(),
        ..per_peer(&["10.0.0.1"])
    };
    let first = compiled(&with((0..OWN_PEERS).collect()), None);
    let mut engine = KernelEngine::new(&first.image, Shape::PER_PEER, None).unwrap();
    engine.maps_mut().write_peers(&[], first.peers.records()).unwrap();
    let (mine, next) = (from_v4("10.1.0.1", TCP, 9042), from_v4("10.1.0.0", TCP, 9042));
    for frame in [&mine, &mine, &next] {
        engine.run(frame).unwrap();
    }
    let named = |engine: &KernelEngine, compiled: &Compiled| -> BTreeMap<String, u64> {
        let cells = engine.maps().peer_cells(compiled.rows.records()).unwrap();
        let name = |peer: Option<_>| peer.as_ref().and_then(peer_of).map_or("other".into(), |net| net.to_string());
        cells.iter().map(|cell| (name(cell.peer), cell.counter.packets)).collect()
    };
    let both = |a: u64, b: u64| BTreeMap::from([("10.1.0.0/32".to_owned(), b), ("10.1.0.1/32".to_owned(), a)]);
    assert_eq!(named(&engine, &first), both(2, 1));

    // The first peer leaves and a new one comes: not in its slot yet.
    let change = |engine: &mut KernelEngine, before: &Compiled, numbers: Vec<u32>| {
        let after = compiled(&with(numbers), Some(before));
        engine.maps_mut().write_peers(before.peers.records(), after.peers.records()).unwrap();
        engine.swap(&after.image).unwrap();
        assert_eq!(engine.maps().peers().unwrap(), after.peers.records());
        after
    };
    let newcomer = from_v4("10.1.1.44", TCP, 9042);
    let second = change(&mut engine, &first, (1..OWN_PEERS).chain([300]).collect());
    for frame in [&mine, &newcomer, &next] {
        engine.run(frame).unwrap();
    }
    let mut expected = both(3, 1);
    expected.insert("other".into(), 1);
    assert_eq!(named(&engine, &second), expected, "10.1.0.0 is no peer now");

    let third = change(&mut engine, &second, (1..OWN_PEERS).chain([300]).collect());
    assert_eq!(slot_of(&third, "10.1.1.44/32"), slot_of(&first, "10.1.0.0/32"));
    for frame in [&mine, &newcomer, &newcomer] {
        engine.run(frame).unwrap();
    }
    let expected = BTreeMap::from([("10.1.0.1/32".into(), 4), ("10.1.1.44/32".into(), 2), ("other".into(), 1)]);
    assert_eq!(named(&engine, &third), expected);

    // A change that fails gives the names back, and what it gave away to nobody.
    let left = change(&mut engine, &third, (1..OWN_PEERS).collect());
    let failed = compiled(&with((1..OWN_PEERS).chain([301]).collect()), Some(&left));
    engine.maps_mut().write_peers(left.peers.records(), failed.peers.records()).unwrap();
    engine.maps_mut().restore_peers(left.peers.records()).unwrap();
    let slot = slot_of(&failed, "10.1.1.45/32");
    assert_eq!(slot, slot_of(&third, "10.1.1.44/32"));
    let mut restored = left.peers.records().to_vec();
    restored[slot as usize] = node_ebpf_common::maps::PeerRecord { active: 0, ..failed.peers.records()[slot as usize] };
    assert_eq!(engine.maps().peers().unwrap(), restored);
    assert!(!named(&engine, &left).contains_key("10.1.1.45/32"), "it was emptied, and nobody counted on it");
}
