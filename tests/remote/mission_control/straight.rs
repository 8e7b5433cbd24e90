//! Without a proxy.

use std::{
    io::Write as _,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nodewall_testbed::{NetNs, find_tool, judge_time, skip_unless_privileged, until};

use super::{
    Site,
    far_end::{FOR_EVER, Server, UPGRADED, wait_for_end},
};
use crate::{
    authority::{Authority, Valid, self_signed},
    binary::{executable, finish},
};

/// Five seconds a step, and what the machine's load adds.
const STEP_AT_MOST: Duration = Duration::from_secs(9);

#[track_caller]
pub(crate) fn in_time(took: Duration) {
    judge_time(took < STEP_AT_MOST, || format!("{took:?}"));
}

#[test]
fn a_way_that_is_open_is_shown_step_by_step_and_kept() {
    let site = Site::new();
    let server = Server::tls(site.authority.server(&["localhost"], Valid::Now), Some(UPGRADED));
    std::fs::create_dir(site.place.state()).unwrap();
    std::fs::set_permissions(site.place.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let said = site.look("localhost", server.port, "");
    said.is_fine();
    assert_eq!(said.steps(), ["resolve", "connect", "tls", "certificate", "upgrade"]);
    assert!(said.found("resolve").contains("127.0.0.1"));
    assert_eq!(said.found("tls"), "TLS 1.3");
    let certificate = said.found("certificate");
    assert!(certificate.contains("the vendor's authority") && certificate.contains("2120"), "{certificate}");
    assert!(said.found("upgrade").contains("101"));
    let head = &server.heads()[0];
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains(&format!("host: localhost:{}\r\n", server.port)), "{head}");
    assert!(head.ends_with("sni: localhost"), "{head}");

    let noted = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(site.place.state().join("mission_control.json")).unwrap()).unwrap()
    };
    assert_eq!((&noted()["ok"], &noted()["step"]), (&true.into(), &serde_json::Value::Null));
    let other = Server::tls(site.authority.server(&["else.example"], Valid::Now), Some(UPGRADED));
    site.look("localhost", other.port, "").failed_at("certificate", "is not for");
    assert_eq!((&noted()["ok"], &noted()["step"]), (&false.into(), &"certificate".into()));
}

#[test]
fn a_server_that_answers_without_upgrading_is_the_servers_own_word() {
    let site = Site::new();
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let server = Server::tls(site.authority.server(&["localhost"], Valid::Now), Some(answer));
    let said = site.look("localhost", server.port, "");
    said.is_fine();
    assert!(said.found("upgrade").contains("the server itself answers (404"), "{}", said.found("upgrade"));
}

#[test]
fn a_certificate_that_proves_nothing_is_named_with_its_subject_and_issuer() {
    let site = Site::new();
    let directory = tempfile::tempdir().unwrap();
    for (config, problem) in [
        (site.authority.server(&["mcsvc.example"], Valid::Now), "is not for \"localhost\""),
        (site.authority.server(&["localhost"], Valid::Once), "has expired"),
        (site.authority.server(&["localhost"], Valid::OneDay), "is not valid yet"),
        (Authority::new("a proxy's authority").server(&["localhost"], Valid::Now), "comes from none of"),
        (self_signed(&["localhost"], (false, Valid::Now), directory.path()).0, "comes from none of"),
    ] {
        let server = Server::tls(config, Some(UPGRADED));
        let said = site.look("localhost", server.port, "");
        said.failed_at("certificate", problem);
        let found = said.found("certificate");
        assert!(found.contains("subject ") && found.contains("issued by ") && found.contains("valid from "), "{found}");
        assert!(server.heads().is_empty(), "nothing is asked of a server that is not believed");
    }
}

