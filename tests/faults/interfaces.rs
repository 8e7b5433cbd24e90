//! An interface that goes and comes back, up from its first moment on: how long it stands open. The one opening that nobody asked for.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use nodewall_datapath::inbound_programs;
use nodewall_testbed::{judge_time, skip_unless_privileged};
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp};
use rtnetlink::{Handle, LinkVeth};

use crate::measure::{ms, percentile};
use crate::node::PATIENCE;
use crate::random::Random;
use crate::record::{Record, alone, runs, seed};
use crate::rig;

const NAME: &str = "late0";
const OTHER_END: &str = "late1";
const P99_AT_MOST: Duration = Duration::from_millis(50);
/// It is gone for up to so long.
const GONE_AT_MOST_MS: usize = 60;

/// Makes the interface, up at once; the kernel has answered when this returns.
async fn create(netlink: &Handle) {
    netlink.link().add(LinkVeth::new(NAME, OTHER_END).up().build()).execute().await.unwrap();
}

/// Its number, and whether a program runs on it, by either hook.
async fn look(netlink: &Handle) -> (u32, bool) {
    let link = netlink.link().get().match_name(NAME).execute().boxed().try_next().await.unwrap().unwrap();
    let xdp = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => {
            xdp.iter().find_map(|xdp| if let LinkXdp::ProgId(id) = xdp { Some(*id) } else { None })
        }
        _ => None,
    });
    (link.header.index, xdp.is_some() || !inbound_programs(link.header.index).is_empty())
}

/// From the kernel's answer that the interface is there to the first look that shows a program.
async fn gap(netlink: &Handle) -> (u32, Duration) {
    create(netlink).await;
    let created = Instant::now();
    loop {
        let (index, filtered) = look(netlink).await;
        if filtered {
            return (index, created.elapsed());
        }
        assert!(created.elapsed() < PATIENCE, "{NAME} stays open");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Every gap of so many times that the interface is deleted and made again.
async fn gaps(times: u64) -> Vec<Duration> {
    let (connection, netlink, _) = rtnetlink::new_connection().unwrap();
    let connection = tokio::spawn(connection);
    let (mut gaps, mut random) = (Vec::new(), Random::new(seed()));
    for _ in 0..times {
        let (index, gap) = gap(&netlink).await;
        gaps.push(gap);
        netlink.link().del(index).execute().await.unwrap();
        tokio::time::sleep(Duration::from_millis(random.below(GONE_AT_MOST_MS) as u64)).await;
    }
    connection.abort();
    gaps
}

#[test]
fn an_interface_is_made_again_and_again() {
    if skip_unless_privileged("an_interface_is_made_again_and_again") {
        return;
    }
    make_again_and_again("interfaces", "an interface is deleted and made again, up at once", "native");
}

#[test]
fn an_interface_is_made_again_and_again_at_tc() {
    if skip_unless_privileged("an_interface_is_made_again_and_again_at_tc") {
        return;
    }
    make_again_and_again("interfaces-tc", "the same at the tc hook", "tc");
}

fn make_again_and_again(name: &'static str, fault: &'static str, mode: &str) {
    let _turn = alone();
    let times = runs(10, 50);
    let mut record = Record::new(name, fault, times, "open for <= 50 ms (99th percentile)");
    let settings = rig::settings().interfaces(&["eth0", NAME]).top(&format!("attach_mode = \"{mode}\""));
    let node = rig::enforcing(&settings);
    let work = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(gaps(times));
    let gaps = node.netns().run(work).unwrap();
    record.measured(format!(
        "open for {} (median), {} (99th percentile), {} (longest)",
        ms(percentile(&gaps, 50)),
        ms(percentile(&gaps, 99)),
        ms(percentile(&gaps, 100)),
    ));
    assert_eq!(node.attachment("eth0").unwrap().0, mode);
    judge_time(percentile(&gaps, 99) <= P99_AT_MOST, || format!("{gaps:?}"));
    record.passed();
}
