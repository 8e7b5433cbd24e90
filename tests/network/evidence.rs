//! What the agent records of real denials: who knocked, what is missing, and that the two add up to what the counters say, over floods, kills and times
//! without an agent.

use std::time::Duration;

use super::{
    frames::{Link, udp},
    node::{Node, eventually},
    settings::Settings,
    traffic::{probes, silent},
};
use nodewall_evidence::{
    record::{Capture, Event, EventKind, Flow, LossKind, Outcome},
    store::{Filter, Reader, Stored},
};
use nodewall_testbed::{Flood, Listener, Protocol, Signal, skip_unless_privileged};

/// A datagram from an address that the outsider need not have.
fn datagram(node: &Node, from: [u8; 4], port: u16) -> Vec<u8> {
    let to = node.host().ipv4().into();
    udp(
        Link::between(node.outsider(), node.host()),
        (std::net::Ipv4Addr::from(from).into(), 40_000),
        (to, port),
        b"knock",
    )
}

/// No flood goes on for longer, whatever happens.
const FLOOD_AT_MOST: Duration = Duration::from_secs(600);
const CLOSED: [u16; 3] = [9_042, 7_000, 9_300];

fn reader(node: &Node) -> Option<Reader> {
    Reader::open(&node.directories.state_dir().join("evidence")).unwrap()
}

fn flows(node: &Node) -> Vec<Stored<Flow>> {
    reader(node).map_or_else(Vec::new, |reader| reader.flows(&Filter::default()).unwrap())
}

fn events(node: &Node) -> Vec<Event> {
    let events = reader(node).unwrap().events(&Filter::default()).unwrap();
    events.into_iter().map(|event| event.record).collect()
}

/// Denied frames by what became of them: in flows, and each kind of loss.
fn recorded(node: &Node) -> (u64, [u64; 6]) {
    let Some(reader) = reader(node) else { return (0, [0; 6]) };
    let flows = reader.flows(&Filter::default()).unwrap();
    let losses = reader.losses(&Filter::default()).unwrap();
    let loss =
        |kind: LossKind| losses.iter().filter(|loss| loss.record.kind == kind).map(|loss| loss.record.packets).sum();
    (flows.iter().map(|flow| flow.record.packets).sum(), LossKind::ALL.map(loss))
}

fn now_ns() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// The time of the losses of a kind: since when, until when.
fn lost_in(node: &Node, kind: LossKind) -> (u64, u64) {
    let losses = reader(node).unwrap().losses(&Filter::default()).unwrap();
    let of = losses.iter().map(|loss| loss.record).filter(|loss| loss.kind == kind);
    of.fold((u64::MAX, 0), |(first, last), loss| (first.min(loss.first_unix_ns), last.max(loss.last_unix_ns)))
}

fn cut_off(node: &Node) -> Vec<String> {
    events(node).into_iter().filter(|event| event.kind == EventKind::AgentCutOff).map(|event| event.detail).collect()
}

fn denied(node: &Node) -> u64 {
    node.counters().drops().values().sum()
}

/// The outsider knocks at these ports; all of it is counted when this returns.
fn knock(node: &Node, ports: &[u16]) {
    let before = denied(node);
    let sent: u64 =
        silent(node.outsider(), &probes(node.host(), ports)).iter().map(|p| u64::from(p.sent_packets)).sum();
    eventually("the knocks are counted", || (denied(node) >= before + sent).then_some(()));
}

/// Waits until all that was denied is in the store, one way or the other, and stays so.
fn adds_up(node: &Node) -> (u64, [u64; 6]) {
    let found = eventually("the store to have all that was denied", || {
        let (denied, found) = (denied(node), recorded(node));
        let [not_attributed, not_kept, unrecorded, ..] = found.1;
        (denied == found.0 + not_attributed + not_kept + unrecorded).then_some(found)
    });
    assert_eq!(reader(node).unwrap().verify(None).unwrap().fault, None);
    found
}

