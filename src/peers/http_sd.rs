//! The source `http_sd`: Prometheus' HTTP service discovery. Must not resolve a name: who answers for it would decide who is a peer.

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderValue, StatusCode};
use ipnet::IpNet;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Answer, Fetch, Source, SourceError, SourceName,
    limit::{Peers, address},
};
use nodewall_https::{Client, Get, advice, within_deadline};
use nodewall_policy::config;

/// A URL that answers with the cluster's nodes: `[{"targets": ["10.0.0.1:9042", "[fd00::1]:9042"], "labels": {}}]`.
#[derive(Debug)]
pub struct HttpSd {
    name: SourceName,
    url: String,
    interval: Duration,
    client: Client,
    known: Option<CachedAnswer>,
}

/// The last answer that had an `ETag`.
#[derive(Debug)]
struct CachedAnswer {
    etag: HeaderValue,
    peers: BTreeSet<IpNet>,
}

/// Other fields are of no concern here.
#[derive(Debug, Deserialize)]
struct Group {
    targets: Vec<String>,
}

impl HttpSd {
    /// As configured.
    pub fn new(config: &config::HttpSd) -> Self {
        Self {
            name: SourceName::http_sd(&config.url),
            url: config.url.clone(),
            interval: config.interval,
            client: Client::new(config.ca.as_deref()),
            known: None,
        }
    }

    async fn ask(&mut self) -> Result<Answer, SourceError> {
        let etag = self.known.as_ref().map(|known| &known.etag);
        let reply = within_deadline(&self.url, self.client.get(Get { url: &self.url, token: None, etag })).await?;
        let peers = match (reply.status, &self.known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => known.peers.clone(),
            (StatusCode::OK, _) => {
                let peers = read(&reply.body).map_err(|(problem, help)| SourceError::at(&self.url, problem, help))?;
                self.known = reply.etag.map(|etag| CachedAnswer { etag, peers: peers.clone() });
                peers
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let help = "let this host ask without: nodewall sends no password and no token for http_sd";
                return Err(SourceError::at(
                    &self.url,
                    format!("wants credentials: it answered {}", reply.status),
                    help,
                ));
            }
            (status, _) => return Err(SourceError::at(&self.url, format!("answered {status}"), advice(status))),
        };
        Ok(Answer { peers, valid_for: None, unanswered: None })
    }
}

/// The addresses of all targets; one bad target refuses the whole. The error is what is wrong and what to do. Pure.
fn read(body: &[u8]) -> Result<BTreeSet<IpNet>, (String, String)> {
    let shape = "it must be such as [{\"targets\": [\"10.0.0.1:9042\"]}]";
    let groups: Vec<Group> =
        json(body).map_err(|error| (format!("the answer is no HTTP service discovery: {error}"), shape.to_owned()))?;
    let mut peers = Peers::default();
    for (group, targets) in groups.iter().map(|group| &group.targets).enumerate() {
        for (target, text) in targets.iter().enumerate() {
            let place = format!("[{group}].targets[{target}]");
            let address = address(text).ok_or_else(|| {
                let help = "let it name addresses; names of hosts belong into [peers] dns".to_owned();
                (format!("{place}: {text:?} is no address"), help)
            })?;
            peers.add(IpNet::from(address)).map_err(|(problem, help)| (format!("{place}: {problem}"), help))?;
        }
    }
    let peers = peers.into_set();
    if peers.is_empty() {
        return Err(("the answer names no target".into(), "see the server; an empty list is never taken".into()));
    }
    Ok(peers)
}

/// JSON, also behind the mark that some editors and servers put before UTF-8.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body))
}

impl Source for HttpSd {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn fetch(&mut self) -> Fetch<'_> {
        Box::pin(self.ask())
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_target() {
        let body =
            br#"[{"targets": ["10.0.0.1:9042", "[2001:db8::1]:9042", "10.0.0.2"], "labels": {"a": "b"}, "new": 1},
                        {"targets": ["2001:db8::2", "10.0.0.1:7000"]}, {"targets": [], "labels": {}}]"#;
        let peers: Vec<_> = read(body).unwrap().iter().map(config::show).collect();
        assert_eq!(peers, ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"]);
        // As .NET's StreamWriter with Encoding.UTF8 begins a file.
        assert_eq!(read(&[b"\xef\xbb\xbf", &body[..]].concat()), read(body));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (body, problem) in [
            (
                r#"[{"targets": ["10.0.0.1:9042"]}, {"targets": ["10.0.0.2", "node3:9042"]}]"#,
                "[1].targets[1]: \"node3:9042\"",
            ),
            (r#"[{"targets": ["10.0.0.0/24"]}]"#, "[0].targets[0]: \"10.0.0.0/24\" is no address"),
            (r#"[{"targets": "10.0.0.1"}]"#, "line 1 column 23"),
            (r#"[{"labels": {}}]"#, "missing field `targets`"),
            (r#"{"targets": ["10.0.0.1"]}"#, "line 1 column 0"),
            ("<html>\n", "line 1 column 1"),
            ("", "EOF"),
            ("[", "EOF"),
            ("[]", "names no target"),
            (r#"[{"targets": []}]"#, "names no target"),
        ] {
            let (told, help) = read(body.as_bytes()).unwrap_err();
            assert!(told.contains(problem) && !help.is_empty(), "{body}: {told}; {help}");
        }
        let many: Vec<_> = (0..=16_384_u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
        let body = serde_json::json!([{ "targets": many }]).to_string();
        let (told, _) = read(body.as_bytes()).unwrap_err();
        assert!(told.starts_with("[0].targets[16384]: ") && told.contains("at most 16384 addresses"), "{told}");
    }
}
