//! What a user of this host without root gets from the agent's port: not the token, not another's session, not all places.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use nodewall_testbed::{Lab, PATIENCE, Signal, skip_unless_privileged};
use serde_json::{Value, json};

use super::{
    client::{PORT, Reply, api, get, request, served, session, token, wait_until_served},
    stream::{self, event},
};
use crate::{
    node::{Node, eventually},
    settings::Settings,
};

const STATUS: &str = "/api/v1/status";
const STREAM: &str = "/api/v1/stream";
/// docs/API.md.
const STREAMS: usize = 8;

/// What `page` must print while the agent's port is another's: nothing, and why.
fn assert_no_address(node: &Node, why: &str) {
    let page = node.nodewall("page", &[]);
    assert!(!page.status.success() && page.stdout.is_empty() && page.stderr.contains(why), "{page:?}");
}

fn status_with(node: &Node, header: (&str, &str)) -> u16 {
    request(node.netns(), PORT, "GET", STATUS, &[header]).status
}

fn status_of_bearer(node: &Node, token: &str) -> u16 {
    status_with(node, ("Authorization", &format!("Bearer {token}")))
}

#[test]
fn no_address_is_printed_while_another_process_has_the_port() {
    if skip_unless_privileged("no_address_is_printed_while_another_process_has_the_port") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let squatter = node.netns().run(|| TcpListener::bind(("127.0.0.1", PORT)).unwrap()).unwrap();
    node.start_agent();
    eventually("the alarm", || node.json("status")["problems"].to_string().contains("not served at").then_some(()));
    assert_no_address(&node, "nodewall status");
    drop(squatter);
    wait_until_served(&node);
    let url = eventually("the address", || {
        let page = node.nodewall("page", &[]);
        page.status.success().then_some(page.stdout)
    });
    assert!(url.starts_with("http://127.0.0.1:9117/?"), "{url}");
    // What the agent notes is not believed against the kernel's word on whose socket it is.
    let note = node.directories.state_dir().join("export.json");
    let mut noted: Value = serde_json::from_str(&fs::read_to_string(&note).unwrap()).unwrap();
    let _other = node.netns().run(|| TcpListener::bind("127.0.0.1:9118").unwrap()).unwrap();
    for listen in ["127.0.0.1:9118", "127.0.0.1:9119"] {
        noted["listen"] = json!(listen);
        fs::write(&note, noted.to_string()).unwrap();
        assert_no_address(&node, listen);
    }
    // The agent that lets the port go, and gets no other, takes the note away.
    node.configure_text(&format!("{}\n[export]\nlisten = \"127.0.0.1:9118\"\n", Settings::default().to_toml()));
    node.agent().signal(Signal::HUP).unwrap();
    eventually("the alarm", || node.json("status")["problems"].to_string().contains("9118").then_some(()));
    assert!(!note.exists());
    assert_no_address(&node, "nodewall status");
}

#[test]
fn each_start_and_a_word_make_another_token_and_end_what_the_old_one_opened() {
    if skip_unless_privileged("each_start_and_a_word_make_another_token_and_end_what_the_old_one_opened") {
        return;
    }
    let mut node = served();
    let first = token(&node);
    node.end_agent(Signal::TERM);
    node.start_agent();
    wait_until_served(&node);
    let second = token(&node);
    assert_ne!(first, second, "a start keeps the token");
    assert_eq!((status_of_bearer(&node, &first), status_of_bearer(&node, &second)), (401, 200));
    // At once, without a restart.
    let cookie = session(&node);
    let mut streams = [("Authorization", format!("Bearer {second}")), ("Cookie", cookie.clone())]
        .map(|(name, value)| stream::open_with(&node, name, &value));
    for stream in &mut streams {
        event(stream);
    }
    let page = node.nodewall("page", &["--new-token"]);
    assert!(page.status.success() && page.stdout.starts_with("http://127.0.0.1:9117/?"), "{page:?}");
    let third = token(&node);
    assert_ne!(second, third);
    assert_eq!((status_of_bearer(&node, &second), status_of_bearer(&node, &third)), (401, 200));
    assert_eq!(status_with(&node, ("Cookie", &cookie)), 401, "a session outlives its token");
    for mut stream in streams {
        stream.read_to_end(&mut Vec::new()).expect("a stream outlives its token");
    }
    let path = page.stdout.trim().strip_prefix("http://127.0.0.1:9117").unwrap();
    assert_eq!(get(&node, path).status, 303);
    // Who takes the file away closes the door.
    fs::remove_file(node.directories.state_dir().join("token")).unwrap();
    assert_eq!(status_of_bearer(&node, &third), 401);
    assert_no_address(&node, "--new-token");
}

