//! Screens, compared with the committed ones below `screens/`. `NODEWALL_REFRESH_DOCS=1` writes them anew.
#![allow(clippy::float_cmp, reason = "the numbers are whole")]

use std::{env, fs, path::Path, time::Duration};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::{KeyAction, Model, Palette, Reading, draw, draw::fitting, press, to_text};
use crate::{
    control::InterfaceCoverage,
    peers::PeerState,
    view::{
        counters::{Counters, Row},
        denied_sources::DeniedSource,
        peers::{Listed, Peers, SourceRow},
        status::{Agent, Status},
    },
};

use nodewall_policy::config::AttachMode;

fn row(class: Option<&str>, port: Option<u16>, direction: &'static str, outcome: &'static str, packets: u64) -> Row {
    let reason = match (direction, outcome) {
        ("out", _) => "sent_to_port",
        (_, "pass") => "peer",
        _ => "outsider",
    };
    let (class, protocol) = (class.map(Into::into), Some("tcp"));
    Row { class, port, ports: None, protocol, direction, outcome, reason, packets, bytes: packets * 100 }
}

fn counters(factor: u64) -> Counters {
    let mut rows = vec![
        row(Some("cassandra"), Some(9042), "in", "pass", 1_000 * factor),
        row(Some("cassandra"), Some(9042), "out", "pass", 900 * factor),
        row(Some("cassandra"), Some(9042), "in", "drop", 17 * factor),
        row(Some("elasticsearch"), Some(9200), "in", "pass", 20_000 * factor),
        row(Some("https"), Some(443), "in", "pass", 3 * factor),
        row(None, None, "in", "pass", 12_345_678 * factor),
    ];
    let range = Row { ports: Some("10000-19999".into()), ..row(Some("batch"), None, "in", "drop", 5) };
    rows.push(range);
    rows.push(Row { protocol: None, reason: "arp", ..row(None, None, "in", "pass", 40 + factor) });
    Counters { generation: 7, rows }
}

fn status() -> Status {
    Status {
        mode: Some("enforce"),
        generation: Some(7),
        policy_sha256: Some("ab".repeat(32)),
        interfaces: vec![InterfaceCoverage::covered("eth0", 2, AttachMode::Native, 12, "tcx")],
        peers: 3,
        agent: Some(Agent {
            pid: 4711,
            elsewhere: false,
            started_unix_ns: 0,
            last_repair: None,
            interfaces_reattached: 0,
            reattach_gap_p99_ns: 0,
            reattach_gap_max_ns: 0,
        }),
        healthy: true,
        ..Status::default()
    }
}

fn peers() -> Peers {
    let peer = |address: &str, state, sources: &[&str]| Listed {
        address: address.into(),
        state,
        sources: sources.iter().map(ToString::to_string).collect(),
        since_unix_ns: 0,
        seconds_left: None,
        by: None,
    };
    let source = SourceRow {
        name: "dns:nodes.cluster.example".into(),
        peers: 1,
        answered_unix_ns: None,
        age_seconds: None,
        failing_since_unix_ns: Some(1),
        error: Some("no answer".into()),
    };
    Peers {
        peers: vec![
            peer("10.0.0.11", PeerState::Active, &["static", "dns:nodes.cluster.example"]),
            peer("10.0.0.12", PeerState::Leaving { until_unix_ns: 1 }, &[]),
            peer("2001:db8:1::/64", PeerState::Active, &["file:/etc/nodewall/peers"]),
        ],
        sources: vec![source],
    }
}

fn reading(second: u64, factor: u64) -> Reading {
    Reading {
        at: Duration::from_secs(second),
        // Noon.
        unix_ns: (1_795_348_800 + second) * 1_000_000_000,
        status: status(),
        counters: Some(counters(factor)),
        peers: Some(peers()),
        denied: Vec::new(),
    }
}

/// Two seconds of traffic, the second one twice as much as the first.
fn busy() -> Model {
    let mut model = Model::default();
    for (second, factor) in [(1, 1), (2, 2), (3, 4)] {
        model.read(reading(second, factor));
    }
    model
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, Palette { color: false }, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    assert!(buffer.content.iter().all(|cell| cell.fg == cell.bg), "no colour was wanted");
    to_text(buffer)
}

fn assert_screen(name: &str, model: &Model, width: u16, height: u16) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/ui/top/screens/{name}.txt"));
    let drawn = screen(model, width, height);
    if env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1") {
        fs::write(&path, &drawn).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(drawn == committed, "{name} is now\n{drawn}\nand was\n{committed}");
}

fn type_keys(model: &mut Model, keys: &str) -> KeyAction {
    keys.chars().fold(KeyAction::Draw, |_, letter| {
        let code = if letter == '\n' { KeyCode::Enter } else { KeyCode::Char(letter) };
        press(model, KeyEvent::new(code, KeyModifiers::NONE))
    })
}

fn denied(source: &str, packets: u64, ports: &[u16]) -> DeniedSource {
    DeniedSource {
        source: Some(source.into()),
        source_verified: false,
        packets,
        bytes: packets * 60,
        ports: ports.to_vec(),
        reason: "outsider",
        interface: "eth0".into(),
        last_unix_ns: 1,
    }
}

