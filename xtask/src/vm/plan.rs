//! What is run on each kernel, how long it may take, and what a kernel is too old for. A feature is skipped by name, and only below the
//! version that brought it: from there on its tests run, and fail if it is not there.

use std::time::Duration;

/// The check that needs a guest with a systemd.
pub(super) const SYSTEMD: &str = "systemd";
/// The kernel that has it in every run: the one of the Debian whose systemd it is. Others have it when they are asked to.
const SYSTEMD_USUALLY: (u32, u32) = (6, 12);

/// Every test of the network rung that needs no programs that guests lack (a browser, Prometheus, Ansible): all but these modules'.
const NETWORK: &str = "network";
const NOT_IN_GUESTS: [&str; 4] = ["ansible::", "export::", "page::", "top_colors::"];

/// Some tests of one executable.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// The folder below tests/.
    pub(super) executable: &'static str,
    /// Beginnings of the tests' names; all when there are none.
    filters: &'static [&'static str],
    /// What the tests find in their environment.
    environment: &'static [&'static str],
    deadline: Duration,
    /// Whether it runs unless others are asked for.
    usual: bool,
}

pub(super) const CHECKS: [Check; 15] = [
    Check {
        name: "load",
        executable: "vm",
        filters: &["load::"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: true,
    },
    Check {
        name: "cases",
        executable: "kernel",
        filters: &["cases::"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: true,
    },
    Check {
        name: "devices",
        executable: "vm",
        filters: &["devices::"],
        environment: &[],
        deadline: Duration::from_secs(360),
        usual: true,
    },
    Check {
        name: "upgrade",
        executable: "vm",
        filters: &["upgrade::"],
        environment: &[],
        deadline: Duration::from_secs(180),
        usual: true,
    },
    Check {
        name: "outbound",
        executable: "kernel",
        filters: &["outbound::"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: true,
    },
    Check {
        name: "per-peer",
        executable: "kernel",
        filters: &["peer_traffic::"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: true,
    },
    Check {
        name: "denied",
        executable: "kernel",
        filters: &["denied::"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: true,
    },
    Check {
        name: "sent",
        executable: "network",
        filters: &["outbound::", "outbound_hooks::", "peer_matrix::each_"],
        environment: &[],
        deadline: Duration::from_secs(360),
        usual: true,
    },
    Check {
        name: "link",
        executable: "network",
        filters: &["lifecycle::", "attach::native_", "attach::generic_"],
        environment: &[],
        deadline: Duration::from_secs(360),
        usual: true,
    },
    Check {
        name: "delivery",
        executable: "network",
        filters: &[
            "audit::",
            "rows::https_443_",
            "rows::cassandra_",
            "rows::what_the_policy_does_not_name_",
            "replies::replies_reach_",
            "control::path_mtu_",
        ],
        environment: &[],
        deadline: Duration::from_secs(360),
        usual: true,
    },
    Check {
        name: "oracle",
        executable: "delivery",
        filters: &[],
        // Every shape in every configuration, and fewer mutations than outside: an emulated processor is slow.
        environment: &["NODEWALL_SEED=1", "NODEWALL_FRAMES=2000"],
        deadline: Duration::from_secs(480),
        usual: true,
    },
    // In a guest of its own (`systemd.rs`).
    Check {
        name: SYSTEMD,
        executable: "vm",
        filters: &["systemd::"],
        environment: &[],
        deadline: Duration::from_secs(360),
        usual: true,
    },
    // Ten minutes a kernel: too long for every run.
    Check {
        name: NETWORK,
        executable: "network",
        filters: &[],
        environment: &[],
        deadline: Duration::from_secs(1500),
        usual: false,
    },
    // Faults: `cargo xtask faults --full` runs them on one kernel.
    Check {
        name: "clock",
        executable: "faults",
        filters: &["clock::the_clock_"],
        environment: &[],
        deadline: Duration::from_secs(240),
        usual: false,
    },
    Check {
        name: "cpus",
        executable: "faults",
        filters: &["cpus::a_cpu_"],
        environment: &["NODEWALL_FAULTS=full"],
        deadline: Duration::from_secs(360),
        usual: false,
    },
];

/// A test that needs what older kernels lack.
struct Needs {
    check: &'static str,
    test: &'static str,
    feature: &'static str,
    since: (u32, u32),
}

const NEEDS: &[Needs] = &[
    Needs {
        check: "cases",
        test: "cases::every_case_and_jumbo_frames_in_many_buffers",
        feature: "multi-buffer XDP",
        since: (5, 18),
    },
    Needs {
        check: "cases",
        test: "cases::the_verifier_has_headroom",
        feature: "count of verified instructions",
        since: (5, 16),
    },
    Needs {
        check: "outbound",
        test: "outbound::the_verifier_has_headroom_for_what_is_sent",
        feature: "count of verified instructions",
        since: (5, 16),
    },
];

/// A check as one kernel runs it.
pub(super) struct Planned {
    pub(super) name: &'static str,
    pub(super) command: String,
    pub(super) deadline: Duration,
    /// Tests that this kernel is too old for, each with the feature and the version that brought it.
    pub(super) skipped: Vec<(&'static str, String)>,
}

/// What a kernel of this version runs; `only` of nothing is everything.
pub(super) fn for_kernel(version: (u32, u32), only: &[String]) -> Vec<Planned> {
    let usual = |check: &Check| check.usual && (check.name != SYSTEMD || version == SYSTEMD_USUALLY);
    let wanted =
        |check: &&Check| if only.is_empty() { usual(check) } else { only.iter().any(|name| name == check.name) };
    CHECKS.iter().filter(wanted).map(|check| planned(check, version)).collect()
}

fn planned(check: &Check, version: (u32, u32)) -> Planned {
    let missing = NEEDS.iter().filter(|needs| needs.check == check.name && version < needs.since);
    // Panics are shown when they happen, not after the last test, which a deadline may forestall.
    let mut command = format!("/tests/{} --nocapture", check.executable);
    if !check.environment.is_empty() {
        command = format!("env {} {command}", check.environment.join(" "));
    }
    for word in check.filters {
        command = format!("{command} {word}");
    }
    if check.name == SYSTEMD {
        // There is one systemd for all of them.
        command.push_str(" --test-threads=1");
    }
    if check.name == NETWORK {
        for module in NOT_IN_GUESTS {
            command = format!("{command} --skip {module}");
        }
    }
    let mut skipped = Vec::new();
    for needs in missing {
        command = format!("{command} --skip {}", needs.test);
        skipped.push((needs.test, format!("{} (Linux {}.{})", needs.feature, needs.since.0, needs.since.1)));
    }
    Planned { name: check.name, command, deadline: check.deadline, skipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_is_new_enough_for_is_not_skipped() {
        let skipped = |version| for_kernel(version, &[]).iter().map(|check| check.skipped.len()).sum::<usize>();
        assert_eq!(
            [skipped((5, 10)), skipped((5, 16)), skipped((5, 17)), skipped((5, 18)), skipped((7, 3))],
            [3, 1, 1, 0, 0]
        );
        let cases = for_kernel((5, 10), &["cases".to_owned()]);
        assert!(cases.iter().all(|check| check.command.contains("--skip cases::the_verifier_has_headroom")));
    }

    /// A name that no test has would skip nothing, or select nothing.
    #[test]
    fn every_name_in_the_tables_is_a_test() {
        let has = |executable: &str, path: &str| {
            let (module, test) = path.rsplit_once("::").unwrap_or_default();
            let file = crate::workspace::root().join("tests").join(executable).join(format!("{module}.rs"));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                text.contains(&format!("\nfn {test}")) || test.is_empty() && !text.is_empty(),
                "{executable} has no {path}"
            );
        };
        for needs in NEEDS {
            let check = CHECKS.iter().find(|check| check.name == needs.check);
            has(check.map_or("", |check| check.executable), needs.test);
        }
        for check in &CHECKS {
            for filter in check.filters {
                has(check.executable, filter);
            }
        }
        for module in NOT_IN_GUESTS {
            has(NETWORK, module);
        }
    }
}
