//! Answers: how a value, a text or a refusal looks on the wire. Must not compute what it says.

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
    response::IntoResponse as _,
};
use nodewall_text::safe_json;
use serde::Serialize;
use serde_json::json;

/// A text of this type.
pub(super) fn text(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response<Body> {
    (status, [(header::CONTENT_TYPE, kind)], text.into()).into_response()
}

/// One line for people.
pub(super) fn line(status: StatusCode, line: &str) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => text(StatusCode::OK, "application/json", safe_json(body)),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Why not, as JSON.
pub(super) fn refused(status: StatusCode, why: &str) -> Response<Body> {
    text(status, "application/json", safe_json(json!({ "error": why }).to_string()))
}
