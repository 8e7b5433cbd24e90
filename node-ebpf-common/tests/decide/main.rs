//! The table of cases against an image that is filled by hand, without the policy compiler: the verdict function's crate stands on its own, and a
//! change to it is judged within seconds.
#![cfg(test)]

mod hand;

use hand::{ByHand, OPS, by_hand};
use node_ebpf_common::{
    Reason, Verdict,
    address::Address,
    counter::{self, Outcome, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED},
    decide,
    frame::Received,
    maps,
    packet::{PacketKind, common, walk},
    policy::{
        GROUP_BLOCKED, GROUP_RULE_FIRST, GROUP_SPOOFED, InterfaceRule, LengthV4, LengthV6, MAX_SOURCES, SlotV6, bucket,
        hash_v4, hash_v6, key_v4, slot, value,
    },
    rule::GROUP_PEER,
};
use nodewall_cases::{Case, On, Policy, ipv4::jumbo};

/// The table, with frames larger than a page.
fn all() -> Vec<Case> {
    nodewall_cases::all().into_iter().chain(jumbo()).collect()
}

#[test]
fn the_table_of_cases_holds_for_an_image_made_by_hand() {
    for policy in Policy::ALL {
        let hand = by_hand(policy);
        for case in all().into_iter().filter(|c| c.policy == policy) {
            let decision = decide(case.frame.as_slice(), &hand.image);
            assert_eq!(decision.reason(), Some(case.reason), "{}", case.name);
            assert_eq!(decision.verdict(), case.reason.verdict(), "{}", case.name);
            assert_eq!(decision.dropped(), u32::from(case.outcome() == Outcome::Drop), "{}", case.name);
            let row = match case.on {
                On::Port(_, protocol, port) => hand.rows[&(protocol, port)],
                On::Tcp => ROW_TCP_UNMANAGED,
                On::Udp => ROW_UDP_UNMANAGED,
                On::Tunnel => ROW_IP_TUNNELS,
                On::Fragments => ROW_LATER_FRAGMENTS,
                On::Nothing => 0,
            };
            assert_eq!(decision.row(), row, "{}: row", case.name);
            assert_eq!(Some(decision.cell), counter::cell(row, case.reason, case.outcome()), "{}: cell", case.name);
            assert!(decision.peer() != 0 || case.reason != Reason::Peer, "{}: no peer", case.name);
            assert!(decision.peer() == 0 || decision.row() != 0, "{}: peer {}", case.name, decision.peer());
            if case.bytes != 0 || case.frame.is_empty() {
                assert_eq!(u64::from(decision.bytes), case.bytes, "{}: bytes", case.name);
            }
            if let Some(packet) = common(case.frame.as_slice()) {
                assert_eq!(packet, walk(case.frame.as_slice(), 0), "{}: shortcut", case.name);
            }
            let unpacked = node_ebpf_common::Decision::unpack(decision.pack());
            assert_eq!((unpacked.cell, unpacked.peer()), (decision.cell, decision.peer()));
        }
    }
}

#[test]
fn the_peer_is_named_by_its_number_and_only_where_the_source_mattered() {
    let hand = by_hand(Policy::Enforce);
    let decision = |name: &str| {
        let case = all().into_iter().find(|c| c.name == name).unwrap();
        decide(case.frame.as_slice(), &hand.image)
    };
    assert_eq!(decision("a peer to a cluster port").peer(), 1);
    assert_eq!(decision("a peer by its prefix").peer(), 2);
    assert_eq!(decision("an IPv6 peer").peer(), 3);
    assert_eq!(decision("an IPv6 peer by /48").peer(), 4);
    assert_eq!(decision("an IPv6 peer by /64").peer(), 5);
    assert_eq!(decision("a peer to the public port").peer(), 0);
    assert_eq!(decision("own address as source, IPv4").peer(), 0);
}

/// A block outranks the peer group, and a public port as well once its row consults the sources.
#[test]
fn a_block_outranks_everything() {
    let mut hand = by_hand(Policy::Enforce);
    hand.source("192.0.2.66/32", GROUP_BLOCKED, 0);
    hand.source("10.0.0.12/32", GROUP_BLOCKED | GROUP_PEER, 9);
    let reason = |name: &str| {
        let case = all().into_iter().find(|c| c.name == name).unwrap();
        let decision = decide(case.frame.as_slice(), &hand.image);
        assert_eq!(decision.peer(), 0, "{name}");
        decision.reason()
    };
    assert_eq!(reason("an outsider to a cluster port"), Some(Reason::BlockedSource));
    assert_eq!(reason("an outsider to the public port"), Some(Reason::BlockedSource));
    assert_eq!(reason("a neighbour of a peer's address"), Some(Reason::BlockedSource));
}

