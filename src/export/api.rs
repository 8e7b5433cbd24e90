//! `/api/v1/…`: what the commands print with `-o json`, word for word, and the ports. See docs/API.md.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode},
    routing::get,
};
use serde::Serialize;

use super::{live::Reader, reply};
use crate::{
    memory::give_back,
    view::{counters::Counters, peer_traffic::PeerTraffic, ports},
};

/// The API's version 1.
pub(super) fn routes(reader: Arc<Reader>) -> Router {
    type Shared = State<Arc<Reader>>;
    Router::new()
        .route("/api/v1/status", get(async |State(reader): Shared| answer(reader.status().await)))
        .route("/api/v1/counters", get(async |State(reader): Shared| answer(in_force(reader.live(Counters::read)))))
        .route(
            "/api/v1/peer-traffic",
            get(async |State(reader): Shared| answer(in_force(reader.live(PeerTraffic::read)))),
        )
        .route("/api/v1/denied-sources", get(async |State(reader): Shared| answer(reader.denied_sources())))
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/ports", get(every_port))
        .with_state(reader)
}

async fn peers(State(reader): State<Arc<Reader>>) -> Response<Body> {
    let response = answer(reader.peers());
    give_back();
    response
}

async fn every_port(State(reader): State<Arc<Reader>>) -> Response<Body> {
    answer(in_force(reader.live(ports::read)).map(|ports| BTreeMap::from([("ports", ports)])))
}

fn in_force<T>(read: Result<Option<T>, String>) -> Result<T, String> {
    read?.ok_or_else(|| "no policy is in force".to_owned())
}

fn answer<T: Serialize>(read: Result<T, String>) -> Response<Body> {
    match read {
        Ok(value) => reply::json(&value),
        Err(error) => reply::refused(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}
