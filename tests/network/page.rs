//! The page in a real browser: it shows the API's numbers, complains of nothing, and tells nothing to who has no token.

mod model;
mod trouble;
mod words;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use nodewall_testbed::{Listener, Probe, Protocol, skip_unless_privileged};
use serde_json::{Value, json};

use super::browser::{Browser, View};
use super::node::{Node, eventually};
use super::traffic::{answered, silent};

const DESK: View = View { width: 1280, height: 960, dark: false, phone: false };
const PHONE: View = View { width: 390, height: 844, dark: false, phone: true };
/// Ticks of the stream that give the charts something to show.
const TICKS: &str = "Number(document.documentElement.dataset.ticks) >= 4";

/// An address that opens the page once.
fn address(node: &Node) -> String {
    // The agent enforces before it listens.
    let printed = eventually("the agent serves the page", || {
        let printed = node.nodewall("page", &[]);
        printed.status.success().then_some(printed.stdout)
    });
    printed.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
}

/// JavaScript for what the page says of the whole.
const STATE: &str = "document.getElementById('state').textContent";
/// JavaScript for the rows of the table of ports: port, class, access, let in, sent, denied.
const SHOWN_PORTS: &str = "[...document.querySelectorAll('#ports tbody tr')].map((row) => [0, 1, 2, 6, 7, 8].map((at) => row.cells[at].textContent))";

/// What a row of the table of ports must be, by what the API says. Numbers below a thousand.
fn expected_row(port: &Value) -> Value {
    let place =
        port["port"].as_u64().map_or_else(|| port["ports"].as_str().unwrap().to_owned(), |port| port.to_string());
    let also = if port["also_allow"] == true { " + also_allow" } else { "" };
    let packets = |name: &str| port[name].as_u64().unwrap();
    json!([
        format!("{place}/{}", port["protocol"].as_str().unwrap()),
        port["class"],
        format!("{}{also}", port["access"].as_str().unwrap()),
        packets("passed_packets").to_string(),
        packets("sent_packets").to_string(),
        (packets("dropped_packets") + packets("would_drop_packets")).to_string(),
    ])
}

/// Opens the page and waits until it says that the node enforces.
fn open(node: &Node, browser: &mut Browser) {
    browser.open(&address(node));
    browser.wait_for(&format!("{STATE} === 'enforcing'"));
}

fn udp(port: u16) -> Probe {
    Probe::new(Protocol::Udp, format!("10.77.0.1:{port}").parse().unwrap())
}

fn traffic(node: &Node) {
    for _ in 0..3 {
        silent(node.outsider(), &[9042, 9200].map(udp));
    }
    let _sockets = Listener::both(node.netns(), &[9042]).unwrap();
    answered(node.peers()[0], &[udp(9042)]);
}

