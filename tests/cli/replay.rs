//! `replay`: every frame's verdict, from both kinds of capture files and by both engines.

mod written;

use nodewall_testbed::skip_unless_privileged;
use serde_json::{Value, json};

use crate::{
    binary::{Scratch, keys},
    frames::{self, ethernet, ipv4, transport},
};

/// A few frames under `--peer 10.0.0.11`, with what is right for each.
fn judged() -> Vec<(Vec<u8>, Value)> {
    let line = |verdict: &str, reason: &str, class: Option<&str>| json!({"verdict": verdict, "reason": reason, "class": class});
    vec![
        (frames::tcp("10.0.0.11", 9042), line("pass", "peer", Some("cassandra"))),
        (frames::tcp("192.0.2.66", 9042), line("drop", "outsider", Some("cassandra"))),
        (frames::tcp("192.0.2.66", 443), line("pass", "public", Some("https"))),
        (frames::tcp("192.0.2.66", 22), line("pass", "unmanaged", None)),
        (frames::tcp("2001:db8::66", 5711), line("drop", "outsider", Some("hazelcast"))),
        (frames::tcp("127.0.0.1", 9200), line("drop", "spoofed_source", Some("elasticsearch"))),
        (ethernet(0x0806, &[0; 28]), line("pass", "non_ip", None)),
        (ethernet(0x0800, &ipv4([192, 0, 2, 66], 1, 0, &[], &[8, 0, 0, 0])), line("pass", "icmp", None)),
        (
            ethernet(0x0800, &ipv4([192, 0, 2, 66], frames::TCP, 0, &[], &transport(9042, 0)[..3])),
            line("drop", "no_ports", None),
        ),
        (vec![1; 13], line("drop", "short_frame", None)),
        (vec![], line("drop", "short_frame", None)),
    ]
}

fn expected(judged: &[(Vec<u8>, Value)]) -> Vec<Value> {
    let numbered = |(n, (_, line)): (usize, &(Vec<u8>, Value))| {
        let mut line = line.clone();
        line["frame"] = n.into();
        line
    };
    judged.iter().enumerate().map(numbered).collect()
}

#[test]
fn one_line_per_frame_in_the_files_order() {
    let place = Scratch::new();
    let judged = judged();
    let bytes: Vec<&[u8]> = judged.iter().map(|(frame, _)| frame.as_slice()).collect();
    let files = [place.file("a.pcap", frames::pcap(&bytes)), place.file("a.pcapng", frames::pcapng(&bytes, 1))];
    for file in &files {
        let arguments = ["replay", file, "--peer", "10.0.0.11", "-o"];
        let lines = place.run(&[&arguments[..], &["jsonl"]].concat()).exits(0);
        assert!(lines.err.is_empty(), "{}", lines.err);
        assert_eq!(lines.jsonl(), expected(&judged), "{file}");
        assert!(lines.jsonl().iter().all(|line| keys(line) == ["class", "frame", "reason", "verdict"]));
        // The order of the keys, as the contract writes it.
        assert!(
            lines.out.starts_with("{\"frame\":0,\"verdict\":\"pass\",\"reason\":\"peer\",\"class\":\"cassandra\"}\n"),
            "{}",
            lines.out
        );
        let array = place.run(&[&arguments[..], &["json"]].concat()).exits(0).json();
        assert_eq!(array, Value::Array(expected(&judged)), "{file}");
        let table = place.run(&[&arguments[..], &["table"]].concat()).exits(0).out;
        for (row, line) in table.lines().zip(expected(&judged)) {
            let class = line["class"].as_str().unwrap_or("-");
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(
                cells,
                [
                    &line["frame"].to_string(),
                    line["verdict"].as_str().unwrap(),
                    line["reason"].as_str().unwrap(),
                    class
                ]
            );
        }
        assert_eq!(table.lines().count(), judged.len());
    }
    assert!(place.is_untouched());
}

#[test]
fn an_empty_capture_has_no_frames() {
    let place = Scratch::new();
    for bytes in [frames::pcap::<&[u8]>(&[]), frames::pcapng::<&[u8]>(&[], 1)] {
        let file = place.file("empty", bytes);
        assert_eq!(place.run(&["replay", &file, "-o", "jsonl"]).exits(0).out, "");
        assert_eq!(place.run(&["replay", &file, "-o", "json"]).exits(0).json(), json!([]));
    }
}

#[test]
fn a_cut_file_gives_the_frames_before_the_cut_and_then_an_error() {
    let place = Scratch::new();
    let judged = judged();
    let bytes: Vec<&[u8]> = judged.iter().take(4).map(|(frame, _)| frame.as_slice()).collect();
    for (name, whole) in [("cut.pcap", frames::pcap(&bytes)), ("cut.pcapng", frames::pcapng(&bytes, 1))] {
        let file = place.file(name, &whole[..whole.len() - 5]);
        let first_three = expected(&judged)[..3].to_vec();
        for format in ["json", "jsonl", "table"] {
            let ran = place.run(&["replay", &file, "--peer", "10.0.0.11", "-o", format]).exits(1);
            match format {
                "json" => assert_eq!(ran.json(), Value::Array(first_three.clone()), "{name}"),
                "jsonl" => assert_eq!(ran.jsonl(), first_three, "{name}"),
                _ => assert_eq!(ran.out.lines().count(), 3, "{name}: {}", ran.out),
            }
            assert!(ran.err.starts_with(&format!("nodewall: {file}: at byte ")), "{}", ran.err);
            assert!(
                ran.err.contains("frame 3: the file ends at byte") && ran.err.contains("it was cut"),
                "{}",
                ran.err
            );
        }
    }
}

