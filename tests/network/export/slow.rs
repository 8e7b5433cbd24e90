//! A thousand clients that are as slow as can be must not slow a healthy scrape.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nodewall_testbed::{judge_time, skip_unless_privileged};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::client::{PORT, get, served};
use crate::node::{Node, eventually};

const CLIENTS: usize = 1_000;
const SCRAPES: usize = 20;

/// One that asks for a byte's worth of answer at a time, or never ends its question.
struct Slow {
    stream: Option<TcpStream>,
    reads: bool,
}

impl Slow {
    fn connect(reads: bool) -> Self {
        let open = || -> std::io::Result<TcpStream> {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
            if reads {
                rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 1)?;
            }
            stream.set_nonblocking(true)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")?;
            if reads {
                stream.write_all(b"\r\n")?;
            }
            Ok(stream)
        };
        Self { stream: open().ok(), reads }
    }

    /// One byte, and anew where the server had enough.
    fn go_on(&mut self) {
        let Some(stream) = &mut self.stream else {
            *self = Self::connect(self.reads);
            return;
        };
        let mut byte = [0];
        let still = match stream.read(&mut byte) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        if !still || (!self.reads && stream.write_all(b"x").is_err()) {
            *self = Self::connect(self.reads);
        }
    }
}

fn scrapes(node: &Node) -> Vec<Duration> {
    let one = |_| {
        // Who asks right after another shares its answer.
        thread::sleep(Duration::from_millis(60));
        let began = Instant::now();
        let reply = get(node, "/metrics");
        assert!(reply.status == 200 && reply.body.contains("nodewall_build_info"), "{reply:?}");
        began.elapsed()
    };
    let mut times: Vec<_> = (0..SCRAPES).map(one).collect();
    times.sort_unstable();
    times
}

#[test]
fn a_thousand_slow_clients_do_not_slow_a_healthy_scrape() {
    if skip_unless_privileged("a_thousand_slow_clients_do_not_slow_a_healthy_scrape") {
        return;
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let node = served();
    let quiet = scrapes(&node);
    let (stop, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let slow = {
        let (lab, stop, connected) = (node.lab.clone(), stop.clone(), connected.clone());
        thread::spawn(move || {
            let work = || {
                let mut clients: Vec<_> = (0..CLIENTS).map(|n| Slow::connect(n % 2 == 0)).collect();
                while !stop.load(Ordering::Relaxed) {
                    connected.store(clients.iter().filter(|c| c.stream.is_some()).count(), Ordering::Relaxed);
                    // Each is asked once a second.
                    for part in clients.chunks_mut(CLIENTS / 20) {
                        part.iter_mut().for_each(Slow::go_on);
                        thread::sleep(Duration::from_millis(50));
                    }
                }
            };
            lab.node().netns().run(work).unwrap();
        })
    };
    eventually("a thousand clients", || (connected.load(Ordering::Relaxed) == CLIENTS).then_some(()));
    let busy = scrapes(&node);
    stop.store(true, Ordering::Relaxed);
    slow.join().unwrap();
    let (median, bar) = (quiet[SCRAPES / 2], Duration::from_millis(200).max(quiet[SCRAPES / 2] * 5));
    println!(
        "quiet: median {median:?}, worst {:?}; with {CLIENTS} slow clients: median {:?}, worst {:?}",
        quiet[SCRAPES - 1],
        busy[SCRAPES / 2],
        busy[SCRAPES - 1]
    );
    judge_time(busy[SCRAPES - 1] < bar, || format!("{busy:?}"));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", node.agent().id())).unwrap().count();
    assert!(descriptors < 200, "{descriptors} descriptors are held");
}
