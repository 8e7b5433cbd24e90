//! What others have made or can change: another's XDP program on the interface, a configuration, a state directory or a pin directory that somebody
//! else can write. All of it is refused, and nothing is changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use nodewall_testbed::{Foreign, skip_unless_privileged};
use serde_json::Value;

use crate::node::{Node, PATIENCE, eventually};
use crate::record::{Record, beside_others};
use crate::rig;

/// Not root, and nobody in particular.
const SOMEBODY: u32 = 65_534;

/// Runs both verbs; each must refuse and say this, and leave the interface's program as it is. `apply` ends with exit code 1, and so does `run` where
/// there is no last good policy to stand by.
fn assert_refused(node: &Node, has_last_good: bool, told: &[&str]) -> u64 {
    let program = || node.link_words("eth0").into_iter().skip_while(|word| word != "prog/xdp").nth(2);
    let before = program();
    let refused = node.nodewall("apply", &[]);
    assert_eq!(refused.status.code(), Some(1), "{told:?}: {refused:?}");
    let agent = rig::spawn_agent(node, &[]);
    let says_it_all = |said: &str| told.iter().all(|words| said.contains(words));
    eventually("the agent refuses", || says_it_all(&agent.output()).then_some(()));
    if has_last_good {
        eventually("it stands by the last good policy", || agent.output().contains("policy enforced").then_some(()));
        assert!(agent.terminate().unwrap().success(), "{}", agent.output());
    } else {
        assert_eq!(agent.wait(PATIENCE).unwrap().code(), Some(1), "{}", agent.output());
    }
    assert!(says_it_all(&refused.stderr), "{told:?}: {refused:?}");
    if !has_last_good {
        assert_eq!(program(), before, "{told:?}");
    }
    2
}

#[test]
fn a_foreign_program_is_left_alone() {
    if skip_unless_privileged("a_foreign_program_is_left_alone") {
        return;
    }
    let _turn = beside_others();
    let mut record = Record::new(
        "foreign",
        "a foreign XDP program on the interface",
        2,
        "refused with its id; it runs on, nothing is made",
    );
    let node = rig::idle(&rig::settings());
    let foreign = Foreign::attach(node.netns(), "eth0").unwrap();
    assert_refused(&node, false, &["eth0", &format!("program id {}", foreign.id())]);
    assert!(!node.directories.pins().exists());
    assert!(node.link_words("eth0").contains(&foreign.id().to_string()));
    drop(foreign);
    // With the stranger gone, the same command works.
    assert!(node.nodewall("apply", &[]).status.success());
    record.measured("refused by `apply` and `run`; taken once it was gone".to_owned());
    record.passed();
}

/// The policy in force, by its hash and how it is attached.
fn in_force(node: &Node) -> (Value, Option<String>) {
    (node.json("status")["policy_sha256"].clone(), node.attachment("eth0").map(|(mode, _)| mode))
}

#[test]
fn what_somebody_else_can_write_is_not_believed() {
    if skip_unless_privileged("what_somebody_else_can_write_is_not_believed") {
        return;
    }
    let _turn = beside_others();
    let mut record = Record::new(
        "strangers",
        "a configuration, state directory or pin directory that somebody else owns or can write",
        0,
        "refused by name; the policy in force stays",
    );
    let mut tried = 0;
    let node = rig::idle(&rig::settings());
    assert!(node.nodewall("apply", &[]).status.success());
    let before = in_force(&node);
    let (config, state, pins) = (rig::config_file(&node), rig::state_dir(&node), node.directories.pins());
    let mut with = |path: &Path, mode: u32, owner: u32, told: &[&str]| {
        let was = fs::symlink_metadata(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        chown(path, Some(owner), None).unwrap();
        tried += assert_refused(&node, path == config, told);
        chown(path, Some(was.uid()), None).unwrap();
        fs::set_permissions(path, Permissions::from_mode(was.mode() & 0o7777)).unwrap();
    };
    let name = |path: &Path| path.to_string_lossy().into_owned();
    for mode in [0o660, 0o602] {
        with(&config, mode, 0, &[&name(&config), "can be written by others"]);
        with(&state, mode | 0o700, 0, &[&name(&state), "can be written by others"]);
        // Whoever can write above it can put another in its place.
        with(config.parent().unwrap(), mode | 0o705, 0, &[&name(&config), "can be changed by others"]);
    }
    with(&state, 0o700, SOMEBODY, &[&name(&state), "belongs to user 65534"]);
    with(config.parent().unwrap(), 0o755, SOMEBODY, &[&name(&config), "belongs to user 65534"]);
    with(pins, 0o755, 0, &[&name(pins), "mode 0755"]);
    with(&pins.join("maps"), 0o700, SOMEBODY, &[&name(pins), "owner 65534"]);
    with(&node.directories.maps(), 0o700, SOMEBODY, &[&name(pins), "owner 65534"]);
    with(&pins.join("links"), 0o770, 0, &[&name(pins), "mode 0770"]);
    assert_eq!(in_force(&node), before);

    // A pin directory that somebody made first, on a node that has none yet.
    let fresh = rig::idle(&rig::settings());
    let made = fresh.directories.pins();
    fs::create_dir(made).unwrap();
    chown(made, Some(SOMEBODY), None).unwrap();
    tried += assert_refused(&fresh, false, &[&name(made), "somebody else"]);
    fs::remove_dir(made).unwrap();
    std::os::unix::fs::symlink(pins, made).unwrap();
    tried += assert_refused(&fresh, false, &[&name(made), "not a directory"]);
    fs::remove_file(made).unwrap();
    record.set_runs(tried);
    record.measured(format!("{tried} of {tried} refused"));
    record.passed();
}
