//! The outbound counter in the kernel, by test runs: every frame moves exactly one cell of a row, by what the wire will carry; what goes to Mission
//! Control moves one more; and none of it changes what is let in. Generated frames hold the kernel's program to the host's `account`.

use node_ebpf_common::{
    counter::{
        Counter, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS, ROW_TCP_UNMANAGED,
        ROW_UDP_UNMANAGED,
    },
    decide,
    outbound::{CELL_MISSION_CONTROL, Sent, account},
};
use nodewall_datapath::{EgressEngine, OutboundCell, Sending};
use nodewall_model::cases::{
    self, Compile as _, Policy,
    frames::{Ip4, Ip6, TCP, UDP, ethernet, tagged, transport},
};
use nodewall_model::{
    grammar::{Frames, seeded},
    policies,
};
use nodewall_policy::{
    Compiled, Facts, Policy as Meaning, RowTable, compile,
    config::{Config, MISSION_CONTROL_ADDRESSES, MissionControl},
};
use nodewall_testbed::skip_unless_privileged;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config as Runs, TestRunner},
};

/// `TCX_NEXT`, `TC_ACT_UNSPEC`.
const NEXT: i32 = -1;
/// Frames of other lengths than these are refused by some kernels' test runs: too short for an Ethernet and an IP header, or longer than a page.
const NEVER_REFUSED_BYTES: std::ops::Range<usize> = 54..3_200;
const GENERATED: usize = 4_000;
const MISSION_CONTROL: [u8; 4] = [52, 5, 224, 56];

/// A frame with the source port put in: `at` is the transport header's offset.
fn answering(mut frame: Vec<u8>, at: usize, from: u16, to: u16) -> Vec<u8> {
    frame[at..at + 2].copy_from_slice(&from.to_be_bytes());
    frame[at + 2..at + 4].copy_from_slice(&to.to_be_bytes());
    frame
}

fn to_address(mut frame: Vec<u8>, address: [u8; 4]) -> Vec<u8> {
    frame[30..34].copy_from_slice(&address);
    frame
}

fn v4(protocol: u8, port: u16) -> Vec<u8> {
    Ip4::new(cases::OWN, protocol, transport(protocol, port)).frame()
}

fn v6(protocol: u8, port: u16) -> Vec<u8> {
    Ip6::new(cases::OWN6, protocol, transport(protocol, port)).frame()
}

fn row_of(compiled: &Compiled, protocol: u8, port: u16) -> u32 {
    let named =
        |r: &node_ebpf_common::maps::RowRecord| r.protocol == protocol && (r.first_port..=r.last_port).contains(&port);
    compiled.rows.records().iter().position(named).unwrap_or_else(|| panic!("no row for {protocol}/{port}")) as u32
}

/// What a frame must move: its row and side, and Mission Control's cell or not.
type Expected = (u32, Sent, bool);

