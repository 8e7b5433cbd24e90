//! What is run on each kernel, how long it may take, and what a kernel is too old for. A feature is skipped by name, and only below the
//! version that brought it: from there on its tests run, and fail if it is not there.

use std::time::Duration;

use super::kernels::Flavour;

/// What kind of guest a check needs. One is booted for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// Two processors; the plan is the first process.
    Usual,
    /// A whole Debian on a disk, whose systemd is the first process.
    Systemd,
    /// One processor, and 127 that were never started.
    ManyCpus,
    /// One processor, which may be interrupted after any instruction.
    OneCpu,
    /// As the usual one, and its kernel hides the constants of programs (`net.core.bpf_jit_harden = 2`), which no namespace can have for itself.
    Hardened,
}

impl Guest {
    /// In the order in which they are booted.
    pub(super) const ALL: [Self; 5] = [Self::Usual, Self::Systemd, Self::ManyCpus, Self::OneCpu, Self::Hardened];

    /// Whether its checks run on a kernel without being asked for. Those that ask little of the kernel's version run on the one of Debian's
    /// present release, whose systemd it is, too.
    fn usually(self, version: (u32, u32), flavour: Flavour) -> bool {
        match self {
            Self::Usual => flavour == Flavour::Cloud,
            Self::Systemd | Self::ManyCpus | Self::Hardened => flavour == Flavour::Cloud && version == (6, 12),
            Self::OneCpu => flavour == Flavour::RealTime,
        }
    }

    /// What its logs are called by.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Systemd => SYSTEMD,
            Self::ManyCpus => "many-cpus",
            Self::OneCpu => "one-cpu",
            Self::Hardened => "hardened",
        }
    }

    /// Processors that QEMU makes, and how many of them the kernel starts. (Of places that are still empty, as `-smp 1,maxcpus=128` makes them, Linux
    /// takes no notice without a hypervisor that it knows.)
    pub(super) const fn processors(self) -> (&'static str, &'static str) {
        match self {
            Self::Usual | Self::Systemd | Self::Hardened => ("2", "2"),
            Self::ManyCpus => ("128", "1"),
            Self::OneCpu => ("1", "1"),
        }
    }
}

/// What a hardened guest's kernel is told before a check.
const HARDENING: &str = "/proc/sys/net/core/bpf_jit_harden";

/// The check that needs a guest with a systemd.
const SYSTEMD: &str = "systemd";

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
    guest: Guest,
    /// The guest boots anew before it, after this command.
    boots_after: Option<&'static str>,
    /// Whether it runs unless others are asked for.
    usual: bool,
}

impl Check {
    /// One that usually runs.
    const fn new(
        name: &'static str,
        executable: &'static str,
        filters: &'static [&'static str],
        deadline_s: u64,
    ) -> Self {
        let deadline = Duration::from_secs(deadline_s);
        Self {
            name,
            executable,
            filters,
            environment: &[],
            deadline,
            guest: Guest::Usual,
            boots_after: None,
            usual: true,
        }
    }

    const fn with(self, environment: &'static [&'static str]) -> Self {
        Self { environment, ..self }
    }

    const fn inside(self, guest: Guest) -> Self {
        Self { guest, ..self }
    }

    const fn booted_after(self, command: &'static str) -> Self {
        Self { boots_after: Some(command), ..self }
    }

    const fn on_request(self) -> Self {
        Self { usual: false, ..self }
    }
}

pub(super) const CHECKS: [Check; 21] = [
    Check::new("load", "vm", &["load::"], 240),
    Check::new("cases", "kernel", &["cases::"], 480),
    Check::new("devices", "vm", &["devices::", "team::", "ways_in::", "layer_3::"], 360),
    Check::new("upgrade", "vm", &["upgrade::"], 180),
    Check::new("outbound", "kernel", &["outbound::"], 240),
    Check::new("per-peer", "kernel", &["peer_traffic::"], 240),
    Check::new("denied", "kernel", &["denied::"], 240),
    Check::new("sent", "network", &["outbound::", "outbound_hooks::", "peer_matrix::each_"], 360),
    Check::new("link", "network", &["lifecycle::", "attach::native_", "attach::generic_"], 360),
    Check::new(
        "delivery",
        "network",
        &[
            "audit::",
            "rows::https_443_",
            "rows::cassandra_",
            "rows::what_the_policy_does_not_name_",
            "replies::replies_reach_",
            "control::path_mtu_",
        ],
        360,
    ),
    // Every shape in every configuration, and fewer mutations than outside: an emulated processor is slow.
    Check::new("oracle", "delivery", &[], 480).with(&["NODEWALL_SEED=1", "NODEWALL_FRAMES=2000"]),
    Check::new(SYSTEMD, "vm", &["systemd::"], 480).inside(Guest::Systemd),
    Check::new("bond-boot", "vm", &["bonded::a_bond_that_the_network_makes"], 240)
        .inside(Guest::Systemd)
        .booted_after("sh /guest/bond.sh network"),
    Check::new("bond-boot-alone", "vm", &["bonded::a_bond_that_was_there_first"], 240)
        .inside(Guest::Systemd)
        .booted_after("sh /guest/bond.sh initramfs"),
    Check::new("many-cpus", "vm", &["many_cpus::"], 480).inside(Guest::ManyCpus),
    Check::new("realtime", "vm", &["realtime::"], 3000).inside(Guest::OneCpu),
    Check::new("hardened-load", "vm", &["load::"], 240).inside(Guest::Hardened),
    Check::new(HARDENED_CASES, "kernel", &["cases::"], 240).inside(Guest::Hardened),
    // Ten minutes a kernel: too long for every run.
    Check::new(NETWORK, "network", &[], 1500).on_request(),
    // Faults: `cargo xtask faults --full` runs them on one kernel.
    Check::new("clock", "faults", &["clock::the_clock_"], 240).on_request(),
    Check::new("cpus", "faults", &["cpus::a_cpu_"], 360).with(&["NODEWALL_FAULTS=full"]).on_request(),
];

