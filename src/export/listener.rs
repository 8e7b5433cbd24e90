//! The listening socket: binding it, taking connections, and serving each within its time. What is answered is the router's.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    address::Noted,
    alarm::Alarm,
    connections::{CONNECTION_TIMEOUT, Connections, Deadline},
    gate,
    keys::Keys,
    live::Roots,
    taken::taken,
    tls,
};
use nodewall_policy::config;

/// Wait before binding is tried again.
const BIND_RETRY: Duration = Duration::from_secs(2);
/// Wait after the system refused to hand a connection over (no descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// What hyper may hold of a response before it asks for more of it, and of a request's head.
const BUFFER_BYTES: usize = 16 << 10;
/// More headers than any client sends.
const MAX_HEADERS: usize = 64;

/// Serves for ever. What keeps it from serving is told by `alarm`, and tried again.
pub(super) async fn serve(listen: SocketAddr, roots: &Roots, keys: &Arc<Keys>, export: &config::Export, alarm: &Alarm) {
    let (listener, tls, router) = loop {
        match prepare(listen, roots, keys, export).await {
            Ok(ready) => break ready,
            Err(error) => alarm.set(Some(error)),
        }
        tokio::time::sleep(BIND_RETRY).await;
    };
    alarm.set(None);
    // Declared after the listener, and so gone before it.
    let _noted = Noted::new(&roots.state, export, &listener);
    tracing::debug!(%listen, "metrics and page are served");
    let connections = Arc::new(Connections::new(CONNECTION_TIMEOUT));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => take(stream, from.ip().to_canonical(), tls.clone(), router.clone(), &connections),
            Err(error) => {
                tracing::debug!("a connection can not be taken: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
        // A flood of connections must not keep the one that was just taken from being read.
        tokio::task::yield_now().await;
    }
}

async fn prepare(
    listen: SocketAddr,
    roots: &Roots,
    keys: &Arc<Keys>,
    export: &config::Export,
) -> Result<(TcpListener, Option<TlsAcceptor>, Router), String> {
    let failed = |error: String| format!("metrics and page are not served at {listen}: {error}");
    let tls = export.tls.as_ref().map(tls::acceptor).transpose().map_err(failed)?;
    keys.prepare(export.token_file.as_deref()).map_err(failed)?;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let help = "another [export] listen or --listen names another address, \"none\" none";
        failed(format!("{error}; {help}"))
    })?;
    let router = gate::router(roots.clone(), keys.clone(), listen, export);
    Ok((listener, tls, router))
}

fn take(stream: TcpStream, from: IpAddr, tls: Option<TlsAcceptor>, router: Router, connections: &Arc<Connections>) {
    let asked = stream.as_fd().try_clone_to_owned().ok();
    let slot = connections.enter(move || taken(asked.as_ref()?));
    let deadline = slot.deadline();
    let work = async move {
        // An answer goes out in one piece, and an event at once.
        let _ = stream.set_nodelay(true);
        match tls {
            None => answer(stream, from, router, &deadline).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    answer(stream, from, router, &deadline).await;
                }
            }
        }
    };
    slot.run(work);
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, from: IpAddr, router: Router, deadline: &Deadline) {
    let deadline = deadline.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(deadline.clone());
        request.extensions_mut().insert(from);
        hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request)
    });
    // One request each: a connection that waits for another one would only take the place of a client that asks. One that has said all it has to say, and
    // says so (`nc -N`), still waits for its answer.
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a client went away or spoke no HTTP: {error}");
    }
}
