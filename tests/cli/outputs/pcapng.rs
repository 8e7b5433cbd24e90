//! pcapng, as Wireshark's own tools read it.

use super::made::{HOSTILE, MAC, SECOND_NS, START_NS, capture, fed, loss, said, syn};
use nodewall_capture::Frames;
use nodewall_evidence::{
    node::Node,
    pcapng::Captures,
    record::{Capture, Loss, LossKind, Outcome},
};

fn node() -> Node {
    Node { name: "node-1".to_owned(), id: "0123456789abcdef".to_owned() }
}

fn file(captures: &[Capture], losses: &[Loss]) -> Vec<u8> {
    let mut file = Captures::new(Vec::new(), &node(), Some("abcd"), vec!["policy: generation 7".to_owned()]).unwrap();
    file.merged(captures.iter().zip(45..).map(|(capture, id)| (Some(id), capture)), losses).unwrap();
    file.finish().unwrap()
}

/// Fields of each frame.
fn fields(file: &[u8], names: &[&str]) -> Vec<Vec<String>> {
    let mut args = vec!["-n", "-r", "-", "-T", "fields", "-E", "separator=/t"];
    for name in names {
        args.extend(["-e", name]);
    }
    let text = said("tshark", &args, file);
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn sample() -> (Vec<Capture>, Vec<Loss>) {
    let captures = vec![
        capture("eth0", Outcome::Drop, START_NS, syn()),
        capture("eth1", Outcome::WouldDrop, START_NS + SECOND_NS, syn()),
        capture("eth0", Outcome::Drop, START_NS + 2 * SECOND_NS + 1, syn()),
    ];
    let losses = vec![
        loss(LossKind::CaptureBudget, START_NS + 2 * SECOND_NS, 30),
        loss(LossKind::CaptureBuffer, START_NS + 2 * SECOND_NS, 4),
        // None of captures.
        loss(LossKind::NotAttributed, START_NS + 2 * SECOND_NS, 1_000),
        // After the last.
        loss(LossKind::CaptureStore, START_NS + 9 * SECOND_NS, 5),
    ];
    (captures, losses)
}

#[test]
fn tshark_reads_frames_times_verdicts_losses_and_words() {
    let (captures, losses) = sample();
    let file = file(&captures, &losses);
    let names = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.len",
        "frame.cap_len",
        "eth.src",
        "tcp.dstport",
        "frame.packet_flags_direction",
        "frame.drop_count",
        "frame.packet_id",
        "frame.verdict.ebpf_xdp",
        "frame.comment",
    ];
    let comment = |outcome: &str, id: u32| {
        format!(
            "nodewall outcome={outcome} reason=outsider class=cassandra protocol=tcp port=9042 generation=7 cpu=1 id=c{id}"
        )
    };
    let (mac, cut) = ("02:00:00:aa:bb:cc", syn().len().to_string());
    assert_eq!(MAC[3], 0xaa);
    let row = |time: &str, interface: &str, lost: &str, id: u32, action: &str, outcome: &str| -> Vec<String> {
        let (id_text, words) = (id.to_string(), comment(outcome, id));
        let cells = [time, interface, "1500", &cut, mac, "9042", "0x00000001", lost, &id_text, action, &words];
        cells.map(str::to_owned).to_vec()
    };
    assert_eq!(
        fields(&file, &names),
        [
            row("1772323200.123456789", "eth0", "", 45, "1", "drop"),
            row("1772323201.123456789", "eth1", "", 46, "2", "would_drop"),
            row("1772323202.123456790", "eth0", "34", 47, "1", "drop"),
        ]
    );
}

#[test]
fn capinfos_reads_the_section_the_interfaces_and_their_losses() {
    let (captures, losses) = sample();
    let text = said("capinfos", &["-A", "-"], &file(&captures, &losses));
    let version = format!("Capture application: nodewall {}", env!("CARGO_PKG_VERSION"));
    for line in [
        "File type:           Wireshark/... - pcapng",
        "File encapsulation:  Ethernet",
        "File timestamp precision:  nanoseconds (9)",
        "Number of packets:   3",
        "Strict time order:   True",
        "Number of interfaces in file: 2",
        "Name = eth0",
        "Name = eth1",
        &version,
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&text).contains(&squeezed(line)), "{line:?} is not in:\n{text}");
    }
    assert!(text.contains("node=node-1 id=0123456789abcdef policy_sha256=abcd"), "{text}");
    assert!(text.contains("policy: generation 7"), "{text}");
    assert!(text.contains("Number of stat entries = 1"), "{text}");
}

/// Of the statistics blocks tools show the number only, so they are read here: 34 lost before a frame, 5 after the last one.
#[test]
fn every_loss_is_in_one_statistics_block() {
    let (captures, losses) = sample();
    let file = file(&captures, &losses);
    let mut lost = Vec::new();
    let mut rest = file.as_slice();
    while let Some((head, _)) = rest.split_at_checked(12) {
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize;
        if head[..4] == [5, 0, 0, 0] {
            let block = &rest[..length];
            let at = block.windows(4).position(|bytes| bytes == [7, 0, 8, 0]).unwrap() + 4;
            lost.push(u64::from_le_bytes(block[at..at + 8].try_into().unwrap()));
        }
        rest = &rest[length..];
    }
    assert_eq!(lost, [39, 0]);
}

#[test]
fn nothing_captured_is_a_file_too() {
    let text = said("capinfos", &["-A", "-"], &file(&[], &[]));
    assert!(text.contains("Number of packets:   0"), "{text}");
    // libpcap is stricter than Wireshark: it wants an interface.
    assert_eq!(said("tcpdump", &["-n", "-r", "-"], &file(&[], &[])), "");
    let only_lost = file(&[], &[loss(LossKind::CaptureBudget, START_NS, 3)]);
    assert!(said("capinfos", &["-A", "-"], &only_lost).contains("Name = unknown"));
}

#[test]
fn hostile_names_and_frames_do_no_harm() {
    let mut captures: Vec<Capture> = (0..=300_usize)
        .map(|length| {
            let bytes = (0..length).map(|n| (n * 37 + length * 11) as u8).collect();
            capture(HOSTILE, Outcome::Drop, START_NS + length as u64, bytes)
        })
        .collect();
    captures[7].class = Some("\0\n\u{1b}]0;owned\u{7}".repeat(9_000));
    captures[8].key.interface = "x".repeat(100_000);
    captures[9].original_bytes = 0;
    let bytes = file(&captures, &[]);
    let output =
        fed("tshark", &["-n", "-r", "-", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"], &bytes);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), captures.len());
    assert!(!output.stdout.iter().any(|byte| matches!(byte, 0x1b | 0 | 7)), "a screen would obey");
    assert!(String::from_utf8(output.stdout).unwrap().contains("e\\u{1b}[31m"));
    let read: Vec<_> = Frames::from_reader(bytes.as_slice()).unwrap().map(Result::unwrap).collect();
    assert!(read.iter().zip(&captures).all(|(read, written)| read.data == written.frame));
}
