//! The source `http_sd`: Prometheus' answers over https and plain http.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    ask, block_on,
    server::{Reply, Server},
    source,
};
use crate::authority::{Authority, Valid};

const TARGETS: &str = r#"[{"targets": ["10.0.0.1:9042", "[2001:db8::1]:9042", "10.0.0.2"], "labels": {"job": "cassandra"}},
                          {"targets": ["10.0.0.1:7000"], "labels": {}}]"#;
const PEERS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "2001:db8::1"];

fn plain(address: &str, port: u16) -> Box<dyn nodewall::peers::Source> {
    source(&format!("within = [\"10.0.0.0/8\"]\n[peers.http_sd]\nurl = \"http://{address}:{port}/sd?job=a%20b\"\n"))
}

#[test]
fn targets_over_plain_http_by_both_families() {
    for (listen, host) in [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "localhost")] {
        block_on(async {
            let server = Server::start(listen, None, |_: &str| Reply::json(TARGETS)).await;
            let mut source = plain(host, server.port);
            assert_eq!(ask(&mut *source).await.unwrap(), (PEERS.map(str::to_owned).to_vec(), None));
            let head = server.asked().remove(0);
            assert!(head.starts_with("GET /sd?job=a%20b HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nhost: {host}:{}\r\n", server.port)), "{head}");
            assert!(head.contains("\r\naccept: application/json\r\n") && !head.contains("authorization"), "{head}");
        });
    }
}

#[test]
fn targets_over_https_from_the_right_server_only() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("sd");
        let ca = authority.write(directory.path());
        let ask_at = async |tls| {
            let server = Server::start("127.0.0.1", Some(tls), |_: &str| Reply::json(TARGETS)).await;
            let url = format!("https://localhost:{}/sd", server.port);
            ask(&mut *source(&format!("[peers.http_sd]\nurl = \"{url}\"\nca = {ca:?}\n"))).await
        };
        let (peers, _) = ask_at(authority.server(&["localhost"], Valid::Now)).await.unwrap();
        assert_eq!(peers, PEERS);
        let error = ask_at(Authority::new("sd").server(&["localhost"], Valid::Now)).await.unwrap_err();
        assert!(error.contains("its certificate"), "{error}");
    });
}

#[test]
fn an_etag_saves_the_answer_and_not_its_change() {
    block_on(async {
        let version = Arc::new(AtomicUsize::new(1));
        let now = Arc::clone(&version);
        let answer = move |head: &str| {
            let number = now.load(Ordering::Relaxed);
            let tag = format!("W/\"{number}\"");
            if head.contains(&format!("if-none-match: {tag}\r\n")) {
                return Reply::raw(format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n"));
            }
            let tag = if number == 3 { String::new() } else { format!("ETag: {tag}\r\n") };
            Reply::new("200 OK", &tag, &format!("[{{\"targets\":[\"10.0.0.{number}\"]}}]"))
        };
        let server = Server::start("127.0.0.1", None, answer).await;
        let mut source = plain("127.0.0.1", server.port);
        // The third has no tag: nothing may be kept of the second's.
        for number in [1, 1, 2, 2, 3, 3, 2] {
            version.store(number, Ordering::Relaxed);
            assert_eq!(ask(&mut *source).await.unwrap().0, [format!("10.0.0.{number}")]);
        }
        let tagged: Vec<_> = server.asked().iter().map(|head| head.contains("if-none-match")).collect();
        assert_eq!(tagged, [false, true, true, true, true, false, false]);
    });
}

#[test]
fn what_is_no_list_of_addresses_is_refused_with_its_place() {
    for (reply, told) in [
        (Reply::json as fn(&str) -> Reply, "[0].targets[1]: \"node2:9042\" is no address; let it name addresses"),
        (|_: &str| Reply::json("[]"), "names no target"),
        (|_: &str| Reply::status("200 OK"), "no HTTP service discovery: expected value at line 1 column 1"),
        (|_: &str| Reply::json("[{\"targets\":[\n\"10.0.0.1\",7]}]"), "line 2 column 12"),
        (|_: &str| Reply::status("401 Unauthorized"), "wants credentials: it answered 401"),
        (|_: &str| Reply::status("404 Not Found"), "answered 404 Not Found; see that the url is right"),
        (|_: &str| Reply::status("429 Slow Down"), "raise interval"),
        (|_: &str| Reply::status("502 Bad Gateway"), "answered 502 Bad Gateway; see the server's log"),
        (|_: &str| Reply::json("[{\"targets\":[\"10.0.0.1\"]}]").cut_after(90), "half an answer is not taken"),
    ] {
        block_on(async {
            let answer = move |_: &str| reply("[{\"targets\":[\"10.0.0.1\",\"node2:9042\"]}]");
            let server = Server::start("127.0.0.1", None, answer).await;
            let error = ask(&mut *plain("127.0.0.1", server.port)).await.unwrap_err();
            let url = format!("http://127.0.0.1:{}/sd?job=a%20b: ", server.port);
            assert!(error.starts_with(&url) && error.contains(told), "{told}: {error}");
        });
    }
}

#[test]
fn the_most_addresses_and_not_one_more() {
    let list = |count: u32| {
        let targets: Vec<_> =
            (0..count).map(|n| format!("\"{}:9042\"", std::net::Ipv4Addr::from(0x0a00_0000 + n))).collect();
        format!("[{{\"targets\":[{}]}}]", targets.join(","))
    };
    block_on(async {
        let server = Server::start("127.0.0.1", None, move |_: &str| Reply::json(&list(16_384))).await;
        assert_eq!(ask(&mut *plain("127.0.0.1", server.port)).await.unwrap().0.len(), 16_384);
        let server = Server::start("127.0.0.1", None, move |_: &str| Reply::json(&list(16_385))).await;
        let error = ask(&mut *plain("127.0.0.1", server.port)).await.unwrap_err();
        assert!(error.contains("[0].targets[16384]") && error.contains("at most 16384 addresses"), "{error}");
    });
}
