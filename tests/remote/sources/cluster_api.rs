//! The source `dynatrace_api`: the vendor's three places and their JSON, the token, who the server is, and what was not modified.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nodewall::peers::Source;
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;

use super::{
    ask, block_on,
    server::{Reply, Server},
    source,
};
use crate::authority::{Authority, Valid, self_signed};

pub(crate) const FIREWALL: &str = "/api/v1.0/onpremise/firewallManagement/clusterNodes";
pub(crate) const CONFIGURATION: &str = "/api/v1.0/onpremise/cluster/configuration";
pub(crate) const CLUSTER: &str = "/api/v1.0/onpremise/cluster";
pub(crate) const SECRET: &str = "dt0c01.ST2EY72KQINMH574WMNVI7YN.G3DFPBEJYMODIDAEX454M7YWBUVEFOWK";

/// As the vendor documents them; the last one's `communicationUris` are no peers.
pub(crate) const NODES: &str = r#"{"clusterNodes":[
    {"id":1,"ipAddress":"10.10.4.2","webUI":false,"agent":true,"datacenter":"datacenter-1","kubernetesRole":""},
    {"id":2,"ipAddress":"10.10.4.6","webUI":true,"agent":false,"datacenter":"datacenter-1","kubernetesRole":""}]}"#;
const MEMBERS: &str = r#"[
    {"buildVersion":"1.300.0","clusterMemberAddress":"10.10.4.2:5701","communicationUris":["https://192.0.2.9:443"],"id":1,"operationState":"RUNNING"},
    {"buildVersion":"1.300.0","clusterMemberAddress":"10.10.4.6:5701","communicationUris":[],"id":2,"operationState":"RUNNING"}]"#;