#[test]
fn what_speaks_no_tls_or_an_old_one_is_told_apart() {
    let site = Site::new();
    let plain = Server::start(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        wait_for_end(&mut stream);
    });
    site.look("localhost", plain.port, "").failed_at("tls", "does not speak TLS");
    let cuts = Server::start(|stream, _| drop(stream));
    site.look("localhost", cuts.port, "").failed_at("tls", "broke off");

    // The real thing, which still can: openssl with TLS 1.1 alone.
    let (certificate, key) = (site.place.path("old.pem"), site.place.path("old.key"));
    let openssl = find_tool("openssl").unwrap();
    let made = Command::new(&openssl)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new(&openssl)
        .args([
            "s_server",
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
        ])
        .arg(&certificate)
        .arg("-key")
        .arg(&key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("openssl listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let said = site.look("localhost", port, "");
    let _ = server.kill();
    let _ = server.wait();
    said.failed_at("tls", "no TLS 1.2 or later");
}

#[test]
fn an_upgrade_that_something_in_between_takes_apart_is_told() {
    let site = Site::new();
    for (answer, problem) in [
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "as if no upgrade had been asked for"),
        (Some("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"), "saw no upgrade"),
        (Some("HTTP/1.1 403 Forbidden\r\nVia: 1.1 inspector\r\nContent-Length: 0\r\n\r\n"), "in between"),
        (
            Some("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
            "without the answer to our key",
        ),
        (None, "broke off"),
    ] {
        let server = Server::tls(site.authority.server(&["localhost"], Valid::Now), answer);
        site.look("localhost", server.port, "").failed_at("upgrade", problem);
    }
}

#[test]
fn silence_ends_at_each_step_in_bounded_time() {
    let site = Site::new();
    let taken = |begin: Instant| in_time(begin.elapsed());
    let begin = Instant::now();
    let mute = Server::start(|stream, _| {
        thread::sleep(FOR_EVER);
        drop(stream);
    });
    site.look("localhost", mute.port, "").failed_at("tls", "no TLS within 5 s");
    taken(begin);
    let begin = Instant::now();
    let mute = Server::tls(site.authority.server(&["localhost"], Valid::Now), Some(""));
    site.look("localhost", mute.port, "").failed_at("upgrade", "no answer within 5 s");
    taken(begin);
}

#[test]
fn a_name_or_an_address_that_is_not_there_is_told() {
    let site = Site::new();
    site.look("nowhere.invalid", 443, "").failed_at("resolve", "nowhere.invalid can not be looked up");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.look("127.0.0.1", port, "").failed_at("connect", "can not be reached");
}

/// A namespace whose name server takes every question and answers none, and whose wire leads nowhere.
#[test]
fn a_silent_name_server_and_a_silent_wire_end_in_bounded_time() {
    if skip_unless_privileged("a_silent_name_server_and_a_silent_wire_end_in_bounded_time") {
        return;
    }
    let site = Site::new();
    let netns = NetNs::create("silent").unwrap();
    netns.ip(&["link", "set", "lo", "up"]).unwrap();
    netns.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "far"]).unwrap();
    netns.ip(&["address", "add", "10.0.0.254/24", "dev", "eth0"]).unwrap();
    for interface in ["eth0", "far"] {
        netns.ip(&["link", "set", interface, "up"]).unwrap();
    }
    netns.ip(&["neighbour", "add", "10.0.0.1", "lladdr", "02:00:00:00:00:09", "dev", "eth0"]).unwrap();
    let _dns = netns.run(|| std::net::UdpSocket::bind("127.0.0.53:53").unwrap()).unwrap();
    let resolv = site.place.file("resolv.conf", "nameserver 127.0.0.53\n");
    for (host, step, problem) in [
        ("mcsvc.dynatrace.com", "resolve", "no answer within 5 s"),
        ("10.0.0.1", "connect", "10.0.0.1:443: no answer within 5.0 s"),
    ] {
        let config = site.place.file("nodewall.toml", format!("[mission_control]\nhost = \"{host}\"\n"));
        let script = format!(
            "mount --bind {resolv} /etc/resolv.conf && exec {} doctor --mission-control --config {config} -o json --state-dir {}",
            executable(),
            site.place.state().display()
        );
        let mut command = netns.command("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let begin = Instant::now();
        let ran = finish(command);
        super::DoctorReport { json: ran.json(), code: ran.code }.failed_at(step, problem);
        in_time(begin.elapsed());
    }
}
