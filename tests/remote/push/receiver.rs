//! A receiver of the vendor's protocol: hyper over a real socket. It takes, refuses, or breaks off as a test wants, and adds up what it took.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::grammar::{MetricLine, parse};

/// What it does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes it all: 202.
    Take,
    /// Takes nothing and says so; with `Retry-After`, seconds.
    Refuse(u16, Option<u64>),
    /// Takes it all, and goes without a word.
    TakeAndCut,
    /// Takes nothing, and goes without a word.
    Cut,
    /// Takes it all after this time.
    Late(Duration),
    /// Takes all but the lines that have this dimension: 400, and names them.
    AllBut(&'static str, &'static str),
    /// The same, without naming them.
    AllButUnnamed(&'static str, &'static str),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) lines: Vec<MetricLine>,
    /// Those of them that count.
    pub(crate) taken: Vec<MetricLine>,
}

type Chooses = Box<dyn FnMut(usize) -> Manner + Send>;

struct Shared {
    requests: Vec<Received>,
    problems: Vec<String>,
    choose: Chooses,
}

/// Runs until it is dropped.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Receiver {
    /// On a socket that the caller made, wherever that is. `choose` gets the number of the request, from 0.
    pub(crate) fn on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        choose: impl FnMut(usize) -> Manner + Send + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let shared = Shared { requests: Vec::new(), problems: Vec::new(), choose: Box::new(choose) };
        let shared = Arc::new(Mutex::new(shared));
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (seen, tls) = (Arc::clone(&seen), tls.clone());
                        tokio::spawn(async move {
                            match tls {
                                None => serve(stream, seen).await,
                                Some(tls) => {
                                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                        serve(stream, seen).await;
                                    }
                                }
                            }
                        });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { port, shared, stop: Some(stop) }
    }

    pub(crate) fn new(choose: impl FnMut(usize) -> Manner + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), None, choose)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics/ingest", self.port)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub(crate) fn choose(&self, choose: impl FnMut(usize) -> Manner + Send + 'static) {
        self.shared().choose = Box::new(choose);
    }

    /// Every request so far; panics when one was off.
    pub(crate) fn requests(&self) -> Vec<Received> {
        let shared = self.shared();
        assert_eq!(shared.problems, Vec::<String>::new(), "the receiver does not understand");
        shared.requests.clone()
    }

    /// What it took, added up by metric and dimensions.
    pub(crate) fn sums(&self) -> BTreeMap<(String, BTreeMap<String, String>), u64> {
        sums(self.requests().into_iter().flat_map(|request| request.taken))
    }
}

/// Lines added up by metric and dimensions.
pub(crate) fn sums(lines: impl IntoIterator<Item = MetricLine>) -> BTreeMap<(String, BTreeMap<String, String>), u64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry((line.key, line.dimensions)).or_default() += line.delta;
    }
    sums
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, shared: Arc<Mutex<Shared>>) {
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    drop(http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service).await);
}

/// An error breaks the connection off.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Mutex<Shared>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    // Half a request is none.
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let now_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let is_text = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let (response, wait) = {
        let mut shared = shared.lock().unwrap();
        let lines = match parse(&body, now_unix_ms) {
            Ok(lines) if is_text && head.method == "POST" => lines,
            other => {
                shared.problems.push(format!("{} {:?}: {other:?}", head.method, head.headers));
                return Ok(json(400, None, "{}".into()));
            }
        };
        let number = shared.requests.len();
        let manner = (shared.choose)(number);
        let is =
            |line: &MetricLine, key: &str, value: &str| line.dimensions.get(key).is_some_and(|found| found == value);
        let taken: Vec<MetricLine> = match &manner {
            Manner::Take | Manner::TakeAndCut | Manner::Late(_) => lines.clone(),
            Manner::Refuse(..) | Manner::Cut => Vec::new(),
            Manner::AllBut(key, value) | Manner::AllButUnnamed(key, value) => {
                lines.iter().filter(|line| !is(line, key, value)).cloned().collect()
            }
        };
        let refused: Vec<usize> = (1..)
            .zip(&lines)
            .filter(|(_, line)| matches!(&manner, Manner::AllBut(k, v) | Manner::AllButUnnamed(k, v) if is(line, k, v)))
            .map(|(number, _)| number)
            .collect();
        let ok = lines.len() - refused.len();
        shared.requests.push(Received { at: Instant::now(), headers: head.headers, lines, taken });
        let named = |lines: &[usize]| {
            let lines: Vec<String> =
                lines.iter().map(|line| format!(r#"{{"line":{line},"error":"invalid dimension"}}"#)).collect();
            let bad = refused.len();
            format!(
                r#"{{"linesOk":{ok},"linesInvalid":{bad},"error":{{"code":400,"message":"{bad} invalid lines","invalidLines":[{}]}}}}"#,
                lines.join(",")
            )
        };
        match manner {
            Manner::Cut | Manner::TakeAndCut => return Err(std::io::Error::other("cut")),
            Manner::Refuse(status, retry_after) => (json(status, retry_after, "{}".into()), Duration::ZERO),
            Manner::AllBut(..) if !refused.is_empty() => (json(400, None, named(&refused)), Duration::ZERO),
            Manner::AllButUnnamed(..) if !refused.is_empty() => (json(400, None, named(&[])), Duration::ZERO),
            Manner::Late(wait) => (json(202, None, named(&[])), wait),
            _ => (
                json(202, None, format!(r#"{{"linesOk":{ok},"linesInvalid":0,"error":null,"warnings":null}}"#)),
                Duration::ZERO,
            ),
        }
    };
    tokio::time::sleep(wait).await;
    Ok(response)
}

fn json(status: u16, retry_after: Option<u64>, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(wait_s) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, wait_s.into());
    }
    response
}
