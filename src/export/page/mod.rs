//! The page: its markup, style and script as they are compiled in. It must not compute what is shown: the script asks the API.

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    routing::get,
};

use super::reply;

/// Path, type, content. All of it is here, and nothing is loaded from elsewhere.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/model.js", "text/javascript; charset=utf-8", include_str!("model.js")),
    ("/draw.js", "text/javascript; charset=utf-8", include_str!("draw.js")),
];

/// The page and what belongs to it.
pub(super) fn routes() -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |routes, (path, kind, content)| routes.route(path, get(async move || file(kind, content))))
}

fn file(kind: &'static str, content: &'static str) -> Response<Body> {
    reply::text(StatusCode::OK, kind, content)
}
