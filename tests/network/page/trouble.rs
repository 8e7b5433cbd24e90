//! The page when its node is not there, does not answer, or wants it no more: it must say so, and never show what was as what is.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use nodewall_testbed::{Signal, skip_unless_privileged};

use super::super::browser::Browser;
use super::super::export::client::session;
use super::super::node::Node;
use super::{DESK, STATE, address, open};

const STALE: &str = "document.documentElement.classList.contains('stale')";
/// `[export]` as it is without a word in the configuration.
const AGENT: &str = "127.0.0.1:9117";
/// docs/API.md.
const STREAMS: usize = 8;

fn wait_for_words(browser: &mut Browser, words: &str) {
    browser.wait_for(&format!("{STATE}.includes({words:?}) && {STALE}"));
}

fn wait_for_news(browser: &mut Browser) {
    browser.wait_for(&format!("{STATE} === 'enforcing' && !{STALE}"));
}

#[test]
fn a_lost_stream_is_said_and_comes_back() {
    if skip_unless_privileged("a_lost_stream_is_said_and_comes_back") {
        return;
    }
    let mut node = Node::enforcing();
    let mut browser = Browser::start(node.netns(), DESK);
    open(&node, &mut browser);
    wait_for_news(&mut browser);

    // The connection stands, and nothing comes: what a broken tunnel looks like.
    node.agent().signal(Signal::STOP).unwrap();
    wait_for_words(&mut browser, "no news");
    assert!(browser.value("document.getElementById('clock').textContent").as_str().unwrap().contains("last heard"));
    node.agent().signal(Signal::CONT).unwrap();
    wait_for_news(&mut browser);

    // An agent anew has a token anew: the page is refused, and says what to do.
    node.end_agent(Signal::TERM);
    wait_for_words(&mut browser, "no connection");
    node.start_agent();
    wait_for_words(&mut browser, "`nodewall page` prints");
    open(&node, &mut browser);
    wait_for_news(&mut browser);
}

#[test]
fn one_page_too_many_is_told_so_and_served_when_there_is_room() {
    if skip_unless_privileged("one_page_too_many_is_told_so_and_served_when_there_is_room") {
        return;
    }
    let node = Node::enforcing();
    let address = address(&node);
    // Of as many browsers: one alone would have to make room.
    let others: Vec<TcpStream> = (0..STREAMS)
        .map(|_| {
            let cookie = session(&node);
            let ask = format!("GET /api/v1/stream HTTP/1.1\r\nHost: {AGENT}\r\nCookie: {cookie}\r\n\r\n");
            let mut stream = node.netns().run(|| TcpStream::connect(AGENT)).unwrap().unwrap();
            stream.write_all(ask.as_bytes()).unwrap();
            // It is one of the streams when its first byte is there.
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
            // Read on, however long the browser takes: one that does not read is ended.
            let mut reader = stream.try_clone().unwrap();
            thread::spawn(move || drop(io::copy(&mut reader, &mut io::sink())));
            stream
        })
        .collect();
    let mut browser = Browser::start(node.netns(), DESK);
    browser.open(&address);
    wait_for_words(&mut browser, "too many pages");
    for stream in others {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    wait_for_news(&mut browser);
}
