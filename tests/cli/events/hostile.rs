//! Bytes that others chose, on their way to a terminal: in names of interfaces and classes, in operators' texts, in frames.

use super::world::{SECOND, T0, World, capture, event, flow, key, syn};
use node_ebpf_common::Reason;
use nodewall_evidence::record::{Batch, Event, EventKind, FlowKey};

/// Clears the screen, sets the title, breaks the line, ends a string, turns the direction of writing; C1 and DEL; then a formula.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\n\r\0\u{202e}txet\u{2066}\u{9b}31m\u{7f}\u{200f}";

fn world() -> World {
    let world = World::empty();
    let mut writer = world.writer();
    let formula = FlowKey { interface: "=cmd|' /C calc'!A0".into(), ..key(None, "none", None, Reason::ShortFrame) };
    let interface = FlowKey { interface: HOSTILE.into(), ..key(Some("192.0.2.1"), "tcp", Some(1), Reason::Closed) };
    let policy = Event {
        who: Some(serde_json::json!({ "user": HOSTILE }).to_string()),
        text: Some(format!("first\n{HOSTILE}")),
        ..event(T0, EventKind::Policy, HOSTILE)
    };
    let batch = Batch {
        unix_ns: T0 + SECOND,
        boot_offset_ns: 0,
        flows: vec![flow(interface.clone(), Some(HOSTILE), T0, 1), flow(formula, Some("@SUM(A1)"), T0, 1)],
        captures: vec![
            capture(interface.clone(), T0, syn(HOSTILE.as_bytes()), 200),
            capture(interface, T0, HOSTILE.as_bytes().to_vec(), 200),
        ],
        losses: vec![],
        events: vec![
            policy,
            event(T0, EventKind::Operator(HOSTILE.into()), HOSTILE),
            Event { who: Some(HOSTILE.into()), ..event(T0, EventKind::Peers, "-1") },
        ],
    };
    writer.append(&batch).unwrap();
    world
}

/// Nothing but what is printable, and the ends of lines.
#[track_caller]
fn is_harmless(out: &str, arguments: &[&str]) {
    let raw = |c: &char| {
        c.is_control() && *c != '\n'
            || matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    assert_eq!(out.chars().find(raw), None, "{arguments:?}:\n{out:?}");
}

#[test]
fn they_never_reach_a_terminal_raw() {
    let world = world();
    let mut asked = 0;
    for format in ["table", "json", "jsonl", "csv"] {
        for kind in ["flows", "captures", "losses", "events"] {
            let arguments = ["list", "--kind", kind, "-o", format];
            let out = world.run(&arguments).exits(0).out;
            is_harmless(&out, &arguments);
            // It is shown, not left out.
            let shown = if format.starts_with("json") { "\\u001b[2J" } else { "\\u{1b}[2J" };
            assert!(kind == "losses" || out.contains(shown), "{arguments:?}:\n{out}");
            asked += 1;
        }
        for what in ["source", "port", "hour"] {
            let arguments = ["list", "--group-by", what, "-o", format];
            is_harmless(&world.run(&arguments).exits(0).out, &arguments);
        }
    }
    assert_eq!(asked, 16);
    for id in ["f1", "f2", "c1", "c2", "e1", "e2", "e3"] {
        for format in ["table", "json", "jsonl"] {
            let arguments = ["show", id, "-o", format];
            is_harmless(&world.run(&arguments).exits(0).out, &arguments);
        }
    }
}

/// A line of a list is a record: no text of others makes another one.
#[test]
fn they_make_no_lines() {
    let world = world();
    let table = world.run(&["list", "--kind", "events"]).exits(0).out;
    assert_eq!(table.lines().take_while(|line| !line.is_empty()).count(), 4, "{table}");
    assert_eq!(world.run(&["list", "-o", "csv"]).exits(0).out.lines().count(), 3);
    assert_eq!(world.run(&["list", "-o", "jsonl"]).exits(0).out.lines().count(), 2);
}

#[test]
fn json_gives_them_back_unchanged() {
    let world = world();
    let flows = world.run(&["list", "-o", "json"]).exits(0).json();
    assert_eq!(flows["records"][1]["interface"], HOSTILE);
    assert_eq!(world.run(&["show", "e1", "-o", "jsonl"]).exits(0).json()["who"]["user"], HOSTILE);
}

#[test]
fn no_cell_of_csv_is_a_formula() {
    let world = world();
    for kind in ["flows", "events"] {
        let ran = world.run(&["list", "-o", "csv", "--kind", kind]).exits(0);
        let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
        let cells: Vec<String> =
            reader.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(!cells.iter().any(|cell| cell.starts_with(['=', '+', '-', '@'])), "{cells:?}");
        let quoted: &[&str] = if kind == "flows" { &["'=cmd|' /C calc'!A0", "'@SUM(A1)"] } else { &["'-1"] };
        for cell in quoted {
            assert!(cells.iter().any(|c| c == cell), "{cell}: {cells:?}");
        }
    }
}
