//! What a browser is shown. It must not compute what it shows: that comes from the API.

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    routing::get,
};

use super::reply;

/// The page and what belongs to it.
pub(super) fn routes() -> Router {
    Router::new().route("/", get(index))
}

async fn index() -> Response<Body> {
    reply::line(
        StatusCode::OK,
        "nodewall: /metrics /healthz /api/v1/status /api/v1/counters /api/v1/peers /api/v1/stream",
    )
}
