//! What stands on the page: text from outside stays text, everything can be read by who sees little or nothing, and much of it is not too much.

use nodewall_testbed::{Process, Signal, skip_unless_privileged};
use serde_json::{Value, json};

use super::super::browser::{Browser, View};
use super::super::node::Node;
use super::super::settings::Settings;
use super::super::traffic::silent;
use super::{DESK, PHONE, STATE, TICKS, address, open, udp};

/// A key of a configuration that is refused, which says its name.
const HOSTILE: &str = "<img src=x onerror=window.hit=1>";

/// Every text whose contrast with what is behind it is less than WCAG's 4.5 to 1, as text and ratio.
const PALE: &str = r"(() => {
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = parts(colour).map((part) => part / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const [r, g, b, alpha] = parts(getComputedStyle(node).backgroundColor);
            if (alpha === undefined) return `rgb(${r}, ${g}, ${b})`;
        }
        return 'rgb(255, 255, 255)';
    };
    const pale = [];
    let looked = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || node.getClientRects().length === 0) continue;
        looked += 1;
        const [a, b] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((a, b) => b - a);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) pale.push([node.textContent, ratio]);
    }
    return looked > 40 ? pale : [['texts', looked]];
})()";

/// What has no name or a wrong place for who does not see it, by the browser's own accessibility tree.
fn unnamed(browser: &mut Browser) -> Vec<Value> {
    let wanted = ["table", "region", "checkbox", "searchbox", "image", "img", "alert", "columnheader", "rowheader"];
    let nodes = browser.accessibility();
    let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_owned();
    for role_of_all in ["table", "checkbox", "searchbox", "rowheader", "status", "alert"] {
        assert!(nodes.iter().any(|node| role(node) == role_of_all), "there is no {role_of_all}");
    }
    let nodes = nodes.into_iter().filter(|node| node["ignored"] == false && wanted.contains(&role(node).as_str()));
    nodes
        .filter(|node| node["name"]["value"].as_str().unwrap_or_default().is_empty() && role(node) != "alert")
        .collect()
}

fn assert_readable(browser: &mut Browser, when: &str) {
    for view in [DESK, View { dark: true, ..DESK }, PHONE, View { dark: true, ..PHONE }] {
        browser.look(view);
        let name = format!("{when}, {} px, dark: {}", view.width, view.dark);
        assert_eq!(browser.value(PALE), json!([]), "{name}");
        assert_eq!(unnamed(browser), [] as [Value; 0], "{name}");
        assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), Value::Bool(true), "{name}");
    }
}

#[test]
fn text_from_outside_stays_text_and_all_of_it_can_be_read() {
    if skip_unless_privileged("text_from_outside_stays_text_and_all_of_it_can_be_read") {
        return;
    }
    let node = Node::enforcing();
    let mut browser = Browser::start(node.netns(), DESK);
    open(&node, &mut browser);
    let blocked = node.nodewall("block", &["192.0.2.66", "--reason", HOSTILE]);
    assert!(blocked.status.success(), "{blocked:?}");
    node.configure_text(&format!("{HOSTILE:?} = 1\n{}", Settings::default().to_toml()));
    node.agent().signal(Signal::HUP).unwrap();
    for id in ["problem-list", "blocks"] {
        browser.wait_for(&format!("document.getElementById({id:?}).textContent.includes({HOSTILE:?})"));
    }
    assert_eq!(browser.value(STATE), "enforcing, not healthy");
    assert_eq!(browser.value("document.images.length"), 0);

    // Denials, too, so that every table has something to read.
    silent(node.outsider(), &[udp(9042)]);
    browser.wait_for("document.querySelectorAll('#denials .bad-text').length > 0");
    assert_readable(&mut browser, "with a problem");
    // A trial is no problem only: it says when it ends.
    let _opened = Process::spawn("panic-open", node.command("panic-open", &["--for", "10m"])).unwrap();
    browser.wait_for(&format!("{STATE} === 'audit: nothing is dropped, not healthy'"));
    browser.wait_for("/panic-open.*back to enforce in 9m/.test(document.getElementById('notices').innerText)");
    assert_readable(&mut browser, "on trial");

    // Not said again each second to who listens: the text that stood there stands there still.
    browser.value("window.stood = document.getElementById('problem-list').firstChild; window.from = Number(document.documentElement.dataset.ticks)");
    browser.wait_for("Number(document.documentElement.dataset.ticks) > window.from + 2");
    assert_eq!(browser.value("window.stood.isConnected"), Value::Bool(true));

    assert_eq!(browser.value("window.hit === undefined"), Value::Bool(true));
    assert_eq!(browser.complaints(), &[] as &[String]);
    // Were it markup, the page's policy would still not let it run; and the browser's complaint would be heard here.
    browser.value(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hit = 1' }))",
    );
    assert_eq!(browser.value("window.hit === undefined"), Value::Bool(true));
    let complaints = browser.complaints().join("\n");
    assert!(complaints.contains("Content Security Policy"), "{complaints}");
}

#[test]
fn as_many_peers_as_there_can_be_are_shown_in_part_and_found() {
    if skip_unless_privileged("as_many_peers_as_there_can_be_are_shown_in_part_and_found") {
        return;
    }
    let peers: Vec<String> = (0..16_384).map(|n| format!("10.78.{}.{}", n / 256, n % 256)).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let node = Node::with(&Settings::default().peers(&peers));
    let mut browser = Browser::start(node.netns(), DESK);
    browser.open(&address(&node));
    browser.wait_for(TICKS);
    browser.wait_for("document.getElementById('peers-shown').textContent === '200 of 16,384 shown'");
    assert_eq!(browser.value("document.querySelectorAll('#peers tbody tr').length"), 200);
    browser.value(
        "(() => { const find = document.getElementById('find'); find.value = '10.78.63.255'; find.dispatchEvent(new Event('input')); })()",
    );
    let rows = "[...document.querySelectorAll('#peers tbody tr')].map((row) => row.cells[0].textContent).join()";
    assert_eq!(browser.value(rows), "10.78.63.255");
    assert_eq!(browser.complaints(), &[] as &[String]);
}
