//! One GET: the whole answer of the server that was named, or an error that says why not; and the connection that every request goes through.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    error::{HttpError, failed},
    tls,
    token::Token,
};
use nodewall_host::net::addresses_of;

/// Largest body that is read. 16,384 nodes with every field that the vendor ever named are below 4 MiB.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Everything that one answer of a source takes, all its requests together.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// One address of the server's name; the next one wants its turn within [`DEADLINE`].
const CONNECT: Duration = Duration::from_secs(3);
/// More than this is a circle.
const MAX_REDIRECTS: usize = 3;
/// An `ETag` that is longer is not kept.
const MAX_ETAG_BYTES: usize = 1024;

/// How to reach servers. Proxies of the environment are not used: the cluster's own names are reached directly.
#[derive(Clone, Debug)]
pub struct Client {
    ca: Option<PathBuf>,
}

/// What to ask.
#[derive(Debug)]
pub struct Get<'a> {
    /// An `http://` or `https://` URL.
    pub url: &'a str,
    /// Sent to this URL's server and to no other.
    pub token: Option<&'a Token>,
    /// The `ETag` of the answer that is known.
    pub etag: Option<&'a HeaderValue>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// As the server said it.
    pub status: StatusCode,
    /// Its `ETag`, to be asked with.
    pub etag: Option<HeaderValue>,
    /// Empty unless the status is 200.
    pub body: Bytes,
}

/// A server: what may see a token, and where a redirect may lead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        // A URL writes an IPv6 address in brackets.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Some(Self { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) })
    }
}

/// Bounds everything that `fetch` does to reach `url`'s server.
pub async fn within_deadline<T, E: From<HttpError>>(
    url: &str,
    fetch: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(DEADLINE, fetch).await.unwrap_or_else(|_| {
        let problem = format!("there was no whole answer within {} s", DEADLINE.as_secs());
        Err(failed(url, problem, "see why the server or the way to it is slow").into())
    })
}

/// What to do about a status that brings no answer.
pub fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 | 405 | 410 => "see that the url is right",
        429 => "ask less often: raise interval",
        500.. => "see the server's log",
        _ => "see what the server wants",
    }
}

impl Client {
    /// `ca`: certificates to trust instead of the system's.
    pub fn new(ca: Option<&Path>) -> Self {
        Self { ca: ca.map(Path::to_path_buf) }
    }

    /// Asks, and follows redirects within the same server. To be called [`within_deadline`].
    pub async fn get(&self, ask: Get<'_>) -> Result<Reply, HttpError> {
        let Get { url, token, etag } = ask;
        let (mut uri, origin) = server(url)?;
        let if_none_match = etag.map(|etag| (header::IF_NONE_MATCH, etag.clone()));
        for _ in 0..=MAX_REDIRECTS {
            let mut tasks = JoinSet::new();
            let request = request(Method::GET, url, &uri, token, if_none_match.clone(), Bytes::new())?;
            let mut sender = self.open(url, &origin, &mut tasks).await?;
            let response = sender.send_request(request).await.map_err(|error| broke_off(url, &error))?;
            let status = response.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                uri = redirected(url, &origin, &response)?;
                continue;
            }
            if status == StatusCode::NOT_MODIFIED && etag.is_none() {
                let problem = "answered 304 (not modified) although no earlier answer was named";
                return Err(failed(url, problem, "see the server, or a proxy before it"));
            }
            let etag = response.headers().get(header::ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
            // What an error page says may hold anything, and is not shown.
            let body = if status == StatusCode::OK { read(url, response).await? } else { Bytes::new() };
            return Ok(Reply { status, etag, body });
        }
        Err(failed(url, format!("redirects more than {MAX_REDIRECTS} times"), "name the URL that answers itself"))
    }

    /// A connection on which a request can be sent. Dropping `tasks` ends it.
    pub(super) async fn open(
        &self,
        url: &str,
        origin: &Origin,
        tasks: &mut JoinSet<()>,
    ) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        if !origin.tls {
            return handshake(url, connect(url, origin).await?, tasks).await;
        }
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| failed(url, "names a host that no certificate can name", "correct the URL"))?;
        // Read anew each time: authorities come and go while the agent runs.
        let ca = self.ca.clone();
        let config = tokio::task::spawn_blocking(move || tls::client_config(ca.as_deref())).await;
        let config = config
            .map_err(|error| failed(url, format!("TLS could not be set up: {error}"), "please report it"))?
            .map_err(|error| error.at(url))?;
        let stream = connect(url, origin).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| tls::refusal(&origin.host, self.ca.as_deref(), &error).at(url))?;
        handshake(url, stream, tasks).await
    }
}