#[test]
fn who_knocks_is_in_the_store() {
    if skip_unless_privileged("who_knocks_is_in_the_store") {
        return;
    }
    let mut node = Node::enforcing();
    eventually("the store to be made", || reader(&node));
    let _sockets = Listener::both(node.netns(), &CLOSED).unwrap();
    let asked = probes(node.host(), &CLOSED);
    knock(&node, &CLOSED);
    let (_, losses) = adds_up(&node);
    assert_eq!(losses, [0; 6]);
    let link = node.outsider().netns().ip(&["link", "show", "dev", "eth0"]).unwrap();
    let mac = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned();
    let flows = flows(&node);
    for probe in &asked {
        let source = match probe.target.ip() {
            ip if ip.is_ipv4() => node.outsider().ipv4().into(),
            _ => node.outsider().ipv6().into(),
        };
        let of = |flow: &&Stored<Flow>| {
            let key = &flow.record.key;
            let protocol = if probe.protocol == Protocol::Tcp { "tcp" } else { "udp" };
            (key.source, key.port, key.protocol) == (Some(source), Some(probe.target.port()), protocol)
        };
        let flow = &flows.iter().find(of).unwrap_or_else(|| panic!("{probe:?} is not there: {flows:?}")).record;
        assert_eq!((flow.key.interface.as_str(), flow.key.outcome), ("eth0", Outcome::Drop));
        assert_eq!(flow.mac.map(|byte| format!("{byte:02x}")).join(":"), mac);
        assert!(flow.class.is_some() && flow.generation == node.generation(), "{flow:?}");
        assert!(flow.first_unix_ns <= flow.last_unix_ns && now_ns() - flow.first_unix_ns < 120_000_000_000, "{flow:?}");
    }
    let of_cassandra = Filter { ports: vec![9_042], ..Filter::default() };
    let captures = eventually("a capture of each flow", || {
        Some(reader(&node).unwrap().captures(&of_cassandra).unwrap()).filter(|captures| captures.len() >= 4)
    });
    for capture in captures {
        let frame = &capture.record.frame;
        assert_eq!(frame[6..12], capture.record.mac);
        assert_eq!(frame.len(), (capture.record.original_bytes as usize).min(256));
        assert!(frame.windows(2).any(|two| two == 9_042_u16.to_be_bytes()));
    }
    // The API tells the same, of the last hour.
    let state = nodewall_host::state::StateDir::open(&node.directories.state_dir()).unwrap().unwrap();
    let now_ns = now_ns();
    let told = nodewall::view::denied_sources::DeniedSources::read(&state, now_ns).unwrap();
    let of =
        |address: String| told.sources.iter().find(|source| source.source.as_ref() == Some(&address)).unwrap().clone();
    let both = [of(node.outsider().ipv4().to_string()), of(node.outsider().ipv6().to_string())];
    assert_eq!(told.sources.len(), 2, "{told:?}");
    assert_eq!(both.iter().map(|source| source.packets).sum::<u64>(), denied(&node));
    assert!(both.iter().all(|source| source.ports == [7_000, 9_042, 9_300] && !source.source_verified), "{both:?}");
    let later = nodewall::view::denied_sources::DeniedSources::read(&state, now_ns + 2 * 3_600_000_000_000).unwrap();
    assert_eq!(later.sources, [], "of the last hour");
    let refused = node.nodewall("block", &[&node.outsider().ipv4().to_string(), "--reason", "scanned us"]);
    assert!(refused.status.success());
    eventually("the block to be recorded", || {
        events(&node).iter().any(|event| event.kind == EventKind::Operator("block".into())).then_some(())
    });
    node.end_agent(Signal::TERM);
    let events = events(&node);
    let has = |kind: &EventKind| events.iter().filter(|event| event.kind == *kind).count();
    assert_eq!((has(&EventKind::AgentStarted), has(&EventKind::AgentStopped)), (1, 1), "{events:?}");
    assert!(has(&EventKind::Policy) == 2 && has(&EventKind::Peers) >= 1, "{events:?}");
    let block = events.iter().find(|event| event.kind == EventKind::Operator("block".into())).unwrap();
    assert!(block.detail.contains("scanned us") && block.who.as_ref().unwrap().contains("\"uid\":0"), "{block:?}");
}

