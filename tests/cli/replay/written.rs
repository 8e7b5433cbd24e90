//! Captures as they are written: by tcpdump, on an Ethernet interface, on `any`, on a tun device, cut and packed; what no tcpdump of today writes is made of
//! one of these by the rule of libpcap, and tcpdump must read the same in it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use nodewall_testbed::{Lab, NetNs, Process, Tun, run_to_end, skip_unless_privileged, until};
use serde_json::{Value, json};

use crate::{
    binary::{Scratch, executable},
    frames::{self, TCP, UDP, ethernet, ipv4, ipv6, transport},
};

const OUTSIDER: [u8; 4] = [192, 0, 2, 66];
const OUTSIDER_6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
/// Of each frame: the Ethernet, an IPv4 header, its ports; and of IPv6 up to the ports, where nothing is in between.
const SNAP_BYTES: usize = 60;
const LIMIT: Duration = Duration::from_secs(60);

/// IP packets to the node, what is right for each, and how much of its Ethernet frame must be there to say so.
fn packets() -> Vec<(Vec<u8>, Value, usize)> {
    let line = |verdict: &str, reason: &str, class: Option<&str>| json!({"verdict": verdict, "reason": reason, "class": class});
    let to = |port, payload| transport(port, payload);
    let extension = [&[TCP, 0, 0, 0, 0, 0, 0, 0][..], &to(9042, 90)].concat();
    vec![
        (ipv4(OUTSIDER, TCP, 0, &[], &to(9042, 0)), line("drop", "outsider", Some("cassandra")), 38),
        (ipv4(OUTSIDER, TCP, 0, &[], &to(443, 900)), line("pass", "public", Some("https")), 38),
        (ipv4([10, 0, 0, 11], UDP, 0, &[], &to(9042, 700)), line("pass", "peer", Some("cassandra")), 38),
        (ipv4(OUTSIDER, TCP, 0, &[1; 40], &to(9042, 300)), line("drop", "outsider", Some("cassandra")), 78),
        (ipv4(OUTSIDER, 1, 0, &[], &[8; 500]), line("pass", "icmp", None), 34),
        (ipv4(OUTSIDER, UDP, 5, &[], &[9; 400]), line("pass", "later_fragment", None), 34),
        (ipv6(OUTSIDER_6, TCP, &to(9042, 600)), line("drop", "outsider", Some("cassandra")), 58),
        (ipv6(OUTSIDER_6, 60, &extension), line("drop", "outsider", Some("cassandra")), 66),
    ]
}

/// The lines that are right where so much of each Ethernet frame was captured.
fn expected(captured: usize) -> Vec<Value> {
    let cut = json!({"verdict": "cut", "reason": "cut", "class": null});
    let lines = packets().into_iter().map(|(_, line, needed)| if needed <= captured { line } else { cut.clone() });
    let numbered = lines.enumerate().map(|(n, mut line)| {
        line["frame"] = n.into();
        line
    });
    numbered.collect()
}

/// tcpdump in a namespace, ready, until it has as many packets as there are.
fn tcpdump(netns: &NetNs, interface: &str, file: &str, more: &[&str]) -> Process {
    let mut command = netns.command("tcpdump");
    let count = packets().len().to_string();
    command.args(["-Z", "root", "-n", "-U", "-i", interface, "-c", &count, "-w", file]).args(more);
    let started = Process::spawn("tcpdump", command).unwrap();
    started.wait_for_line(LIMIT, |line| line.contains("listening on")).unwrap();
    started
}

/// What tcpdump reads in a file, without what differs between link types.
fn read_by_tcpdump(file: &str) -> String {
    let mut command = Command::new("tcpdump");
    command.args(["-n", "-t", "-v", "-r", file]);
    let finished = run_to_end("tcpdump", command, LIMIT).unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stdout
}

const POLICY: [&str; 4] = ["--peer", "10.0.0.11", "-o", "jsonl"];

