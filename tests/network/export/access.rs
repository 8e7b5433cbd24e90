//! Who may ask what: methods, names, the token, headers, places to listen.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

use nodewall_testbed::{PATIENCE, skip_unless_privileged};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider, pki_types::ServerName},
};

use super::client::{PORT, Reply, api, get, raw, request, served, session, token, wait_until_served};
use crate::{
    node::{Node, eventually},
    settings::Settings,
};

const GUARDED: [&str; 8] = [
    "/",
    "/page.css",
    "/page.js",
    "/api/v1/ports",
    "/api/v1/status",
    "/api/v1/counters",
    "/api/v1/peers",
    "/api/v1/stream",
];

#[test]
fn nothing_but_reading_is_answered() {
    if skip_unless_privileged("nothing_but_reading_is_answered") {
        return;
    }
    let node = served();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/metrics", "/api/v1/status", "/nowhere"] {
            let reply = request(node.netns(), PORT, method, path, &[("Content-Length", "0")]);
            assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    let head = request(node.netns(), PORT, "HEAD", "/metrics", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.headers["content-length"].parse::<u32>().unwrap() > 1_000);
    assert_eq!(get(&node, "/nowhere").status, 404);
    assert_eq!(get(&node, "/healthz").body, "healthy\n");
}

#[test]
fn a_name_that_is_not_ours_is_refused() {
    if skip_unless_privileged("a_name_that_is_not_ours_is_refused") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::default());
    node.configure_text(&format!("{}\n[export]\nhosts = [\"n1.example\"]\n", Settings::default().to_toml()));
    node.start_agent();
    wait_until_served(&node);
    let status = |host: &str| request(node.netns(), PORT, "GET", "/metrics", &[("Host", host)]).status;
    for ours in [
        "localhost",
        "LOCALHOST:9117",
        "localhost.",
        "127.0.0.1",
        "127.1.2.3:1",
        "[::1]:9117",
        "n1.example:9117",
        "N1.Example",
        node.host().ipv4().to_string().as_str(),
        format!("[{}]:9117", node.host().ipv6()).as_str(),
    ] {
        assert_eq!(status(ours), 200, "{ours}");
    }
    for foreign in [
        "evil.example",
        "evil.example:9117",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.77.0.99",
        "[fd77::99]",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        assert_eq!(status(foreign), 421, "{foreign}");
    }
    // The name in the request line counts as well, and there is one Host; HTTP/1.0 has none.
    for (request, status) in [
        ("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        ("GET http://evil.example/metrics HTTP/1.0\r\n\r\n", 421),
        ("GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n", 421),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        ("GET /metrics HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nHost: \r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\n\r\n", 400),
        ("GET /metrics HTTP/1.0\r\n\r\n", 200),
    ] {
        assert_eq!(Reply::parse(&raw(node.netns(), PORT, request).unwrap()).status, status, "{request}");
    }
}

/// `nc -N` and socat say that they have said all, and wait for the answer.
#[test]
fn a_client_that_sends_no_more_is_answered() {
    if skip_unless_privileged("a_client_that_sends_no_more_is_answered") {
        return;
    }
    let node = served();
    // Each is read anew: an answer that another scrape left would be there before the end of the request is seen.
    for path in ["/metrics", "/healthz", "/nowhere"].into_iter().cycle().take(60) {
        let answer = node
            .netns()
            .run(|| {
                let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
                stream.shutdown(Shutdown::Write)?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            })
            .unwrap();
        let status = if path == "/nowhere" { 404 } else { 200 };
        assert_eq!(Reply::parse(&answer.unwrap()).status, status, "{path}");
    }
}

#[test]
fn pages_and_api_need_the_token_and_metrics_do_not() {
    if skip_unless_privileged("pages_and_api_need_the_token_and_metrics_do_not") {
        return;
    }
    let node = served();
    let token = token(&node);
    assert_eq!(get(&node, "/metrics").status, 200);
    let (wrong, session) = (format!("{}x", &token[1..]), session(&node));
    for path in GUARDED {
        let bearer = format!("Bearer {wrong}");
        let cookie = format!("nodewall-9117={wrong}");
        for header in [("Accept", "*/*"), ("Authorization", bearer.as_str()), ("Cookie", cookie.as_str())] {
            let reply = request(node.netns(), PORT, "GET", path, &[header]);
            assert_eq!(reply.status, 401, "{path} {header:?}");
            assert!(
                !reply.body.contains("10.77") && reply.headers["www-authenticate"].starts_with("Bearer"),
                "{reply:?}"
            );
        }
        assert_eq!(request(node.netns(), PORT, "HEAD", path, &[("Cookie", &session)]).status, 200, "{path}");
        let reply = get(&node, &format!("{path}?ticket={wrong}"));
        assert!(reply.status == 401 && !reply.headers.contains_key("set-cookie"), "{reply:?}");
    }
    assert_eq!(api(&node, "/api/v1/status").status, 200);
    let mut node = node;
    node.end_agent(nodewall_testbed::Signal::TERM);
    let refused = node.nodewall("page", &[]);
    assert!(refused.stderr.contains("no agent runs") && refused.stdout.is_empty(), "{refused:?}");
}