#[test]
fn what_can_not_be_judged_is_an_error_that_names_the_file() {
    let place = Scratch::new();
    let one = [frames::tcp("192.0.2.1", 1)];
    let mut radiotap = frames::pcap(&one);
    radiotap[20] = 127;
    let cases = [
        (place.file("text", "hello, I am text"), "not a capture: it begins with 68 65 6c 6c"),
        (place.file("nothing", ""), "the file is empty"),
        (place.file("short", &frames::pcap(&one)[..10]), "it was cut"),
        (place.file("gzip", [0x1f, 0x8b, 8, 0, 0]), "can not be read"),
        (place.file("zstd", [0x28, 0xb5, 0x2f, 0xfd]), "`zstd -dc FILE | nodewall replay -`"),
        (place.file("radiotap.pcap", radiotap), "link type 127"),
        (place.file("wlan.pcapng", frames::pcapng(&one, 105)), "link type 105"),
        (
            place.path("missing").to_str().unwrap().to_owned(),
            "can not be opened: No such file or directory (os error 2)\n",
        ),
        (place.path("").to_str().unwrap().to_owned(), "Is a directory"),
    ];
    for (file, told) in cases {
        for format in ["jsonl", "table"] {
            let ran = place.run(&["replay", &file, "-o", format]).exits(1);
            assert!(ran.out.is_empty(), "{file}: {}", ran.out);
            assert!(
                ran.err.contains(&format!("nodewall: {file}: ")) && ran.err.contains(told),
                "expected {told:?}\n{}",
                ran.err
            );
        }
    }
}

#[test]
fn the_mode_changes_no_verdict() {
    let place = Scratch::new();
    let file = place.file("a.pcap", frames::pcap(&frames::of_every_kind()));
    let in_mode =
        |mode| place.run(&["replay", &file, "--peer", "10.0.0.11", "--mode", mode, "-o", "jsonl"]).exits(0).out;
    let enforced = in_mode("enforce");
    assert!(enforced.contains("\"verdict\":\"drop\"") && enforced.contains("\"verdict\":\"pass\""));
    assert_eq!(enforced, in_mode("audit"));
}

#[test]
fn the_kernel_answers_what_the_host_answers() {
    if skip_unless_privileged("the_kernel_answers_what_the_host_answers") {
        return;
    }
    let place = Scratch::new();
    let every_kind = frames::of_every_kind();
    let files =
        [place.file("a.pcap", frames::pcap(&every_kind)), place.file("a.pcapng", frames::pcapng(&every_kind, 1))];
    let config = place.file(
        "nodewall.toml",
        "mode = \"audit\"\ntunnels = \"all\"\n[peers]\nstatic = [\"10.0.0.0/24\", \"2001:db8:1::/64\"]\n\
         [[rule]]\nname = \"cassandra\"\nports = [\"9042\"]\naccess = \"closed\"\nalso_allow = [\"192.0.2.66\"]\n\
         [[rule]]\nname = \"jmx\"\nports = [\"7199\", \"7210-7219\"]\nprotocols = [\"tcp\"]\naccess = \"closed\"\n",
    );
    for policy in [&["--peer", "10.0.0.11", "--peer", "2001:db8:1::/64"][..], &["--config", &config], &[]] {
        for (file, format) in [(&files[0], "jsonl"), (&files[1], "jsonl"), (&files[0], "json"), (&files[0], "table")] {
            let by =
                |engine| place.run(&[&["replay", file, "-o", format, "--engine", engine], policy].concat()).exits(0);
            let (host, kernel) = (by("host"), by("kernel"));
            if let Some((line, (a, b))) =
                host.out.lines().zip(kernel.out.lines()).enumerate().find(|(_, (a, b))| a != b)
            {
                panic!("line {line}: host {a}, kernel {b}; frame {:02x?}", every_kind.get(line));
            }
            assert_eq!(host.out, kernel.out);
            if format == "jsonl" {
                assert_eq!(host.out.lines().count(), every_kind.len());
            }
        }
    }
    // The capture has what it claims to have.
    let lines = place.run(&["replay", &files[0], "--config", &config, "-o", "jsonl"]).exits(0).jsonl();
    for reason in [
        "unmanaged",
        "public",
        "peer",
        "allowed_source",
        "outsider",
        "closed",
        "spoofed_source",
        "non_ip",
        "icmp",
        "other_protocol",
        "later_fragment",
        "encapsulated",
        "short_frame",
        "too_many_vlan_tags",
        "malformed_ipv4",
        "malformed_ipv6",
        "extension_chain",
        "no_ports",
    ] {
        assert!(lines.iter().any(|line| line["reason"] == reason), "no frame of the capture has the reason {reason}");
    }
    assert!(place.is_untouched());
}