/// A URL, and the server that it names.
pub(super) fn server(url: &str) -> Result<(Uri, Origin), HttpError> {
    let refused = || failed(url, "is no http:// or https:// URL", "correct the URL");
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let origin = Origin::of(&uri).ok_or_else(refused)?;
    Ok((uri, origin))
}

/// The only request of a connection.
pub(super) fn request(
    method: Method,
    url: &str,
    uri: &Uri,
    token: Option<&Token>,
    header: Option<(HeaderName, HeaderValue)>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let authorization = token.and_then(Token::authorization).map(|value| (header::AUTHORIZATION, value));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("nodewall/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    for (name, value) in header.into_iter().chain(authorization) {
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|error| failed(url, format!("can not be asked: {error}"), "correct the URL"))
}

async fn connect(url: &str, origin: &Origin) -> Result<TcpStream, HttpError> {
    let addresses = addresses_of(&origin.host, origin.port).await.map_err(|error| {
        failed(
            url,
            format!("{} can not be looked up: {error}", origin.host),
            "see that the name is right and DNS works",
        )
    })?;
    // Each is told: one that answers wrongly says more than the next one that is not there.
    let mut problems = Vec::new();
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => problems.push(format!("{address} can not be reached: {error}")),
            Err(_) => problems.push(format!("{address} can not be reached: no answer within {} s", CONNECT.as_secs())),
        }
    }
    Err(failed(url, problems.join("; "), "see that the server runs and that the way to it is open"))
}

async fn handshake(
    url: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tasks: &mut JoinSet<()>,
) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke_off(url, &error))?;
    // Its error is that of the request or of the body, too.
    tasks.spawn(async { drop(connection.await) });
    Ok(sender)
}

pub(super) fn broke_off(url: &str, error: &hyper::Error) -> HttpError {
    failed(url, format!("the connection failed before an answer: {}", chain(error)), "see the server's log")
}

/// The whole body of an answer.
pub(super) async fn read(url: &str, response: Response<Incoming>) -> Result<Bytes, HttpError> {
    let too_large = || {
        failed(url, format!("the answer is larger than {MAX_BODY_BYTES} bytes"), "ask for the cluster's nodes alone")
    };
    let headers = response.headers();
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let problem = format!("the answer is encoded ({encoding:?}) although that was not asked for");
        return Err(failed(url, problem, "turn compression off for this URL"));
    }
    let announced_bytes = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced_bytes.is_some_and(|length_bytes: u64| length_bytes > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    match Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            let problem = format!("the connection ended within the answer: {}", chain(&*error));
            Err(failed(url, problem, "half an answer is not taken; see the server's log"))
        }
    }
}

/// Where to go on: the same server only, for it alone was named, and it alone may see a token.
fn redirected(url: &str, origin: &Origin, response: &Response<Incoming>) -> Result<Uri, HttpError> {
    let help = "name the URL that answers itself";
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let location = location.and_then(|location| location.parse::<Uri>().ok());
    let Some(location) = location else {
        return Err(failed(url, format!("answered {status} without saying where to"), help));
    };
    let authority = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    if location.scheme().is_none()
        && location.authority().is_none()
        && location.path().starts_with('/')
        && !location.path().starts_with("//")
    {
        let scheme = if origin.tls { "https" } else { "http" };
        let path = location.path_and_query().map_or("/", |path| path.as_str());
        let built =
            Uri::builder().scheme(scheme).authority(format!("{authority}:{}", origin.port)).path_and_query(path);
        return built.build().map_err(|_| failed(url, format!("answered {status} with a broken Location"), help));
    }
    if Origin::of(&location).is_some_and(|other| other == *origin) {
        return Ok(location);
    }
    // Host and scheme alone: a path may hold anything.
    let to = location.authority().map_or_else(|| "elsewhere".to_owned(), |authority| format!("{authority:?}"));
    let scheme = location.scheme_str().unwrap_or("no scheme");
    Err(failed(url, format!("redirects ({status}) to another server: {to} ({scheme})"), help))
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(if text.is_empty() { "" } else { ": " });
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            // TLS says this with a page of advice for programmers.
            text.push_str("it was cut off");
            return text;
        }
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
