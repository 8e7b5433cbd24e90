//! docs/KERNELS.md: what was found, kernel by kernel, in a stable format. It renders what transcripts hold and judges nothing.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Outcome;
use super::plan::SYSTEMD;
use super::transcript::Transcript;
use crate::progress::seconds;

const HEAD: &str = "\
# Kernels

Written by `cargo xtask vm`; do not edit. Debian's own kernels (cloud flavour) boot in QEMU, without hardware acceleration and with one thread for all processors, with an
initramfs that holds the statically linked tests and nodewall. nodewall needs Linux 5.10 or later; features are tried, not judged by the
version. What a kernel lacks is skipped by name, and only below the version that brought the feature: from there on its absence is a failure.

- **load**: every program of the object goes through this kernel's verifier (`tests/vm/load.rs`). The limit is 1,000,000 instructions.
- **cases**: the table of cases by test run, each with the counter that must move, and only that (`tests/kernel/cases.rs`).
- **devices**: VLAN, bond, IPIP, 6in4, GRE, IPv6 tunnels, VXLAN on both ports, Geneve (`tests/vm/devices.rs`). Each device is up, an outsider's
  datagram to 9042 is first seen to arrive without nodewall, then not to arrive under it; a peer's does.
- **link**, **delivery**: real sockets between network namespaces (`tests/network`): pinned link, atomic replacement, detach, rows of the policy.
- **oracle**: the delivery oracle (`tests/delivery`, docs/DELIVERY.md): every known shape of packet, and 2,000 mutated frames from seed 1, against
  real sockets with a VLAN device and tunnels of every kind up, in native and generic mode, for single and many buffers, VLAN offload on and off.
  Each is a phase, measured by one without nodewall on the same kernel. Not one arrival at a closed port is allowed, and none may be lost at an open
  one but by design. The table by shape is in the run's log.
- **upgrade**: a second executable, and a second program, take over under an outsider's knocking; counters carry on exactly
  (`tests/vm/upgrade.rs`).
- **systemd**: the packaged units under Debian 13's systemd, in a guest of its own with a disk, on one kernel in every run. An outsider knocks at 443
  and 9042 from the moment the network is up; a stand-in for the vendor's services listens (`tests/vm/systemd.rs`).
- **network**, on request: the whole network rung (`cargo xtask vm --only network`).

Seen to fail with planted bugs: without the mask on the transport's offset (`packet.rs`) the verifiers of 5.10 and 6.1 refuse `nodewall_log`
(`math between pkt pointer and register with unbounded min value`), and only **load** fails, on only these two; with IPv4 protocol 4 taken
for no tunnel, **cases** and `devices::ipip` fail, and nothing else; with tags that carry a VLAN's number passed unread, **oracle** reports
datagrams to closed ports over the VLAN device (a kernel without that device can not show it).

`nodewall_log` and `nodewall_log_f` are loaded for `--kernel-log` only. `?`: Linux 5.16 and later tell; `none`: the kernel has no such programs.
";

/// Programs in the order of their entries.
const PROGRAMS: [&str; 11] = [
    "nodewall",
    "nodewall_frags",
    "nodewall_ev",
    "nodewall_ev_f",
    "nodewall_peers",
    "nodewall_peer_f",
    "nodewall_log",
    "nodewall_log_f",
    "nodewall_probe",
    "nodewall_probe_f",
    "nodewall_egress",
];

