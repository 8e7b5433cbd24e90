//! A plain HTTP client in a namespace: one request, its answer to the end. Written by hand, so that it can also ask what no library would.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use nodewall_testbed::{NetNs, PATIENCE};
use serde_json::Value;

use crate::node::{Node, eventually};

pub(crate) const PORT: u16 = 9117;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = if headers.get("transfer-encoding").is_some_and(|v| v == "chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// Sends `request` as it stands, and reads until the server closes.
pub(crate) fn raw(netns: &NetNs, port: u16, request: &str) -> io::Result<String> {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    netns.run(ask).unwrap()
}

pub(crate) fn request(netns: &NetNs, port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Reply::parse(&raw(netns, port, &text).unwrap())
}

pub(crate) fn get(node: &Node, path: &str) -> Reply {
    request(node.netns(), PORT, "GET", path, &[])
}

/// The same where the agent may begin or cease to listen at this very moment: then there is no answer.
pub(crate) fn try_get(node: &Node, path: &str) -> Option<Reply> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = raw(node.netns(), PORT, &text).ok()?;
    answer.contains("\r\n\r\n").then(|| Reply::parse(&answer))
}

/// The same with the token.
pub(crate) fn api(node: &Node, path: &str) -> Reply {
    let bearer = format!("Bearer {}", token(node));
    request(node.netns(), PORT, "GET", path, &[("Authorization", &bearer)])
}

/// The token, where docs/API.md says that programs find it.
pub(crate) fn token(node: &Node) -> String {
    std::fs::read_to_string(node.directories.state_dir().join("token")).unwrap().trim_end().to_owned()
}

/// A new session, as a browser that opens what `nodewall page` prints sends it back: name and value.
pub(crate) fn session(node: &Node) -> String {
    let page = node.nodewall("page", &[]);
    let path = page.stdout.trim().strip_prefix("http://127.0.0.1:9117").unwrap_or_else(|| panic!("{page:?}"));
    let cookie = get(node, path).headers["set-cookie"].clone();
    cookie.split(';').next().unwrap().to_owned()
}

/// Waits until the agent answers: it begins to listen beside enforcing, not before it.
pub(crate) fn wait_until_served(node: &Node) {
    eventually("the agent answers", || try_get(node, "/metrics"));
}

/// A node whose agent enforces and answers.
pub(crate) fn served() -> Node {
    let node = Node::enforcing();
    wait_until_served(&node);
    node
}

/// Samples of the text format: name with labels -> value.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}