fn table(compiled: &Compiled) -> Vec<(&'static str, Vec<u8>, Expected)> {
    let row = |protocol, port| row_of(compiled, protocol, port);
    let fragment = Ip4 { flags_offset: 100, ..Ip4::new(cases::OWN, TCP, transport(TCP, 9042)) };
    let inner = Ip4::new("10.1.1.1", TCP, transport(TCP, 9042)).packet();
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([0; 38]);
    vec![
        ("a request to a peer's port", v4(TCP, 9042), (row(TCP, 9042), Sent::ToPort, false)),
        ("the same over UDP", v4(UDP, 9042), (row(UDP, 9042), Sent::ToPort, false)),
        ("the same over IPv6", v6(TCP, 9042), (row(TCP, 9042), Sent::ToPort, false)),
        ("the same with a tag", tagged(&[0x8100], &v4(TCP, 9042)), (row(TCP, 9042), Sent::ToPort, false)),
        ("the same with two tags", tagged(&[0x88a8, 0x8100], &v6(TCP, 9042)), (row(TCP, 9042), Sent::ToPort, false)),
        (
            "with IP options",
            Ip4 { header_words: 7, ..Ip4::new(cases::OWN, TCP, transport(TCP, 9042)) }.frame(),
            (row(TCP, 9042), Sent::ToPort, false),
        ),
        ("an answer from our port", answering(v4(TCP, 1), 34, 9042, 40_000), (row(TCP, 9042), Sent::FromPort, false)),
        ("an answer over IPv6", answering(v6(TCP, 1), 54, 443, 40_000), (row(TCP, 443), Sent::FromPort, false)),
        ("between two named ports", answering(v4(TCP, 1), 34, 443, 9042), (row(TCP, 9042), Sent::ToPort, false)),
        ("TCP that the policy does not name", v4(TCP, 3306), (ROW_TCP_UNMANAGED, Sent::ToPort, false)),
        ("UDP that the policy does not name", v6(UDP, 3306), (ROW_UDP_UNMANAGED, Sent::ToPort, false)),
        ("a tunnel packet", Ip4::new(cases::OWN, 4, inner).frame(), (ROW_IP_TUNNELS, Sent::ToPort, false)),
        ("a later fragment", fragment.frame(), (ROW_LATER_FRAGMENTS, Sent::ToPort, false)),
        ("ICMP", Ip4::new(cases::OWN, 1, vec![8, 0, 0, 0, 0, 1, 0, 1]).frame(), (ROW_PORTLESS, Sent::ToPort, false)),
        ("ARP", ethernet(0x0806, &arp), (ROW_PORTLESS, Sent::ToPort, false)),
        ("TCP without its ports", Ip4::new(cases::OWN, TCP, vec![0x9c]).frame(), (ROW_PORTLESS, Sent::ToPort, false)),
        (
            "a length that lies",
            Ip4 { total_bytes: Some(900), ..Ip4::new(cases::OWN, TCP, transport(TCP, 9042)) }.frame(),
            (ROW_PORTLESS, Sent::ToPort, false),
        ),
        ("Mission Control", to_address(v4(TCP, 443), MISSION_CONTROL), (row(TCP, 443), Sent::ToPort, true)),
        ("Mission Control over UDP", to_address(v4(UDP, 443), MISSION_CONTROL), (row(UDP, 443), Sent::ToPort, false)),
        (
            "Mission Control, another port",
            to_address(v4(TCP, 444), MISSION_CONTROL),
            (ROW_TCP_UNMANAGED, Sent::ToPort, false),
        ),
        ("its neighbour", to_address(v4(TCP, 443), [52, 5, 224, 57]), (row(TCP, 443), Sent::ToPort, false)),
        ("port 443 of the unspecified address", to_address(v4(TCP, 443), [0; 4]), (row(TCP, 443), Sent::ToPort, false)),
        ("IPv6, whose first bytes are no IPv4 address", v6(TCP, 443), (row(TCP, 443), Sent::ToPort, false)),
    ]
}

fn counted(engine: &EgressEngine, compiled: &Compiled) -> Vec<OutboundCell> {
    engine.maps().outbound_cells(compiled.rows.records()).unwrap()
}

/// What one run moved.
fn moved(engine: &mut EgressEngine, compiled: &Compiled, sending: Sending<'_>) -> Vec<(u32, Sent, Counter)> {
    let before = counted(engine, compiled);
    assert_eq!(engine.run(sending).unwrap(), NEXT, "the frame must go on");
    let then = |cell: &OutboundCell| {
        let same = |c: &&OutboundCell| (c.row, c.sent) == (cell.row, cell.sent);
        before.iter().find(same).map(|c| c.counter).unwrap_or_default()
    };
    let delta = |cell: &OutboundCell| Counter {
        packets: cell.counter.packets - then(cell).packets,
        bytes: cell.counter.bytes - then(cell).bytes,
    };
    let after = counted(engine, compiled);
    let deltas = after.iter().map(|cell| (cell.row, cell.sent, delta(cell)));
    deltas.filter(|(_, _, counter)| *counter != Counter::default()).collect()
}