/// A row of the table: a title, and what stands there for a kernel.
type Row = (&'static str, fn(&Transcript) -> String);

const ROWS: [Row; 27] = [
    ("every program loads that the kernel can have", |t| tests(t, "load", &[""])),
    ("cases in one buffer", |t| cases(t, "linear", "cases::every_case_in_one_buffer")),
    ("cases in many buffers, and jumbo frames", |t| {
        cases(t, "frags", "cases::every_case_and_jumbo_frames_in_many_buffers")
    }),
    ("what is sent: its cell in the kernel, by table and by grammar", |t| tests(t, "outbound", &[""])),
    ("what is sent: exact against the interface, by real sockets", |t| tests(t, "sent", &["outbound::"])),
    ("what is sent: tcx or clsact, adopted, repaired, gone after detach", |t| tests(t, "sent", &["outbound_hooks::"])),
    ("for each peer: its cells in the kernel, by table and by grammar", |t| tests(t, "per-peer", &[""])),
    ("for each peer: exact both ways, by real sockets", |t| tests(t, "sent", &["peer_matrix::"])),
    ("who is denied: flows, captures, budget; adds up under floods and sweeps", |t| tests(t, "denied", &[""])),
    ("attached natively, and generically when asked", |t| tests(t, "link", &["attach::"])),
    ("the link is pinned: enforcement outlives the agent", |t| {
        tests(t, "link", &["lifecycle::sigterm_", "lifecycle::a_killed_"])
    }),
    ("the program is replaced under traffic: nothing lost, nothing let in", |t| {
        tests(t, "link", &["lifecycle::restarts_under_traffic_"])
    }),
    ("detach opens the node and leaves nothing", |t| tests(t, "link", &["lifecycle::detach_"])),
    ("upgrade by another program: counters and policy stay", |t| tests(t, "upgrade", &[""])),
    ("delivery by real sockets: rows of the policy, replies, audit", |t| tests(t, "delivery", &[""])),
    ("delivery with VLAN device, bond and tunnels up", |t| tests(t, "devices", &[""])),
    ("the oracle: shapes that this kernel delivers without nodewall", |t| oracle(t, "oracle_shapes")),
    ("the oracle: arrivals at closed ports without nodewall → with it, all phases", |t| oracle(t, "oracle_closed")),
    ("the oracle: arrivals at open ports without nodewall, dropped by design, lost, all phases", |t| {
        oracle(t, "oracle_open")
    }),
    ("systemd: before the network and before anything listens", |t| tests(t, SYSTEMD, &["systemd::boot_"])),
    ("systemd: ready when the policy stands; a reload takes a new peer in, and no broken file", |t| {
        tests(t, SYSTEMD, &["systemd::ready_", "systemd::reload_"])
    }),
    ("systemd: a crash and a hang: restarted, the filter stays", |t| {
        tests(t, SYSTEMD, &["systemd::crash_", "systemd::hung_"])
    }),
    ("systemd: stop and upgrade: nobody comes in", |t| tests(t, SYSTEMD, &["systemd::stop_", "systemd::upgrade_"])),
    ("systemd: three capabilities, the sandbox, the pins seen outside", |t| tests(t, SYSTEMD, &["systemd::sandbox_"])),
    ("systemd: evidence in the journal; captures where the kernel lets it", |t| {
        tests(t, SYSTEMD, &["systemd::evidence_"])
    }),
    ("systemd: which; exposure of the agent's unit", |t| said(t, &["systemd", "exposure_nodewall"])),
    ("all tests of the network rung", |t| tests(t, "network", &[""])),
];

pub(super) fn render(outcomes: &[Outcome]) -> String {
    let mut text = format!("{HEAD}\nRun on {}.\n\n", date(SystemTime::now()));
    let mut line = |title: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: String = outcomes.iter().map(|outcome| format!(" {} |", cell(outcome))).collect();
        let _ = writeln!(text, "| {title} |{cells}");
    };
    line("kernel", &|o| o.kernel.release.clone());
    line("---", &|_| "---".to_owned());
    line("Debian package", &|o| o.kernel.package_version.clone());
    line("seconds to boot", &|o| o.transcript.boot_s.map_or("FAIL".to_owned(), |boot_s| format!("{boot_s:.1}")));
    for program in PROGRAMS {
        let cost = |o: &Outcome| o.transcript.facts.get(program).cloned();
        line(&format!("`{program}`: instructions verified / run"), &|o| cost(o).unwrap_or_else(|| "-".to_owned()));
    }
    for (title, cell) in ROWS {
        line(title, &|o| cell(&o.transcript));
    }
    line("time for all of it", &|o| seconds(o.took));
    text + &skips(outcomes) + &failures(outcomes)
}

/// `ok` with a count, or how many failed; `-` for what was not run.
fn tests(transcript: &Transcript, check: &str, beginnings: &[&str]) -> String {
    if !transcript.has(check) {
        return "-".to_owned();
    }
    match transcript.count(check, |name| beginnings.iter().any(|beginning| name.starts_with(beginning))) {
        (_, 0) => "FAIL: no test ran".to_owned(),
        (passed, ran) if passed == ran && !transcript.is_complete(check) => format!("FAIL: only {ran} ran"),
        (passed, ran) if passed == ran => format!("ok ({ran})"),
        (passed, ran) => format!("FAIL ({} of {ran})", ran - passed),
    }
}

