//! The source `dns` where a server answers for one family alone, or tells more than it was asked.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use nodewall::peers::{Answer, DnsName, Source as _};
use nodewall_policy::config::show;
use nodewall_testbed::{PATIENCE, Process, find_tool};

use super::block_on;

const NAME: &str = "nodes.cluster.example.";

/// Answers by UDP as a test says, until it is dropped.
struct NameServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    /// `answer` makes of the empty answer to a question what is sent; `None`: nothing is.
    fn start(answer: impl Fn(&Message, Message) -> Option<Message> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let server = Self { address: socket.local_addr().unwrap(), ended: ended.clone() };
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let mut reply = Message::response(question.metadata.id, OpCode::Query);
                reply.metadata.recursion_desired = question.metadata.recursion_desired;
                reply.metadata.recursion_available = true;
                reply.add_queries(question.queries.clone());
                if let Some(reply) = answer(&question, reply) {
                    socket.send_to(&reply.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        server
    }

    fn look_up(&self) -> Result<Answer, String> {
        let mut source = DnsName::new(NAME.trim_end_matches('.'), Some(self.address));
        block_on(async { source.fetch().await }).map_err(|error| error.to_string())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn kind(question: &Message) -> RecordType {
    question.queries[0].query_type()
}

fn record(name: &str, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), 60, data)
}

fn address(kind: RecordType, last: u8) -> RData {
    match kind {
        RecordType::A => RData::A(rdata::A(Ipv4Addr::new(10, 0, 0, last))),
        _ => RData::AAAA(rdata::AAAA(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()))),
    }
}

fn alias(name: &str, of: &str) -> Record {
    record(name, RData::CNAME(rdata::CNAME(Name::from_ascii(of).unwrap())))
}

fn peers(answer: &Answer) -> Vec<String> {
    answer.peers.iter().map(show).collect()
}

/// RFC 4074, 4.1 to 4.3: servers that keep silent about a family, deny the whole name, or answer with another error.
#[test]
fn what_becomes_of_one_family_takes_nothing_from_the_other() {
    for good in [RecordType::A, RecordType::AAAA] {
        for (code, told) in [
            (Some(ResponseCode::Refused), "REFUSED"),
            (Some(ResponseCode::ServFail), "SERVFAIL"),
            (Some(ResponseCode::NXDomain), "NXDOMAIN"),
            (Some(ResponseCode::NotImp), "could not be asked"),
            (None, "did not answer in time"),
        ] {
            let server = NameServer::start(move |question, mut reply| {
                if kind(question) == good {
                    reply.add_answer(record(NAME, address(good, 7)));
                } else {
                    reply.metadata.response_code = code?;
                }
                Some(reply)
            });
            let answer = server.look_up().unwrap_or_else(|error| panic!("{good} {told}: {error}"));
            let is_v6 = good == RecordType::AAAA;
            assert_eq!(peers(&answer), [if is_v6 { "fd00::7" } else { "10.0.0.7" }], "{told}");
            let unanswered = answer.unanswered.unwrap();
            assert_eq!(unanswered.is_v6, !is_v6);
            assert!(unanswered.error.to_string().contains(told), "{told}: {}", unanswered.error);
        }
    }
    // A family that has none, beside one that is not known: nothing to go by.
    let server = NameServer::start(|question, mut reply| {
        if kind(question) == RecordType::AAAA {
            reply.metadata.response_code = ResponseCode::ServFail;
        }
        Some(reply)
    });
    let error = server.look_up().unwrap_err();
    assert!(error.contains("AAAA records (SERVFAIL)"), "{error}");
}

#[test]
fn dnsmasq_s_address_is_an_answer() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(find_tool("dnsmasq").unwrap());
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-facility=-"]);
    command.args(["--bind-interfaces", "--listen-address=127.0.0.1", "--user=", "--group=", "--pid-file="]);
    command.args([format!("--port={port}"), "--address=/nodes.cluster.example/10.0.0.7".to_owned()]);
    let process = Process::spawn("dnsmasq", command).unwrap();
    process.wait_for_line(PATIENCE, |line| line.contains("started")).unwrap();
    let mut source = DnsName::new("nodes.cluster.example", Some(SocketAddr::from(([127, 0, 0, 1], port))));
    let answer = block_on(async { source.fetch().await }).unwrap();
    assert_eq!(peers(&answer), ["10.0.0.7"]);
    println!("{:?}", answer.unanswered);
}

#[test]
fn only_names_on_the_way_of_aliases_count() {
    let server = NameServer::start(|question, mut reply| {
        let kind = kind(question);
        reply.add_answers([record(NAME, address(kind, 2)), record("other.evil.test.", address(kind, 66))]);
        Some(reply)
    });
    assert_eq!(peers(&server.look_up().unwrap()), ["10.0.0.2", "fd00::2"]);
    let server = NameServer::start(|question, mut reply| {
        let kind = kind(question);
        // In no order, and with two that nobody asked for: a name, and an alias of it.
        reply.add_answers([
            record("third.example.", address(kind, 3)),
            record("other.evil.test.", address(kind, 66)),
            alias("Second.example.", "third.example."),
            alias("more.evil.test.", "second.example."),
            alias(NAME, "second.EXAMPLE."),
        ]);
        reply.add_additional(record("more.evil.test.", address(kind, 67)));
        Some(reply)
    });
    assert_eq!(peers(&server.look_up().unwrap()), ["10.0.0.3", "fd00::3"]);
    // Aliases in a circle lead nowhere.
    let server = NameServer::start(|question, mut reply| {
        let kind = kind(question);
        reply.add_answers([
            alias(NAME, "a.example."),
            alias("a.example.", NAME),
            record("b.example.", address(kind, 66)),
        ]);
        Some(reply)
    });
    let error = server.look_up().unwrap_err();
    assert!(error.contains("nodes.cluster.example: "), "{error}");
}

/// RFC 6891, 7: servers from before it answer FORMERR, or NOTIMP.
#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let server = NameServer::start(move |question, mut reply| {
            if question.edns.is_some() {
                reply.metadata.response_code = code;
            } else {
                reply.add_answer(record(NAME, address(kind(question), 8)));
            }
            Some(reply)
        });
        let answer = server.look_up().unwrap();
        assert_eq!((peers(&answer), answer.unanswered), (vec!["10.0.0.8".to_owned(), "fd00::8".to_owned()], None));
    }
}
