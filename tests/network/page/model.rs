//! The page's arithmetic, in the browser that does it, by ticks that were made up.

use nodewall_testbed::skip_unless_privileged;
use serde_json::{Value, json};

use super::super::browser::Browser;
use super::super::node::Node;
use super::{DESK, open};

/// A tick with one cell, `packets` of Cassandra's let in.
fn tick(unix_ms: u64, packets: u64) -> Value {
    let row = json!({ "class": "cassandra", "port": 9042, "protocol": "tcp", "direction": "in", "outcome": "pass", "reason": "peer", "packets": packets });
    json!({ "unix_ms": unix_ms, "counters": { "rows": [row] } })
}

/// What is in the history of what was let in, after these ticks: packets a second of Cassandra; `null`, nothing is known.
fn history(browser: &mut Browser, ticks: &[Value]) -> Value {
    let script = format!(
        "import('/model.js').then(({{ Model }}) => {{
            const model = new Model();
            for (const tick of {}) model.take(tick);
            return model.history.passed.map((sample) => sample && (sample.get('cassandra') || 0));
        }})",
        Value::from(ticks)
    );
    browser.value(&script)
}

#[test]
fn a_rate_is_a_difference_and_what_is_not_known_is_a_gap() {
    if skip_unless_privileged("a_rate_is_a_difference_and_what_is_not_known_is_a_gap") {
        return;
    }
    let node = Node::enforcing();
    let mut browser = Browser::start(node.netns(), DESK);
    open(&node, &mut browser);
    let none = json!({ "unix_ms": 3000, "counters": null });
    let empty = json!({ "unix_ms": 1000, "counters": { "rows": [] } });
    for (what, ticks, expected) in [
        ("what was counted before the page was opened is no rate", vec![tick(1000, 500)], json!([])),
        ("half a second", vec![tick(1000, 500), tick(1500, 510)], json!([20])),
        ("a cell's first packet makes its row", vec![empty, tick(2000, 3)], json!([3])),
        ("a counter made anew", vec![tick(1000, 500), tick(2000, 4), tick(3000, 6)], json!([0, 2])),
        ("a clock set back", vec![tick(9000, 500), tick(2000, 510), tick(3000, 511)], json!([1])),
        (
            "a policy that is in force again",
            vec![tick(1000, 500), tick(2000, 501), none, tick(4000, 503), tick(5000, 504)],
            json!([1, null, 1]),
        ),
        (
            "a stream that was lost for four seconds",
            vec![tick(1000, 500), tick(2000, 501), tick(6000, 509)],
            json!([1, null, null, null, 2]),
        ),
    ] {
        assert_eq!(history(&mut browser, &ticks), expected, "{what}");
    }
    let long: Vec<Value> = (0..400).map(|n| tick(1000 * (n + 1), n)).collect();
    assert_eq!(history(&mut browser, &long).as_array().unwrap().len(), 300);
}
