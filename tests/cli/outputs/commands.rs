//! `capture` and `events export --format pcapng`: the real executable beside a writer, read by tshark.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use super::made::{SECOND_NS, START_NS, WrittenStore, batch, capture, loss, said, syn, until};
use crate::binary::executable;
use nodewall_evidence::record::{Batch, Capture, Event, EventKind, LossKind, Outcome};
use rustix::process::{Pid, Signal, kill_process};

/// Twelve frames in four batches, one second apart; ports 9042 and 8443.
fn filled() -> WrittenStore {
    let mut place = WrittenStore::new();
    for n in 0..4 {
        let made = (0..3).map(|m| {
            let mut made: Capture = capture("eth0", Outcome::Drop, START_NS + (3 * n + m) * SECOND_NS, syn());
            made.key.port = Some(if m == 2 { 8443 } else { 9042 });
            made
        });
        let mut batch = batch(made.collect(), vec![loss(LossKind::CaptureBudget, START_NS + 3 * n * SECOND_NS, 2)]);
        batch.events.push(Event {
            unix_ns: batch.unix_ns,
            kind: EventKind::Policy,
            detail: format!("generation {n}"),
            who: None,
            text: None,
        });
        place.writer.append(&batch).unwrap();
    }
    place
}

fn numbers(pcapng: &[u8]) -> Vec<u64> {
    let text = said("tshark", &["-n", "-r", "-", "-T", "fields", "-e", "frame.packet_id"], pcapng);
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn an_export_holds_what_was_asked_for_and_numbers_that_show_finds() {
    let place = filled();
    let export = |more: &[&str]| {
        let args = [&["events", "export", "--format", "pcapng"], more].concat();
        numbers(&place.said(&args))
    };
    assert_eq!(export(&[]), (1..=12).collect::<Vec<_>>());
    assert_eq!(export(&["--port", "8443"]), [3, 6, 9, 12]);
    assert_eq!(export(&["--port", "8443", "--port", "9042"]).len(), 12);
    assert_eq!(export(&["--source", "203.0.113.0/24"]).len(), 12);
    assert_eq!(export(&["--source", "2001:db8::/32"]), [0; 0]);
    assert_eq!(export(&["--reason", "closed"]), [0; 0]);
    assert_eq!(export(&["--outcome", "would_drop"]), [0; 0]);
    // 00:00:00.123 is the first frame's time.
    assert_eq!(export(&["--since", "2026-03-01T00:00:09Z"]), [10, 11, 12]);
    assert_eq!(export(&["--until", "2026-03-01T00:00:01.5Z"]), [1, 2]);
    assert_eq!(export(&["--since", "2026-03-01T00:00:05Z", "--until", "2026-03-01T00:00:07Z"]), [6, 7]);
    assert_eq!(export(&["--since", "1h"]), [0; 0]);
}

#[test]
fn an_export_into_a_file_is_the_operator_s_alone_and_tells_policies_and_losses() {
    let place = filled();
    let file = place.file("out.pcapng");
    place.said(&["events", "export", "--format", "pcapng", "-w", file.to_str().unwrap()]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = said("capinfos", &["-A", file.to_str().unwrap()], &[]);
    for n in 0..4 {
        assert!(text.contains(&format!("policy: generation {n}")), "{text}");
    }
    let lost = ["-n", "-r", file.to_str().unwrap(), "-T", "fields", "-e", "frame.drop_count"];
    let lost: Vec<String> = said("tshark", &lost, &[]).lines().map(str::to_owned).collect();
    assert_eq!(lost, ["2", "", "", "2", "", "", "2", "", "", "2", "", ""]);
}

#[test]
fn without_a_store_or_an_agent_it_is_said_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let run = |state: &std::path::Path, args: &[&str]| {
        let output = Command::new(executable()).arg("--state-dir").arg(state).args(args).output().unwrap();
        assert_eq!(output.stdout, b"");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&empty.path().join("none"), &["events", "export", "--format", "pcapng"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no evidence in") && said.contains("nodewall run"), "{said}");
    let place = filled();
    let (code, said) = run(&place.state(), &["capture"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no agent runs") && said.contains("events export"), "{said}");
}

#[test]
fn a_live_capture_goes_through_a_pipe_frame_by_frame_and_ends_on_ctrl_c() {
    let mut place = filled().with_agent();
    let mut ours = place.nodewall(&["capture", "-w", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut theirs = Command::new("tshark")
        .args(["-n", "-l", "-r", "-", "-T", "fields", "-e", "frame.packet_id", "-e", "tcp.dstport"])
        .stdin(ours.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(theirs.stdout.take().unwrap()).lines();
    // What was there before is not shown: so there must be time to begin. A frame every 100 ms, until one is seen.
    let (sender, seen) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            all.push(line);
            let _ = sender.send(());
        }
        all
    });
    let mut appended = 12_u64;
    until("a frame is seen while nodewall runs", || {
        let at = START_NS + 100 * SECOND_NS + appended;
        place.writer.append(&batch(vec![capture("eth0", Outcome::Drop, at, syn())], vec![])).unwrap();
        appended += 1;
        seen.recv_timeout(std::time::Duration::from_millis(100)).is_ok()
    });
    kill_process(Pid::from_child(&ours), Signal::INT).unwrap();
    assert_eq!(ours.wait().unwrap().code(), Some(0));
    assert!(theirs.wait().unwrap().success());
    let all = reading.join().unwrap();
    let numbers: Vec<u64> = all.iter().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    assert!(numbers[0] > 12, "what was there before is not live: {numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    assert!(all.iter().all(|line| line.ends_with("\t9042")), "{all:?}");
}

#[test]
fn a_capture_whose_reader_is_gone_ends_by_itself() {
    let mut place = filled().with_agent();
    // Without a single frame, and with one.
    for frames in [0, 1] {
        let mut ours = place.nodewall(&["capture", "-w", "-"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = ours.stdout.take().unwrap();
        let mut head = [0; 12];
        pipe.read_exact(&mut head).unwrap();
        drop(pipe);
        for n in 0..frames {
            let made = capture("eth0", Outcome::Drop, START_NS + 200 * SECOND_NS + n, syn());
            place.writer.append(&batch(vec![made], vec![])).unwrap();
        }
        let mut status = None;
        until("the capture ends", || {
            status = ours.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

#[test]
fn a_capture_into_a_file_has_its_end_when_it_is_terminated() {
    let mut place = filled().with_agent();
    let file = place.file("live.pcapng");
    let mut ours = place.nodewall(&["capture", "-w", file.to_str().unwrap()]).spawn().unwrap();
    until("the file is begun", || file.metadata().is_ok_and(|data| data.len() > 0));
    let at = START_NS + 300 * SECOND_NS;
    let made = Batch {
        losses: vec![loss(LossKind::CaptureBuffer, at, 9)],
        ..batch(vec![capture("eth0", Outcome::Drop, at, syn())], vec![])
    };
    let begun = file.metadata().unwrap().len();
    until("a frame is in it", || {
        place.writer.append(&made).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        file.metadata().unwrap().len() > begun
    });
    kill_process(Pid::from_child(&ours), Signal::TERM).unwrap();
    assert_eq!(ours.wait().unwrap().code(), Some(0));
    let text = said("capinfos", &["-A", file.to_str().unwrap()], &[]);
    assert!(text.contains("Number of stat entries = 1"), "{text}");
    let mut bytes = Vec::new();
    File::open(&file).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(said("tshark", &["-n", "-r", "-", "-T", "fields", "-e", "frame.drop_count"], &bytes).starts_with("9\n"));
}