/// A table of needs names it.
const HARDENED_CASES: &str = "hardened-cases";

/// Check, a test that needs what older kernels lack, the feature, and the version that brought it.
const NEEDS: [(&str, &str, &str, (u32, u32)); 5] = [
    ("cases", "cases::every_case_and_jumbo_frames_in_many_buffers", "multi-buffer XDP", (5, 18)),
    ("cases", "cases::the_verifier_has_headroom", "count of verified instructions", (5, 16)),
    (HARDENED_CASES, "cases::every_case_and_jumbo_frames_in_many_buffers", "multi-buffer XDP", (5, 18)),
    (HARDENED_CASES, "cases::the_verifier_has_headroom", "count of verified instructions", (5, 16)),
    ("outbound", "outbound::the_verifier_has_headroom_for_what_is_sent", "count of verified instructions", (5, 16)),
];

/// A check as one kernel runs it.
pub(super) struct Planned {
    pub(super) name: &'static str,
    pub(super) command: String,
    pub(super) deadline: Duration,
    pub(super) guest: Guest,
    /// The guest boots anew before it, after this command. Its disk stays as it is.
    pub(super) boots_after: Option<&'static str>,
    /// Tests that this kernel is too old for, each with the feature and the version that brought it.
    pub(super) skipped: Vec<(&'static str, String)>,
}

/// What a kernel of this version runs; `only` of nothing is everything.
pub(super) fn for_kernel(version: (u32, u32), flavour: Flavour, only: &[String]) -> Vec<Planned> {
    let usual = |check: &Check| check.usual && check.guest.usually(version, flavour);
    let wanted =
        |check: &&Check| if only.is_empty() { usual(check) } else { only.iter().any(|name| name == check.name) };
    CHECKS.iter().filter(wanted).map(|check| planned(check, version)).collect()
}

fn planned(check: &Check, version: (u32, u32)) -> Planned {
    let missing = NEEDS.iter().filter(|(needy, .., since)| *needy == check.name && version < *since);
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
    for (_, test, feature, (major, minor)) in missing {
        command = format!("{command} --skip {test}");
        skipped.push((*test, format!("{feature} (Linux {major}.{minor})")));
    }
    if check.guest == Guest::Hardened {
        command = format!("sh -c 'echo 2 >{HARDENING} && grep -qx 2 {HARDENING} && exec {command}'");
    }
    Planned {
        name: check.name,
        command,
        deadline: check.deadline,
        guest: check.guest,
        boots_after: check.boots_after,
        skipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_is_new_enough_for_is_not_skipped() {
        let skipped =
            |version| for_kernel(version, Flavour::Cloud, &[]).iter().map(|check| check.skipped.len()).sum::<usize>();
        assert_eq!(
            [skipped((5, 10)), skipped((5, 16)), skipped((5, 17)), skipped((5, 18)), skipped((7, 3))],
            [3, 1, 1, 0, 0]
        );
        let cases = for_kernel((5, 10), Flavour::Cloud, &["cases".to_owned()]);
        assert!(cases.iter().all(|check| check.command.contains("--skip cases::the_verifier_has_headroom")));
    }

    /// A name that no test has would skip nothing, or select nothing.
    #[test]
    fn every_name_in_the_tables_is_a_test() {
        let needed = NEEDS.iter().map(|(needy, test, ..)| {
            let check = CHECKS.iter().find(|check| check.name == *needy);
            (check.map_or("", |check| check.executable), *test)
        });
        let selected = CHECKS.iter().flat_map(|check| check.filters.iter().map(|filter| (check.executable, *filter)));
        for (executable, test) in needed.chain(selected).chain(NOT_IN_GUESTS.map(|module| (NETWORK, module))) {
            assert!(crate::workspace::has_test(executable, test), "{executable} has no {test}");
        }
    }
}
