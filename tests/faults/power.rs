//! The guest's side of a power cut: finds what the last boot left on the disk, has the agent enforce it without a usable configuration, and then
//! writes one state after the other until the power goes. `xtask/src/vm/power.rs` cuts it, and compares what was stored with what was loaded.

use std::fs;
use std::path::Path;

use crate::{
    guest::skip_outside,
    node::{Node, eventually},
    rig,
    settings::Settings,
};
use nodewall::control::Good;
use nodewall_host::state::StateDir;
use nodewall_text::hex;
use rustix::mount::{MountFlags, mount};
use sha2::{Digest as _, Sha256};

const DISK: &str = "/dev/vda";
/// xtask/src/vm/power.rs reads these lines.
const MARK: &str = "NODEWALL-VM power";

/// Two policies; the number of a state tells which it holds.
fn policies() -> [Settings; 2] {
    [rig::settings(), rig::settings().top("tunnels = \"all\"")]
}

/// The state on the disk, judged by its own text: the checksum in the first line is that of the rest.
fn assert_whole(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (heading, body) = text.split_once('\n').unwrap_or_else(|| panic!("cut short: {text:?}"));
    assert!(heading.ends_with(&hex(&Sha256::digest(body))), "{}: {heading}", file.display());
}

/// A start with a configuration that can not be read: what is enforced must be what is on the disk.
fn load(node: &mut Node, state: &StateDir) -> Option<u64> {
    let file = state.path().join("good.state");
    if !file.exists() {
        return None;
    }
    assert_whole(&file);
    let good = Good::last(state).unwrap().expect("a state");
    node.configure_text("mode = \"broken");
    node.start_agent();
    let said = node.agent().output();
    assert!(said.contains("last good policy") && !said.contains("going on with the policy before it"), "{said}");
    let status = node.json("status");
    assert_eq!(
        (&status["policy_sha256"], &status["mode"]),
        (&good.policy_sha256.clone().into(), &"enforce".into()),
        "{status}"
    );
    Some(good.generation)
}

/// What each of the two policies is on disk.
fn states(node: &Node, state: &StateDir) -> [Good; 2] {
    policies().map(|policy| {
        node.configure(&policy);
        let applied = node.nodewall("apply", &[]);
        assert!(applied.status.success(), "{applied:?}");
        Good::last(state).unwrap().unwrap()
    })
}

#[test]
fn the_power_is_cut_again_and_again() {
    if skip_outside("power::the_power_is_cut_again_and_again") {
        return;
    }
    assert!(Path::new(DISK).exists(), "this guest has no disk: run `cargo xtask faults --only power`");
    let mut node = rig::idle(&policies()[0]);
    let directory = rig::state_dir(&node);
    mount(DISK, &directory, "ext4", MountFlags::empty(), None).unwrap();
    fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let state = StateDir::create(&directory).unwrap();
    match load(&mut node, &state) {
        Some(number) => {
            println!("{MARK} loaded {number}");
            node.end_agent(nodewall_testbed::Signal::TERM);
        }
        None => println!("{MARK} loaded nothing"),
    }
    let [even, odd] = states(&node, &state);
    eventually("two policies", || (even.policy_sha256 != odd.policy_sha256).then_some(()));
    // The very writes that `apply` makes, without the seconds that an emulated processor needs for the rest.
    for number in odd.generation + 1.. {
        let (which, before) = if number % 2 == 0 { (&even, &odd) } else { (&odd, &even) };
        let before = Good { generation: number - 1, ..before.clone() };
        Good { generation: number, ..which.clone() }.save(&state, Some(&before)).unwrap();
        println!("{MARK} stored {number}");
    }
}
