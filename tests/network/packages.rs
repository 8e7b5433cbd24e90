//! The scripts of both packages, run as their package managers run them, on a node that is filtered. Files and dependencies are `cargo xtask dist --check`'s.

use nodewall_testbed::{Lab, skip_unless_privileged};

use super::node::Node;
use super::places::Places;
use super::settings::Settings;
use super::traffic::{assert_filtered, assert_open};

const SCRIPTS: &str = "/usr/share/nodewall";
const CONFIG: &str = "/etc/nodewall/nodewall.toml";

fn node() -> (Node, Places) {
    let node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let places = Places::new(&node);
    let placed = format!("install -D -m 644 {} {CONFIG}", node.directories.config().display());
    assert!(places.run(&node, &placed).status.success());
    (node, places)
}

/// An image is built beside a filtered node, and the package removed from it: the pins that the chroot sees are the host's.
#[test]
fn removal_opens_the_node_and_in_a_chroot_nothing() {
    if skip_unless_privileged("removal_opens_the_node_and_in_a_chroot_nothing") {
        return;
    }
    let (node, places) = node();
    for removal in ["deb/prerm remove", "rpm/preun.sh 0"] {
        let applied = places.run(&node, "nodewall apply");
        assert!(applied.status.success(), "{applied:?}");
        let line = format!("sh {SCRIPTS}/{removal}");
        let left = places.run_in_chroot(&node, &line);
        assert!(left.status.success() && left.stdout.contains("stays"), "{removal}: {left:?}");
        assert_filtered(&node);
        let opened = places.run(&node, &line);
        assert!(opened.status.success(), "{removal}: {opened:?}");
        assert_open(&node);
    }
}

/// Nothing is said to run that does not, and why it does not is said.
#[test]
fn what_an_installation_says_is_so() {
    if skip_unless_privileged("what_an_installation_says_is_so") {
        return;
    }
    let (node, places) = node();
    let tell = format!(". {SCRIPTS}/package.sh; tell_standing");
    let in_chroot = places.run_in_chroot(&node, &tell);
    assert!(in_chroot.stdout.contains("nothing was started"), "{in_chroot:?}");
    // A configuration that was kept, and is none any more.
    let broken = places.run(&node, &format!("echo nonsense >{CONFIG}; mkdir -m 700 /var/lib/nodewall; nodewall run"));
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let refused = places.run(&node, &tell);
    assert!(refused.stderr.contains("its agent does not run"), "{refused:?}");
    assert!(refused.stderr.contains("start of the agent was refused: /etc/nodewall/nodewall.toml:1"), "{refused:?}");
    for told in [in_chroot, refused] {
        assert!(!told.stdout.contains("audits now"), "{told:?}");
    }
}
