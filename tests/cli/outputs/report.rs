//! `report`, as a real Chromium shows it.

use std::{env, fs, net::IpAddr, path::Path, process::Command};

use super::made::{HOSTILE, MAC, SECOND_NS, START_NS, WrittenStore, loss};
use crate::{
    binary::executable,
    browser::{Browser, View},
};
use node_ebpf_common::Reason;
use nodewall_evidence::record::{Batch, Event, EventKind, Flow, FlowKey, LossKind, Outcome};
use nodewall_testbed::{Lab, skip_unless_privileged};

const SCRIPT: &str = "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

fn flow(source: [u8; 4], port: u16, at_s: u64, packets: u64) -> Flow {
    let outcome = if at_s > 3_000 { Outcome::Drop } else { Outcome::WouldDrop };
    Flow {
        key: FlowKey {
            source: Some(IpAddr::from(source)),
            protocol: "tcp",
            port: Some(port),
            reason: if port == 9042 { Reason::Outsider } else { Reason::Closed },
            outcome,
            interface: if source[3] == 66 { HOSTILE.to_owned() } else { "eth0".to_owned() },
        },
        class: Some(if port == 9042 { "cassandra" } else { "other" }.to_owned()),
        mac: MAC,
        generation: 7,
        first_unix_ns: START_NS + (at_s - 1) * SECOND_NS,
        last_unix_ns: START_NS + at_s * SECOND_NS,
        packets,
        bytes: packets * 60,
    }
}

/// An hour: a scan in audit mode, enforcement, the scan again.
fn filled() -> WrittenStore {
    let mut place = WrittenStore::new();
    let event = |at_s, kind, detail: &str| Event {
        unix_ns: START_NS + at_s * SECOND_NS,
        kind,
        detail: detail.to_owned(),
        who: Some("{\"uid\":0,\"sudo_user\":\"ada\"}".to_owned()),
        text: None,
    };
    for minute in 1..60_u64 {
        let at_s = minute * 60;
        let packets = 1 + (minute * minute) % 97;
        let mut flows = vec![flow([203, 0, 113, 7], 9042, at_s, packets)];
        if minute % 3 == 0 {
            flows.push(flow([198, 51, 100, 66], 8443, at_s, 5));
        }
        let mut made = Batch { unix_ns: START_NS + at_s * SECOND_NS + 1, flows, ..Batch::default() };
        if minute == 50 {
            made.events.push(event(2_999, EventKind::Operator("enforce".to_owned()), SCRIPT));
            made.events.push(event(3_000, EventKind::Policy, "generation 8, mode enforce"));
            made.events.push(event(3_000, EventKind::Peers, "10.0.0.5 came"));
            made.losses.push(loss(LossKind::NotAttributed, START_NS + at_s * SECOND_NS, 1234));
            made.losses.push(loss(LossKind::CaptureBudget, START_NS + at_s * SECOND_NS, 5678));
        }
        place.writer.append(&made).unwrap();
    }
    place
}

const SPAN: [&str; 4] = ["--since", "2026-03-01T00:00:00Z", "--until", "2026-03-01T01:00:00Z"];

fn report(place: &WrittenStore, name: &str) -> std::path::PathBuf {
    let file = place.file(name);
    place.said(&[&["report"], &SPAN[..], &["--out", file.to_str().unwrap()]].concat());
    file
}

