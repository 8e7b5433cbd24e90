//! `/api/v1/stream`: status and counters, told each second as server-sent events, for as long as the client takes them. Streams are few, and
//! shared among those who want them; each reads for itself.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, Method, Response, StatusCode, header},
    routing::get,
};
use futures_util::stream;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    connections::Deadline,
    keys::{Guest, Source},
    live::Reader,
    reply,
};
use crate::view::{counters::Counters, status::Status};
use nodewall_host::state::Clock;
use nodewall_text::{host_name, safe_json};

/// Streams at a time.
const MAX_STREAMS: usize = 8;
const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Streams {
    reader: Arc<Reader>,
    places: Arc<Mutex<Places>>,
}

/// Who has a stream, by age.
#[derive(Default)]
struct Places {
    next: u64,
    held: Vec<(u64, Source)>,
}

impl Places {
    /// A place, if there is one, or if a source holds more than would be left to it beside this one: then its oldest stream makes room.
    fn take(&mut self, source: Source) -> Option<u64> {
        if self.held.len() >= MAX_STREAMS {
            let of = |source: Source| self.held.iter().filter(|(_, one)| *one == source).count();
            let (at, greediest) =
                self.held.iter().map(|(_, one)| of(*one)).enumerate().rev().max_by_key(|(_, all)| *all)?;
            if greediest <= of(source) + 1 {
                return None;
            }
            self.held.remove(at);
        }
        self.next += 1;
        self.held.push((self.next, source));
        Some(self.next)
    }
}

/// A place, until it is dropped or another source needs it more.
struct Place {
    places: Arc<Mutex<Places>>,
    number: u64,
}

impl Place {
    fn is_held(&self) -> bool {
        lock(&self.places).held.iter().any(|(number, _)| *number == self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).held.retain(|(number, _)| *number != self.number);
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stream.
pub(super) fn routes(reader: Arc<Reader>) -> Router {
    Router::new().route("/api/v1/stream", get(stream)).with_state(Streams { reader, places: Arc::default() })
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
    Extension(guest): Extension<Guest>,
    method: Method,
) -> Response<Body> {
    if method == Method::HEAD {
        return reply::text(StatusCode::OK, "text/event-stream", Body::empty());
    }
    let Some(number) = lock(&streams.places).take(guest.source()) else {
        let why = format!("{MAX_STREAMS} streams are open already");
        let mut refused = reply::refused(StatusCode::SERVICE_UNAVAILABLE, &why);
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return refused;
    };
    let place = Place { places: streams.places, number };
    let feed = Feed { reader: streams.reader, deadline, due: Instant::now(), guest, place };
    let events = stream::unfold(feed, async |mut feed| Some((Ok::<_, Infallible>(feed.next().await?), feed)));
    reply::text(StatusCode::OK, "text/event-stream", Body::from_stream(events))
}

/// One client's events.
struct Feed {
    reader: Arc<Reader>,
    deadline: Deadline,
    due: Instant,
    guest: Guest,
    place: Place,
}

impl Feed {
    /// `None`: the client is not let in any more, or made room.
    async fn next(&mut self) -> Option<Bytes> {
        // More is asked for as long as the sockets hold what was told; whether the client took any of it is the deadline's to find out.
        self.deadline.renew();
        tokio::time::sleep_until(self.due).await;
        if !self.guest.is_welcome() || !self.place.is_held() {
            return None;
        }
        // A client that took its time gets the next one a second later, not all that it missed.
        self.due = Instant::now() + EVERY;
        Some(match self.read().await {
            Ok(tick) => event("tick", &tick),
            Err(error) => event("problem", &error),
        })
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
