//! The packaged systemd units: that they are sound, how exposed they are, and that they give exactly the privileges that were meant. It must not start them;
//! a virtual machine does (`cargo xtask vm --only systemd`).

use nodewall_rig::binary::executable;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 2] = ["nodewall-apply.service", "nodewall.service"];
/// In tenths, as `--threshold` wants it.
const EXPOSURE_AT_MOST: &str = "20";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd")
}

/// Values of a setting in a unit, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(folder().join(unit)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)).collect()
}

fn words(unit: &str, key: &str) -> BTreeSet<String> {
    values(unit, key).iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
}

fn systemd_analyze(arguments: &[&str], files: &[PathBuf]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).args(files).env("SYSTEMD_LOG_COLOR", "0").output();
    output.expect("systemd-analyze is not there; `cargo xtask setup` installs it")
}

#[test]
fn their_exposure_is_at_most_2_0() {
    for unit in UNITS {
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_AT_MOST];
        let output = systemd_analyze(&arguments, &[folder().join(unit)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Overall exposure level"), "{unit}: {output:?}");
        assert!(output.status.success(), "{unit}: {text}");
    }
}

#[test]
fn systemd_understands_every_line() {
    // The executable must be where the unit says, so that a copy says where it is here.
    let copies = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = UNITS
        .iter()
        .map(|unit| {
            let text = fs::read_to_string(folder().join(unit)).unwrap();
            let copy = copies.path().join(unit);
            let here = text.replace("/usr/bin/nodewall", executable()).replace("man:nodewall(1)", "man:sh(1)");
            fs::write(&copy, here).unwrap();
            copy
        })
        .collect();
    let output = systemd_analyze(&["verify", "--man=no"], &files);
    // It says what it does not understand, and is content all the same. What it says of the machine's other units is not ours.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("nodewall")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn neither_can_take_all_of_the_node_s_memory() {
    for unit in UNITS {
        assert_eq!(values(unit, "MemoryMax"), ["1G"], "{unit}");
    }
}

#[test]
fn they_give_three_capabilities_and_the_drop_in_names_the_old_one() {
    let three = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"].map(str::to_owned).into();
    for unit in UNITS {
        assert_eq!(words(unit, "CapabilityBoundingSet"), three, "{unit}");
        assert_eq!(values(unit, "AmbientCapabilities"), [""], "{unit}");
        assert_eq!(values(unit, "NoNewPrivileges"), ["yes"], "{unit}");
    }
    // An empty value takes the unit's own away.
    assert_eq!(values("old-systemd.conf", "CapabilityBoundingSet"), ["", "CAP_NET_ADMIN CAP_SYS_ADMIN"]);
    // Added to the unit's own.
    assert_eq!(values("captures.conf", "CapabilityBoundingSet"), ["CAP_SYS_ADMIN"]);
}

#[test]
fn both_have_the_same_sandbox() {
    let keys = |unit: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(folder().join(unit)).unwrap();
        let sandbox = text.lines().skip_while(|line| !line.starts_with("CapabilityBoundingSet"));
        sandbox
            .take_while(|line| *line != "[Install]")
            // The agent speaks to single hosts, which the boot does not.
            .filter(|line| line.contains('=') && !line.starts_with('#') && !line.starts_with("IPAddressAllow="))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(keys(UNITS[0]), keys(UNITS[1]));
    assert!(keys(UNITS[0]).len() > 25);
}

/// Every service that does not say otherwise comes after sysinit.target: whatever the vendor's are called, they wait.
#[test]
fn whatever_listens_waits_for_the_filter() {
    let before = words(UNITS[0], "Before");
    for target in ["network-pre.target", "sysinit.target", "shutdown.target"] {
        assert!(before.contains(target), "{before:?}");
    }
    assert_eq!(values(UNITS[0], "DefaultDependencies"), ["no"]);
    assert_eq!(values(UNITS[0], "WantedBy"), ["sysinit.target"]);
    // A missing interface is no failure at boot, and nothing here needs the network.
    assert_eq!(values(UNITS[0], "SuccessExitStatus"), ["3"]);
    assert_eq!(values(UNITS[0], "IPAddressDeny"), ["any"]);
    assert_eq!(values(UNITS[0], "After").iter().filter(|after| after.contains("network")).count(), 0);
    assert_eq!(values(UNITS[1], "Type"), ["notify"]);
    assert!(!values(UNITS[1], "WatchdogSec").is_empty());
    assert_eq!(values(UNITS[1], "StartLimitIntervalSec"), ["0"]);
}
