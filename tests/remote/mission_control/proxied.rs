//! Through a proxy: a strict one of our own, which asks for what RFC 9110 says, and Debian's tinyproxy.

use std::{
    io::Write as _,
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::Command,
    thread,
    time::Instant,
};

use nodewall_testbed::{Process, find_tool, until};

use super::{
    Site,
    far_end::{FOR_EVER, Server, UPGRADED, head},
    straight::in_time,
};
use crate::authority::Valid;

/// `operator:s3cret`
const LOGIN: &str = "proxy-authorization: Basic b3BlcmF0b3I6czNjcmV0\r\n";

/// Copies both ways until both ends are done.
fn splice(client: TcpStream, server: TcpStream) {
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let there = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = there.join();
}

/// A proxy that wants a login, and connects to the name and port that it is given and no other.
fn strict(target_port: u16) -> Server {
    Server::start(move |mut stream, note| {
        let Some(head) = head(&mut stream) else { return };
        note(head.clone());
        let target = format!("localhost:{target_port}");
        let begins = format!("CONNECT {target} HTTP/1.1\r\n");
        let host = format!("host: {target}\r\n");
        let answer = if !head.starts_with(&begins) || !head.to_lowercase().contains(&host) {
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        } else if !head.contains(LOGIN) {
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"out\"\r\nContent-Length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 Connection established\r\n\r\n"
        };
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.contains(" 200 ") {
            splice(stream, TcpStream::connect(("127.0.0.1", target_port)).unwrap());
        }
    })
}

fn password(site: &Site, text: &str, mode: u32) -> String {
    let path = site.place.file("password", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    format!("proxy_password_file = \"{path}\"\n")
}

#[test]
fn a_proxy_that_wants_a_login_gets_it_and_nobody_else_does() {
    let site = Site::new();
    let server = Server::tls(site.authority.server(&["localhost"], Valid::Now), Some(UPGRADED));
    let proxy = strict(server.port);
    let by = |user: &str| format!("proxy = \"http://{user}127.0.0.1:{}\"\n", proxy.port);
    let said =
        site.look("localhost", server.port, &format!("{}{}", by("operator@"), password(&site, "s3cret\n", 0o600)));
    said.is_fine();
    assert_eq!(said.steps(), ["resolve", "connect", "proxy", "tls", "certificate", "upgrade"]);
    assert!(said.found("proxy").contains("as operator"));
    assert!(!said.json.to_string().contains("s3cret"));
    let head = &server.heads()[0];
    assert!(!head.to_lowercase().contains("authorization"), "{head}");

    let wrong = site.look("localhost", server.port, &format!("{}{}", by("operator@"), password(&site, "guess", 0o600)));
    wrong.failed_at("proxy-login", "does not let operator in");
    site.look("localhost", server.port, &by("")).failed_at("proxy-login", "wants a login");
    site.look("localhost", server.port, &by("operator@")).failed_at("proxy-login", "wants a login");
    let open = site.look("localhost", server.port, &format!("{}{}", by("operator@"), password(&site, "s3cret", 0o644)));
    open.failed_at("proxy-login", "mode 0644");
    assert!(!open.json.to_string().contains("s3cret"));
}

#[test]
fn a_proxy_that_refuses_dawdles_or_is_none_is_told() {
    let site = Site::new();
    for (answer, problem) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refuses to connect to localhost:443: it answered 403"),
        ("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", "refuses to connect"),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "can not reach localhost:443"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        ("", "broke off"),
    ] {
        let proxy = Server::start(move |mut stream, _| {
            let _ = head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        });
        site.look("localhost", 443, &format!("proxy = \"http://localhost:{}\"\n", proxy.port))
            .failed_at("proxy", problem);
    }
    let begin = Instant::now();
    let mute = Server::start(|stream, _| {
        thread::sleep(FOR_EVER);
        drop(stream);
    });
    site.look("localhost", 443, &format!("proxy = \"http://localhost:{}\"\n", mute.port))
        .failed_at("proxy", "did not answer within 5 s");
    in_time(begin.elapsed());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.look("localhost", 443, &format!("proxy = \"http://127.0.0.1:{port}\"\n"))
        .failed_at("connect", "the proxy can not be reached");
}

#[test]
fn a_proxy_that_opens_tls_shows_a_certificate_of_its_own() {
    let site = Site::new();
    let inspector = crate::authority::Authority::new("inspection");
    let middle = Server::tls(inspector.server(&["localhost"], Valid::Now), Some(UPGRADED));
    let middle_port = middle.port;
    let proxy = Server::start(move |mut stream, _| {
        let _ = head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        splice(stream, TcpStream::connect(("127.0.0.1", middle_port)).unwrap());
    });
    let said = site.look("localhost", 443, &format!("proxy = \"http://127.0.0.1:{}\"\n", proxy.port));
    said.failed_at("certificate", "comes from none of");
    assert!(said.found("certificate").contains("inspection"), "{}", said.json);
}

/// Debian's tinyproxy: another's idea of what a proxy is.
#[test]
fn a_real_proxy_lets_it_through_refuses_a_port_and_wants_its_login() {
    let site = Site::new();
    let server = Server::tls(site.authority.server(&["localhost"], Valid::Now), Some(UPGRADED));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |allowed: u16| {
        let config = site.place.file(
            "tinyproxy.conf",
            format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 10\nBasicAuth operator s3cret\nConnectPort {allowed}\nLogLevel Info\n"
            ),
        );
        let mut command = Command::new(find_tool("tinyproxy").unwrap());
        command.args(["-d", "-c", &config]);
        let proxy = Process::spawn("tinyproxy", command).unwrap();
        until("tinyproxy listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        proxy
    };
    let by = |user: &str| format!("proxy = \"http://{user}127.0.0.1:{port}\"\n");
    let with_login = format!("{}{}", by("operator@"), password(&site, "s3cret", 0o600));
    let proxy = start(server.port);
    site.look("localhost", server.port, &with_login).is_fine();
    site.look("localhost", server.port, &by("")).failed_at("proxy-login", "wants a login");
    proxy.terminate().unwrap();
    let proxy = start(443);
    site.look("localhost", server.port, &with_login).failed_at("proxy", "refuses to connect");
    proxy.terminate().unwrap();
}