#[test]
fn in_audit_it_is_what_would_be_dropped() {
    if skip_unless_privileged("in_audit_it_is_what_would_be_dropped") {
        return;
    }
    let node = Node::with(&Settings::audit());
    let _sockets = Listener::both(node.netns(), &CLOSED).unwrap();
    super::traffic::answered(node.outsider(), &probes(node.host(), &CLOSED[..1]));
    let flows = eventually("the flows", || Some(flows(&node)).filter(|flows| flows.len() >= 4));
    assert!(flows.iter().all(|flow| flow.record.key.outcome == Outcome::WouldDrop), "{flows:?}");
}

/// Captures are cut, at 256 bytes: `replay` says of them what was said of the frames.
#[test]
fn its_export_is_judged_as_the_frames_were() {
    if skip_unless_privileged("its_export_is_judged_as_the_frames_were") {
        return;
    }
    let node = Node::enforcing();
    eventually("the store to be made", || reader(&node));
    let long = probes(node.host(), &CLOSED).into_iter().map(|probe| probe.payload(900)).collect::<Vec<_>>();
    silent(node.outsider(), &long);
    let captures = eventually("a capture of each flow", || {
        let captures = reader(&node).unwrap().captures(&Filter::default()).unwrap();
        Some(captures).filter(|captures| captures.len() >= long.len())
    });
    let is_cut = |capture: &&Stored<Capture>| capture.record.frame.len() < capture.record.original_bytes as usize;
    assert_eq!(captures.iter().filter(is_cut).count(), long.len() / 2, "the datagrams");
    let file = node.directories.state_dir().join("denied.pcapng");
    let file = file.to_str().unwrap();
    assert!(node.nodewall("events", &["export", "--format", "pcapng", "-w", file]).status.success());
    for engine in ["host", "kernel"] {
        let judged = node.nodewall("replay", &[file, "--engine", engine, "-o", "jsonl"]);
        let judged: Vec<serde_json::Value> =
            judged.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(judged.len(), captures.len());
        let said = |line: &serde_json::Value| {
            [&line["verdict"], &line["reason"]].map(|word| word.as_str().unwrap().to_owned())
        };
        assert!(judged.iter().all(|line| said(line) == ["drop", "outsider"]), "{engine}: {judged:?}");
    }
}

/// What the report says first: the whole page's first figure and what it is of.
fn headline(node: &Node) -> (u64, String) {
    let page = node.nodewall("report", &["--since", "1h", "--out", "-"]).stdout;
    let (_, tile) = page.split_once("<b>").unwrap();
    let (count, words) = tile.split_once("</b>").unwrap();
    let (words, _) = words.split_once("<br>").unwrap();
    let digits: String = count.chars().filter(char::is_ascii_digit).collect();
    (digits.parse().unwrap(), words.to_owned())
}