const fn plain(frame: &[u8]) -> Sending<'_> {
    Sending { frame, pieces: 0, wire_bytes: 0 }
}

#[test]
fn every_outbound_case_moves_its_cell() {
    if skip_unless_privileged("every_outbound_case_moves_its_cell") {
        return;
    }
    for policy in [Policy::Enforce, Policy::Audit] {
        let compiled = policy.compiled();
        let mut engine = EgressEngine::new(&compiled.image).unwrap();
        for (name, frame, (row, sent, mission)) in table(&compiled) {
            let counter = Counter { packets: 1, bytes: frame.len() as u64 };
            let mut expected = vec![(row, sent, counter)];
            if mission {
                expected.push((ROW_MISSION_CONTROL, Sent::ToPort, counter));
                expected.sort_by_key(|(row, ..)| *row);
            }
            assert_eq!(moved(&mut engine, &compiled, plain(&frame)), expected, "{name}");
        }
    }
}

/// An aggregate is counted as the frames that the device makes of it.
#[test]
fn an_aggregate_counts_as_its_frames() {
    if skip_unless_privileged("an_aggregate_counts_as_its_frames") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    let mut engine = EgressEngine::new(&compiled.image).unwrap();
    let mut payload = transport(TCP, 9042);
    payload.extend(vec![0; 2_900]);
    for (frame, header_bytes) in
        [(Ip4::new(cases::OWN, TCP, payload.clone()).frame(), 54), (Ip6::new(cases::OWN6, TCP, payload).frame(), 74)]
    {
        let wire_bytes = frame.len() as u32 + header_bytes;
        let sending = Sending { frame: &frame, pieces: 2, wire_bytes };
        let counter = Counter { packets: 2, bytes: u64::from(wire_bytes) };
        let expected = [(row_of(&compiled, TCP, 9042), Sent::ToPort, counter)];
        assert_eq!(moved(&mut engine, &compiled, sending), expected);
    }
}

/// A swap under the engine's feet: the next frame is on the new policy's row, and what was counted stays.
#[test]
fn a_swap_moves_the_next_frame_to_its_new_row() {
    if skip_unless_privileged("a_swap_moves_the_next_frame_to_its_new_row") {
        return;
    }
    let meaning = |text: &str| Meaning::from_config(&Config::parse(text, "t").unwrap()).unwrap();
    let one = compile(&meaning(cases::PEERS), RowTable::default(), &Facts::default()).unwrap();
    let rule = format!("{}\n[[rule]]\nname = \"db\"\nports = [\"3306\"]\naccess = \"cluster\"\n", cases::PEERS);
    let two = compile(&meaning(&rule), one.rows.clone(), &Facts { generation: 2, ..Facts::default() }).unwrap();
    let frame = v4(TCP, 3306);
    let mut engine = EgressEngine::new(&one.image).unwrap();
    let counter = Counter { packets: 1, bytes: frame.len() as u64 };
    assert_eq!(moved(&mut engine, &two, plain(&frame)), [(ROW_TCP_UNMANAGED, Sent::ToPort, counter)]);
    engine.swap(&two.image).unwrap();
    assert_eq!(moved(&mut engine, &two, plain(&frame)), [(row_of(&two, TCP, 3306), Sent::ToPort, counter)]);
    assert_eq!(counted(&engine, &two).len(), 2);
}

