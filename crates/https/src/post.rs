//! One POST, which a server may have taken without being able to say so. Must not send it twice.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::{task::JoinSet, time::timeout};

use super::{
    client::{Client, DEADLINE, broke_off, read, request, server, within_deadline},
    error::{HttpError, failed},
    token::Token,
};

/// A wait that is longer is not kept to.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// What to send.
#[derive(Debug)]
pub struct Post<'a> {
    /// An `http://` or `https://` URL.
    pub url: &'a str,
    /// Sent to this URL's server and to no other.
    pub token: Option<&'a Token>,
    /// What `body` is, as HTTP names it.
    pub content_type: &'static str,
    /// What is sent.
    pub body: Bytes,
}

/// What became of something that was sent.
#[derive(Debug)]
pub enum PostOutcome {
    /// The server said something.
    Answered {
        /// What it said.
        status: StatusCode,
        /// For how long it wants to be left alone (`Retry-After`, seconds).
        retry_after: Option<Duration>,
        /// `None`: it broke off. The status stands all the same.
        body: Option<Bytes>,
    },
    /// It said nothing: it may or may not have taken it.
    Unknown(HttpError),
}

impl Client {
    /// Sends it once. `Err`: not a byte of it was sent. `before` is called when there is a connection, right before the first byte; its error is that of
    /// the whole. Redirects are answers like others.
    pub async fn post<F>(&self, post: Post<'_>, before: impl FnOnce() -> F) -> Result<PostOutcome, HttpError>
    where
        F: Future<Output = Result<(), HttpError>>,
    {
        let Post { url, token, content_type, body } = post;
        let (uri, origin) = server(url)?;
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let request = request(Method::POST, url, &uri, token, Some(content_type), body)?;
        let mut tasks = JoinSet::new();
        let mut sender = timeout(DEADLINE, self.open(url, &origin, &mut tasks)).await.map_err(|_| {
            let problem = format!("there was no connection within {} s", DEADLINE.as_secs());
            failed(url, problem, "see why the server or the way to it is slow")
        })??;
        before().await?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| broke_off(url, &error))?;
            let (status, retry_after) = (response.status(), retry_after(&response));
            Ok(PostOutcome::Answered { status, retry_after, body: read(url, response).await.ok() })
        };
        Ok(within_deadline(url, answered).await.unwrap_or_else(PostOutcome::Unknown))
    }
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let wait_s: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(wait_s).min(LONGEST_WAIT))
}
