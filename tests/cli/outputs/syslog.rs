//! The outputs of the configuration: files, and a real rsyslogd over all three transports and both framings, ended and killed in between.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::made::{HOSTILE, START_NS, batch, capture, loss, syn, until};
use nodewall_evidence::{
    node::Node,
    output::{Outputs, QUEUE_BYTES},
    record::{Batch, LossKind, Outcome},
};
use nodewall_policy::config::{EvidenceOutput, Syslog, SyslogFraming, SyslogTransport};
use nodewall_testbed::{PATIENCE, judge_time, skip_unless_privileged};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(super) fn node() -> Node {
    Node { name: "node-1".to_owned(), id: "0123".to_owned() }
}

/// `count` captures and a loss; hostile names among them.
pub(super) fn made(count: u64) -> Batch {
    let captures = (0..count).map(|n| capture(HOSTILE, Outcome::Drop, START_NS + n, syn()));
    batch(captures.collect(), vec![loss(LossKind::CaptureBudget, START_NS, 1)])
}

pub(super) fn ids(seq: u64, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("0123-{seq}-c{n}")).chain([format!("0123-{seq}-l0")])
}

/// `None`: the server is in the middle of writing it, or was killed there; then it comes again.
pub(super) fn id(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some(value["event"]["id"].as_str().unwrap().to_owned())
}

/// An rsyslogd of the test's own, in the foreground.
struct Server {
    dir: TempDir,
    port: u16,
    transport: SyslogTransport,
    framing: SyslogFraming,
    child: Option<Child>,
}

impl Server {
    /// Not started yet.
    fn new(transport: SyslogTransport) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = if transport == SyslogTransport::Udp {
            UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
        } else {
            TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
        };
        let shown = dir.path().display();
        let tls = if transport == SyslogTransport::Tls {
            let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(dir.path().join("cert.pem"), key.cert.pem()).unwrap();
            fs::write(dir.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
            (
                format!(
                    "defaultNetstreamDriverCAFile=\"{shown}/cert.pem\" defaultNetstreamDriverCertFile=\"{shown}/cert.pem\" \
                     defaultNetstreamDriverKeyFile=\"{shown}/key.pem\""
                ),
                "streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\"",
            )
        } else {
            (String::new(), "")
        };
        let kind = if transport == SyslogTransport::Udp { "imudp" } else { "imtcp" };
        let config = format!(
            "global(workDirectory=\"{shown}\" maxMessageSize=\"128k\" net.enableDNS=\"off\" {})\n\
             module(load=\"{kind}\" {})\n\
             input(type=\"{kind}\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"raw\" type=\"string\" string=\"%syslogfacility-text%.%syslogseverity-text%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{shown}/out\" template=\"raw\")\n",
            tls.0, tls.1
        );
        fs::write(dir.path().join("rsyslog.conf"), config).unwrap();
        Self { dir, port, transport, framing: SyslogFraming::OctetCounting, child: None }
    }