#[test]
fn every_answer_carries_the_headers_that_keep_a_browser_safe() {
    if skip_unless_privileged("every_answer_carries_the_headers_that_keep_a_browser_safe") {
        return;
    }
    let node = served();
    let foreign = request(node.netns(), PORT, "GET", "/", &[("Host", "evil.example")]);
    let refused = request(node.netns(), PORT, "POST", "/", &[]);
    let page = node.nodewall("page", &[]).stdout;
    let welcome = get(&node, page.trim().strip_prefix("http://127.0.0.1:9117").unwrap());
    assert_eq!(welcome.status, 303);
    for reply in
        [get(&node, "/metrics"), get(&node, "/"), get(&node, "/nowhere"), api(&node, "/"), foreign, refused, welcome]
    {
        let csp = &reply.headers["content-security-policy"];
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "frame-ancestors 'none'",
        ] {
            assert!(csp.contains(part), "{csp}");
        }
        assert!(!csp.contains("unsafe") && !csp.contains('*'), "{csp}");
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")]
        {
            assert_eq!(reply.headers[name], value, "{reply:?}");
        }
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn an_address_that_is_taken_is_an_alarm_until_it_is_free() {
    if skip_unless_privileged("an_address_that_is_taken_is_an_alarm_until_it_is_free") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::default());
    let taken = node.netns().run(|| std::net::TcpListener::bind(("127.0.0.1", PORT)).unwrap()).unwrap();
    node.start_agent();
    let problems = |node: &Node| node.json("status")["problems"].to_string();
    eventually("the alarm", || problems(&node).contains("not served at 127.0.0.1:9117").then_some(()));
    drop(taken);
    wait_until_served(&node);
    eventually("the alarm's end", || (problems(&node) == "[]").then_some(()));
    // Another address by reload, then none.
    let listen = |node: &Node, listen: &str| {
        node.configure_text(&format!("{}\n[export]\nlisten = {listen:?}\n", Settings::default().to_toml()));
        node.agent().signal(nodewall_testbed::Signal::HUP).unwrap();
    };
    listen(&node, "[::1]:9200");
    eventually("the page's address", || {
        node.nodewall("page", &[]).stdout.starts_with("http://[::1]:9200/?ticket=").then_some(())
    });
    assert!(raw(node.netns(), PORT, "GET / HTTP/1.1\r\n\r\n").is_err(), "it still listens at the old address");
    listen(&node, "none");
    eventually("no page", || node.nodewall("page", &[]).stderr.contains("listens nowhere").then_some(()));
}

#[test]
fn beyond_loopback_it_is_tls_or_refused() {
    if skip_unless_privileged("beyond_loopback_it_is_tls_or_refused") {
        return;
    }
    let mut node = Node::idle(nodewall_testbed::Lab::new().unwrap(), &Settings::default());
    node.configure_text(&format!("{}\n[export]\nlisten = \"0.0.0.0:9117\"\n", Settings::default().to_toml()));
    for verb in ["check", "run"] {
        let refused = node.nodewall(verb, &[]);
        assert!(refused.stderr.contains("nodewall.toml:") && refused.stderr.contains("tls_cert"), "{refused:?}");
    }
    let key = rcgen::generate_simple_self_signed(["n1.example".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&cert_file, key.cert.pem()).unwrap();
    std::fs::write(&key_file, key.signing_key.serialize_pem()).unwrap();
    let mode = |mode| std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    node.configure_text(&format!(
        "{}\n[export]\nlisten = \"0.0.0.0:9117\"\nhosts = [\"n1.example\"]\ntls_cert = {cert_file:?}\ntls_key = {key_file:?}\n",
        Settings::default().to_toml()
    ));
    node.start_agent();
    eventually("the open key is an alarm", || {
        node.json("status")["problems"].to_string().contains("open to others").then_some(())
    });
    mode(0o600);
    let ask = |path: &str, host: &str, header: &str| {
        let (path, host, header) = (path.to_owned(), host.to_owned(), header.to_owned());
        let address = (node.host().ipv4(), PORT);
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let name = ServerName::try_from("n1.example").unwrap();
        let asked = node.netns().run(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let stream = tokio::net::TcpStream::connect(address).await.ok()?;
                let mut stream = connector.connect(name, stream).await.ok()?;
                stream
                    .write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n").as_bytes())
                    .await
                    .ok()?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.ok()?;
                Some(Reply::parse(&answer))
            })
        });
        asked.unwrap()
    };
    let reply = eventually("an answer over TLS", || ask("/metrics", "n1.example:9117", ""));
    assert!(reply.status == 200 && reply.body.contains("nodewall_enforcing 1"), "{reply:?}");
    assert_eq!(ask("/metrics", "evil.example", "").unwrap().status, 421);
    // A cookie over TLS is for TLS alone, and nobody else's.
    let page = node.nodewall("page", &[]);
    let path = page.stdout.trim().strip_prefix("https://n1.example:9117").unwrap_or_else(|| panic!("{page:?}"));
    let welcome = ask(path, "n1.example:9117", "").unwrap();
    let cookie = &welcome.headers["set-cookie"];
    assert!(welcome.status == 303 && cookie.starts_with("__Host-nodewall-9117="), "{welcome:?}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let told = |pair: &str| ask("/api/v1/status", "n1.example", &format!("Cookie: {pair}\r\n")).unwrap().status;
    assert_eq!((told(pair), told(pair.strip_prefix("__Host-").unwrap())), (200, 401));
}
