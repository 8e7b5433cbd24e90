//! `/api/v1/…`: what the commands print with `-o json`, word for word. See docs/API.md.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode},
    routing::get,
};
use serde::Serialize;

use super::{
    live::{Reader, give_back},
    reply,
};

/// The API's version 1.
pub(super) fn routes(reader: Arc<Reader>) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/counters", get(counters))
        .route("/api/v1/peers", get(peers))
        .with_state(reader)
}

async fn status(State(reader): State<Arc<Reader>>) -> Response<Body> {
    answer(reader.status().await)
}

async fn counters(State(reader): State<Arc<Reader>>) -> Response<Body> {
    match reader.counters() {
        Ok(None) => reply::refused(StatusCode::SERVICE_UNAVAILABLE, "no policy is in force"),
        other => answer(other),
    }
}

async fn peers(State(reader): State<Arc<Reader>>) -> Response<Body> {
    let response = answer(reader.peers());
    give_back();
    response
}

fn answer<T: Serialize>(read: Result<T, String>) -> Response<Body> {
    match read {
        Ok(value) => reply::json(&value),
        Err(error) => reply::refused(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}