/// The figures are those of the records, added up here once more.
#[test]
fn a_report_says_what_the_records_say() {
    let page = fs::read_to_string(report(&filled(), "report.html")).unwrap();
    let packets = |minutes: std::ops::Range<u64>| -> u64 {
        minutes.map(|m| 1 + (m * m) % 97 + if m % 3 == 0 { 5 } else { 0 }).sum()
    };
    let tile = |count: u64| format!("<b>{}</b>", grouped(count));
    // First all that came, then what of it is attributed. Captures that are missing are no frames.
    let (let_in, dropped) = (packets(1..51), packets(51..60));
    let headline = format!("{}packets against the policy, dropped or let in by audit", tile(let_in + dropped + 1234));
    let attributed = format!("{}attributed to a source", tile(let_in + dropped));
    let outcomes = format!("{dropped} dropped, {let_in} let in by audit");
    let places = [&headline, &attributed, &outcomes, &format!("{}only counted", tile(1234))]
        .map(|text| page.find(text.as_str()));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {page}");
    assert!(
        page.contains(&format!("<td>capture_budget</td><td class=\"n\">-</td><td class=\"n\">{}</td>", grouped(5678))),
        "{page}"
    );
    assert!(!page.to_lowercase().contains("denied"), "audit let some of it in: {page}");
    let first_seen = "<td class=\"t\">2026-03-01T00:00:59Z</td><td class=\"t\">2026-03-01T00:59:00Z</td><td>9042</td><td>eth0</td><td>02:00:00:aa:bb:cc</td>";
    assert!(page.contains(first_seen), "{page}");
    assert_eq!(page.matches("class=\"mark\">unverified").count(), 2, "each source");
    assert!(page.contains("not_attributed") && page.contains(&grouped(1234)), "{page}");
    assert!(page.contains("The store is as it was written."));
    assert!(
        page.contains("generation 8, mode enforce")
            && page.contains("10.0.0.5 came")
            && page.contains("operator: enforce")
    );
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains(['\u{1b}', '\u{202e}']), "{page}");
    // A bar for each minute that had something.
    assert_eq!(page.matches("<rect class=\"would\" x=").count() + page.matches("<rect class=\"drop\" x=").count(), 59);
}

fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{}\u{202f}{:03}", number / 1000, number % 1000) }
}

#[test]
fn a_store_that_was_changed_is_told_in_its_report() {
    let place = filled();
    let good = fs::read_to_string(report(&place, "good.html")).unwrap();
    assert!(good.contains("class=\"good\">The store is as it was written."));
    let database = place.state().join("evidence");
    let file = database.join(nodewall_evidence::store::FILE);
    let changed = rusqlite::Connection::open(file)
        .unwrap()
        .execute("UPDATE flows SET packets = packets + 1 WHERE id = 5", [])
        .unwrap();
    assert_eq!(changed, 1);
    let told = fs::read_to_string(report(&place, "told.html")).unwrap();
    assert!(told.contains("class=\"bad\">The store is not as it was written"), "{told}");
}

#[test]
fn a_time_that_can_not_be_is_refused() {
    let place = filled();
    let out = place.file("none.html");
    let run = |since: &str| {
        Command::new(executable())
            .arg("--state-dir")
            .arg(place.state())
            .args(["report", "--since", since, "--until", "2026-03-01T01:00:00Z", "--out"])
            .arg(&out)
            .output()
            .unwrap()
    };
    assert_eq!(run("someday").status.code(), Some(2));
    assert_eq!(run("2026-03-01T02:00:00Z").status.code(), Some(1));
    assert!(!out.exists());
}

#[test]
fn chromium_shows_it_whole_light_dark_narrow_and_without_a_complaint() {
    if skip_unless_privileged("chromium_shows_it_whole_light_dark_narrow_and_without_a_complaint") {
        return;
    }
    let place = filled();
    let url = format!("file://{}", report(&place, "report.html").display());
    let lab = Lab::new().unwrap();
    let view = View { width: 1100, height: 1500, dark: false, phone: false };
    let mut browser = Browser::start(lab.node().netns(), view);
    browser.open(&url);
    browser.wait_for("document.readyState === 'complete' && document.querySelectorAll('section').length === 8");
    assert_eq!(browser.value("document.title").as_str().unwrap().matches("owned").count(), 0);
    assert!(
        browser.value("document.body.innerText").as_str().unwrap().contains("<script>document.title='owned'</script>")
    );
    assert_eq!(browser.value("document.scripts.length + document.images.length"), 0);
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(back);
    assert_eq!(light, "rgb(246, 247, 248)", "the style is applied under the page's own policy");
    assert_ne!(browser.value("getComputedStyle(document.querySelector('rect.drop')).fill"), "rgb(0, 0, 0)");
    // The machine's own name and id are not for the documents.
    browser.value("document.querySelector('p.quiet').textContent = 'node 0123456789abcdef0123456789abcdef'");
    browser.value("document.querySelector('h1').textContent = 'Traffic against the policy at node1'");
    if env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1") {
        browser.picture(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img/report.png"));
    }
    browser.look(View { dark: true, ..view });
    assert_eq!(browser.value(back), "rgb(20, 23, 27)");
    browser.look(View { width: 390, height: 800, dark: false, phone: true });
    browser.wait_for("document.documentElement.scrollWidth <= 390");
    assert_eq!(browser.complaints(), &[] as &[String]);
}