#[test]
fn the_page_shows_what_the_api_says_and_the_browser_complains_of_nothing() {
    if skip_unless_privileged("the_page_shows_what_the_api_says_and_the_browser_complains_of_nothing") {
        return;
    }
    let node = Node::enforcing();
    traffic(&node);
    let mut browser = Browser::start(node.netns(), DESK);
    browser.open(&address(&node));
    browser.wait_for(TICKS);
    // The ticket is not in the address any more, where a shared screen or a bookmark would show it.
    let location = browser.value("location.href");
    assert!(!location.as_str().unwrap().contains("ticket"), "{location}");
    traffic(&node);
    browser.wait_for("document.querySelectorAll('#denials tbody tr').length >= 2");
    browser.wait_for("document.querySelector('#senders tbody').textContent.includes('10.77.0.66')");
    assert_eq!(browser.value("document.getElementById('state').textContent"), "enforcing");
    assert_eq!(browser.value("document.getElementById('problems').hidden"), Value::Bool(true));

    browser.wait_for("fetch('api/v1/ports').then((a) => a.json()).then((a) => { window.asked = a.ports; }), window.asked !== undefined");
    let asked = browser.value("window.asked");
    let cassandra =
        asked.as_array().unwrap().iter().find(|port| port["port"] == 9042 && port["protocol"] == "udp").unwrap();
    assert_eq!(cassandra["access"], "cluster");
    assert_eq!(cassandra["passed_packets"], 2, "{cassandra}");
    assert_eq!(cassandra["dropped_packets"], 6, "{cassandra}");
    let rows = "document.querySelectorAll('#ports tbody tr').length";
    let busy = browser.value(rows);
    browser.value("document.getElementById('idle').click()");
    browser.wait_for(&format!("{rows} === window.asked.length"));
    assert!(browser.value(rows).as_u64() > busy.as_u64(), "idle ports are shown when asked for");
    let expected: Vec<Value> = asked.as_array().unwrap().iter().map(expected_row).collect();
    // The next tick at the latest.
    browser.wait_for(&format!("JSON.stringify({SHOWN_PORTS}) === JSON.stringify({})", Value::from(expected)));
    browser.value("document.getElementById('idle').click()");
    let peers = browser.value("document.getElementById('peers').innerText");
    assert!(peers.as_str().unwrap().contains("10.77.0.11") && peers.as_str().unwrap().contains("static"), "{peers}");
    assert_eq!(browser.value("document.querySelectorAll('#dropped polygon').length"), 2, "two classes were dropped");

    // Nothing is wider than the screen, on a phone neither; dark and light differ.
    let light = browser.value("getComputedStyle(document.body).backgroundColor");
    pictures(&node, &mut browser);
    browser.look(View { dark: true, ..DESK });
    assert_ne!(browser.value("getComputedStyle(document.body).backgroundColor"), light);
    browser.look(PHONE);
    browser.wait_for("document.documentElement.scrollWidth <= innerWidth");
    // Nor has one to be pushed aside to see the rest of a table.
    browser.wait_for("[...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)");
    assert_eq!(browser.complaints(), &[] as &[String]);
}

fn refresh() -> bool {
    env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1")
}

/// Where pictures go: into the documents when asked for.
pub(super) fn kept(scratch: &Path) -> PathBuf {
    if refresh() { Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img") } else { scratch.to_path_buf() }
}

/// Something to look at: for half a minute where the picture is kept.
pub(super) fn busy(node: &Node) {
    let _sockets = Listener::both(node.netns(), &[443, 7000, 9300]).unwrap();
    for round in 0..if refresh() { 45 } else { 5 } {
        if round % 9 == 4 {
            silent(node.outsider(), &[9042, 9200].map(udp));
        }
        let from = node.peers()[round % 2];
        answered(from, &[443, 7000, 9300, 443].map(|port| Probe { protocol: Protocol::Tcp, ..udp(port) })[round % 3..]);
        std::thread::sleep(std::time::Duration::from_millis(if refresh() { 700 } else { 50 }));
    }
}

fn pictures(node: &Node, browser: &mut Browser) {
    busy(node);
    let scratch = tempfile::tempdir().unwrap();
    let directory = kept(scratch.path());
    // The machine's own name is not for the documents.
    browser.value("document.querySelector('#facts dd').textContent = 'node1'");
    for (name, view) in [("page-light", DESK), ("page-dark", View { dark: true, ..DESK }), ("page-phone", PHONE)] {
        browser.look(view);
        let file = directory.join(format!("{name}.png"));
        browser.picture(&file);
        assert!(fs::read(&file).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
    browser.look(DESK);
}

#[test]
fn without_the_token_the_page_tells_nothing() {
    if skip_unless_privileged("without_the_token_the_page_tells_nothing") {
        return;
    }
    let node = Node::enforcing();
    let address = address(&node);
    let (plain, _) = address.split_once('?').unwrap();
    let mut browser = Browser::start(node.netns(), DESK);
    for url in [plain.to_owned(), format!("{plain}?ticket=wrong"), format!("{plain}page.js")] {
        browser.open(&url);
        let text = browser.value("document.documentElement.innerText");
        let text = text.as_str().unwrap();
        assert!(text.contains("nodewall page"), "what to do is said: {url}: {text}");
        assert!(!text.contains("10.77.0.11") && !text.contains("EventSource"), "{url}: {text}");
    }
}