/// The number of blocks is what says whether a packet without a port has its source looked up: without any it costs nothing.
#[test]
fn without_blocks_no_source_of_a_packet_without_a_port_is_looked_up() {
    let mut hand = by_hand(Policy::Enforce);
    hand.source("192.0.2.66/32", GROUP_BLOCKED, 0);
    let case = all().into_iter().find(|c| c.name == "SCTP" && c.frame[12..14] == [8, 0]).unwrap();
    for (blocked, reason) in [(0, Reason::OtherProtocol), (1, Reason::BlockedSource)] {
        hand.image.blocked = blocked;
        assert_eq!(decide(case.frame.as_slice(), &hand.image).reason(), Some(reason), "{blocked} blocks");
    }
}

/// The first match is the whole answer: a longer prefix is not overridden by a shorter one behind it.
#[test]
fn the_longest_prefix_answers() {
    let mut hand = ByHand::new(true);
    hand.source("10.9.3.4/32", GROUP_SPOOFED, 0);
    hand.source("10.9.3.0/24", OPS, 7);
    hand.source("10.9.0.0/16", GROUP_PEER, 8);
    let frame: &[u8] = &[];
    let found = |a: [u8; 4]| hand.image.source(frame, Address::v4(u32::from_le_bytes(a)));
    assert_eq!(found([10, 9, 3, 4]), value(GROUP_SPOOFED, 0));
    assert_eq!(found([10, 9, 3, 5]), value(OPS, 7));
    assert_eq!(found([10, 9, 4, 5]), value(GROUP_PEER, 8));
    assert_eq!(found([10, 10, 4, 5]), 0);
}

/// The hash spreads its keys: a constant or a truncated one would still be right, and slow or impossible to fill.
#[test]
fn the_hash_spreads() {
    let hand = ByHand::new(true);
    let (mut buckets, mut slots) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for n in 0..1_000_u32 {
        let four = hash_v4(hand.image.multiplier_v4, key_v4((0x0a00_0000 + n).swap_bytes(), 33));
        let six = hash_v6(hand.image.multiplier_v6, 0xfd, u64::from(n).swap_bytes(), 129);
        for hash in [four, six] {
            buckets.insert((hash == six, bucket(hash)));
            slots.insert((hash == six, slot(hash, 0)));
            slots.insert((hash == six, slot(hash, 1)));
        }
    }
    assert!(buckets.len() > 1_700, "{}", buckets.len());
    assert!(slots.len() > 3_600, "{}", slots.len());
}

/// The shortcut is worth having only if it takes the commonest shapes, to their last byte, and leaves every other to the walk.
#[test]
fn the_shortcut_takes_the_commonest_shapes_and_no_other() {
    use nodewall_cases::frames::{Ip4, Ip6, TCP, UDP, tagged, transport};
    for protocol in [TCP, UDP] {
        let four = Ip4::new("192.0.2.66", protocol, transport(protocol, 9042));
        let six = Ip6::new("2001:db8::66", protocol, transport(protocol, 9042));
        let just_ports = transport(protocol, 9042)[..4].to_vec();
        for frame in [
            four.frame(),
            Ip4 { payload: just_ports.clone(), ..four.clone() }.frame(),
            Ip4 { flags_offset: 0x2000, ..four.clone() }.frame(),
            six.frame(),
            Ip6 { payload: just_ports, ..six.clone() }.frame(),
            [four.frame(), vec![0; 20]].concat(),
            [six.frame(), vec![0; 20]].concat(),
        ] {
            for frame in [frame.clone(), tagged(&[0x8100], &frame)] {
                let packet = common(frame.as_slice()).unwrap();
                assert_eq!(packet, walk(frame.as_slice(), 0));
                assert_eq!(packet.kind, if protocol == TCP { PacketKind::Tcp } else { PacketKind::Udp });
                assert_eq!(packet.port_wire, u32::from(9042_u16.swap_bytes()));
            }
        }
    }
    for name in
        ["one option word", "a later fragment", "two tags, IPv6", "a service tag", "ICMP", "ARP", "an atomic fragment"]
    {
        let case = all().into_iter().find(|c| c.name == name).unwrap();
        assert!(common(case.frame.as_slice()).is_none(), "{name}");
    }
}

