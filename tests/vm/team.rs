//! A team: cards that libteam's daemon puts together. It has no native XDP of its own, so its ports carry the program. What the daemon does is done here:
//! the team gets its mode by generic netlink (`linux/if_team.h`), without which it sends nothing.

use nodewall_testbed::Lab;

use crate::counters::Cells;
use crate::generic_netlink::{attribute, command, interface, nested};
use crate::guest::skip_outside;
use crate::node::{Node, eventually};
use crate::settings::Settings;
use crate::traffic::{assert_filtered, assert_open};

const OPTIONS_SET: u8 = 1;
const TEAM_IFINDEX: u16 = 1;
const LIST_OPTION: u16 = 2;
const ITEM_OPTION: u16 = 1;
const OPTION_NAME: u16 = 1;
const OPTION_TYPE: u16 = 3;
const OPTION_DATA: u16 = 4;
const NLA_STRING: u8 = 5;

/// Gives the calling thread's `team0` its mode, which goes only while it has no port.
fn take_turns() {
    let option = [
        attribute(OPTION_NAME, b"mode\0"),
        attribute(OPTION_TYPE, &[NLA_STRING]),
        attribute(OPTION_DATA, b"roundrobin\0"),
    ];
    let list = nested(LIST_OPTION, &[nested(ITEM_OPTION, &option)]);
    let error = command("team", OPTIONS_SET, &[interface(TEAM_IFINDEX, c"team0"), list]);
    // It is set, and nobody listens to be told.
    assert!(error == 0 || error == libc::ESRCH, "no mode: {}", std::io::Error::from_raw_os_error(error));
}

/// The card becomes the port of a team that has its addresses.
fn join_a_team(node: &Node) {
    let mac: Vec<String> = node.host().mac().iter().map(|byte| format!("{byte:02x}")).collect();
    let team = format!("link add team0 address {} type team\n", mac.join(":"));
    node.netns().ip_batch(&team).unwrap();
    node.netns().run(take_turns).unwrap();
    node.netns()
        .ip_batch(
            "addr flush dev eth0\nlink set eth0 down\nlink set eth0 master team0\nlink set team0 up\nlink set eth0 up\n\
             addr add 10.77.0.1/24 dev team0\naddr add fd77::1/64 dev team0 nodad\n",
        )
        .unwrap();
    eventually("the team carries frames", || node.link_words("team0").contains(&"UP".to_owned()).then_some(()));
}

fn assert_covered_by_its_port(node: &Node) {
    assert_filtered(node);
    assert_ne!(node.counters().drops(), Cells::new());
    assert_eq!(node.attachment("eth0").unwrap().0, "native");
    assert_eq!(node.attachment("team0"), None);
    assert_eq!(node.json("status")["problems"].to_string(), "[]");
}

#[test]
fn a_team_is_covered_by_its_port() {
    if skip_outside("team::a_team_is_covered_by_its_port") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default().interfaces(&[]));
    join_a_team(&node);
    // What comes by the team arrives.
    assert_open(&node);
    node.start_agent();
    assert_covered_by_its_port(&node);
}

#[test]
fn a_card_that_joins_a_team_stays_covered() {
    if skip_outside("team::a_card_that_joins_a_team_stays_covered") {
        return;
    }
    let node = Node::on(Lab::new().unwrap(), &Settings::default().interfaces(&[]));
    let before = node.attachment("eth0");
    join_a_team(&node);
    assert_covered_by_its_port(&node);
    assert_eq!(node.attachment("eth0"), before, "it was let go");
}

/// A team that is named is attached generically where that was asked for; natively it cannot be, and what can is said.
#[test]
fn a_team_by_its_name_is_generic_or_refused() {
    if skip_outside("team::a_team_by_its_name_is_generic_or_refused") {
        return;
    }
    let named = Settings::default().interfaces(&["team0"]);
    let mut node = Node::idle(Lab::new().unwrap(), &named);
    join_a_team(&node);
    let refused = node.nodewall("apply", &[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("team0") && refused.stderr.contains("attach_mode = \"tc\""), "{refused:?}");
    assert_open(&node);
    node.configure(&named.rules("[[interface]]\nname = \"team0\"\nattach = \"generic\"\n"));
    node.start_agent();
    assert_filtered(&node);
    assert_eq!(node.attachment("team0").unwrap().0, "generic");
    assert_eq!(node.json("status")["problems"].to_string(), "[]", "its port is covered by it");
}