#[test]
fn an_address_opens_the_page_once_and_its_cookie_is_no_token() {
    if skip_unless_privileged("an_address_opens_the_page_once_and_its_cookie_is_no_token") {
        return;
    }
    let node = served();
    let token = token(&node);
    let page = node.nodewall("page", &[]).stdout;
    let path = page.trim().strip_prefix("http://127.0.0.1:9117").unwrap();
    assert!(!page.contains(&token), "the address has the token");
    assert_eq!(get(&node, &format!("/?token={token}")).status, 401, "the token in an address opens");
    // Each place of the ticket counts; a wrong one does not use it up.
    let changed = |at: usize| {
        let mut bytes = path.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        String::from_utf8(bytes).unwrap()
    };
    let ticket = path.find('=').unwrap() + 1;
    for at in (ticket..path.len()).step_by(7).chain([path.len() - 1]) {
        let refused = get(&node, &changed(at));
        assert!(refused.status == 401 && !refused.headers.contains_key("set-cookie"), "{at}: {refused:?}");
    }
    for foreign in ["/?ticket=", "/?ticket=..", "/?ticket=1.2", "/?ticket=1.2.3.4", "/?ticket=-1.a.b"] {
        assert_eq!(get(&node, foreign).status, 401, "{foreign}");
    }
    let welcome = get(&node, path);
    assert_eq!((welcome.status, welcome.headers["location"].as_str()), (303, "/"));
    let cookie = welcome.headers["set-cookie"].clone();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    assert!(!cookie.contains(&token) && value.len() == 64, "{cookie}");
    for path in ["/", STATUS] {
        assert_eq!(request(node.netns(), PORT, "GET", path, &[("Cookie", pair)]).status, 200, "{path}");
    }
    // Whoever saw the address gets nothing by it; who is in already may load it again.
    let again = get(&node, path);
    assert!(again.status == 401 && !again.headers.contains_key("set-cookie"), "{again:?}");
    let reloaded = request(node.netns(), PORT, "GET", path, &[("Cookie", pair)]);
    assert!(reloaded.status == 303 && !reloaded.headers.contains_key("set-cookie"), "{reloaded:?}");
    // The session is no token, the token no session; and what another port of this host sets before it does not lock out.
    assert_eq!(status_of_bearer(&node, value), 401);
    assert_eq!(status_with(&node, ("Cookie", &format!("{name}={token}"))), 401);
    let wrong = "0".repeat(64);
    for before in [format!("{name}={wrong}; {pair}"), format!("{name}=; {name}; {pair}; {name}={wrong}")] {
        assert_eq!(status_with(&node, ("Cookie", &before)), 200, "{before}");
    }
    let two = [("Cookie", format!("{name}={wrong}")), ("Cookie", pair.to_owned())];
    let two = two.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(request(node.netns(), PORT, "GET", STATUS, &two).status, 200);
    // A stale session in the cookie does not spoil the header of a program.
    let both = [("Authorization", format!("Bearer {wrong}")), ("Cookie", pair.to_owned())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(request(node.netns(), PORT, "GET", STATUS, &both).status, 200);
    // Sessions are few: the oldest makes room.
    for _ in 0..32 {
        session(&node);
    }
    assert_eq!(status_with(&node, ("Cookie", pair)), 401);
}

#[test]
fn a_token_file_is_what_programs_send_and_outlives_the_agent() {
    if skip_unless_privileged("a_token_file_is_what_programs_send_and_outlives_the_agent") {
        return;
    }
    let mut node = Node::idle(Lab::new().unwrap(), &Settings::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.token");
    let write = |token: &str, mode: u32| {
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("first-of-ours\n", 0o644);
    node.configure_text(&format!("{}\n[export]\ntoken_file = {file:?}\n", Settings::default().to_toml()));
    node.start_agent();
    eventually("the open file is an alarm", || {
        node.json("status")["problems"].to_string().contains("is open to others").then_some(())
    });
    write("first-of-ours\n", 0o600);
    wait_until_served(&node);
    assert_eq!(status_of_bearer(&node, "first-of-ours"), 200);
    assert_eq!(status_of_bearer(&node, &token(&node)), 401, "the key of `page` is a token, too");
    let cookie = session(&node);
    assert_eq!(status_with(&node, ("Cookie", &cookie)), 200);
    node.end_agent(Signal::TERM);
    node.start_agent();
    wait_until_served(&node);
    assert_eq!((status_of_bearer(&node, "first-of-ours"), status_with(&node, ("Cookie", &cookie))), (200, 401));
    let mut open = stream::open_with(&node, "Authorization", "Bearer first-of-ours");
    event(&mut open);
    // Another one counts at once, and none opens nothing.
    write("second-of-ours\n", 0o600);
    assert_eq!((status_of_bearer(&node, "first-of-ours"), status_of_bearer(&node, "second-of-ours")), (401, 200));
    open.read_to_end(&mut Vec::new()).expect("a stream outlives its token");
    fs::remove_file(Path::new(&file)).unwrap();
    assert_eq!(status_of_bearer(&node, "second-of-ours"), 401);
}

/// Streams that ask and do not read; each has a place.
fn deaf(node: &Node, header: (&str, &str)) -> Vec<TcpStream> {
    let open = || {
        let stream = stream::open_with(node, header.0, header.1).into_inner();
        // It has its place when the first byte of the answer is there.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        stream
    };
    (0..STREAMS).map(|_| open()).collect()
}

#[test]
fn streams_that_take_nothing_lose_their_places() {
    if skip_unless_privileged("streams_that_take_nothing_lose_their_places") {
        return;
    }
    let node = served();
    let mut streams = deaf(&node, ("Authorization", &format!("Bearer {}", token(&node))));
    // One of them reads.
    let mut reader = BufReader::new(streams.pop().unwrap());
    assert_eq!(api(&node, STREAM).status, 503);
    let mut begun = eventually("a place", || {
        event(&mut reader);
        let mut stream = stream::open(&node);
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        line.contains(" 200 ").then_some(stream)
    });
    event(&mut begun);
    for _ in 0..3 {
        event(&mut reader);
    }
    // Those that took nothing were ended, whatever their sockets still hold.
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

#[test]
fn one_source_can_not_keep_all_streams_from_another() {
    if skip_unless_privileged("one_source_can_not_keep_all_streams_from_another") {
        return;
    }
    let node = served();
    let bearer = format!("Bearer {}", token(&node));
    let mut programs: Vec<_> = (0..STREAMS).map(|_| stream::open_with(&node, "Authorization", &bearer)).collect();
    for stream in &mut programs {
        event(stream);
    }
    assert_eq!(api(&node, STREAM).status, 503, "its own are all it may have");
    // A browser's session gets a place at once, though all of them read.
    let cookie = session(&node);
    let mut browser = stream::open_with(&node, "Cookie", &cookie);
    event(&mut browser);
    programs.remove(0).read_to_end(&mut Vec::new()).expect("the oldest makes room");
    for stream in &mut programs {
        event(stream);
    }
    // To half of them, and no farther: nobody pushes out an equal.
    let ask = || {
        let mut stream = stream::open_with(&node, "Cookie", &cookie);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        (line, stream)
    };
    let more: Vec<_> = (1..STREAMS / 2).map(|_| ask()).collect();
    assert!(more.iter().all(|(line, _)| line.contains(" 200 ")), "{more:?}");
    assert!(ask().0.contains(" 503 "));
    event(&mut browser);
}

/// `Host` and the request's target name us; anything that is no plain name and port is refused.
#[test]
fn a_name_with_more_than_a_host_and_a_port_is_refused() {
    if skip_unless_privileged("a_name_with_more_than_a_host_and_a_port_is_refused") {
        return;
    }
    let node = served();
    let ask = |request: &[u8]| {
        let mut stream = node.netns().run(|| TcpStream::connect(("127.0.0.1", PORT))).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Reply::parse(&String::from_utf8(answer).unwrap()).status
    };
    for host in [
        "evil@localhost",
        "evil:x@localhost",
        "evil@localhost:9117",
        "@localhost",
        "localhost:99999",
        "localhost:65536",
        "localhost:+80",
        "localhost:-1",
        "localhost:80:80",
        "localhost:9117x",
        "[::1",
        "::1",
        "::1]",
        "[::1]x",
        "[::1]x:9117",
        "[127.0.0.1]",
        "[localhost]",
        "local host",
        "localhost\tx",
        "localhost/",
        "localhost/metrics",
        "localhost?x",
        "localhost#x",
        "localhost\\",
        "localhost\u{1}",
        "localhost\u{7f}",
        "localhos\u{e9}",
        "http://localhost",
        ":9117",
        "",
    ] {
        let told = ask(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(told, 400, "{host:?}");
    }
    // A name that is not ours, however it is written, is never taken for one.
    for foreign in
        ["localhost..", "localhost.,evil", "%6cocalhost", "127.1", "2130706433", "0x7f000001", "localhost,evil"]
    {
        let told = ask(format!("GET /metrics HTTP/1.1\r\nHost: {foreign}\r\n\r\n").as_bytes());
        assert!([400, 421].contains(&told), "{foreign:?}: {told}");
    }
    for (target, status) in [
        ("http://localhost:9117/metrics", 200),
        ("http://evil@localhost/metrics", 400),
        ("http://localhost:99999/metrics", 400),
        ("http://evil.example/metrics", 421),
        ("http://localhost@evil.example/metrics", 400),
        ("//evil.example/metrics", 404),
        ("http:///metrics", 400),
    ] {
        let told = ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        assert_eq!(told, status, "{target:?}");
    }
    assert_eq!(
        ask(b"GET /metrics HTTP/1.1\r\nHost: localhost:\r\n\r\n"),
        200,
        "an empty port is none (RFC 3986, 3.2.3)"
    );
}
