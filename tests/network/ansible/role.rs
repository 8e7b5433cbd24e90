//! The role as it is packaged: its linter, and its variables where they are said, meant and documented.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::fleet::{packaged, python, surroundings};

fn read(file: &str) -> String {
    fs::read_to_string(packaged().join("roles/nodewall").join(file)).unwrap()
}

#[test]
fn its_linter_has_nothing_to_say_at_the_strictest_profile() {
    let home = tempfile::tempdir().unwrap();
    // A copy: the linter writes beside what it reads.
    let copied = Command::new("cp").arg("-r").arg(packaged()).arg(home.path().join("linted")).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(python("ansible-lint"));
    surroundings(&mut command, home.path());
    command.args(["--offline", "--nocolor", "--strict", "--profile", "production", "rollout.yml", "roles"]);
    let output = command.current_dir(home.path().join("linted")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("Profile 'production' was required, and it passed"), "{said}");
}

#[test]
fn each_variable_has_a_default_a_meaning_and_a_line_in_the_document() {
    let name = |line: &str| {
        let (name, _) = line.split_once(':')?;
        name.starts_with("nodewall_").then(|| name.to_owned())
    };
    let defaults: BTreeSet<String> = read("defaults/main.yml").lines().filter_map(name).collect();
    let meant: BTreeSet<String> = read("meta/argument_specs.yml")
        .lines()
        .filter_map(|line| name(line.strip_prefix("      ").filter(|rest| !rest.starts_with([' ', '-']))?))
        .collect();
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FLEET.md")).unwrap();
    let documented: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `nodewall_"))
        .map(|rest| format!("nodewall_{}", rest.split('`').next().unwrap()))
        .collect();
    assert!(defaults.len() > 20, "{defaults:?}");
    assert_eq!(defaults, meant);
    // A host's own, which can have no default in the role: others read it, too.
    let mut expected = defaults;
    expected.insert("nodewall_addresses".into());
    assert_eq!(documented, expected);
}