/// A number of the oracle's, which says `FAIL` when the oracle found anything or did not come to its end.
fn oracle(transcript: &Transcript, fact: &str) -> String {
    if !transcript.has("oracle") {
        return "-".to_owned();
    }
    let passed = transcript.is_complete("oracle") && transcript.count("oracle", |_| true) == (1, 1);
    let said = transcript.facts.get(fact).map_or("-", String::as_str);
    if passed { said.to_owned() } else { format!("FAIL: {said}") }
}

/// What the guest said of itself; `-` where it said nothing.
fn said(transcript: &Transcript, facts: &[&str]) -> String {
    let found: Vec<&str> = facts.iter().filter_map(|fact| transcript.facts.get(*fact).map(String::as_str)).collect();
    if found.is_empty() { "-".to_owned() } else { found.join("; ") }
}

/// How many cases the test went through, all of which it asserts.
fn cases(transcript: &Transcript, buffers: &str, test: &str) -> String {
    if !transcript.has("cases") {
        return "-".to_owned();
    }
    if transcript.skipped.iter().any(|(skipped, _)| skipped == test) {
        return "skipped".to_owned();
    }
    match transcript.count("cases", |name| name == test) {
        // The number is the load check's to tell.
        (1, 1) => {
            transcript.facts.get(&format!("cases_{buffers}")).map_or("ok".to_owned(), |all| format!("{all} of {all}"))
        }
        _ => "FAIL".to_owned(),
    }
}

fn skips(outcomes: &[Outcome]) -> String {
    let mut lines = String::new();
    for outcome in outcomes {
        for (test, feature) in &outcome.transcript.skipped {
            let _ = writeln!(lines, "- Linux {}: `{test}`: no {feature}", outcome.kernel.release);
        }
    }
    if lines.is_empty() {
        lines
    } else {
        format!("\nSkipped, because the kernel is older than the feature:\n\n{lines}")
    }
}

fn failures(outcomes: &[Outcome]) -> String {
    let mut lines = String::new();
    for outcome in outcomes {
        for failure in outcome.transcript.failures() {
            let _ = writeln!(lines, "- Linux {}: {failure}", outcome.kernel.release);
        }
    }
    if lines.is_empty() { "\nNothing failed.\n".to_owned() } else { format!("\nFailed:\n\n{lines}") }
}

/// The day in UTC as `2026-11-22` (days to civil date: Howard Hinnant's algorithm, for dates after 1970).
pub(crate) fn date(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_dates() {
        for (seconds, expected) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_363_200, "2026-11-22")] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_cell_is_ok_only_when_all_of_its_tests_passed() {
        let mut transcript = Transcript::new(&plan::for_kernel((5, 10), &["load".to_owned(), "cases".to_owned()]));
        assert_eq!(tests(&transcript, "load", &["load::"]), "FAIL: no test ran");
        assert_eq!(tests(&transcript, "network", &[""]), "-");
        for line in [
            "NODEWALL-VM begin load",
            "running 1 test",
            "test load::a ... ok",
            "NODEWALL-VM fact cases_linear 120",
            "NODEWALL-VM end load 0",
        ] {
            transcript.line(line);
        }
        assert_eq!(tests(&transcript, "load", &["load::"]), "ok (1)");
        for line in [
            "NODEWALL-VM begin load",
            "running 2 tests",
            "test load::b ... FAILED",
            "NODEWALL-VM begin cases",
            "test cases::every_case_in_one_buffer ... ok",
        ] {
            transcript.line(line);
        }
        assert_eq!(tests(&transcript, "load", &["load::"]), "FAIL (1 of 2)");
        assert_eq!(oracle(&transcript, "oracle_closed"), "-");
        assert_eq!(cases(&transcript, "linear", "cases::every_case_in_one_buffer"), "120 of 120");
        assert_eq!(cases(&transcript, "frags", "cases::every_case_and_jumbo_frames_in_many_buffers"), "skipped");
    }

    #[test]
    fn the_oracles_numbers_stand_for_nothing_when_it_failed() {
        let told = |verdict: &str| {
            let mut transcript = Transcript::new(&plan::for_kernel((6, 1), &["oracle".to_owned()]));
            for line in [
                "NODEWALL-VM begin oracle",
                "running 1 test",
                "NODEWALL-VM fact oracle_closed 8214 → 3",
                &format!("test no_shape_reaches_a_closed_port ... {verdict}"),
            ] {
                transcript.line(line);
            }
            oracle(&transcript, "oracle_closed")
        };
        assert_eq!(told("ok"), "8214 → 3");
        assert_eq!(told("FAILED"), "FAIL: 8214 → 3");
        assert_eq!(told(""), "FAIL: 8214 → 3");
    }
}
