//! Configurations with a mistake, made from the grammar of mistakes: each is refused at its file, line and column, by whatever reads it, and the policy
//! that was in force stays in force.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use nodewall_testbed::{Signal, run_to_end, skip_unless_privileged};

use crate::binary::executable;
use crate::mistakes::{MistakeKind, Wrong, kinds};
use crate::node::{Node, PATIENCE};
use crate::random::Random;
use crate::record::{Record, beside_others, is_full, seed};
use crate::rig;

const FILES: usize = 500;

/// So many files, every kind as often as any other.
fn files() -> Vec<(&'static MistakeKind, Wrong)> {
    let (mut random, kinds) = (Random::new(seed()), kinds());
    (0..FILES).map(|n| kinds[n % kinds.len()]).map(|kind| (kind, kind.wrong(&mut random))).collect()
}

/// The refusal names the place, shows the line and says what is wrong; nothing is printed as a result.
#[track_caller]
fn assert_refused(what: &str, command: Command, at: &str, kind: &MistakeKind, wrong: &Wrong) {
    let ran = run_to_end(what, command, PATIENCE).unwrap();
    let context =
        || format!("{what}: {}\nexpected {at:?} and {:?}\n{}\n--\n{}", kind.name, kind.told, ran.stderr, wrong.text);
    assert_eq!(ran.status.code(), Some(1), "{}", context());
    assert!(ran.stdout.is_empty(), "{}\n{}", context(), ran.stdout);
    assert!(ran.stderr.starts_with("nodewall: ") && ran.stderr.contains(at), "{}", context());
    assert!(ran.stderr.contains(kind.told) && ran.stderr.contains('^'), "{}", context());
}

#[test]
fn malformed_configurations_are_refused_at_their_place() {
    let kinds = kinds();
    assert!(kinds.len() >= 45, "{}", kinds.len());
    assert_eq!(kinds.iter().map(|kind| kind.name).collect::<BTreeSet<_>>().len(), kinds.len(), "a name twice");
    let mut record = Record::new(
        "malformed",
        "malformed configurations, generated from a grammar of mistakes: `check`, `apply`, `run`",
        FILES as u64,
        "each refused with file:line:column, exit 1, nothing made",
    );
    let folder = tempfile::tempdir().unwrap();
    let (config, state, pins) =
        (folder.path().join("nodewall.toml"), folder.path().join("state"), folder.path().join("pins"));
    let mut seen = BTreeSet::new();
    for (n, (kind, wrong)) in files().iter().enumerate() {
        fs::write(&config, &wrong.text).unwrap();
        let at = format!("{}:{}:{}: ", config.display(), wrong.line, wrong.column);
        // Each kind by every command, the others by the one that only looks.
        let verbs: &[&str] = if n < kinds.len() || is_full() { &["check", "apply", "run"] } else { &["check"] };
        for verb in verbs {
            let mut command = Command::new(executable());
            command.args([verb, "-o", "json", "--color", "never", "--config"]).arg(&config);
            command.arg("--state-dir").arg(&state).arg("--bpffs").arg(&pins);
            assert_refused(verb, command, &at, kind, wrong);
        }
        assert!(!state.exists() && !pins.exists(), "{}", kind.name);
        seen.insert(wrong.text.clone());
    }
    record.measured(format!(
        "{} kinds of mistakes, {} different files, all refused at their place",
        kinds.len(),
        seen.len()
    ));
    assert!(seen.len() * 10 >= FILES * 9, "too few different files: {}", seen.len());
    record.passed();
}

/// What is in force, by its number and its hash.
fn in_force(node: &Node) -> (u64, String) {
    let status = node.json("status");
    (status["generation"].as_u64().unwrap(), status["policy_sha256"].as_str().unwrap().to_owned())
}

#[test]
fn malformed_configurations_change_nothing() {
    if skip_unless_privileged("malformed_configurations_change_nothing") {
        return;
    }
    let _turn = beside_others();
    let files = files();
    let files = &files[..if is_full() { FILES } else { kinds().len() }];
    let mut record = Record::new(
        "malformed-live",
        "malformed configurations beside a policy in force: SIGHUP, and `apply`",
        files.len() as u64,
        "each refused with file:line:column; generation and hash unchanged",
    );
    let node = rig::enforcing(&rig::settings());
    let (before, mut seen) = (in_force(&node), 0);
    for (kind, wrong) in files {
        node.configure_text(&wrong.text);
        let at = format!("{}:{}:{}: ", rig::config_file(&node).display(), wrong.line, wrong.column);
        assert_refused("apply", node.command("apply", &[]), &at, kind, wrong);
        node.agent().signal(Signal::HUP).unwrap();
        let refused = |line: &str| line.contains("ERROR") && line.contains("refused") && line.contains(&at);
        let told = node.agent().wait_for_line_from(&mut seen, PATIENCE, refused);
        assert!(told.is_ok(), "{}: expected {at}\n{}\n--\n{}", kind.name, told.unwrap_err(), wrong.text);
        assert_eq!(in_force(&node), before, "{}\n{}", kind.name, wrong.text);
    }
    record.measured("all refused at their place; the policy in force stayed the same one".to_owned());
    record.passed();
}
