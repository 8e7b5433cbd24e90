//! Servers that cut, dawdle, send too much or send elsewhere: each is an error that says so, in bounded time, and none is half an answer.

use std::time::{Duration, Instant};

use nodewall_testbed::{PATIENCE, ReservedPort, judge_time};

use super::{
    block_on,
    cluster_api::{FIREWALL, NODES, Site, peers},
    server::{Reply, Server},
};

const LARGEST_BYTES: usize = 4 << 20;

/// The error of a server with this answer to everything, and how long it took.
fn error_of(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (String, Duration) {
    block_on(async {
        let site = Site::new();
        let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
        let begin = Instant::now();
        let error = peers(&mut *site.source("localhost", server.port)).await.unwrap_err();
        // Whoever breaks off once is not asked for the next place.
        assert_eq!(server.paths(), [FIREWALL]);
        (error, begin.elapsed())
    })
}

#[test]
fn half_an_answer_is_none() {
    let whole = || Reply::json(NODES);
    let chunked = || {
        let (first, rest) = NODES.split_at(100);
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
            first.len(),
            rest.len()
        ))
    };
    // Its end is the connection's; TLS knows the difference.
    let open = || Reply::raw(format!("HTTP/1.1 200 OK\r\n\r\n{NODES}  "));
    let within = "the connection ended within the answer";
    for (reply, told) in [
        (Box::new(move || whole().cut_after(200)) as Box<dyn Fn() -> Reply + Send + Sync>, within),
        (Box::new(move || chunked().cut_after(150)), within),
        (Box::new(move || chunked().cut_after(NODES.len() + 60)), within),
        (Box::new(move || open().cut_after(19 + NODES.len())), within),
        (Box::new(move || whole().cut_after(10)), "the connection failed before an answer"),
        (Box::new(|| Reply::raw("")), "the connection failed before an answer"),
        (Box::new(|| Reply::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")), "the connection failed before an answer"),
    ] {
        let (error, _) = error_of(move |_: &str| reply());
        assert!(error.contains(told), "{told}: {error}");
    }
    // The same answers whole are taken.
    for reply in [whole, chunked, open] {
        block_on(async {
            let site = Site::new();
            let server = Server::start("127.0.0.1", Some(site.tls()), move |_: &str| reply()).await;
            assert_eq!(peers(&mut *site.source("localhost", server.port)).await.unwrap().len(), 2);
        });
    }
}

#[test]
fn a_slow_answer_ends_in_time_however_it_drips() {
    let (error, took) = error_of(|_: &str| Reply::json(NODES).slowly(Duration::from_millis(300)));
    assert!(error.contains("no whole answer within 10 s"), "{error}");
    assert!(took >= Duration::from_secs(9), "{took:?}");
    judge_time(took < Duration::from_secs(14), || format!("{took:?}"));
}

#[test]
fn too_large_an_answer_is_not_read_to_its_end() {
    let spaces = " ".repeat(LARGEST_BYTES + 1);
    let announced = |_: &str| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n[");
    let (error, _) = error_of(announced);
    assert!(error.contains("larger than 4194304 bytes"), "{error}");
    let (error, _) = error_of(move |_: &str| Reply::raw(format!("HTTP/1.1 200 OK\r\n\r\n{spaces}")));
    assert!(error.contains("larger than 4194304 bytes"), "{error}");
    // The very largest is read.
    block_on(async {
        let site = Site::new();
        let filled = format!("{NODES}{}", " ".repeat(LARGEST_BYTES - NODES.len()));
        let server = Server::start("127.0.0.1", Some(site.tls()), move |_: &str| Reply::json(&filled)).await;
        assert_eq!(peers(&mut *site.source("localhost", server.port)).await.unwrap().len(), 2);
    });
}

#[test]
fn a_redirect_to_another_server_is_refused_and_that_one_never_asked() {
    block_on(async {
        let site = Site::new();
        let elsewhere = Server::start("127.0.0.1", Some(site.tls()), |_: &str| Reply::json(NODES)).await;
        for (to, shown) in [
            (
                format!("https://localhost:{}{FIREWALL}", elsewhere.port),
                format!("localhost:{} (https)", elsewhere.port),
            ),
            (format!("https://127.0.0.1:{}/x", elsewhere.port), format!("127.0.0.1:{} (https)", elsewhere.port)),
            (format!("//127.0.0.1:{}/x", elsewhere.port), String::new()),
            (format!("http://localhost:{}/x", elsewhere.port), "(http)".to_owned()),
        ] {
            let location = format!("Location: {to}\r\n");
            let answer = move |_: &str| Reply::new("302 Found", &location, "");
            let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
            let error = peers(&mut *site.source("localhost", server.port)).await.unwrap_err();
            assert!(error.contains("302 Found") && error.contains(&shown), "{to}: {error}");
            assert_eq!(elsewhere.asked().len(), 0, "{to}");
        }
    });
}

#[test]
fn a_redirect_within_the_server_is_followed_and_a_circle_ends() {
    block_on(async {
        let site = Site::new();
        let answer = |head: &str| match head.split(' ').nth(1).unwrap() {
            FIREWALL => Reply::new("307 Temporary Redirect", "Location: /moved?to=here\r\n", ""),
            "/moved?to=here" => Reply::json(NODES),
            other => panic!("{other}"),
        };
        let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
        assert_eq!(peers(&mut *site.source("localhost", server.port)).await.unwrap().len(), 2);
        assert_eq!(server.paths(), [FIREWALL, "/moved?to=here"]);

        let circle =
            Server::start("127.0.0.1", Some(site.tls()), |_: &str| Reply::new("301 Moved", "Location: /a\r\n", ""))
                .await;
        let error = peers(&mut *site.source("localhost", circle.port)).await.unwrap_err();
        assert!(error.contains("redirects more than 3 times"), "{error}");
        assert_eq!(circle.asked().len(), 4);
    });
}

#[test]
fn answers_that_nobody_asked_for_are_refused() {
    for (reply, told) in [
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304 (not modified) although no earlier answer was named"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x08", "is encoded (\"gzip\")"),
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "302 Found without saying where to"),
    ] {
        let (error, _) = error_of(move |_: &str| Reply::raw(reply));
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn a_server_that_is_not_there_or_speaks_no_tls_is_an_error() {
    block_on(async {
        let site = Site::new();
        let plain = Server::start("127.0.0.1", None, |_: &str| Reply::json(NODES)).await;
        let error = tokio::time::timeout(PATIENCE, async {
            peers(&mut *site.source("localhost", plain.port)).await.unwrap_err()
        });
        let error = error.await.unwrap();
        assert!(error.contains("there is no TLS") || error.contains("no whole answer within 10 s"), "{error}");
        let reserved = ReservedPort::new().unwrap();
        let port = reserved.number().unwrap();
        let error = peers(&mut *site.source("127.0.0.1", port)).await.unwrap_err();
        assert!(error.contains(&format!("127.0.0.1:{port} can not be reached")), "{error}");
    });
}