/// A token, a certificate authority, and a source that uses both.
pub(crate) struct Site {
    pub(crate) authority: Authority,
    directory: TempDir,
    ca: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("the cluster's authority");
        let ca = authority.write(directory.path());
        let site = Self { authority, directory, ca };
        site.write_token(SECRET);
        site
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        self.authority.server(&["localhost", "127.0.0.1"], Valid::Now)
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    fn write_token(&self, token: &str) {
        fs::write(self.token_file(), token).unwrap();
        fs::set_permissions(self.token_file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn source(&self, host: &str, port: u16) -> Box<dyn Source> {
        self.source_believing(host, port, Some(&self.ca))
    }

    fn source_believing(&self, host: &str, port: u16, ca: Option<&Path>) -> Box<dyn Source> {
        let ca = ca.map(|ca| format!("ca = \"{}\"\n", ca.display())).unwrap_or_default();
        let token = self.token_file();
        let url = format!("https://{host}:{port}");
        let token = token.display();
        source(&format!("[peers.dynatrace_api]\nurl = \"{url}\"\ntoken_file = \"{token}\"\n{ca}"))
    }
}

/// The answer's addresses, or an error that tells no secret.
pub(crate) async fn peers(source: &mut dyn Source) -> Result<Vec<String>, String> {
    let told = ask(source).await.map(|(peers, valid_for)| {
        assert_eq!(valid_for, None);
        peers
    });
    if let Err(error) = &told {
        assert!(!error.contains("dt0c01") && !error.contains("G3DF"), "the token is told: {error}");
    }
    told
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[test]
fn whichever_place_answers_tells_the_nodes() {
    for (place, body, asked) in [
        (FIREWALL, NODES, &[FIREWALL][..]),
        (FIREWALL, r#"[{"id":"1","ipAddress":"10.10.4.2"},{"ipAddress":"10.10.4.6","new":{}}]"#, &[FIREWALL]),
        (CONFIGURATION, NODES, &[FIREWALL, CONFIGURATION]),
        (CLUSTER, MEMBERS, &[FIREWALL, CONFIGURATION, CLUSTER]),
    ] {
        block_on(async {
            let site = Site::new();
            let answer =
                move |head: &str| if path(head) == place { Reply::json(body) } else { Reply::status("404 Not Found") };
            let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
            let mut source = site.source("localhost", server.port);
            assert_eq!(peers(&mut *source).await.unwrap(), ["10.10.4.2", "10.10.4.6"]);
            assert_eq!(server.paths(), asked);
            for head in server.asked() {
                assert!(head.contains(&format!("\r\nauthorization: Api-Token {SECRET}\r\n")), "{head}");
                assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", server.port)), "{head}");
            }
        });
    }
}

#[test]
fn a_place_that_fails_or_tells_less_than_every_node_leaves_it_to_the_next() {
    for first in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"clusterNodes\":[]}",
        "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n[{\"ipAddress\":\"10.10.4.2\"},{\"id\":2}]",
    ] {
        block_on(async {
            let site = Site::new();
            let answer = move |head: &str| if path(head) == FIREWALL { Reply::raw(first) } else { Reply::json(NODES) };
            let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
            let told = peers(&mut *site.source("localhost", server.port)).await;
            assert_eq!(told.unwrap(), ["10.10.4.2", "10.10.4.6"], "{first}");
            assert_eq!(server.paths(), [FIREWALL, CONFIGURATION]);
        });
    }
}

#[test]
fn no_place_that_answers_is_an_error_that_names_the_one_to_look_at() {
    for (statuses, told) in [
        (["404 Not Found"; 3], "firewallManagement/clusterNodes: answered 404 Not Found; see that the url is right"),
        (["500 Oh"; 3], "firewallManagement/clusterNodes: answered 500 Internal Server Error; see the server's log"),
        (["404 Not Found", "403 Forbidden", "404 Not Found"], "cluster/configuration: the token is refused"),
        (["404 Not Found", "404 Not Found", "503 Busy"], "onpremise/cluster: answered 503"),
        (["500 Oh", "404 Not Found", "403 Forbidden"], "clusterNodes: answered 500"),
    ] {
        block_on(async {
            let site = Site::new();
            let answer = move |head: &str| {
                let number = [FIREWALL, CONFIGURATION, CLUSTER].iter().position(|place| *place == path(head)).unwrap();
                Reply::status(statuses[number])
            };
            let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
            let error = peers(&mut *site.source("localhost", server.port)).await.unwrap_err();
            assert!(error.contains(told), "{error}");
        });
    }
}

#[test]
fn a_wrong_token_is_named_and_the_right_one_needs_no_restart() {
    block_on(async {
        let site = Site::new();
        site.write_token("dt0c01.WRONG");
        let answer = |head: &str| {
            let right = head.contains(&format!("Api-Token {SECRET}\r\n"));
            if right { Reply::json(NODES) } else { Reply::new("401 Unauthorized", "", &format!("no {SECRET}")) }
        };
        let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
        let mut source = site.source("localhost", server.port);
        let error = peers(&mut *source).await.unwrap_err();
        assert!(error.contains("the token is refused: it answered 401 Unauthorized"), "{error}");
        assert!(
            error.contains(site.token_file().to_str().unwrap()) && error.contains("Service Provider API"),
            "{error}"
        );
        // It is wrong everywhere.
        assert_eq!(server.paths(), [FIREWALL]);

        site.write_token(SECRET);
        assert_eq!(peers(&mut *source).await.unwrap().len(), 2);

        // A token that others could read never leaves this host.
        fs::set_permissions(site.token_file(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = peers(&mut *source).await.unwrap_err();
        assert!(error.contains("is open to others (mode 0644)"), "{error}");
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn a_server_that_is_not_the_right_one_never_sees_the_token() {
    let other = Authority::new("someone else");
    for (tls, told) in [
        (other.server(&["localhost"], Valid::Now), "comes from none of the authorities in "),
        (Site::new().authority.server(&["localhost"], Valid::Now), "comes from none of the authorities in "),
    ] {
        refused_certificate(&Site::new(), tls, told);
    }
    for (names, valid, told) in [
        (&["n2.cluster.example"][..], Valid::Now, "is not for \"localhost\""),
        (&["127.0.0.1"], Valid::Now, "is not for \"localhost\""),
        (&["localhost"], Valid::Once, "has expired"),
        (&["localhost"], Valid::OneDay, "is not valid yet"),
    ] {
        let site = Site::new();
        refused_certificate(&site, site.authority.server(names, valid), told);
    }
}

fn refused_certificate(site: &Site, tls: Arc<ServerConfig>, told: &str) {
    block_on(async {
        let server = Server::start("127.0.0.1", Some(tls), |_: &str| Reply::json(NODES)).await;
        let error = peers(&mut *site.source("localhost", server.port)).await.unwrap_err();
        assert!(error.contains(told), "{told}: {error}");
        for head in server.asked() {
            assert_eq!(head, "", "a request was sent");
        }
    });
}

#[test]
fn an_address_and_a_certificate_of_its_own_are_believed_where_ca_says_so() {
    block_on(async {
        let site = Site::new();
        let server = Server::start("127.0.0.1", Some(site.tls()), |_: &str| Reply::json(NODES)).await;
        assert_eq!(peers(&mut *site.source("127.0.0.1", server.port)).await.unwrap().len(), 2);

        let directory = tempfile::tempdir().unwrap();
        for is_ca in [false, true] {
            let (tls, ca) = self_signed(&["localhost"], (is_ca, Valid::Now), directory.path());
            let server = Server::start("127.0.0.1", Some(tls), |_: &str| Reply::json(NODES)).await;
            let believing = |name: &str| site.source_believing(name, server.port, Some(&ca));
            assert_eq!(peers(&mut *believing("localhost")).await.unwrap().len(), 2);
            let error = peers(&mut *believing("127.0.0.1")).await.unwrap_err();
            assert!(error.contains("not for \"127.0.0.1\""), "{error}");
            // Not by anyone else.
            let error = peers(&mut *site.source("localhost", server.port)).await.unwrap_err();
            assert!(error.contains(if is_ca { "not one of" } else { "comes from none of" }), "{error}");
            let error = peers(&mut *site.source_believing("localhost", server.port, None)).await.unwrap_err();
            assert!(error.contains("system") && error.contains("with ca"), "{error}");
            // Nor another that says the same of itself.
            let elsewhere = tempfile::tempdir().unwrap();
            let (_, other) = self_signed(&["localhost"], (is_ca, Valid::Now), elsewhere.path());
            peers(&mut *site.source_believing("localhost", server.port, Some(&other))).await.unwrap_err();
            // Nor out of its time.
            let (tls, ca) = self_signed(&["localhost"], (is_ca, Valid::Once), elsewhere.path());
            let server = Server::start("127.0.0.1", Some(tls), |_: &str| Reply::json(NODES)).await;
            let error = peers(&mut *site.source_believing("localhost", server.port, Some(&ca))).await.unwrap_err();
            assert!(error.contains("expired"), "{error}");
        }
    });
}

#[test]
fn a_file_of_authorities_that_can_not_be_believed_is_refused() {
    block_on(async {
        let site = Site::new();
        let server = Server::start("127.0.0.1", Some(site.tls()), |_: &str| Reply::json(NODES)).await;
        let mut source = site.source("localhost", server.port);
        let good = fs::read(&site.ca).unwrap();
        let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (text, mode, told) in [
            (&good[..], 0o664, "can be written by others"),
            (b"", 0o644, "holds no certificate"),
            (b"no PEM\n", 0o644, "holds no certificate"),
            (damaged.as_bytes(), 0o644, "certificate 1 can not be read"),
        ] {
            fs::write(&site.ca, text).unwrap();
            fs::set_permissions(&site.ca, fs::Permissions::from_mode(mode)).unwrap();
            let error = peers(&mut *source).await.unwrap_err();
            assert!(error.contains(told) && error.contains(site.ca.to_str().unwrap()), "{told}: {error}");
        }
        fs::remove_file(&site.ca).unwrap();
        let error = peers(&mut *source).await.unwrap_err();
        assert!(error.contains("cannot be read") && error.contains("ca.pem"), "{error}");
        // Another one is believed without a restart.
        site.authority.write(site.directory.path());
        assert_eq!(peers(&mut *source).await.unwrap().len(), 2);
        assert_eq!(server.paths(), [FIREWALL]);
    });
}

#[test]
fn what_was_not_modified_is_the_last_answer_again() {
    block_on(async {
        let site = Site::new();
        let release = Arc::new(AtomicUsize::new(1));
        let now = Arc::clone(&release);
        // The second place, so that the tag is kept for the place that gave it.
        let answer = move |head: &str| {
            let tag = format!("\"v{}\"", now.load(Ordering::Relaxed));
            let body = if tag == "\"v1\"" { NODES } else { r#"[{"ipAddress":"10.10.4.9"}]"# };
            match path(head) {
                FIREWALL => Reply::status("404 Not Found"),
                _ if head.contains(&format!("if-none-match: {tag}\r\n")) => {
                    Reply::raw(format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n"))
                }
                _ => Reply::new("200 OK", &format!("ETag: {tag}\r\n"), body),
            }
        };
        let server = Server::start("127.0.0.1", Some(site.tls()), answer).await;
        let mut source = site.source("localhost", server.port);
        for round in 1..=3 {
            assert_eq!(peers(&mut *source).await.unwrap(), ["10.10.4.2", "10.10.4.6"], "round {round}");
        }
        let tagged = |head: &String| head.contains("if-none-match");
        assert_eq!(server.asked().iter().map(tagged).collect::<Vec<_>>(), [false, false, false, true, false, true]);
        release.store(2, Ordering::Relaxed);
        assert_eq!(peers(&mut *source).await.unwrap(), ["10.10.4.9"]);
    });
}