#[test]
fn who_was_denied_and_where_by_a_key() {
    let mut model = busy();
    let sources = vec![
        denied("203.0.113.9", 1_234_567, &[7000, 9042]),
        denied("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 12, &[9200]),
    ];
    model.read(Reading { denied: sources, ..reading(4, 8) });
    assert_screen("by-source", &model, 80, 24);
    let by_source = screen(&model, 80, 24);
    type_keys(&mut model, "d");
    assert!(screen(&model, 80, 24).contains("REASON") && !screen(&model, 80, 24).contains("203.0.113.9"));
    type_keys(&mut model, "d");
    assert_eq!(screen(&model, 80, 24), by_source);
}

#[test]
fn a_busy_node_on_terminals_of_several_sizes() {
    let model = busy();
    assert_screen("80x24", &model, 80, 24);
    assert_screen("120x40", &model, 120, 40);
    assert_screen("40x12", &model, 40, 12);
    // Nothing fits, and nothing breaks.
    for (width, height) in [(1, 1), (3, 40), (200, 2), (17, 5)] {
        screen(&model, width, height);
    }
}

#[test]
fn nothing_in_force_and_nothing_read() {
    assert_screen("nothing-read", &Model::default(), 80, 24);
    let mut model = Model::default();
    let problem = "no policy is in force; `nodewall apply` or `nodewall run` puts one into force";
    model.read(Reading {
        status: Status {
            mode: None,
            generation: None,
            interfaces: Vec::new(),
            agent: None,
            peers: 0,
            healthy: false,
            problems: vec![problem.into()],
            ..status()
        },
        counters: None,
        peers: None,
        ..reading(1, 1)
    });
    assert_screen("nothing-in-force", &model, 80, 24);
}

#[test]
fn a_problem_is_on_the_screen_and_so_is_a_failed_reading() {
    let mut model = busy();
    let unhealthy =
        Status { healthy: false, problems: vec!["eth1 is not filtered: it is not attached".into()], ..status() };
    model.read(Reading { status: unhealthy, ..reading(4, 5) });
    model.fail("the pin directory is gone".into());
    assert_screen("unhealthy", &model, 80, 24);
}

#[test]
fn keys_sort_filter_pause_help_and_quit() {
    let mut model = busy();
    type_keys(&mut model, "s");
    let first = model.shown()[0].place.clone();
    assert_eq!((first.port().as_str(), first.protocol()), ("other", "tcp"));
    type_keys(&mut model, "ss");
    assert_eq!(model.shown()[0].place.port(), "9042");
    assert_screen("by-drop", &model, 80, 24);
    // What is typed into the filter is no command.
    assert_eq!(type_keys(&mut model, "/elastiq"), KeyAction::Draw);
    press(&mut model, KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    assert_screen("filter-typed", &model, 80, 24);
    type_keys(&mut model, "\n");
    assert_eq!(model.shown().len(), 1);
    press(&mut model, KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    assert_eq!(model.shown().len(), 6);
    type_keys(&mut model, "?");
    assert_screen("help", &model, 80, 24);
    type_keys(&mut model, "?p");
    let before = model.sum;
    model.read(reading(9, 400));
    assert_eq!(model.sum, before, "paused");
    assert!(screen(&model, 80, 24).contains("PAUSED"));
    assert_eq!(type_keys(&mut model, "q"), KeyAction::Quit);
    assert_eq!(press(&mut model, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), KeyAction::Quit);
    assert_eq!(press(&mut model, KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)), KeyAction::Quit);
}

#[test]
fn rates_are_per_second_and_a_counter_that_went_back_has_none() {
    let mut model = Model::default();
    model.read(reading(10, 1));
    assert!(model.history.is_empty(), "one reading has no rate");
    model.read(reading(12, 3));
    let line = |model: &Model| model.lines.iter().find(|line| line.place.port() == "9042").unwrap().clone();
    let cassandra = line(&model);
    assert_eq!((cassandra.inbound.packets, cassandra.outbound.packets), (1_000.0, 900.0));
    assert_eq!((cassandra.dropped.packets, cassandra.inbound.bytes), (17.0, 100_000.0));
    assert_eq!(cassandra.total_dropped, 51);
    // A detach, and counters that begin anew.
    model.read(reading(13, 1));
    assert_eq!(line(&model).inbound.packets, 0.0);
    assert_eq!(model.history.len(), 2);
    for second in 14..2_000 {
        model.read(reading(second, second));
    }
    assert!(model.history.len() <= 512);
}

#[test]
fn ports_that_find_no_room_are_counted() {
    for (ports, width, expected) in [
        (&[][..], 9, ""),
        (&[9_042, 9_200], 9, "9042 9200"),
        (&[9_042, 9_200, 9_300], 9, "9042 +2"),
        (&[40_000, 40_001], 9, "40000 +1"),
        (&[443, 9_042, 9_200, 9_300, 9_301], 20, "443 9042 9200 +2"),
        (&[9_042, 9_200], 3, "+2"),
        (&[9_042, 9_200], 1, ""),
    ] {
        assert_eq!(fitting(ports, width), expected, "{ports:?} in {width}");
    }
}

/// Whatever is drawn, also text that nobody thought of as a stranger's: no cell holds what a terminal would obey.
#[test]
fn no_cell_holds_what_a_terminal_obeys() {
    let mut reading = reading(1, 1);
    let class = Row { class: Some("x\u{200d}\u{1b}[31m\u{202e}".into()), ..row(None, Some(9042), "in", "drop", 1) };
    reading.counters = Some(Counters { generation: 7, rows: vec![class] });
    let mut model = Model::default();
    model.read(reading);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let drawn = terminal.draw(|frame| draw(&model, Palette { color: true }, frame.area(), frame.buffer_mut())).unwrap();
    let text = to_text(drawn.buffer);
    assert!(text.contains("[31"), "{text:?}");
    assert!(!text.contains(['\u{200d}', '\u{1b}', '\u{202e}']), "{text:?}");
}
