//! The source `dynatrace_api`: the cluster API of Dynatrace Managed, which knows its own nodes. It has three places that tell them, none of which every
//! release has. Must not show the token, nor send it to any but the configured server.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use http::{HeaderValue, StatusCode};
use ipnet::IpNet;
use serde_json::Value;

use super::{
    Answer, Fetch, Source, SourceError, SourceName,
    http_sd::json,
    limit::{Peers, address},
};
use nodewall_https::{Client, Get, Reply, Token, advice, within_deadline};
use nodewall_policy::config;

/// Where nodes are told, the best first: the firewall's own list holds a node before it joins, the last one only who is there.
const PLACES: [&str; 3] = [
    "/api/v1.0/onpremise/firewallManagement/clusterNodes",
    "/api/v1.0/onpremise/cluster/configuration",
    "/api/v1.0/onpremise/cluster",
];
/// Fields of an object around the list, and fields of a node with its address.
const LISTS: [&str; 2] = ["clusterNodes", "nodes"];
const ADDRESSES: [&str; 3] = ["ipAddress", "clusterMemberAddress", "address"];

/// The vendor's cluster API.
#[derive(Debug)]
pub struct DynatraceApi {
    name: SourceName,
    url: String,
    token_file: PathBuf,
    interval: Duration,
    client: Client,
    known: Option<CachedAnswer>,
}

/// The last answer that had an `ETag`.
#[derive(Debug)]
struct CachedAnswer {
    place: &'static str,
    etag: HeaderValue,
    peers: BTreeSet<IpNet>,
}

impl DynatraceApi {
    /// As configured.
    pub fn new(config: &config::DynatraceApi) -> Self {
        Self {
            name: SourceName::dynatrace_api(&config.url),
            url: config.url.clone(),
            token_file: config.token_file.clone(),
            interval: config.interval,
            client: Client::new(config.ca.as_deref()),
            known: None,
        }
    }

    /// The first place that answers whole. A server that can not be reached is not asked for the next one.
    async fn ask(&mut self) -> Result<Answer, SourceError> {
        // Read anew each time, so that another token needs no restart.
        let token = Token::read(&self.token_file)?;
        let mut first = None;
        for place in PLACES {
            let url = format!("{}{place}", self.url);
            let known = self.known.as_ref().filter(|known| known.place == place);
            let etag = known.map(|known| &known.etag);
            let reply = self.client.get(Get { url: &url, token: Some(&token), etag }).await?;
            let told = match (reply.status, known) {
                (StatusCode::NOT_MODIFIED, Some(known)) => Ok(known.peers.clone()),
                (StatusCode::UNAUTHORIZED, _) => return Err(self.token_refused(&url, reply.status)),
                _ => self.read(&url, place, reply),
            };
            match told {
                Ok(peers) => return Ok(Answer { peers, valid_for: None, unanswered: None }),
                // What is wrong with the best place says most, but a refused token is worth more than a place that is not there.
                Err((status, error)) => match &first {
                    Some((said, _)) if !is_missing(*said) || is_missing(status) => {}
                    _ => first = Some((status, error)),
                },
            }
        }
        let unasked = || SourceError::at(&self.url, "no place was asked", "please report it");
        Err(first.map_or_else(unasked, |(_, error)| error))
    }

    fn read(
        &mut self,
        url: &str,
        place: &'static str,
        reply: Reply,
    ) -> Result<BTreeSet<IpNet>, (StatusCode, SourceError)> {
        let status = reply.status;
        match status {
            StatusCode::OK => {
                let peers = nodes(&reply.body).map_err(|problem| {
                    (status, SourceError::at(url, problem, "please report it with nodewall's version"))
                })?;
                self.known = reply.etag.map(|etag| CachedAnswer { place, etag, peers: peers.clone() });
                Ok(peers)
            }
            StatusCode::FORBIDDEN => Err((status, self.token_refused(url, status))),
            _ => Err((status, SourceError::at(url, format!("answered {status}"), advice(status)))),
        }
    }

    fn token_refused(&self, url: &str, status: StatusCode) -> SourceError {
        let help = format!(
            "make a cluster token with the permission \"Service Provider API\" in the Cluster Management Console and write it to {}",
            self.token_file.display()
        );
        SourceError::at(url, format!("the token is refused: it answered {status}"), help)
    }
}

fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE)
}

