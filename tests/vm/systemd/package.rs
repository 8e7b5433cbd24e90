//! What the package says once its units were to be started, by its own script, beside a real systemd.

use std::fs;

use super::{NODEWALL, UNITS, eventually, fine, healthy, knocks, nobody_came_in, run, status};
use crate::guest::skip_outside;

const SCRIPT: &str = include_str!("../../../packaging/package.sh");

/// On standard output and standard error.
fn told() -> [String; 2] {
    fs::write("/run/package.sh", SCRIPT).unwrap();
    let output = run("sh", &["-c", ". /run/package.sh; tell_standing"]);
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}

fn in_mode(mode: &str) {
    fine(NODEWALL, &["apply", "--mode", mode]);
    eventually(mode, || status()["mode"] == mode && healthy());
}

#[test]
fn the_package_says_what_the_units_do() {
    if skip_outside("the_package_says_what_the_units_do") {
        return;
    }
    eventually("a healthy agent", healthy);
    let [said, _] = told();
    assert!(said.contains("runs with the configuration that was there") && !said.contains("audits now"), "{said}");

    // Where nothing is dropped he would come in.
    fine("systemctl", &["stop", "outsider.service"]);
    in_mode("audit");
    let [said, _] = told();
    assert!(said.contains("nodewall audits now and drops nothing"), "{said}");
    in_mode("enforce");

    // As where policy-rc.d or a mask forbade the start.
    fine("systemctl", &["stop", UNITS[1]]);
    let [said, failed] = told();
    assert!(failed.contains("its agent does not run: nothing is counted or recorded"), "{failed}");
    assert!(!said.contains("audits now") && !said.contains("runs with"), "{said}");
    fine("systemctl", &["start", UNITS[1], "outsider.service"]);
    eventually("a healthy agent", healthy);
    nobody_came_in(knocks());
}