/// A frame behind a reference is the same frame to every reader, the shortcut among them.
#[test]
fn a_reference_reads_what_it_refers_to() {
    for case in all() {
        let frame = case.frame.as_slice();
        assert_eq!(common(&frame), common(frame), "{}", case.name);
        assert_eq!(walk(&frame, 0), walk(frame, 0), "{}", case.name);
    }
}

/// BIG TCP: a receive-offload aggregate beyond 65,535 bytes says 0 for its length. A smaller frame that says so lies.
#[test]
fn an_aggregate_without_a_length_of_its_own_is_judged_by_its_ports() {
    use nodewall_cases::frames::{Ip4, Ip6, TCP, transport};
    let image = by_hand(Policy::Enforce).image;
    let four = |size: usize| {
        let mut frame = Ip4 { total_bytes: Some(0), ..Ip4::new("192.0.2.66", TCP, transport(TCP, 9042)) }.frame();
        frame.resize(size, 0);
        frame
    };
    let six = |size: usize| {
        let mut frame = Ip6 { payload_bytes: Some(0), ..Ip6::new("2001:db8::66", TCP, transport(TCP, 9042)) }.frame();
        frame.resize(size, 0);
        frame
    };
    for (frame, reason, bytes) in [
        (four(65_536), Reason::Outsider, 65_536),
        (four(200_000), Reason::Outsider, 200_000),
        (four(65_535), Reason::MalformedIpv4, 65_535),
        (six(65_576), Reason::Outsider, 65_576),
        (six(500_000), Reason::Outsider, 500_000),
        (six(65_575), Reason::NoPorts, 54),
    ] {
        let decision = decide(frame.as_slice(), &image);
        assert_eq!((decision.reason(), decision.bytes), (Some(reason), bytes), "{} bytes", frame.len());
    }
}

/// Numbers of the kernel's (include/uapi/linux/bpf.h), and the size that both sides agree on.
#[test]
fn map_flags_and_sizes_are_the_kernels() {
    assert_eq!(maps::MMAPABLE, 1024);
    assert_eq!((size_of::<maps::RowRecord>(), size_of::<maps::PeerRecord>()), (40, 20));
    for spec in maps::ALL {
        let value_bytes = match spec.name {
            maps::name::CAPTURES => 4,
            maps::name::ROWS => 40,
            maps::name::PEERS => 20,
            maps::name::LAYOUT => 608,
            // Two lines, 2,048 rows of 16 counters, 193 slots of 128, 4,096 outbound counters, two banks of 1,024 flows of 96 bytes with two lines before them.
            maps::name::COUNTERS => 128 + 16 * (2_048 * 16 + 193 * 128 + 4_096) + 2 * (1_024 * 96 + 128),
            // A part for the word that says which is in force, and two images of whole parts.
            _ => 65_536 + 2 * 30 * 65_536,
        };
        assert_eq!((spec.key_bytes, spec.value_bytes), (4, value_bytes), "{}", spec.name);
    }
}

/// Layout and hash are an ABI between two builds: these numbers were computed by hand, outside this crate.
#[test]
fn keys_values_and_hashes_are_what_they_were() {
    let multiplier = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
    let six = hash_v6(multiplier, 0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff01, 65);
    assert_eq!(six, 0xfba5_e898_8805_04b6);
    assert_eq!((bucket(six), slot(six, 7)), (7817, 32217));
    assert_eq!(key_v4(0x0b00_000a, 33), 0x21_0b00_000a);
    let length = LengthV4::new(0x00ff_ffff, 25);
    assert_eq!((length.length_plus_one(), length.key(0x0b00_000a)), (25, 0x19_0000_000a));
    assert_eq!(hash_v4(multiplier[0], key_v4(0x0b00_000a, 33)), 0x8f3c_f348_dfe8_d8d2);
    assert_eq!(value(0x8000_0001, 0x1234), 0x1234_8000_0001);
    assert_eq!((MAX_SOURCES, GROUP_RULE_FIRST), (17_408, 2));
}

