//! What peers sent and got, exported: only where the configuration wants it, and then the same numbers everywhere.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use nodewall_testbed::{
    Family, Listener, PATIENCE, Probe, Signal, judge_time, probe_many, program::Program, skip_unless_privileged,
};
use serde_json::Value;

use super::{
    client::{PORT, api, get, request, samples, try_get, wait_until_served},
    exact::{Mix, by_cpu},
    prometheus::{Prometheus, promtool},
};
use crate::{
    frames::{self, Link},
    node::{Node, eventually},
    settings::Settings,
};

const LABELS: [&str; 5] = ["peer", "class", "port", "protocol", "direction"];
/// Who asks right after another shares its answer.
const SHARED_FOR: Duration = Duration::from_millis(60);
/// As many as have cells of their own.
const PEERS: u32 = 192;
const PORTS: u16 = 20;
/// Real time of a scrape that reads the whole matrix: Prometheus gives up after 10 s.
const WHOLE_SCRAPE_AT_MOST: Duration = Duration::from_secs(1);

/// Labels -> packets and bytes.
type Table = BTreeMap<[String; 5], (u64, u64)>;

fn of_json(traffic: &Value) -> Table {
    let text = |value: &Value| value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()));
    let rows = traffic["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let key = LABELS.map(|label| text(&row[label]).unwrap_or_default());
        (key, (row["packets"].as_u64().unwrap(), row["bytes"].as_u64().unwrap()))
    })
    .collect()
}

fn of_metrics(text: &str) -> Table {
    let mut table = Table::new();
    for (name, value) in samples(text) {
        let Some((metric, labels)) = name.split_once('{').filter(|(metric, _)| metric.starts_with("nodewall_peer_"))
        else {
            continue;
        };
        let bytes = match metric {
            "nodewall_peer_packets_total" => false,
            "nodewall_peer_bytes_total" => true,
            _ => continue,
        };
        let labels: BTreeMap<&str, &str> =
            labels.trim_end_matches("\"}").split("\",").map(|pair| pair.split_once("=\"").unwrap()).collect();
        assert_eq!(labels.len(), LABELS.len(), "{name}");
        let row = table.entry(LABELS.map(|label| labels[label].to_owned())).or_default();
        *(if bytes { &mut row.1 } else { &mut row.0 }) = value as u64;
    }
    table
}

