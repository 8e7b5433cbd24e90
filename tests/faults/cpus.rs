//! A processor goes and comes back under traffic. Counters are kept per processor: those of one that is gone still count. Only in a guest of
//! `cargo xtask faults`, whose processors are nobody else's.

use std::fs;

use nodewall_testbed::skip_unless_privileged;

use crate::guest::skip_outside;
use crate::node::eventually;
use crate::record::{Record, runs};
use crate::rig;
use crate::steady::{self, Steady};

const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";
/// An emulated processor is slow.
const RATE_PPS: u32 = 300;

#[test]
fn a_cpu_goes_and_comes_back() {
    let test = "a_cpu_goes_and_comes_back";
    if skip_outside(test) || skip_unless_privileged(test) {
        return;
    }
    let times = runs(2, 20);
    let mut record = Record::new(
        "cpus",
        "a processor goes offline and comes back, under traffic (VM)",
        times,
        "verdicts unchanged, counted = sent",
    );
    let node = rig::enforcing(&steady::settings());
    let steady = Steady::begin(&node, RATE_PPS);
    let more = |packets: u64| {
        let wanted = steady.sent_packets() + packets;
        eventually("more traffic", || (steady.sent_packets() > wanted).then_some(()));
    };
    for _ in 0..times {
        more(100);
        fs::write(SWITCH, "0").unwrap();
        more(100);
        assert_eq!(node.json("status")["healthy"], true);
        fs::write(SWITCH, "1").unwrap();
    }
    more(100);
    let outcome = steady.end();
    record.measured(outcome.words());
    outcome.assert_unharmed();
    record.passed();
}