    fn start(&mut self) {
        let dir = self.dir.path();
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|path| Path::new(path).exists());
        let child = Command::new(program.expect("rsyslogd; `cargo xtask setup` installs it"))
            .arg("-n")
            .arg("-f")
            .arg(dir.join("rsyslog.conf"))
            .arg("-i")
            .arg(dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::OpenOptions::new().append(true).create(true).open(dir.join("errors")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        if self.transport == SyslogTransport::Udp {
            // Its own word: who tried the port out would hold it, when rsyslogd wants it.
            let bound = format!(" 0100007F:{:04X} ", self.port);
            until("rsyslogd listens", || fs::read_to_string("/proc/net/udp").unwrap().contains(&bound));
        } else {
            until("rsyslogd listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        }
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    fn output(&self) -> EvidenceOutput {
        let ca = (self.transport == SyslogTransport::Tls).then(|| self.dir.path().join("cert.pem"));
        let host = if ca.is_some() { "localhost" } else { "127.0.0.1" }.to_owned();
        let (transport, framing) = (self.transport, self.framing);
        EvidenceOutput::Syslog(Syslog { host, port: self.port, transport, framing, ca, chain_head: true })
    }

    /// Each message's header and its text.
    fn taken(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
        let whole = text.lines().map(str::to_owned).filter(|line| line.contains("|nodewall|"));
        whole
            .filter_map(|line| {
                let (header, text) = line.match_indices('|').nth(5).map(|(at, _)| line.split_at(at))?;
                Some((header.to_owned(), text[1..].trim_start().to_owned()))
            })
            .collect()
    }

    fn taken_ids(&self) -> Vec<String> {
        self.taken()
            .into_iter()
            .filter(|(header, _)| header.contains("|evidence|"))
            .filter_map(|(_, text)| id(&text))
            .collect()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}

#[test]
fn each_transport_brings_records_and_the_chain_s_head_to_rsyslog() {
    for (transport, framing) in [
        (SyslogTransport::Udp, SyslogFraming::OctetCounting),
        (SyslogTransport::Tcp, SyslogFraming::OctetCounting),
        (SyslogTransport::Tcp, SyslogFraming::Newline),
        (SyslogTransport::Tls, SyslogFraming::OctetCounting),
        (SyslogTransport::Tls, SyslogFraming::Newline),
    ] {
        let mut server = Server::new(transport);
        server.framing = framing;
        server.start();
        let outputs = Outputs::start(&[server.output()], &node()).unwrap();
        outputs.send(3, &made(50));
        outputs.chain_head(START_NS, 3, &[0xab; 32]);
        until(&format!("52 messages over {transport}: {:?} {}", outputs.status(), server.errors()), || {
            server.taken().len() >= 52
        });
        let taken = server.taken();
        assert_eq!(server.taken_ids(), ids(3, 50).collect::<Vec<_>>(), "in order, once, over {transport}");
        assert!(taken[0].0.starts_with("daemon.notice|2026-03-01T00:00:00.123456"), "{:?}", taken[0]);
        assert!(taken[0].0.ends_with("|node-1|nodewall|evidence|-"), "{:?}", taken[0]);
        assert!(taken[50].0.starts_with("daemon.warning|"), "a loss: {:?}", taken[50]);
        assert!(!taken.iter().any(|(_, text)| text.contains(['\u{1b}', '\u{202e}'])), "a screen would obey");
        let head = "ab".repeat(32);
        let (header, text) = &taken[51];
        assert!(header.ends_with(&format!("|chain|[chain@32473 head=\"{head}\" seq=\"3\" node=\"0123\"]")), "{header}");
        assert_eq!(*text, format!("nodewall chain head={head} seq=3 node=0123"));
        let [status] = outputs.finish(PATIENCE).try_into().unwrap();
        assert_eq!((status.sent, status.lost, status.waiting, status.error), (52, 0, 0, None));
    }
}

#[test]
fn what_comes_while_rsyslog_is_away_arrives_when_it_is_back() {
    for (transport, signal) in [
        (SyslogTransport::Tcp, Signal::TERM),
        (SyslogTransport::Tcp, Signal::KILL),
        (SyslogTransport::Tls, Signal::TERM),
        (SyslogTransport::Tls, Signal::KILL),
    ] {
        let mut server = Server::new(transport);
        // It is not there yet either.
        let outputs = Outputs::start(&[server.output()], &node()).unwrap();
        outputs.send(1, &made(20));
        until("the way is known to be closed", || outputs.status()[0].error.is_some());
        server.start();
        until("the first ones", || server.taken_ids().len() >= 21);
        outputs.send(2, &made(300));
        server.end(signal);
        outputs.send(3, &made(20));
        server.start();
        let expected: BTreeSet<String> = ids(1, 20).chain(ids(2, 300)).chain(ids(3, 20)).collect();
        until(&format!("all over {transport} after {signal:?}"), || {
            server.taken_ids().into_iter().collect::<BTreeSet<_>>() == expected
        });
        let [status] = outputs.finish(PATIENCE).try_into().unwrap();
        assert_eq!((status.sent, status.lost), (21 + 301 + 21, 0), "{transport} {signal:?}");
    }
}

/// Also a server of datagrams, which never answers: its host says that nobody takes them.
#[test]
fn one_that_is_away_is_told_since_when_and_what_waits_until_it_is_back() {
    for transport in [SyslogTransport::Udp, SyslogTransport::Tcp, SyslogTransport::Tls] {
        let mut server = Server::new(transport);
        let outputs = Outputs::start(&[server.output()], &node()).unwrap();
        outputs.send(1, &made(1));
        until("it is known to be away", || outputs.status()[0].failing_since_unix_ns.is_some());
        let since = outputs.status()[0].failing_since_unix_ns;
        outputs.send(2, &made(30));
        for _ in 0..3 {
            // Each try fails, and none makes it a new failure.
            let status = outputs.status().remove(0);
            assert!(status.waiting >= 31 && status.sent <= 2 && status.lost == 0, "{transport}: {status:?}");
            assert_eq!((status.failing_since_unix_ns, status.error.is_some()), (since, true), "{transport}");
            std::thread::sleep(Duration::from_millis(700));
        }
        server.start();
        // The record of the first datagram has only its last try to arrive by.
        let expected: BTreeSet<String> =
            ids(1, 1).chain(ids(2, 30)).skip(usize::from(transport == SyslogTransport::Udp)).collect();
        until(&format!("all of it over {transport}: {:?}", outputs.status()), || {
            expected.is_subset(&server.taken_ids().into_iter().collect())
        });
        until("it works", || outputs.status()[0].failing_since_unix_ns.is_none());
        let [status] = outputs.finish(PATIENCE).try_into().unwrap();
        assert_eq!((status.sent, status.lost, status.waiting, status.error), (33, 0, 0, None), "{transport}");
    }
}

#[test]
fn a_server_that_proves_nothing_gets_nothing() {
    let mut server = Server::new(SyslogTransport::Tls);
    server.start();
    let other = Server::new(SyslogTransport::Tls);
    let EvidenceOutput::Syslog(syslog) = server.output() else { unreachable!() };
    let doubted = EvidenceOutput::Syslog(Syslog { ca: Some(other.dir.path().join("cert.pem")), ..syslog });
    let outputs = Outputs::start(&[doubted], &node()).unwrap();
    outputs.send(1, &made(3));
    until("it is said", || outputs.status()[0].error.is_some());
    let error = outputs.status().remove(0).error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    let [status] = outputs.finish(Duration::from_millis(300)).try_into().unwrap();
    assert_eq!((status.sent, status.lost, status.waiting), (0, 4, 0));
    assert_eq!(server.taken_ids(), [""; 0]);
}

#[test]
fn one_that_takes_nothing_holds_nobody_up_and_costs_bounded_memory() {
    // Listens, and never reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (transport, framing) = (SyslogTransport::Tcp, SyslogFraming::OctetCounting);
    let to = Syslog { host: "127.0.0.1".into(), port, transport, framing, ca: None, chain_head: false };
    let outputs = Outputs::start(&[EvidenceOutput::Syslog(to)], &node()).unwrap();
    let mut handed = 0;
    let mut slowest = Duration::ZERO;
    let batch = made(1000);
    for seq in 0..40 {
        let begun = Instant::now();
        outputs.send(seq, &batch);
        slowest = slowest.max(begun.elapsed());
        handed += 1001;
    }
    // Making a thousand lines takes a while in a debug build; waiting for ten seconds for a write would show.
    judge_time(slowest < Duration::from_secs(3), || format!("{slowest:?}"));
    let status = outputs.status().remove(0);
    assert!(status.lost > 0, "{QUEUE_BYTES} bytes hold it all: {status:?}");
    assert_eq!(status.sent + status.lost + status.waiting, handed);
    let begun = Instant::now();
    let ended = outputs.finish(Duration::from_millis(200)).remove(0);
    let took = begun.elapsed();
    judge_time(took < Duration::from_secs(2), || format!("{took:?}"));
    assert_eq!((ended.sent + ended.lost, ended.waiting), (handed, 0));
}

fn file_output(path: PathBuf, max_bytes: u64, keep: u32) -> EvidenceOutput {
    EvidenceOutput::File { path, max_bytes, keep }
}

#[test]
fn files_are_turned_over_by_size_and_only_so_many_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.jsonl");
    // Cut by a power cut.
    fs::write(&path, "{\"half\":").unwrap();
    let outputs = Outputs::start(&[file_output(path.clone(), 64 << 10, 3)], &node()).unwrap();
    for seq in 0..10 {
        outputs.send(seq, &made(100));
    }
    let [status] = outputs.finish(PATIENCE).try_into().unwrap();
    assert_eq!((status.sent, status.lost), (1010, 0));
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["e.jsonl", "e.jsonl.1", "e.jsonl.2", "e.jsonl.3"]);
    let mut all = Vec::new();
    for name in ["e.jsonl.3", "e.jsonl.2", "e.jsonl.1", "e.jsonl"] {
        let file = dir.path().join(name);
        assert!(file.metadata().unwrap().len() <= 64 << 10);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'));
        all.extend(text.lines().map(|line| id(line).expect("whole lines")));
    }
    let expected: Vec<String> = (0..10).flat_map(|seq| ids(seq, 100)).collect();
    assert!(all.len() > 100 && expected.ends_with(&all), "the youngest, in order, without a gap");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o133, 0);
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew_and_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.jsonl");
    let outputs = Outputs::start(&[file_output(path.clone(), 64 << 20, 3)], &node()).unwrap();
    outputs.send(1, &made(2));
    until("it is written", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 3));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(&path, dir.path().join("moved")).unwrap();
    let mut batches = 1;
    until("another is begun", || {
        // It looks for its file when nothing came for a second.
        std::thread::sleep(Duration::from_millis(1_500));
        batches += 1;
        outputs.send(batches, &made(2));
        until("the batch is written", || outputs.status()[0].sent == 3 * batches);
        path.exists()
    });
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    outputs.finish(PATIENCE);

    let (link, target) = (dir.path().join("link"), dir.path().join("target"));
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let outputs = Outputs::start(&[file_output(link.clone(), 64 << 20, 3)], &node()).unwrap();
    outputs.send(1, &made(1));
    until("it is refused", || outputs.status()[0].error.is_some());
    assert_eq!(fs::read(&target).unwrap(), b"");
    fs::remove_file(&link).unwrap();
    until("what waited is written", || fs::read_to_string(&link).is_ok_and(|text| text.lines().count() == 2));
    outputs.finish(PATIENCE);
}

/// The directory may be anybody's, and lead there by root's link; by somebody else's link nothing is written.
#[test]
fn a_file_behind_a_link_that_somebody_else_made_is_not_written() {
    if skip_unless_privileged("a_file_behind_a_link_that_somebody_else_made_is_not_written") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink("target", &link).unwrap();
    let written = || fs::read_to_string(target.join("e.jsonl")).map_or(0, |text| text.lines().count());
    let outputs = Outputs::start(&[file_output(link.join("e.jsonl"), 64 << 20, 3)], &node()).unwrap();
    outputs.send(1, &made(1));
    until("it is written", || written() == 2);
    outputs.finish(PATIENCE);
    std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
    let outputs = Outputs::start(&[file_output(link.join("e.jsonl"), 64 << 20, 3)], &node()).unwrap();
    outputs.send(2, &made(1));
    until("it is refused", || {
        outputs.status()[0].error.as_ref().is_some_and(|error| error.contains("belongs to user 65534"))
    });
    assert_eq!(written(), 2);
}
