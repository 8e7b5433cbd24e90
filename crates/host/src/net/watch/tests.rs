//! Tests of `watch`; its own words say what it owns.
use std::time::Duration;

use tokio::time::timeout;

use nodewall_testbed::{in_own_namespace_async, ip};

use super::*;

const SOON: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_millis(200);

async fn settle(watch: &mut LinkWatch) {
    while timeout(QUIET, watch.changed()).await.is_ok() {}
}

#[test]
fn links_and_addresses_of_both_families_are_events_and_a_burst_is_one() {
    in_own_namespace_async(async || {
        let mut watch = LinkWatch::new().unwrap();
        assert!(timeout(QUIET, watch.changed()).await.is_err(), "nothing happened yet");
        for change in
            ["link add b0 type bridge", "address add 10.9.8.7/24 dev b0", "-6 address add 2001:db8::7/64 dev b0"]
        {
            ip(change);
            timeout(SOON, watch.changed()).await.unwrap_or_else(|_| panic!("no event after {change}")).unwrap();
            settle(&mut watch).await;
        }
        for number in 0..20 {
            ip(&format!("address add 10.9.9.{number}/24 dev b0"));
        }
        timeout(SOON, watch.changed()).await.unwrap().unwrap();
        assert!(timeout(QUIET, watch.changed()).await.is_err(), "the burst was more than one event");
    });
}

#[test]
fn an_event_survives_a_dropped_wait() {
    in_own_namespace_async(async || {
        let mut watch = LinkWatch::new().unwrap();
        drop(timeout(Duration::ZERO, watch.changed()).await);
        ip("link set lo up");
        tokio::time::sleep(QUIET).await;
        timeout(SOON, watch.changed()).await.unwrap().unwrap();
    });
}

#[test]
fn an_overrun_is_an_event_and_not_the_end() {
    in_own_namespace_async(async || {
        use rtnetlink::sys::AsyncSocket;
        let mut watch = LinkWatch::new().unwrap();
        ip("link add b0 type bridge");
        // So small that a few messages overflow it.
        watch.connection.socket_mut().socket_mut().set_rx_buf_sz(1_u32).unwrap();
        for number in 1..200 {
            ip(&format!("address add 10.9.{number}.1/24 dev b0"));
        }
        // What `changed` does, but with a look at what arrived.
        let overran = timeout(
            SOON,
            poll_fn(|context| {
                assert!(Pin::new(&mut watch.connection).poll(context).is_pending(), "an overrun is not the end");
                let (mut any, mut overran) = (false, false);
                while let Poll::Ready(Some((message, _))) = watch.messages.as_mut().poll_next(context) {
                    any = true;
                    overran |= matches!(message.payload, rtnetlink::packet_core::NetlinkPayload::Overrun(_));
                }
                if any { Poll::Ready(overran) } else { Poll::Pending }
            }),
        )
        .await
        .unwrap();
        assert!(overran, "200 changes fitted into the smallest buffer");
        ip("link set b0 up");
        timeout(SOON, watch.changed()).await.unwrap().unwrap();
    });
}