/// A slot that holds another key is no match, whichever part of the key differs.
#[test]
fn a_slot_with_another_key_is_no_match() {
    let frame: &[u8] = &[];
    let (hi, lo, length_plus_one) = (0x1122_3344_5566_7788_u64, 0x99aa_bbcc_ddee_ff01_u64, 129);
    let top = 1 << 63;
    let some = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 2), (2, 0, 2), (0, 2, 2), (3, 0, 0), (0, 3, 0)];
    let differences = some.into_iter().chain([(top, 0, 0), (0, top, 0), (top, top, 1), (u64::MAX, u64::MAX, 0)]);
    for (hi_differs, lo_differs, length_differs) in differences.chain([(0, 0, 0)]) {
        let found = u64::from((hi_differs, lo_differs, length_differs) == (0, 0, 0));
        let mut hand = ByHand::new(true);
        hand.image.length_v6[0] = LengthV6 { mask_hi: u64::MAX, mask_lo: u64::MAX, length_plus_one };
        hand.image.lengths_v6 = 1;
        let at = slot(hash_v6(hand.image.multiplier_v6, hi, lo, length_plus_one), 0);
        hand.image.slots_v6[at] = SlotV6 {
            hi: hi ^ hi_differs,
            lo: lo ^ lo_differs,
            length_plus_one: length_plus_one ^ length_differs,
            value: value(1, 0),
        };
        let answer = hand.image.source(frame, Address::v6(hi, lo));
        assert_eq!(answer & 0xffff_ffff, found, "{hi_differs} {lo_differs} {length_differs}");
    }
    let hand = by_hand(Policy::Enforce);
    let (hi, lo) = (u64::from_le_bytes([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0]), 0);
    assert_ne!(hand.image.source(frame, Address::v6(hi, lo)), 0);
}

/// Which reasons drop and which have a row, written out.
#[test]
fn verdicts_and_rows_of_all_reasons() {
    let of =
        |wanted: fn(&Reason) -> bool| Reason::ALL.iter().filter(|r| wanted(r)).map(|r| r.name()).collect::<Vec<_>>();
    assert_eq!(
        of(|r| r.verdict() == Verdict::Pass),
        [
            "unmanaged",
            "public",
            "peer",
            "allowed_source",
            "non_ip",
            "icmp",
            "other_protocol",
            "later_fragment",
            "encapsulated",
            "own_multicast",
        ]
    );
    assert_eq!(
        of(|r| r.has_row()),
        [
            "unmanaged",
            "public",
            "peer",
            "allowed_source",
            "outsider",
            "closed",
            "spoofed_source",
            "blocked_source",
            "tunnel_outsider",
            "fragment_outsider"
        ]
    );
    assert_eq!((Verdict::Pass.name(), Verdict::Drop.name()), ("pass", "drop"));
}

/// Where an interface lets in some peers only, the others are outsiders there, and nothing else changes.
#[test]
fn by_an_interface_come_the_peers_that_it_lets_in() {
    let mut hand = by_hand(Policy::Rules);
    hand.image.interface_rules[0] = InterfaceRule { if_index: 7, admits: 0 };
    hand.image.interface_rules[1] = InterfaceRule { if_index: 8, admits: GROUP_PEER };
    hand.image.interface_rules[2] = InterfaceRule { if_index: 9, admits: OPS };
    hand.source("10.0.0.12/32", GROUP_PEER | OPS, 9);
    let mut refused = 0;
    for case in all().into_iter().filter(|case| case.policy == Policy::Rules) {
        let by = |if_index| decide(&Received { frame: &case.frame, if_index }, &hand.image);
        let anywhere = decide(case.frame.as_slice(), &hand.image);
        assert_eq!((by(0), by(8), by(10)), (anywhere, anywhere, anywhere), "{}", case.name);
        for decision in [by(7), by(9)] {
            if anywhere.reason() == Some(Reason::Peer) && decision != anywhere {
                refused += 1;
                assert_eq!(decision.peer(), 0, "{}", case.name);
                let wanted =
                    [Reason::AllowedSource, Reason::Outsider, Reason::TunnelOutsider, Reason::FragmentOutsider];
                assert!(wanted.contains(&decision.reason().unwrap()), "{}: {decision:?}", case.name);
            } else {
                assert_eq!(decision, anywhere, "{}", case.name);
            }
        }
    }
    assert!(refused > 0);
}