/// Frames by the grammar: the kernel's cell is the host's, one row's cell moves, and the whole frame is in it.
#[test]
fn host_and_kernel_agree_about_what_is_sent() {
    if skip_unless_privileged("host_and_kernel_agree_about_what_is_sent") {
        return;
    }
    let mut runner = TestRunner::new_with_rng(Runs::default(), seeded(7));
    for case in &policies::all() {
        let compiled = &case.compiled;
        let mut engine = EgressEngine::new(&compiled.image).unwrap();
        let (mut before_row, mut frames) = (Counter::default(), 0);
        for _ in 0..GENERATED {
            let frame = (Frames { about: case }).new_tree(&mut runner).unwrap().current().frame;
            let host = account(frame.as_slice(), &compiled.image);
            let then = engine.maps().outbound_cell(host.cell()).unwrap();
            match engine.run(plain(&frame)) {
                Err(_) if !NEVER_REFUSED_BYTES.contains(&frame.len()) => continue,
                action => assert_eq!(action.unwrap(), NEXT),
            }
            let now = engine.maps().outbound_cell(host.cell()).unwrap();
            let delta = (now.packets - then.packets, now.bytes - then.bytes);
            assert_eq!(delta, (1, frame.len() as u64), "{}: {host:?}: {frame:02x?}", case.name);
            frames += 1;
            before_row.bytes += frame.len() as u64;
            before_row.packets += 1;
        }
        // Nothing else moved: the rows' sum is what was sent.
        let rows = counted(&engine, compiled).into_iter().filter(|cell| cell.row != ROW_MISSION_CONTROL);
        let sum = rows.fold(Counter::default(), |sum, cell| Counter {
            packets: sum.packets + cell.counter.packets,
            bytes: sum.bytes + cell.counter.bytes,
        });
        assert!(frames > GENERATED / 2, "{}: only {frames} frames could be run", case.name);
        assert_eq!(sum, before_row, "{}", case.name);
    }
}

/// Whom Mission Control is changes not one verdict, peer or reason, also where its addresses are sources.
#[test]
fn mission_control_changes_no_inbound_verdict() {
    let mut runner = TestRunner::new_with_rng(Runs::default(), seeded(9));
    for case in &policies::all() {
        let text = |mission: MissionControl| {
            let mut meaning = case.meaning.clone();
            meaning.mission_control = mission;
            let (own_addresses, blocked) = (case.own.clone(), case.blocked.clone());
            let facts = Facts { generation: 1, own_addresses, blocked, ..Facts::default() };
            compile(&meaning, RowTable::default(), &facts).unwrap()
        };
        // Addresses that the policy is about are the ones that could make a difference.
        let mut addresses = MISSION_CONTROL_ADDRESSES[..2].to_vec();
        addresses.extend(
            ["10.0.0.11", "10.9.1.1", "203.0.113.1", "2001:db8::11", "2001:db8:9::5"]
                .map(|a| a.parse::<std::net::IpAddr>().unwrap()),
        );
        let with = text(MissionControl { addresses, port: 9042 });
        let without = text(MissionControl::default());
        assert_eq!(with.lengths, without.lengths);
        for _ in 0..GENERATED {
            let frame = (Frames { about: case }).new_tree(&mut runner).unwrap().current().frame;
            let decisions = [&with, &without].map(|compiled| decide(frame.as_slice(), &compiled.image));
            assert_eq!(decisions[0], decisions[1], "{}: {frame:02x?}", case.name);
            let cells = [&with, &without].map(|compiled| account(frame.as_slice(), &compiled.image).cell());
            assert_eq!(cells[0], cells[1], "{}: {frame:02x?}", case.name);
        }
    }
    assert_eq!(CELL_MISSION_CONTROL, ROW_MISSION_CONTROL * 2);
}

/// The verifier's work is bounded and known.
#[test]
fn the_verifier_has_headroom_for_what_is_sent() {
    if skip_unless_privileged("the_verifier_has_headroom_for_what_is_sent") {
        return;
    }
    let facts = EgressEngine::new(&Policy::Enforce.compiled().image).unwrap().facts().unwrap();
    println!("{facts:?}");
    let verified = facts.verified_instructions.expect("Linux 5.16 and later tell");
    assert!(verified <= 20_000, "{verified} instructions (the kernel's limit is 1,000,000)");
}
