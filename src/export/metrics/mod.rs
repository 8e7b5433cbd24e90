//! `/metrics` and `/healthz`: what a monitoring system asks. Read at the scrape. No label comes from the wire, and peers are named only where the
//! configuration wants it, so neither needs a token.

mod collect;
mod list;
mod reading;
mod text;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, StatusCode, header},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::sync::Mutex;

pub use list::{ALL, Metric};

use super::{live::Reader, reply};
use crate::view::{counters::Counters, peer_traffic::PeerTraffic};
use reading::Reading;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who asks within this time of another gets the same answer: anyone on this host may ask, and reading costs a millisecond.
const SHARED_FOR: Duration = Duration::from_millis(50);

/// What needs no token.
pub(super) fn routes(reader: Arc<Reader>, per_peer: bool) -> Router {
    let scrapes = Arc::new(Scrapes { reader, per_peer, last: Mutex::new(None) });
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(scrapes)
}

struct Scrapes {
    reader: Arc<Reader>,
    per_peer: bool,
    last: Mutex<Option<(Instant, Scrape)>>,
}

/// One reading of everything.
#[derive(Clone)]
struct Scrape {
    /// `OpenMetrics` text.
    metrics: Bytes,
    problems: usize,
}

impl Scrapes {
    async fn read(&self) -> Result<Scrape, String> {
        // Those who wait here share what the first one reads.
        let mut last = self.last.lock().await;
        if let Some((_, scrape)) = last.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return Ok(scrape.clone());
        }
        *last = None;
        let scrape = scrape(&self.reader, self.per_peer).await?;
        *last = Some((Instant::now(), scrape.clone()));
        Ok(scrape)
    }
}