fn printed(node: &Node) -> Value {
    let finished = node.nodewall("counters", &["--per-peer", "-o", "json"]);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

fn scraped(node: &Node) -> Table {
    thread::sleep(SHARED_FOR);
    of_metrics(&get(node, "/metrics").body)
}

fn settings(counted: bool, exported: bool) -> Settings {
    Settings::default().rules(&format!("[counters]\nper_peer = {counted}\n[export]\nper_peer = {exported}\n"))
}

fn reload(node: &Node, settings: &Settings) {
    node.configure(settings);
    node.agent().signal(Signal::HUP).unwrap();
}

#[test]
fn peers_are_exported_where_the_configuration_wants_it_and_add_up() {
    if skip_unless_privileged("peers_are_exported_where_the_configuration_wants_it_and_add_up") {
        return;
    }
    let node = Node::with(&Settings::default().rules("[counters]\nper_peer = true\n"));
    wait_until_served(&node);
    let mix = Mix::of(&node);
    by_cpu(&node, &mix.peer_9042, 1_000);
    let frames = 1_000 * mix.cpus as u64;
    // Both ways, from real sockets: a datagram, and its answer.
    let _ours = Listener::both(node.netns(), &[9042]).unwrap();
    let [_, second] = node.peers();
    let probe = [Probe::udp(node.host().socket(Family::V4, 9042))];
    probe_many(second.netns(), &probe, PATIENCE).unwrap();
    let [first, second] = node.peers().map(|peer| peer.ipv4().to_string());
    let key = |peer: &str, direction: &str| [peer, "cassandra", "9042", "udp", direction].map(str::to_owned);

    let traffic = printed(&node);
    let counted = of_json(&traffic);
    let frame_bytes = mix.peer_9042.len() as u64;
    assert_eq!(counted[&key(&first, "in")], (frames, frames * frame_bytes));
    assert_eq!([counted[&key(&second, "in")].0, counted[&key(&second, "out")].0], [1, 1]);
    assert_eq!(api(&node, "/api/v1/peer-traffic").json(), traffic);
    assert_eq!(request(node.netns(), PORT, "GET", "/api/v1/peer-traffic", &[]).status, 401);
    let body = get(&node, "/metrics").body;
    assert!(of_metrics(&body).is_empty() && !body.contains(&first), "nobody asked for the peers");

    reload(&node, &settings(true, true));
    // It listens anew for that: who asks at this moment is cut off.
    eventually("the export of peers", || {
        thread::sleep(SHARED_FOR);
        (of_metrics(&try_get(&node, "/metrics")?.body) == counted).then_some(())
    });
    let (content, said) = promtool(&["check", "metrics"], &get(&node, "/metrics").body);
    assert!(content && said.is_empty(), "{said}");
    let prometheus = Prometheus::start(&node);
    let sum = "sum by (peer) (nodewall_peer_packets_total{port=\"9042\",direction=\"in\"})";
    eventually("Prometheus' own number", || {
        let peers = prometheus.query(sum);
        peers.iter().any(|(labels, n)| labels["peer"] == first && *n as u64 == frames).then_some(())
    });

    // Counted no more, still exported: it stands still.
    let words = format!("generation={} ", node.generation() + 1);
    reload(&node, &settings(false, true));
    // Said when the program has been replaced, too.
    node.wait_for_log(|line| line.contains("policy enforced") && line.contains(&words));
    by_cpu(&node, &mix.peer_9042, 10);
    assert_eq!(scraped(&node), counted);
    let traffic = api(&node, "/api/v1/peer-traffic").json();
    assert_eq!((&traffic["enabled"], of_json(&traffic)), (&Value::Bool(false), counted));
}

#[test]
fn a_scrape_of_192_peers_on_20_ports_ends_in_time() {
    if skip_unless_privileged("a_scrape_of_192_peers_on_20_ports_ends_in_time") {
        return;
    }
    let peers: Vec<Ipv4Addr> = (0..PEERS).map(|n| Ipv4Addr::from(0x0a09_0001 + n)).collect();
    let names: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ports: Vec<u16> = (12_000..12_000 + PORTS).collect();
    let rules = format!(
        "[counters]\nper_peer = true\n[export]\nper_peer = true\n[[rule]]\nname = \"many\"\nports = {ports:?}\naccess = \"cluster\"\n"
    );
    // Without the vendor's ports: with them, some of these would share a column.
    let node = Node::with(&Settings::profile("name = \"none\"").peers(&names).rules(&rules));
    wait_until_served(&node);
    let link = Link::between(node.peers()[0], node.host());
    let to: IpAddr = node.host().ipv4().into();
    let (_, id) = node.attachment("eth0").unwrap();
    let program = Program::by_id(u32::try_from(id).unwrap()).unwrap();
    for (n, peer) in (1..).zip(&peers) {
        for port in &ports {
            program.run(&frames::udp(link, ((*peer).into(), 40_000), (to, *port), b"one"), n).unwrap();
        }
    }
    let began = Instant::now();
    let table = scraped(&node);
    let took = began.elapsed().checked_sub(SHARED_FOR).unwrap();
    assert_eq!(table.len(), (PEERS * u32::from(PORTS)) as usize);
    for (n, peer) in (1..).zip(&names) {
        let of_peer = table.iter().filter(|(key, _)| key[0] == *peer).map(|(_, row)| row.0);
        assert_eq!(of_peer.collect::<Vec<u64>>(), vec![n; usize::from(PORTS)], "{peer}");
    }
    assert_eq!(table, of_json(&printed(&node)));
    println!("a scrape of {} cells took {took:?}", table.len());
    judge_time(took < WHOLE_SCRAPE_AT_MOST, || format!("{took:?}"));
}