fn replayed(place: &Scratch, file: &str, engine: &str) -> Vec<Value> {
    place.run(&[&["replay", file, "--engine", engine], &POLICY[..]].concat()).exits(0).jsonl()
}

fn is_judged_alike(place: &Scratch, file: &str, captured: usize) {
    for engine in ["host", "kernel"] {
        assert_eq!(replayed(place, file, engine), expected(captured), "{file} by the {engine}");
    }
}

/// A file of the classic format, with each record's packet rewritten, and two lengths for what is captured and what was there.
fn rewritten(file: &str, link_type: u8, version: u8, packet: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(word(&bytes), 0xa1b2_c3d4, "little-endian, microseconds");
    let mut made = bytes[..24].to_vec();
    (made[6], made[20]) = (version, link_type);
    let mut rest = &bytes[24..];
    while !rest.is_empty() {
        let (captured, whole) = (word(&rest[8..]) as usize, word(&rest[12..]) as usize);
        let new = packet(&rest[16..16 + captured]);
        let lengths = [new.len() as u32, (whole + new.len() - captured) as u32];
        made.extend(&rest[..8]);
        // Before 2.3 the whole length came first (libpcap, sf-pcap.c).
        let [first, second] = if version < 3 { [lengths[1], lengths[0]] } else { lengths };
        made.extend([first.to_le_bytes(), second.to_le_bytes()].concat());
        made.extend(new);
        rest = &rest[16 + captured..];
    }
    made
}