async fn metrics(State(scrapes): State<Arc<Scrapes>>, headers: HeaderMap) -> Response<Body> {
    match scrapes.read().await {
        Ok(scrape) if wants_openmetrics(&headers) => reply::text(StatusCode::OK, OPENMETRICS, scrape.metrics),
        Ok(scrape) => {
            let text = text::from_openmetrics(&String::from_utf8_lossy(&scrape.metrics));
            reply::text(StatusCode::OK, TEXT, text)
        }
        // Prometheus then says `up == 0`.
        Err(error) => reply::line(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

async fn scrape(reader: &Reader, per_peer: bool) -> Result<Scrape, String> {
    let began = Instant::now();
    let status = reader.status().await?;
    let problems = status.problems.len();
    let peer_traffic = if per_peer { reader.live(PeerTraffic::read)? } else { None };
    let reading =
        Reading { status, counters: reader.live(Counters::read)?, peer_traffic, peers: reader.numbers()?, began };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut body = String::with_capacity(32 << 10);
    encode(&mut body, &registry).map_err(|error| error.to_string())?;
    Ok(Scrape { metrics: body.into(), problems })
}

/// It is named, and the older text is not liked better.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds: Vec<(&str, f32)> = accepted.flat_map(|value| value.split(',')).map(liked).collect();
    let most = |wanted: &str| {
        let named = kinds.iter().filter(|(kind, _)| kind.eq_ignore_ascii_case(wanted));
        named.fold(0.0, |most: f32, (_, quality)| most.max(*quality))
    };
    let openmetrics = most("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= most("text/plain")
}

/// A kind of answer and how much it is liked: `q=0` is not at all (RFC 9110, 12.4.2).
fn liked(kind: &str) -> (&str, f32) {
    let mut parts = kind.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let quality = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    (kind, quality.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0)))
}

/// 200 when there are no problems. Which there are may name addresses, so it is said elsewhere.
async fn healthz(State(scrapes): State<Arc<Scrapes>>) -> Response<Body> {
    match scrapes.read().await {
        Ok(Scrape { problems: 0, .. }) => reply::line(StatusCode::OK, "healthy"),
        Ok(Scrape { problems, .. }) => {
            let line = format!("not healthy: {problems} problems; `nodewall status` names them");
            reply::line(StatusCode::SERVICE_UNAVAILABLE, &line)
        }
        Err(_) => reply::line(StatusCode::SERVICE_UNAVAILABLE, "not healthy: `nodewall status` says why"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::control::InterfaceCoverage;
    use crate::view::{
        counters::Row,
        mission_control::Reached,
        peer_traffic::PeerRow,
        peers::Numbers,
        push_health::PushHealth,
        status::{Agent, Status, WillChange},
    };
    use nodewall_evidence::{output::OutputStatus, recorder::RecorderStatus};
    use nodewall_policy::config::AttachMode;

    fn row(port: Option<u16>, ports: Option<&str>, packets: u64) -> Row {
        Row {
            class: Some("web \"8022\"".into()),
            port,
            ports: ports.map(Into::into),
            protocol: Some("tcp"),
            direction: "in",
            outcome: "drop",
            reason: "outsider",
            packets,
            bytes: packets * 100,
        }
    }

    /// A reading in which every metric has something to tell.
    fn full() -> Reading {
        let status = Status {
            mode: Some("enforce"),
            audited: vec!["agent".into()],
            generation: Some(7),
            policy_sha256: Some("ab".into()),
            interfaces: vec![InterfaceCoverage::covered("eth0", 2, AttachMode::Native, 1, "tcx")],
            peers: 3,
            blocks: Vec::new(),
            trial: None,
            refused: None,
            agent: Some(Agent {
                pid: 1,
                elsewhere: false,
                started_unix_ns: 1_500_000_000,
                last_repair: None,
                interfaces_reattached: 2,
                reattach_gap_p99_ns: 1,
                reattach_gap_max_ns: 2_500_000,
            }),
            repairs: 4,
            push: Some(PushHealth { last_success_unix_ns: Some(1), waiting_lines: 3, ..PushHealth::default() }),
            evidence: Some(RecorderStatus {
                flow_packets: 9,
                losses: vec![("not_kept".into(), 2)],
                outputs: vec![OutputStatus { name: "journald".into(), waiting: 31, ..Default::default() }],
                last_unix_ns: 1,
                ..Default::default()
            }),
            mission_control: Some(Reached {
                unix_ns: 1,
                ok: false,
                step: Some("tls".into()),
                found: Some("cut off".into()),
            }),
            healthy: true,
            open_tunnels: Vec::new(),
            other_problems: Vec::new(),
            problems: Vec::new(),
            will_change: vec![WillChange { what: "peer", then: "…".into(), seconds_left: 60, talks: true }],
            left_peers: Vec::new(),
            cut_peers: 1,
            file_mode: None,
        };
        let counters = Counters {
            generation: 7,
            // A port's cell of either mode is the same series: its outcome tells what became of the frames.
            rows: vec![
                row(Some(8022), None, u64::MAX / 200),
                row(None, Some("10000-20000"), 3),
                row(None, Some("10000-20000"), 4),
            ],
        };
        let peer_row = PeerRow {
            peer: "fd00::11".into(),
            class: Some("web".into()),
            port: Some(8022),
            ports: None,
            protocol: Some("tcp"),
            direction: "out",
            packets: 5,
            bytes: 500,
        };
        let peer_traffic = Some(PeerTraffic { generation: 7, enabled: true, rows: vec![peer_row] });
        let mut peers = Numbers::default();
        peers.by_source.insert(("static".into(), "active"), 3);
        peers.answered_unix_ns.insert("file /etc/p".into(), None);
        Reading { status, counters: Some(counters), peer_traffic, peers, began: Instant::now() }
    }

    fn text_of(reading: Reading) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(reading));
        let mut body = String::new();
        encode(&mut body, &registry).unwrap();
        body
    }

    #[test]
    fn every_metric_of_the_list_is_exported_under_its_name_with_its_labels() {
        let text = text::from_openmetrics(&text_of(full()));
        for metric in ALL {
            let samples: Vec<_> = text.lines().filter(|l| l.split(['{', ' ']).next() == Some(metric.name)).collect();
            assert!(!samples.is_empty(), "{} is not in {text}", metric.name);
            for sample in samples {
                let labels: Vec<_> = match sample.split_once('{') {
                    // None of the values above holds `=` or `,`.
                    Some((_, rest)) => rest.split(',').filter_map(|pair| pair.split_once("=\"").map(|p| p.0)).collect(),
                    None => Vec::new(),
                };
                assert_eq!(labels, metric.labels, "{sample}");
            }
            assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
        }
        let known: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(known.len(), ALL.len());
        let told: BTreeSet<_> =
            text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next()).collect();
        assert_eq!(told, known);
    }

    #[test]
    fn numbers_are_exact_and_labels_quoted() {
        let text = text_of(full());
        for line in [
            "nodewall_packets_total{class=\"web \\\"8022\\\"\",port=\"8022\",protocol=\"tcp\",direction=\"in\",outcome=\"drop\",reason=\"outsider\"} \
             92233720368547758",
            "nodewall_packets_total{class=\"web \\\"8022\\\"\",port=\"10000-20000\",protocol=\"tcp\",direction=\"in\",outcome=\"drop\",\
             reason=\"outsider\"} 7",
            "nodewall_peer_bytes_total{peer=\"fd00::11\",class=\"web\",port=\"8022\",protocol=\"tcp\",direction=\"out\"} 500",
            "nodewall_agent_start_timestamp_seconds 1.5",
            "nodewall_reattach_gap_seconds 0.0025",
            "nodewall_peer_source_last_success_timestamp_seconds{source=\"file /etc/p\"} 0.0",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let asked = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_openmetrics(&headers)
        };
        assert!(asked("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        assert!(!asked("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        // As Prometheus 2.42 asks.
        assert!(asked(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        for not_liked in ["q=0", "q=0.000", "version=1.0.0; Q = 0", "q=0.2", "q=none"] {
            assert!(!asked(&format!("application/openmetrics-text;{not_liked},text/plain;q=0.5")), "{not_liked}");
        }
        assert!(!wants_openmetrics(&HeaderMap::new()));
    }
}
