//! The first boot after the card became a bond's slave, on a node that enforced before; the configuration still names the card. Nobody gives a command: the
//! units alone have to filter. Runs in the guest with a systemd, after a boot each (`systemd/bond.sh`).

use std::process::Command;

use serde_json::Value;

use crate::guest::skip_outside;
use crate::systemd::{UNITS, eventually, healthy, journal, knocks, nobody_came_in, reaches, show, status};

/// Which interfaces carry the program.
fn covered() -> Vec<String> {
    let status = status();
    let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
    let covered = interfaces.into_iter().filter(|interface| interface["state"] == "covered");
    covered.map(|interface| interface["name"].as_str().unwrap().to_owned()).collect()
}

/// What was so before the boot is so after it, and what is attached is the bond. `problem`: how the only one begins, if there is one.
fn assert_filtered_by_its_bond(problem: Option<&str>) {
    let shown = Command::new("ip").args(["link", "show", "eth0"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(" master uplink "), "{shown}");
    assert_eq!(show(UNITS[0], "Result"), "success", "{}", journal());
    eventually("the bond to be covered, and the bond alone", || covered() == ["uplink"]);
    let status = status();
    assert_eq!(status["mode"], "enforce");
    let problems: Vec<&str> = status["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(problems.len(), problem.iter().count(), "{problems:?}");
    assert!(problems.iter().zip(problem).all(|(told, begin)| told.starts_with(begin)), "{problems:?}");
    let shown = Command::new("ip").args(["link", "show", "eth0"]).output().unwrap();
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("xdp"), "a slave is not to carry it");
    assert!(reaches("10.77.0.11", "9042"), "the peer is not served\n{}", journal());
}

/// The card is attached at the boot, and the bond once the network's configuration has made it.
#[test]
fn a_bond_that_the_network_makes_is_filtered_after_the_boot() {
    if skip_outside("bonded::a_bond_that_the_network_makes_is_filtered_after_the_boot") {
        return;
    }
    eventually("a healthy agent", healthy);
    assert_filtered_by_its_bond(None);
    // The kernel takes no program on a bond whose slave has one: between the two a moment is open, which one attempt may find.
    let before = knocks();
    assert!(before.2 <= 1, "{before:?}\n{}", journal());
    eventually("the outsider to knock", || knocks().0 > before.0 && knocks().1 > before.1);
    assert_eq!(knocks().2, before.2, "an outsider reached 9042\n{}", journal());
}

/// It is there when `nodewall apply` runs, and no agent comes after.
#[test]
fn a_bond_that_was_there_first_is_filtered_without_an_agent() {
    if skip_outside("bonded::a_bond_that_was_there_first_is_filtered_without_an_agent") {
        return;
    }
    assert_eq!(show(UNITS[1], "ActiveState"), "inactive", "{}", journal());
    assert_filtered_by_its_bond(Some("no agent runs"));
    nobody_came_in((0, 0, 0));
    assert!(knocks().0 > 0);
}
