//! What the filter at the tc hook counts and keeps: as many frames and bytes as there were on the wire, though the kernel's stack has made aggregates of them
//! and put their VLAN tags aside. The same sender is counted by the XDP program, too.

use std::net::Ipv4Addr;

use nodewall_evidence::store::{Filter, Reader};
use nodewall_testbed::{Family, Host, Lab, Protocol, Signal, Tap, skip_unless_privileged};

use super::{
    counters::{Cell, Sent},
    frames::{self, Link},
    node::{Node, eventually},
    settings::Settings,
    traffic::{BULK_BYTES, bulk},
};

const PORT: u16 = 9_042;
/// An address that nobody has.
const OUTSIDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
/// What TCP puts in front of each segment's payload here: Ethernet, IPv4, TCP with a time stamp; and how much longer that is with a SYN's options.
const HEADER_BYTES: u64 = 14 + 20 + 32;
const SYN_OPTIONS_BYTES: u64 = 8;
/// Segments of one stream, and the payload of each but the last.
const SEGMENTS: usize = 200;
const PIECE_BYTES: usize = 1_400;
const LAST_BYTES: usize = 77;

fn attached(lab: Lab, mode: &str) -> Node {
    Node::on(lab, &Settings::default().top(&format!("attach_mode = \"{mode}\"")))
}

fn passed_to_443(node: &Node) -> Sent {
    let cell = Cell::port("https", 443, Protocol::Tcp, "pass", "public");
    let counters = node.counters();
    Sent { packets: counters.packets(&cell), bytes: counters.bytes(&cell) }
}

/// A real sender's aggregates of up to 64 KiB, which no driver ever cuts up on this way: as many frames as it sent segments, and their bytes.
#[test]
fn a_bulk_transfer_counts_as_the_segments_that_were_sent() {
    if skip_unless_privileged("a_bulk_transfer_counts_as_the_segments_that_were_sent") {
        return;
    }
    for mode in ["native", "tc"] {
        let node = attached(Lab::new().unwrap(), mode);
        let mut tap = Tap::open(node.netns(), "eth0").unwrap();
        let sender = node.outsider().netns();
        let sent = |name| sender.snmp("Tcp", name).unwrap();
        let (before, again) = (sent("OutSegs"), sent("RetransSegs"));
        bulk(node.outsider(), node.host(), Family::V4, 443);
        // By the sender's own count. Its last segments may still be on their way.
        let (segments, counted) = eventually("all of its segments to be counted", || {
            let (segments, counted) = (sent("OutSegs") - before, passed_to_443(&node));
            (segments == counted.packets && segments == sent("OutSegs") - before).then_some((segments, counted))
        });
        assert_eq!(sent("RetransSegs"), again, "nothing is lost on a wire like this");
        assert!(segments > BULK_BYTES as u64 / 1_448);
        assert_eq!(counted.bytes, segments * HEADER_BYTES + SYN_OPTIONS_BYTES + BULK_BYTES as u64, "{mode}");
        let mut longest = 0;
        tap.drain(|frame| longest = longest.max(frame.len())).unwrap();
        assert_eq!(longest > 1_514, mode == "tc", "the stack saw frames of {longest} bytes in {mode} mode");
    }
}

/// One stream's segments as an outsider would send them by this host to a cluster port, in order, each with the tags that are asked for.
fn stream(from: &Host, to: &Host, tags: &[u8]) -> Vec<Vec<u8>> {
    let ends = Link::between(from, to);
    let segment = |n: usize| {
        let payload = if n + 1 == SEGMENTS { LAST_BYTES } else { PIECE_BYTES };
        let sequence = (n * PIECE_BYTES) as u32;
        let mut frame = frames::tcp(ends, (OUTSIDER, 40_000), (to.ipv4(), PORT), sequence, &vec![7; payload]);
        frame.splice(12..12, tags.iter().copied());
        frame
    };
    (0..SEGMENTS).map(segment).collect()
}

fn denied(node: &Node) -> Sent {
    let cell = Cell::port("cassandra", PORT, Protocol::Tcp, "drop", "outsider");
    let counters = node.counters();
    Sent { packets: counters.packets(&cell), bytes: counters.bytes(&cell) }
}

/// Frames that receive offload joins on their way to the hook: counted are those that were sent, in both modes alike, and so are the flows of the evidence.
#[test]
fn frames_that_were_joined_count_as_those_that_were_sent() {
    if skip_unless_privileged("frames_that_were_joined_count_as_those_that_were_sent") {
        return;
    }
    for tags in [&[][..], &[0x81, 0x00, 0x00, 0x00]] {
        for mode in ["native", "tc"] {
            let lab = Lab::builder().direct_pair().build().unwrap();
            // What was one aggregate already where it was sent is joined with nothing more.
            lab.peer1().unwrap().netns().cut_up_before("eth0").unwrap();
            lab.node().netns().join_received("eth0").unwrap();
            let mut node = attached(lab, mode);
            let sent = stream(node.lab.peer1().unwrap(), node.host(), tags);
            let expected =
                Sent { packets: sent.len() as u64, bytes: sent.iter().map(|frame| frame.len() as u64).sum() };
            let mut tap = Tap::open(node.netns(), "eth0").unwrap();
            node.lab.peer1().unwrap().netns().send_frames("eth0", &sent).unwrap();
            eventually("all is counted", || (denied(&node).packets >= expected.packets).then_some(()));
            assert_eq!(denied(&node), expected, "{mode}, tags {tags:x?}");
            let mut longest = 0;
            tap.drain(|frame| longest = longest.max(frame.len())).unwrap();
            // Not every kernel joins frames with tags.
            let joined = longest > 1_518;
            assert!(
                joined == (mode == "tc") || !tags.is_empty(),
                "the stack saw frames of {longest} bytes in {mode} mode"
            );
            let (packets, bytes, first) = eventually("the store to have them", || recorded(&node, &expected));
            assert_eq!((packets, bytes), (expected.packets, expected.bytes), "{mode}, tags {tags:x?}");
            // Of an aggregate the first frame's headers are changed by who made it; addresses, tags and ports are not.
            let fields = |frame: &[u8]| {
                let ip = 14 + tags.len();
                (frame[..ip].to_vec(), frame[ip + 12..ip + 24].to_vec())
            };
            assert_eq!(fields(&first), fields(&sent[0]), "{mode}, tags {tags:x?}");
            assert!(node.end_agent(Signal::TERM).success());
        }
    }
}

/// What the store has of the stream, once it has all: packets, bytes, and the frame that was captured.
fn recorded(node: &Node, expected: &Sent) -> Option<(u64, u64, Vec<u8>)> {
    let reader = Reader::open(&node.directories.state_dir().join("evidence")).unwrap()?;
    let flows = reader.flows(&Filter::default()).unwrap();
    let flows = flows.iter().map(|flow| &flow.record).filter(|flow| flow.key.port == Some(PORT));
    let (packets, bytes) = flows.fold((0, 0), |(packets, bytes), flow| (packets + flow.packets, bytes + flow.bytes));
    let captures = reader.captures(&Filter::default()).unwrap();
    let first = captures.into_iter().next()?.record.frame;
    (packets >= expected.packets).then_some((packets, bytes, first))
}