/// The nodes' addresses. Every node must have one: a list that lacks one would begin its removal. The error is what is wrong. Pure.
fn nodes(body: &[u8]) -> Result<BTreeSet<IpNet>, String> {
    let value: Value = json(body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let list = match &value {
        Value::Array(list) => Some(list),
        Value::Object(_) => LISTS.iter().find_map(|key| value.get(key)?.as_array()),
        _ => None,
    };
    let list = list.ok_or("the answer holds no list of nodes (clusterNodes)")?;
    let mut peers = Peers::default();
    for (number, node) in (1..).zip(list) {
        let which = named(number, node);
        let text = match node {
            Value::String(text) => Some(text.as_str()),
            node => ADDRESSES.iter().find_map(|key| node.get(key)?.as_str()),
        };
        let text = text.ok_or_else(|| format!("{which} of the answer has no address (ipAddress)"))?;
        let address =
            address(text).ok_or_else(|| format!("{which} of the answer has {text:?}, which is no address"))?;
        peers.add(IpNet::from(address)).map_err(|(problem, _)| format!("{which} of the answer: {problem}"))?;
    }
    let peers = peers.into_set();
    if peers.is_empty() { Err("the answer names no node".to_owned()) } else { Ok(peers) }
}

/// By its id, where it has one.
fn named(number: usize, node: &Value) -> String {
    match node.get("id") {
        Some(Value::String(id)) => format!("node {id:?}"),
        Some(Value::Number(id)) => format!("node {id}"),
        _ => format!("entry {number}"),
    }
}

impl Source for DynatraceApi {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn fetch(&mut self) -> Fetch<'_> {
        Box::pin(async {
            let url = self.url.clone();
            within_deadline(&url, self.ask()).await
        })
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_of_several_releases() {
        for body in [
            r#"{"clusterNodes":[{"id":1,"ipAddress":"10.10.4.2","webUI":false,"agent":true,"datacenter":"d1","kubernetesRole":""},
                {"id":2,"ipAddress":"10.10.4.6","webUI":true}]}"#,
            r#"{"clusterNodes":[{"id":"1","ipAddress":"10.10.4.2"},{"ipAddress":"10.10.4.6","ports":[{"x":null}]}]}"#,
            r#"[{"id":1,"ipAddress":"10.10.4.2"},{"id":2,"ipAddress":"10.10.4.6"}]"#,
            r#"[{"id":1,"clusterMemberAddress":"10.10.4.2:5701","communicationUris":["https://10.10.9.9:443"],"buildVersion":"1"},
                {"id":2,"clusterMemberAddress":"/10.10.4.6:5701"}]"#,
            r#"["10.10.4.2","10.10.4.6"]"#,
        ] {
            let peers: Vec<_> = nodes(body.as_bytes()).unwrap().iter().map(config::show).collect();
            assert_eq!(peers, ["10.10.4.2", "10.10.4.6"], "{body}");
        }
        let six =
            nodes(br#"[{"clusterMemberAddress":"[fd00::2]:5701"},{"clusterMemberAddress":"fd00:0:0:0:0:0:0:3:5701"}]"#);
        assert_eq!(six.unwrap().iter().map(config::show).collect::<Vec<_>>(), ["fd00::2", "fd00::3"]);
    }

    #[test]
    fn less_than_every_node_is_no_answer() {
        for (body, problem) in [
            (r#"{"clusterNodes":[{"id":1,"ipAddress":"10.10.4.2"},{"id":7}]}"#, "node 7 of the answer has no address"),
            (r#"[{"ipAddress":"10.10.4.2"},{"ipAddress":null}]"#, "entry 2 of the answer has no address"),
            (r#"[{"id":"a","ipAddress":"node1"}]"#, "node \"a\" of the answer has \"node1\""),
            (r#"{"clusterNodes":[]}"#, "names no node"),
            (r#"{"clusterNodes":{}}"#, "no list of nodes"),
            (r#"{"error":{"code":404}}"#, "no list of nodes"),
            ("null", "no list of nodes"),
            ("<html>", "not JSON: expected value at line 1 column 1"),
            (r#"{"clusterNodes":[{"id":1,"ipAddr"#, "not JSON: EOF"),
        ] {
            let told = nodes(body.as_bytes()).unwrap_err();
            assert!(told.contains(problem), "{body}: {told}");
        }
    }
}