/// Most of it is in no flow: more sources than are kept.
#[test]
fn the_report_and_status_begin_with_all_that_was_dropped_and_say_so_of_nothing_that_was_let_in() {
    if skip_unless_privileged(
        "the_report_and_status_begin_with_all_that_was_dropped_and_say_so_of_nothing_that_was_let_in",
    ) {
        return;
    }
    let node = Node::enforcing();
    eventually("the store to be made", || reader(&node));
    let flood: Vec<Vec<u8>> =
        (0..9_000_u16).map(|n| datagram(&node, [198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]], 9_042)).collect();
    node.outsider().netns().send_frames("eth0", &flood).unwrap();
    let (in_flows, losses) = adds_up(&node);
    let all = denied(&node);
    assert!(all > in_flows + 1_000, "{all}, {losses:?}");
    assert_eq!(headline(&node), (all, "packets dropped".to_owned()));
    let only_counted: u64 = losses[..3].iter().sum();
    let line = format!("evidence: {all} frames against the policy: {in_flows} in flows, {only_counted} only counted");
    eventually("status to say so", || node.nodewall("status", &[]).stdout.contains(&line).then_some(()));
    let open = super::trials::hold(&node, "panic-open", &["--for", "1h"]);
    eventually("the policy to be recorded", || {
        events(&node)
            .iter()
            .any(|event| event.kind == EventKind::Policy && event.detail.contains(", audit,"))
            .then_some(())
    });
    assert_eq!(headline(&node).1, "packets against the policy, dropped or let in by audit");
    node.nodewall("rollback", &[]);
    open.wait(super::node::PATIENCE).unwrap();
}

/// The identity of issue: denied = in flows + not attributed + not kept + unrecorded, exact at each pause.
#[test]
fn under_floods_kills_and_absences_it_adds_up() {
    if skip_unless_privileged("under_floods_kills_and_absences_it_adds_up") {
        return;
    }
    let began_ns = now_ns();
    let mut node = Node::enforcing();
    let lab = std::sync::Arc::clone(&node.lab);
    let outsider = lab.outsider().unwrap().netns();
    let flooded = |flood: &Flood, packets: u64| {
        let wanted = flood.sent_packets() + packets;
        eventually("the flood goes on", || (flood.sent_packets() >= wanted).then_some(()));
    };
    // Ten thousand sources, which no table holds.
    let spoofed: Vec<Vec<u8>> =
        (0..10_000_u32).map(|n| datagram(&node, [198, 18, (n >> 8) as u8, n as u8], 9_042)).collect();
    let flood = outsider.flood("eth0", spoofed, 100_000, FLOOD_AT_MOST).unwrap();
    eventually("more than is kept", || {
        let (in_flows, [not_attributed, not_kept, _, over_budget, ..]) = recorded(&node);
        (in_flows > 1_000 && not_attributed > 10_000 && not_kept > 0 && over_budget > 0).then_some(())
    });
    node.end_agent(Signal::KILL);
    flooded(&flood, 20_000);
    node.start_agent();
    let by_the_first = recorded(&node).1[0];
    eventually("the next one records", || (recorded(&node).1[0] > by_the_first).then_some(()));
    flood.stop().unwrap();
    let unrecorded = adds_up(&node).1[2];
    let told = cut_off(&node);
    assert!(told.len() == 1 && told[0].contains("counted as unrecorded"), "the first agent had no last word: {told:?}");
    // One source at full rate, and one packet of another in each of five seconds.
    let noise = vec![datagram(&node, node.outsider().ipv4().octets(), 9_042)];
    let flood = outsider.flood("eth0", noise.clone(), 200_000, FLOOD_AT_MOST).unwrap();
    for n in 1..=5_u8 {
        outsider.send_frames("eth0", &[datagram(&node, [203, 0, 113, n], 7_000)]).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }
    flood.stop().unwrap();
    let after = adds_up(&node);
    let flows = flows(&node);
    for n in 1..=5_u8 {
        let quiet = Some([203, 0, 113, n].into());
        assert!(flows.iter().any(|flow| flow.record.key.source == quiet), "203.0.113.{n} was hidden");
    }
    assert_eq!(after.1[2], unrecorded, "nothing more went unrecorded while the agent ran");
    // Killed with a flow in its hands: it is written when its age has doubled, so that seconds of it wait most of the time, and not always.
    let (mut kills, mut after) = (1, after);
    while after.1[2] == unrecorded {
        assert!(kills < 10, "nothing is ever lost: {after:?}");
        let flood = outsider.flood("eth0", noise.clone(), 50_000, FLOOD_AT_MOST).unwrap();
        std::thread::sleep(Duration::from_millis(6_500));
        node.end_agent(Signal::KILL);
        kills += 1;
        node.start_agent();
        flood.stop().unwrap();
        after = adds_up(&node);
    }
    // When it was, as narrowly as it can be known: flows wait for a minute at most.
    let (since_ns, until_ns) = lost_in(&node, LossKind::Unrecorded);
    assert!(
        began_ns - 120_000_000_000 < since_ns && since_ns < until_ns && until_ns < now_ns(),
        "{since_ns} {until_ns}"
    );
    let unrecorded = after.1[2];
    // Nobody records; the kernel's table holds what little comes.
    node.end_agent(Signal::KILL);
    knock(&node, &CLOSED);
    node.start_agent();
    let (more, losses) = adds_up(&node);
    assert!(more > after.0, "what came without an agent is in flows");
    assert_eq!(losses[2], unrecorded);
    assert_eq!(cut_off(&node).len(), kills + 1);
    node.end_agent(Signal::TERM);
    node.start_agent();
    eventually("the last start", || {
        let started = events(&node).iter().filter(|event| event.kind == EventKind::AgentStarted).count();
        (started == kills + 3).then_some(())
    });
    assert_eq!(cut_off(&node).len(), kills + 1, "that one ended in order");
}

