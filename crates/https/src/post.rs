//! One POST, which a server may have taken without being able to say so. Must not send it twice.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{task::JoinSet, time::timeout};

use super::{
    client::{Client, DEADLINE, Origin, broke_off, read},
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
        let Post { url, .. } = post;
        let refused = || failed(url, "is no http:// or https:// URL", "correct the URL");
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let origin = Origin::of(&uri).ok_or_else(refused)?;
        let request = request(post, &uri)?;
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
        Ok(timeout(DEADLINE, answered)
            .await
            .unwrap_or_else(|_| {
                let problem = format!("there was no whole answer within {} s", DEADLINE.as_secs());
                Err(failed(url, problem, "see why the server or the way to it is slow"))
            })
            .unwrap_or_else(PostOutcome::Unknown))
    }
}

fn request(post: Post<'_>, uri: &Uri) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut request = Request::post(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("nodewall/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, post.content_type)
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if let Some(authorization) = post.token.and_then(Token::authorization) {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request
        .body(Full::new(post.body))
        .map_err(|error| failed(post.url, format!("can not be asked: {error}"), "correct the URL"))
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let wait_s: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(wait_s).min(LONGEST_WAIT))
}
