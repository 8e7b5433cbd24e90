//! Instructions run for a frame, and verified for a program: the committed tables of docs/BENCH.md, above which nothing grows unseen. They have no noise.
//! `NODEWALL_REFRESH_DOCS=1` writes them anew. Another kernel translates otherwise, so they hold for the one that they name.

use std::{env, fs, path::Path};

use node_ebpf_common::Shape;
use nodewall_datapath::Buffers;
use nodewall_model::cases::frames::{self, ethernet, tagged};
use nodewall_policy::{Compiled, Facts, Policy, RowTable, compile, config::Config};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Loaded, skip};

const DOCUMENT: &str = "docs/BENCH.md";
/// What a figure may be above the committed one.
const RUN_PERCENT: usize = 2;
const VERIFIED_PERCENT: usize = 10;
const PORTS: [(&str, u16); 2] = [("public", 443), ("cluster", 9042)];

/// The shape of the package.
const PACKAGED: Shape = Shape::PER_PEER;

fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("packaged (evidence, per peer)", PACKAGED),
        ("evidence", Shape::EVIDENCE),
        ("neither", Shape::PLAIN),
        ("packaged, interface rules", Shape { interface_rules: true, ..PACKAGED }),
        ("packaged, atomic", Shape { atomic: true, ..PACKAGED }),
    ]
}

/// Peers that are addresses, as an operator's mostly are: one prefix length of each family.
fn compiled() -> Compiled {
    let text = "[peers]\nstatic = [\"10.1.0.1\", \"10.1.0.2\", \"10.1.0.3\", \"2001:db8:1::1\", \"2001:db8:1::2\"]\n\
                [evidence]\nenabled = true\n[counters]\nper_peer = true\n";
    let policy = Policy::from_config(&Config::parse(text, "table.toml").unwrap()).unwrap();
    let own_addresses = vec!["10.1.0.9".parse().unwrap(), "2001:db8:1::9".parse().unwrap()];
    compile(&policy, RowTable::default(), &Facts { generation: 1, own_addresses, ..Facts::default() }).unwrap()
}

/// The frames of the table: who sends to which port, by which family.
fn all_frames() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (access, port) in PORTS {
        for (who, v4, v6) in [("peer", "10.1.0.2", "2001:db8:1::2"), ("outsider", "203.0.113.7", "2001:db8:ff::7")] {
            let transport = || frames::transport(frames::TCP, port);
            let four = ethernet(frames::IPV4, &frames::Ip4::new(v4, frames::TCP, transport()).packet());
            let six = ethernet(frames::IPV6, &frames::Ip6::new(v6, frames::TCP, transport()).packet());
            let what = |family: &str| format!("{family}, {who} to a {access} port");
            all.push((what("IPv4"), four.clone()));
            all.push((what("IPv6"), six.clone()));
            all.push((what("IPv4 in one VLAN tag"), tagged(&[0x8100], &four)));
        }
    }
    all
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// A table of the document, between its markers.
fn part(document: &str, name: &str) -> (usize, usize) {
    let [begin, end] = ["begin", "end"].map(|place| format!("<!-- {name} {place} -->\n"));
    let from = document.find(&begin).unwrap_or_else(|| panic!("{DOCUMENT} has no {begin}")) + begin.len();
    (from, from + document[from..].find(&end).unwrap_or_else(|| panic!("{DOCUMENT} has no {end}")))
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// Compares with the committed table, or writes it.
fn assert_committed(name: &str, head: &str, rows: &[(String, Vec<usize>)], percent: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let mut document = fs::read_to_string(&path).unwrap();
    let (from, to) = part(&document, name);
    let columns = head.matches('|').count() - 2;
    let mut made = format!("Linux {}.\n\n{head}\n|---|{}\n", kernel(), "---:|".repeat(columns));
    for (what, figures) in rows {
        let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
        made.push_str(&format!("| {what} | {} |\n", figures.join(" | ")));
    }
    println!("{made}");
    if env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1") {
        document.replace_range(from..to, &made);
        return fs::write(&path, document).unwrap();
    }
    let committed = &document[from..to];
    if !committed.starts_with(&format!("Linux {}.", kernel())) {
        println!("SKIPPED the comparison: the table is of another kernel than {}", kernel());
        return;
    }
    let committed: Vec<Vec<&str>> =
        committed.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect();
    assert_eq!(committed.len(), rows.len(), "{name}: NODEWALL_REFRESH_DOCS=1 renews the table");
    let mut above = Vec::new();
    for ((what, figures), committed) in rows.iter().zip(committed) {
        assert_eq!(committed.first(), Some(&what.as_str()), "{name}: NODEWALL_REFRESH_DOCS=1 renews the table");
        for (figure, committed) in figures.iter().zip(&committed[1..]) {
            let committed: usize = committed.parse().unwrap();
            if figure * 100 > committed * (100 + percent) {
                above.push(format!("{what}: {figure} instead of {committed}"));
            }
        }
    }
    assert!(above.is_empty(), "{name}: more than {percent} % above the committed table: {above:#?}");
}

#[test]
fn a_frame_runs_the_instructions_of_the_table() {
    if skip("a_frame_runs_the_instructions_of_the_table") {
        return;
    }
    // What is noted of denied frames is this CPU's, and the walk's CPU is the first.
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).unwrap();
    let compiled = compiled();
    let mut rows: Vec<(String, Vec<usize>)> = all_frames().into_iter().map(|(what, _)| (what, Vec::new())).collect();
    for (_, shape) in shapes() {
        for ((what, frame), (_, figures)) in all_frames().iter().zip(&mut rows) {
            // Each has its bank of flows to itself: another flow that by chance has the same bucket costs a comparison more.
            let mut loaded = Loaded::new(&compiled, shape, Buffers::Frags);
            // The first frame of a flow calls; all that follow it do not.
            loaded.engine.run(frame).unwrap();
            loaded.read();
            let path = loaded.path(&compiled, frame, what);
            assert!(path.calls.is_empty(), "{shape}, {what}: a call at {:?}", path.calls);
            figures.push(path.steps.len());
        }
    }
    let head: String = shapes().iter().map(|(name, _)| format!(" {name} |")).collect();
    assert_committed("instructions run", &format!("| frame |{head}"), &rows, RUN_PERCENT);
}

#[test]
fn a_program_has_the_verified_instructions_of_the_table() {
    if skip("a_program_has_the_verified_instructions_of_the_table") {
        return;
    }
    let compiled = compiled();
    let rows: Vec<(String, Vec<usize>)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let verified = |buffers| {
                let facts =
                    nodewall_datapath::KernelEngine::new(&compiled.image, shape, Some(buffers)).unwrap().facts();
                facts.unwrap().verified_instructions.expect("Linux 5.16 and later tell") as usize
            };
            (name.to_owned(), [Buffers::Linear, Buffers::Frags].map(verified).to_vec())
        })
        .collect();
    assert_committed("instructions verified", "| shape | one buffer | many buffers |", &rows, VERIFIED_PERCENT);
}
