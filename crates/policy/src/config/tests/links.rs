//! `[push]` and `[mission_control]`: whom nodewall itself speaks to.

use std::path::Path;
use std::time::Duration;

use super::super::{Config, Proxy, Push, push::DEFAULT_PUSH_URL};
use super::assert_refusals;

fn parse(text: &str) -> Config {
    Config::parse(text, "nodewall.toml").unwrap()
}

#[test]
fn nothing_is_pushed_unless_it_is_asked_for_and_the_local_agent_needs_no_key() {
    assert_eq!(parse("").push, None);
    let push = parse("[push]\n").push.unwrap();
    assert_eq!(
        (push.url.as_str(), push.interval, push.is_remote()),
        (DEFAULT_PUSH_URL, Duration::from_secs(60), false)
    );
    for url in
        ["http://127.0.0.1:14499/metrics/ingest", "http://[::1]:1/x", "http://LOCALHOST:1/x", "http://127.9.9.9/x"]
    {
        assert_eq!(parse(&format!("[push]\nurl = \"{url}\"\n")).push.unwrap().url, url);
    }
    let text = "[push]\nurl = \"https://n1.example/api/v2/metrics/ingest\"\ntoken_file = \"token\"\nca = \"/etc/ca.pem\"\ninterval = \"5m\"\n";
    let whole = Push {
        url: "https://n1.example/api/v2/metrics/ingest".into(),
        token_file: Some("token".into()),
        ca: Some("/etc/ca.pem".into()),
        interval: Duration::from_secs(300),
    };
    assert!(whole.is_remote());
    assert_eq!(parse(text).push, Some(whole));
}

#[test]
fn a_push_that_would_tell_others_is_refused() {
    assert_refusals(&[
        ("[push]\nurl = ▶\"http://10.0.0.1:14499/metrics/ingest\"\n", "to another host in plain text"),
        ("[push]\nurl = ▶\"http://localhost.example/x\"\n", "to another host in plain text"),
        ("[push]\nurl = ▶\"https://n1.example/api/v2/metrics/ingest\"\n", "missing key \"token_file\""),
        ("[push]\ntoken_file = ▶\"/t\"\n", "wants no token"),
        ("[push]\nurl = ▶\"https://u:p@n1.example/x\"\ntoken_file = \"/t\"\n", "a user or a password in it"),
        ("[push]\nurl = ▶\"localhost:14499\"\n", "does not begin with"),
        ("[push]\ninterval = ▶\"0s\"\n", "out of bounds"),
        ("[push]\nca = ▶\"ca.pem\"\n", "not an absolute path"),
        ("[push]\n▶urls = \"x\"\n", "did you mean \"url\"?"),
    ]);
}

#[test]
fn mission_control_is_the_vendors_unless_it_is_said_otherwise() {
    let link = parse("").mission_link;
    assert_eq!(link, Config::embedded().mission_link);
    assert_eq!((link.host.as_str(), link.port), ("mcsvc.dynatrace.com", 443));
    assert_eq!((link.proxy, link.ca), (None, None));
    let text = "[mission_control]\nhost = \"MC.Example.\"\nport = 8443\nproxy = \"http://op@proxy.example:3128/\"\nproxy_password_file = \"/etc/p\"\n";
    let link = parse(text).mission_link;
    assert_eq!((link.host.as_str(), link.port), ("mc.example", 8443));
    let proxy = Proxy {
        host: "proxy.example".into(),
        port: 3128,
        user: Some("op".into()),
        password_file: Some(Path::new("/etc/p").into()),
    };
    assert_eq!(link.proxy, Some(proxy));
    let v6 = parse("[mission_control]\nhost = \"fd00::1\"\nproxy = \"http://[fd00::2]:3128\"\n").mission_link;
    assert_eq!((v6.host.as_str(), v6.proxy.unwrap().host.as_str()), ("fd00::1", "fd00::2"));
}

#[test]
fn a_proxy_that_is_none_or_tells_its_password_is_refused() {
    let secret =
        Config::parse("[mission_control]\nproxy = \"http://op:s3cret@proxy:1\"\n", "nodewall.toml").unwrap_err();
    assert!(
        secret.errors()[0].message.contains("a password does not belong")
            && !secret.errors()[0].message.contains("s3cret")
    );
    assert_refusals(&[
        ("[mission_control]\nproxy = ▶\"http://op:@proxy:1\"\n", "a password does not belong"),
        ("[mission_control]\nproxy = ▶\"https://proxy:1\"\n", "does not begin with http://"),
        ("[mission_control]\nproxy = ▶\"http://proxy\"\n", "names no port"),
        ("[mission_control]\nproxy = ▶\"http://proxy:0\"\n", "names no port"),
        ("[mission_control]\nproxy = ▶\"http://@proxy:1\"\n", "user's name is empty"),
        ("[mission_control]\nproxy = ▶\"http://proxy:1/path\"\n", "is no host and port"),
        ("[mission_control]\nproxy_password_file = ▶\"/p\"\n", "proxy names no user"),
        ("[mission_control]\nproxy = \"http://proxy:1\"\nproxy_password_file = ▶\"/p\"\n", "proxy names no user"),
        ("[mission_control]\nhost = ▶\"https://mc.example\"\n", "is no host name"),
        ("[mission_control]\nport = ▶\"443-445\"\n", "is a range"),
        ("[mission_control]\nport = ▶0\n", "is not a port"),
    ]);
}
