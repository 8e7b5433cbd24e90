//! The push by itself, with counters that a test makes up: what each answer, and each silence, of a receiver does to what is owed.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::receiver::{Manner, Received, Receiver, sums};
use crate::authority::{Authority, Valid};
use nodewall::{
    export::push::{self, PushState, Snapshot},
    view::{
        counters::Row,
        push_health::{Amount, PushHealth, Totals},
    },
};
use nodewall_host::state::StateDir;
use nodewall_policy::config::{Config, Push};
use nodewall_testbed::{PATIENCE, ReservedPort, judge_time};
use tempfile::TempDir;
use tokio::sync::watch;

fn row(class: &str, port: u16, packets: u64) -> Row {
    Row {
        class: Some(class.into()),
        port: Some(port),
        ports: None,
        protocol: Some("tcp"),
        direction: "in",
        outcome: "drop",
        reason: "outsider",
        packets,
        bytes: packets * 60,
    }
}

/// A push that runs in a state directory of its own, on counters that the test changes.
struct Site {
    directory: TempDir,
    state: StateDir,
    config: Push,
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Site {
    fn new(keys: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::create(&directory.path().join("state")).unwrap();
        let config =
            Config::parse(&format!("[push]\ninterval = \"1s\"\n{keys}"), "nodewall.toml").unwrap().push.unwrap();
        Self { directory, state, config, rows: Arc::default() }
    }

    fn to(receiver: &Receiver) -> Self {
        Self::new(&format!("url = \"{}\"\n", receiver.url()))
    }

    fn count(&self, rows: &[Row]) {
        *self.rows.lock().unwrap() = rows.to_vec();
    }

    fn health(&self) -> PushHealth {
        self.state.read_note::<PushHealth>().unwrap_or_default()
    }

    /// Runs it until `is_done`, and then ends it in order.
    fn run_until(&self, is_done: impl Fn(&PushHealth) -> bool) -> PushHealth {
        let begin = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let counters = || Ok(vec![Snapshot { counters: "kernel".into(), rows: self.rows.lock().unwrap().clone() }]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let watch = async {
                while !is_done(&self.health()) {
                    assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {:?}", self.health());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                stop.send_replace(true);
            };
            tokio::join!(push::run(&self.config, &self.state, counters, stopped), watch);
        });
        self.health()
    }
}

fn all_sent(health: &PushHealth) -> bool {
    health.last_success_unix_ns.is_some() && health.waiting_lines == 0
}

fn packets(receiver: &Receiver) -> u64 {
    receiver.sums().into_iter().filter(|((key, _), _)| key == "nodewall.packets").map(|(_, sum)| sum).sum()
}

const fn amount(packets: u64) -> Amount {
    Amount { packets, bytes: packets * 60 }
}

#[test]
fn a_refusal_takes_nothing_and_what_was_refused_comes_again_whole() {
    for status in [401, 403, 404, 413, 429, 500, 503] {
        let receiver = Receiver::new(move |n| if n == 0 { Manner::Refuse(status, None) } else { Manner::Take });
        let site = Site::to(&receiver);
        site.count(&[row("cassandra", 9042, 17)]);
        let health = site.run_until(all_sent);
        assert_eq!(health.totals.acknowledged, amount(17), "{status}");
        assert_eq!((packets(&receiver), receiver.requests().len()), (17, 2), "{status}");
        // All of a line but its time, which is when it was sent.
        let sent = |n: usize| -> Vec<_> {
            let lines = receiver.requests()[n].lines.clone();
            lines.into_iter().map(|line| (line.key, line.dimensions, line.delta)).collect()
        };
        assert_eq!(sent(0), sent(1), "{status}");
    }
}

#[test]
fn a_receiver_that_breaks_off_is_never_sent_the_same_twice_and_what_is_lost_is_told() {
    for (manner, arrived) in [(Manner::TakeAndCut, true), (Manner::Cut, false), (Manner::Refuse(504, None), false)] {
        let first = manner.clone();
        let receiver = Receiver::new(move |n| if n == 0 { first.clone() } else { Manner::Take });
        let site = Site::to(&receiver);
        site.count(&[row("cassandra", 9042, 17)]);
        let told = std::cell::RefCell::new(String::new());
        let health = site.run_until(|health| {
            let first = told.borrow().is_empty();
            if let (true, Some(error)) = (first, &health.last_error) {
                told.replace(error.clone());
                site.count(&[row("cassandra", 9042, 20)]);
            }
            health.totals.acknowledged == amount(3)
        });
        assert!(told.borrow().contains("may or may not have arrived"), "{manner:?}: {told:?}");
        assert_eq!((health.totals.acknowledged, health.totals.lost), (amount(3), amount(17)), "{manner:?}");
        assert_eq!(packets(&receiver), if arrived { 20 } else { 3 }, "{manner:?}");
        // After a doubt, only one line is at stake.
        assert_eq!(receiver.requests()[1].lines.len(), 1);
    }
}

#[test]
fn an_answer_that_comes_too_late_leaves_a_doubt_and_no_copy() {
    let receiver = Receiver::new(|n| if n == 0 { Manner::Late(Duration::from_secs(12)) } else { Manner::Take });
    let site = Site::to(&receiver);
    site.count(&[row("cassandra", 9042, 17)]);
    let health = site.run_until(|health| health.totals.lost == amount(17));
    assert!(health.last_error.unwrap().contains("no whole answer within 10 s"));
    site.run_until(|_| true);
    assert_eq!(packets(&receiver), 17);
}

#[test]
fn lines_that_are_refused_for_what_is_in_them_are_lost_and_told_and_the_others_arrive_once() {
    for (manner, acknowledged, lost, why) in [
        (Manner::AllBut("port", "7000"), amount(17), amount(5), "invalid dimension"),
        (Manner::AllButUnnamed("port", "7000"), Amount::default(), amount(22), "does not say which 2 of 4 lines"),
    ] {
        let (receiver, rows) = (Receiver::new(move |_| manner.clone()), [row("c", 9042, 17), row("c", 7000, 5)]);
        let site = Site::to(&receiver);
        site.count(&rows);
        let done = site.run_until(|health| health.waiting_lines == 0 && health.totals != Totals::default());
        assert_eq!((done.totals.acknowledged, done.totals.lost), (acknowledged, lost));
        assert_eq!((packets(&receiver), receiver.requests().len()), (17, 1));
        assert!(done.totals.last_loss.as_ref().is_some_and(|told| told.contains(why)), "{:?}", done.totals);
    }
}

#[test]
fn a_busy_receiver_is_left_alone_for_as_long_as_it_says_and_longer_each_time() {
    let receiver = Receiver::new(|n| match n {
        0 => Manner::Refuse(429, Some(3)),
        1..=3 => Manner::Refuse(503, None),
        _ => Manner::Take,
    });
    let site = Site::to(&receiver);
    site.count(&[row("cassandra", 9042, 17)]);
    site.run_until(all_sent);
    let waits: Vec<Duration> = receiver.requests().windows(2).map(|two| two[1].at - two[0].at).collect();
    let between = |wait: Duration, least_ms: u64, most_ms: u64| {
        assert!(wait >= Duration::from_millis(least_ms), "{waits:?}");
        judge_time(wait < Duration::from_millis(most_ms), || format!("{waits:?}"));
    };
    between(waits[0], 2_990, 5_000);
    between(waits[1], 990, 4_000);
    between(waits[2], 1_990, 6_000);
    between(waits[3], 3_990, 10_000);
}

#[test]
fn a_receiver_that_is_not_there_gets_all_of_it_at_once_when_it_comes_back() {
    let port = ReservedPort::new().unwrap();
    let site = Site::new(&format!("url = \"http://127.0.0.1:{}/metrics/ingest\"\n", port.number().unwrap()));
    for packets in 1..=3 {
        site.count(&[row("cassandra", 9042, packets * 10)]);
        let failures = site.health().failures;
        site.run_until(|health| health.failures > failures);
    }
    let health = site.health();
    assert_eq!((health.totals, health.waiting_lines), (Totals::default(), 2));
    assert!(health.last_error.unwrap().contains("can not be reached"));
    let receiver = Receiver::on(port.listen().unwrap(), None, |_| Manner::Take);
    let health = site.run_until(all_sent);
    assert_eq!((receiver.requests().len(), packets(&receiver)), (1, 30));
    assert_eq!((health.totals.acknowledged, health.totals.lost), (amount(30), Amount::default()));
}

#[test]
fn a_state_that_is_damaged_never_sends_twice() {
    let receiver = Receiver::new(|_| Manner::Take);
    let site = Site::to(&receiver);
    site.count(&[row("cassandra", 9042, 17)]);
    site.run_until(all_sent);
    let path = site.directory.path().join("state/push.state");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let counted = Arc::clone(&site.rows);
    let changed = std::cell::Cell::new(false);
    site.run_until(|_| {
        // Only what is counted after the damage was found is owed.
        let mended = site.state.load::<PushState>().is_ok();
        if mended && !changed.replace(true) {
            *counted.lock().unwrap() = vec![row("cassandra", 9042, 19)];
        }
        changed.get() && packets(&receiver) == 19
    });
}

#[test]
fn the_environment_gets_the_token_and_the_nodes_name_over_tls_and_nobody_else_does() {
    let authority = Authority::new("the environment's authority");
    let directory = tempfile::tempdir().unwrap();
    let (ca, token) = (authority.write(directory.path()), directory.path().join("token"));
    std::fs::write(&token, "dt0c01.ABC.DEF\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = authority.server(&["localhost"], Valid::Now);
    let receiver = Receiver::on(listener, Some(tls), |_| Manner::Take);
    let keys = |ca: &std::path::Path| {
        format!(
            "url = \"https://localhost:{}/api/v2/metrics/ingest\"\ntoken_file = \"{}\"\nca = \"{}\"\n",
            receiver.port,
            token.display(),
            ca.display()
        )
    };
    let site = Site::new(&keys(&ca));
    site.count(&[row("cassandra", 9042, 17)]);
    site.run_until(all_sent);
    let Received { headers, lines, .. } = &receiver.requests()[0];
    assert_eq!(headers["authorization"], "Api-Token dt0c01.ABC.DEF");
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(lines[0].dimensions["host.name"], node);
    assert_eq!(sums(lines.clone()).len(), 2);

    // Someone else's certificate: nothing is sent, and no secret is told.
    let other = tempfile::tempdir().unwrap();
    let site = Site::new(&keys(&Authority::new("another").write(other.path())));
    site.count(&[row("cassandra", 9042, 17)]);
    let error = site.run_until(|health| health.last_error.is_some()).last_error.unwrap();
    assert!(error.contains("its certificate comes from none of") && !error.contains("dt0c01"), "{error}");
    assert_eq!(receiver.requests().len(), 1);
}
