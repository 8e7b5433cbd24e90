//! A counter has one row whatever is done with what is denied: every exporter across audit, enforce, panic-open and back, each time by as many
//! frames as were sent. The push has its own test (`tests/remote/push/agent.rs`), beside its receiver.

use std::collections::BTreeMap;

use nodewall_testbed::{eventually_eq, skip_unless_privileged, until};
use serde_json::Value;

use super::{
    client::{api, get, wait_until_served},
    exact::{Mix, Table, by_cpu, of_json, of_metrics, of_table},
    stream,
};
use crate::{
    browser::{Browser, View},
    node::{Node, PATIENCE, eventually},
    settings::Settings,
    trials::{hold, mode},
};

/// Frames of a stage and CPU, for each kind. Few, so that the page writes them out.
const EACH: u32 = 40;
const DESK: View = View { width: 1280, height: 960, dark: false, phone: false };

/// What was sent so far, as the rows that it must make.
struct Expected {
    rows: Table,
    each: u64,
    frame_bytes: u64,
}

impl Expected {
    fn add(&mut self, class: &str, port: &str, outcome: &str, reason: &str) {
        let key = [class, port, "udp", "in", outcome, reason].map(str::to_owned);
        let row = self.rows.entry(key).or_default();
        *row = (row.0 + self.each, row.1 + self.each * self.frame_bytes);
    }

    fn packets(&self, is: impl Fn(&[String; 6]) -> bool) -> u64 {
        self.rows.iter().filter(|(key, _)| is(key)).map(|(_, row)| row.0).sum()
    }
}

/// Sends the same in each stage, and asks everybody.
fn stage(node: &Node, mix: &Mix, denied: &str, expected: &mut Expected) {
    for frame in [&mix.peer_9042, &mix.anyone_443, &mix.outsider_9042] {
        by_cpu(node, frame, EACH);
    }
    expected.add("cassandra", "9042", "pass", "peer");
    expected.add("https", "443", "pass", "public");
    expected.add("cassandra", "9042", denied, "outsider");
    let rows = &expected.rows;
    assert_eq!(&of_json(&node.json("counters")), rows, "{denied}: counters -o json");
    assert_eq!(&of_table(&node.nodewall("counters", &[]).stdout), rows, "{denied}: counters");
    // Who asks right after another shares its answer.
    eventually_eq(&format!("{denied}: the API"), || of_json(&api(node, "/api/v1/counters").json()), rows);
    eventually_eq(&format!("{denied}: /metrics"), || of_metrics(&get(node, "/metrics").body), rows);
    assert_eq!(
        of_top(&node.nodewall("top", &["--once", "--interval", "100ms"]).stdout),
        sums_of(expected),
        "{denied}: top"
    );
}

/// What `top` says of UDP 9042: frames let in within a second, of which there were none meanwhile, and frames ever dropped.
fn of_top(text: &str) -> (String, String) {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.into_iter().find(|words| words.first() == Some(&"9042") && words.contains(&"udp"));
    let line = line.unwrap_or_else(|| panic!("no line of 9042: {text}"));
    let after = line.iter().position(|word| *word == "udp").unwrap() + 1;
    (line[after].to_owned(), line.last().unwrap().to_string())
}

fn sums_of(expected: &Expected) -> (String, String) {
    ("0".into(), expected.packets(|key| key[1] == "9042" && key[4] != "pass").to_string())
}

/// What the page's own arithmetic makes of these ticks: packets that moved, by outcome.
fn moved_on_the_page(browser: &mut Browser, ticks: &[Value]) -> BTreeMap<String, u64> {
    let script = format!(
        "import('/model.js').then(({{ Model }}) => {{
            const model = new Model(), moved = {{}};
            let before = null;
            for (const tick of {}) {{
                model.take(tick);
                for (const [key, rate] of model.rates) for (const name of ['passed', 'dropped'])
                    moved[key + ' ' + name] = (moved[key + ' ' + name] || 0) + Math.round(rate[name] * (tick.unix_ms - before) / 1000);
                before = tick.unix_ms;
            }}
            return moved;
        }})",
        Value::from(ticks)
    );
    let moved = browser.value(&script);
    let moved = moved.as_object().unwrap().iter().map(|(key, packets)| (key.clone(), packets.as_u64().unwrap()));
    moved.filter(|(key, packets)| key.contains("|udp") && *packets > 0).collect()
}

#[test]
fn one_row_for_each_counter_everywhere_across_audit_enforce_and_panic_open() {
    if skip_unless_privileged("one_row_for_each_counter_everywhere_across_audit_enforce_and_panic_open") {
        return;
    }
    let node = Node::with(&Settings::audit());
    wait_until_served(&node);
    let mut browser = Browser::start(node.netns(), DESK);
    browser.open(node.nodewall("page", &[]).stdout.trim());
    let mut stream = stream::open(&node);
    let mut ticks = vec![stream::event(&mut stream).1];
    let mix = Mix::of(&node);
    let each = u64::from(EACH) * mix.cpus as u64;
    let mut expected = Expected { rows: Table::new(), each, frame_bytes: mix.peer_9042.len() as u64 };
    // All of a stage is in a tick before the next one begins, so that no tick can hide a jump.
    let mut told = |expected: &Expected| {
        eventually("a tick with all of it", || {
            ticks.push(stream::event(&mut stream).1);
            let rows = of_json(&ticks.last().unwrap()["counters"]);
            for (key, row) in &rows {
                assert!(*row <= expected.rows[key], "{key:?}: {row:?} of {:?}", expected.rows[key]);
            }
            (rows == expected.rows).then_some(())
        });
    };
    stage(&node, &mix, "would_drop", &mut expected);
    told(&expected);
    assert!(node.nodewall("enforce", &["--allow-affected"]).status.success());
    stage(&node, &mix, "drop", &mut expected);
    told(&expected);
    let open = hold(&node, "panic-open", &["--for", "1h"]);
    stage(&node, &mix, "would_drop", &mut expected);
    told(&expected);
    node.nodewall("rollback", &[]);
    open.wait(PATIENCE).unwrap();
    until("it enforces again", || mode(&node) == "enforce");
    stage(&node, &mix, "drop", &mut expected);
    told(&expected);
    node.nodewall("rollback", &[]);
    until("it audits again", || mode(&node) == "audit");
    stage(&node, &mix, "would_drop", &mut expected);
    told(&expected);

    let all = |port: &str, pass: bool| expected.packets(|key| key[1] == port && (key[4] == "pass") == pass);
    let moved = [
        ("cassandra|9042|udp passed".to_owned(), all("9042", true)),
        ("cassandra|9042|udp dropped".to_owned(), all("9042", false)),
        ("https|443|udp passed".to_owned(), all("443", true)),
    ];
    assert_eq!(moved_on_the_page(&mut browser, &ticks), BTreeMap::from(moved), "the page's rates");
    let shown = "[...document.querySelectorAll('#ports tbody tr')].map((row) => [0, 6, 8].map((at) => row.cells[at].textContent).join(' '))";
    let line = format!("9042/udp {} {}", all("9042", true), all("9042", false));
    browser.wait_for(&format!("{shown}.includes({line:?})"));
}
