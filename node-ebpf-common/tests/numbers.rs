//! Numbers that outlive a build: counters, pinned maps, metrics and scripts go by them, and so does a second build that takes over. Written out
//! here once more, because a test that names a constant moves along with it.
#![allow(missing_docs)]

use node_ebpf_common::{
    Reason,
    address::Address,
    counter::{
        self, CELLS, Outcome, ROW_FIRST, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_MISSION_CONTROL, ROW_PORTLESS,
        ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED, ROWS,
    },
    outbound::{self, CELL_MISSION_CONTROL, Sent},
    policy::{GROUP_BLOCKED, GROUP_RULE_FIRST, GROUP_SPOOFED, MAGIC, MAX_LENGTHS_V4, MAX_LENGTHS_V6, MAX_RULE_GROUPS},
    rule::GROUP_PEER,
    wire::{DISCOVERY_HOP_LIMIT, DISCOVERY_TYPES, TUNNEL_UDP_PORTS},
};

#[test]
fn reasons_keep_their_numbers() {
    let numbers: Vec<(u32, &str)> = Reason::ALL.iter().map(|reason| (reason.number(), reason.name())).collect();
    assert_eq!(
        numbers,
        [
            (0, "unmanaged"),
            (1, "public"),
            (2, "peer"),
            (3, "allowed_source"),
            (8, "outsider"),
            (9, "closed"),
            (10, "spoofed_source"),
            (11, "blocked_source"),
            (12, "tunnel_outsider"),
            (13, "fragment_outsider"),
            (16, "non_ip"),
            (17, "icmp"),
            (18, "other_protocol"),
            (19, "later_fragment"),
            (20, "encapsulated"),
            (21, "own_multicast"),
            (24, "short_frame"),
            (25, "too_many_vlan_tags"),
            (26, "malformed_ipv4"),
            (27, "malformed_ipv6"),
            (28, "extension_chain"),
            (29, "no_ports"),
        ]
    );
}

#[test]
fn rows_and_cells_keep_their_places() {
    let fixed = [ROW_PORTLESS, ROW_TCP_UNMANAGED, ROW_UDP_UNMANAGED, ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS, ROW_FIRST];
    assert_eq!(fixed, [0, 4, 5, 6, 7, 8]);
    assert_eq!((ROWS, CELLS), (2048, 32_768));
    // On row 9: 4 to pass, 6 that would have been dropped, 6 that were.
    let on_9 = |outcome| -> Vec<Option<u32>> {
        let reasons = Reason::ALL.iter().filter(|reason| reason.has_row());
        reasons.map(|reason| counter::cell(9, *reason, outcome).map(|cell| cell - 9 * 16)).collect()
    };
    let denied = |first: u32| (0..4).map(|_| None).chain((first..first + 6).map(Some)).collect::<Vec<_>>();
    assert_eq!(on_9(Outcome::Pass)[..4], [0, 1, 2, 3].map(Some));
    assert_eq!(on_9(Outcome::Drop), denied(10));
    assert_eq!(on_9(Outcome::WouldDrop), denied(4));
    let portless = |reason, outcome| counter::cell(ROW_PORTLESS, reason, outcome);
    assert_eq!(portless(Reason::BlockedSource, Outcome::Drop), Some(13));
    assert_eq!(portless(Reason::NonIp, Outcome::Pass), Some(16));
    assert_eq!(portless(Reason::Encapsulated, Outcome::Pass), Some(48));
    assert_eq!(portless(Reason::ShortFrame, Outcome::Drop), Some(42));
    assert_eq!(portless(Reason::NoPorts, Outcome::WouldDrop), Some(41));
}

#[test]
fn outbound_cells_keep_their_places() {
    assert_eq!(Sent::ALL.map(|sent| sent as u32), [0, 1]);
    assert_eq!([Sent::ToPort, Sent::FromPort].map(|sent| outbound::cell(9, sent)), [18, 19]);
    assert_eq!((ROW_MISSION_CONTROL, CELL_MISSION_CONTROL, outbound::CELLS), (1, 2, 4_096));
}

/// Each of a value's 32 group bits has one meaning: a rule whose bit is another's would let in another's sources.
#[test]
fn group_bits_share_nothing_and_use_all() {
    let rules = (0..MAX_RULE_GROUPS).map(|rule| GROUP_RULE_FIRST << rule);
    let groups: Vec<u32> = rules.chain([GROUP_PEER, GROUP_SPOOFED, GROUP_BLOCKED]).collect();
    assert!(groups.iter().all(|group| group.is_power_of_two()), "{groups:x?}");
    assert_eq!(groups.iter().fold(0, |all, group| all | group), u32::MAX);
    assert_eq!(groups.len(), 32);
    assert_eq!((GROUP_PEER, GROUP_SPOOFED, GROUP_BLOCKED), (1, 0x4000_0000, 0x8000_0000));
}

#[test]
fn what_the_image_promises() {
    assert_eq!(MAGIC.to_le_bytes(), *b"nodewall");
    assert_eq!((MAX_LENGTHS_V4, MAX_LENGTHS_V6), (8, 12));
    // No address is what a frame has that has no port: were it somebody's, it could be found.
    assert_eq!((Address::NONE.hi, Address::NONE.lo, Address::NONE.is_v6), (0, 0, 0));
    // RFC 7348, Linux' older default, RFC 8926.
    assert_eq!(TUNNEL_UDP_PORTS, [4789, 8472, 6081]);
    // RFC 4861.
    assert_eq!((DISCOVERY_TYPES, DISCOVERY_HOP_LIMIT), (133..=137, 255));
}