#[test]
fn what_tcpdump_writes_is_judged_alike_whatever_the_link_type_and_by_the_length_on_the_wire() {
    if skip_unless_privileged(
        "what_tcpdump_writes_is_judged_alike_whatever_the_link_type_and_by_the_length_on_the_wire",
    ) {
        return;
    }
    let (place, lab) = (Scratch::new(), Lab::new().unwrap());
    let netns = lab.node().netns();
    // No bridge in between, which may look at the packets itself; and nothing else is sent.
    netns.ip(&["link", "set", "eth0", "down"]).unwrap();
    netns.sysctl(&[("ipv6.conf.default.disable_ipv6", "1")]).unwrap();
    netns.ip(&["link", "add", "in0", "type", "veth", "peer", "name", "out0"]).unwrap();
    for name in ["in0", "out0"] {
        netns.ip(&["link", "set", name, "up"]).unwrap();
    }
    until("the wire is up", || netns.ip(&["link", "show", "in0"]).unwrap().contains("state UP"));
    let file = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let snap = SNAP_BYTES.to_string();
    let writers = [
        ("ethernet.pcap", "in0", &[][..], usize::MAX),
        ("cut.pcap", "in0", &["-s", &snap], SNAP_BYTES),
        // Not even the ports of IPv4.
        ("short.pcap", "in0", &["-s", "36"], 36),
        ("any.pcap", "any", &["-Q", "in"], usize::MAX),
        ("sll2.pcap", "any", &["-Q", "in", "-y", "LINUX_SLL2", "-s", "60"], 60 - 20 + 14),
        ("sll.pcap", "any", &["-Q", "in", "-y", "LINUX_SLL"], usize::MAX),
        // Not even the whole header of its own.
        ("stub.pcap", "any", &["-Q", "in", "-y", "LINUX_SLL", "-s", "14"], 0),
    ];
    let started: Vec<Process> = writers.iter().map(|(name, on, how, _)| tcpdump(netns, on, &file(name), how)).collect();
    let sent: Vec<Vec<u8>> = packets()
        .into_iter()
        .map(|(packet, ..)| ethernet(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, &packet))
        .collect();
    netns.send_frames("out0", &sent).unwrap();
    for process in started {
        assert!(process.wait(LIMIT).unwrap().success(), "{}", process.output());
    }
    for (name, _, _, captured) in writers {
        is_judged_alike(&place, &file(name), captured);
    }
    let ran = place.run(&[&["replay", &file("cut.pcap")], &POLICY[..]].concat()).exits(0);
    assert!(ran.err.contains("2 frames were cut before a header"), "{}", ran.err);
    // What pcapng's writer has of the same, as Wireshark's editcap converts it.
    let converted = Command::new("editcap").args([&file("sll.pcap"), &file("sll.pcapng")]).status().unwrap();
    assert!(converted.success());
    is_judged_alike(&place, &file("sll.pcapng"), usize::MAX);

    // Version 2.1, whose records have the lengths the other way round.
    let old = place.file("old.pcap", rewritten(&file("cut.pcap"), 1, 1, <[u8]>::to_vec));
    assert_eq!(read_by_tcpdump(&old), read_by_tcpdump(&file("cut.pcap")));
    is_judged_alike(&place, &old, SNAP_BYTES);

    // Packed, and by standard input.
    assert!(Command::new("gzip").args(["-k", &file("cut.pcap")]).status().unwrap().success());
    is_judged_alike(&place, &file("cut.pcap.gz"), SNAP_BYTES);
    for name in ["cut.pcap", "cut.pcap.gz"] {
        let mut command = Command::new(executable());
        command.args(["replay", "-"]).args(POLICY).stdin(File::open(file(name)).unwrap());
        let output = command.output().unwrap();
        let lines: Vec<Value> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, expected(SNAP_BYTES), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn packets_of_a_tun_device_have_no_header_and_those_of_bsd_a_family() {
    if skip_unless_privileged("packets_of_a_tun_device_have_no_header_and_those_of_bsd_a_family") {
        return;
    }
    let (place, lab) = (Scratch::new(), Lab::new().unwrap());
    let netns = lab.node().netns();
    let tun = Tun::create(netns, "tun0").unwrap();
    netns.ip(&["link", "set", "tun0", "up"]).unwrap();
    until("the device is up", || netns.ip(&["link", "show", "tun0"]).unwrap().contains("LOWER_UP"));
    let raw = place.path("raw.pcap").to_str().unwrap().to_owned();
    let process = tcpdump(netns, "tun0", &raw, &["-Q", "in"]);
    for (packet, ..) in packets() {
        tun.give(&packet).unwrap();
    }
    assert!(process.wait(LIMIT).unwrap().success(), "{}", process.output());
    is_judged_alike(&place, &raw, usize::MAX);
    // As macOS (30) and FreeBSD (28) have it: https://www.tcpdump.org/linktypes/LINKTYPE_NULL.html
    for six in [28, 30] {
        let family = |packet: &[u8]| [&[if packet[0] >> 4 == 4 { 2 } else { six }, 0, 0, 0], packet].concat();
        let null = place.file("null.pcap", rewritten(&raw, 0, 4, family));
        assert_eq!(read_by_tcpdump(&null), read_by_tcpdump(&raw));
        is_judged_alike(&place, &null, usize::MAX);
    }
}

/// Whoever reads the document sees its beginning while the capture still comes in: it is held nowhere.
#[test]
fn json_goes_out_while_frames_come_in() {
    let mut command = Command::new(executable());
    command.args(["replay", "-", "--peer", "10.0.0.11", "-o", "json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let one = frames::tcp("192.0.2.66", 9042);
    // More than is written at once, and no more than the pipe holds: nobody reads yet.
    input.write_all(&frames::pcap(&vec![one; 1_200])).unwrap();
    input.flush().unwrap();
    let mut lines = BufReader::new(output).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "[");
    assert_eq!(next().trim(), "{\"frame\":0,\"verdict\":\"drop\",\"reason\":\"outsider\",\"class\":\"cassandra\"},");
    drop(input);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!((rest.len(), rest.last().unwrap().as_str()), (1_200, "]"));
    assert!(child.wait().unwrap().success());
}