#[test]
fn switched_off_nothing_is_recorded_and_on_again_it_is_told() {
    if skip_unless_privileged("switched_off_nothing_is_recorded_and_on_again_it_is_told") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::default());
    let on = Settings::default().to_toml();
    node.configure_text(&format!("{on}\n[evidence]\nenabled = false\n"));
    node.start_agent();
    knock(&node, &CLOSED);
    let denied = denied(&node);
    assert!(denied > 0 && reader(&node).is_none(), "nothing was wanted");
    node.configure_text(&on);
    node.agent().signal(Signal::HUP).unwrap();
    let (in_flows, losses) = adds_up(&node);
    assert_eq!((in_flows, losses[2]), (0, denied));
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let up_s: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    let since_ns = lost_in(&node, LossKind::Unrecorded).0;
    assert!(since_ns + (up_s + 60) * 1_000_000_000 > now_ns(), "the counters began with the boot: {since_ns}");
    knock(&node, &CLOSED);
    assert!(adds_up(&node).0 > 0);
}

/// Half a million frames from a hundred thousand addresses that nobody has: what the agent holds stays small, and so does what it writes.
#[test]
fn a_flood_of_made_up_sources_takes_no_memory_to_speak_of() {
    if skip_unless_privileged("a_flood_of_made_up_sources_takes_no_memory_to_speak_of") {
        return;
    }
    let node = Node::enforcing();
    let resident_kib = |node: &Node| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.agent().id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    eventually("the store to be made", || reader(&node));
    knock(&node, &CLOSED[..1]);
    adds_up(&node);
    let before_kib = resident_kib(&node);
    let frames: Vec<Vec<u8>> = (0..100_000_u32)
        .map(|n| datagram(&node, [198, 18 + (n >> 16) as u8, (n >> 8) as u8, n as u8], 9_042))
        .collect();
    let flood = node.outsider().netns().flood("eth0", frames, 100_000, FLOOD_AT_MOST).unwrap();
    let mut most_kib = before_kib;
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(500));
        most_kib = most_kib.max(resident_kib(&node));
    }
    let sent = flood.stop().unwrap().total_packets();
    let (in_flows, losses) = adds_up(&node);
    println!("{sent} frames: {before_kib} KiB, at most {most_kib} KiB; {in_flows} in flows, losses {losses:?}");
    assert!(most_kib <= before_kib + 5 * 1_024, "{before_kib} KiB before, {most_kib} KiB under the flood");
    let store = node.directories.state_dir().join("evidence");
    let bytes: u64 = store.read_dir().unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 8 << 20, "{bytes} bytes of {sent} frames");
}
