//! `/api/v1/stream`: status and counters, told each second as server-sent events, for as long as the client takes them. Streams are few; each reads for
//! itself, and only when the client took what came before.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, Method, Response, StatusCode, header},
    routing::get,
};
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{connections::Deadline, live::Reader, reply};
use crate::view::{counters::Counters, status::Status};
use nodewall_host::state::Clock;
use nodewall_text::{host_name, safe_json};

/// Streams at a time.
const MAX_STREAMS: usize = 8;
const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Streams {
    reader: Arc<Reader>,
    free: Arc<Semaphore>,
}

/// The stream.
pub(super) fn routes(reader: Arc<Reader>) -> Router {
    let streams = Streams { reader, free: Arc::new(Semaphore::new(MAX_STREAMS)) };
    Router::new().route("/api/v1/stream", get(stream)).with_state(streams)
}

/// One event.
#[derive(Serialize)]
struct Tick {
    /// Unix time, ms: JavaScript's.
    unix_ms: u64,
    /// The node's name: a browser may show several, all called 127.0.0.1.
    node: String,
    status: Status,
    /// `null`: no policy is in force.
    counters: Option<Counters>,
}

async fn stream(
    State(streams): State<Streams>,
    Extension(deadline): Extension<Deadline>,
    method: Method,
) -> Response<Body> {
    let Ok(permit) = streams.free.try_acquire_owned() else {
        let why = format!("{MAX_STREAMS} streams are open already");
        let mut refused = reply::refused(StatusCode::SERVICE_UNAVAILABLE, &why);
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return refused;
    };
    if method == Method::HEAD {
        return reply::text(StatusCode::OK, "text/event-stream", Body::empty());
    }
    let feed = Feed { reader: streams.reader, deadline, due: Instant::now(), _permit: permit };
    let events = stream::unfold(feed, async |mut feed| Some((Ok::<_, Infallible>(feed.next().await), feed)));
    reply::text(StatusCode::OK, "text/event-stream", Body::from_stream(events))
}

/// One client's events.
struct Feed {
    reader: Arc<Reader>,
    deadline: Deadline,
    due: Instant,
    /// One of the few streams, until it is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(&mut self) -> Bytes {
        // That more is asked for says that the client took what came before.
        self.deadline.renew();
        tokio::time::sleep_until(self.due).await;
        // A client that took its time gets the next one a second later, not all that it missed.
        self.due = Instant::now() + EVERY;
        match self.read().await {
            Ok(tick) => event("tick", &tick),
            Err(error) => event("problem", &error),
        }
    }

    async fn read(&self) -> Result<Tick, String> {
        let status = self.reader.status().await?;
        let counters = self.reader.live(Counters::read)?;
        Ok(Tick { unix_ms: Clock::now().unix_ns / 1_000_000, node: host_name(), status, counters })
    }
}

fn event(name: &str, value: &impl Serialize) -> Bytes {
    // JSON of one line has no line breaks.
    let json = serde_json::to_string(value).map(safe_json).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {json}\n\n"))
}
