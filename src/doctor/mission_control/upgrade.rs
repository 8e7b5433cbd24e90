//! Whether a WebSocket upgrade passes within the TLS connection, and who answered. Must not go on speaking WebSocket.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::step::{Connection, STEP, fail};
use crate::doctor::finding::{Finding, Subject};

/// The example of RFC 6455, and the answer to it: nothing is at stake, and nothing follows.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Headers that only what stands in between adds.
const OF_A_PROXY: [&str; 6] =
    ["via", "x-squid-error", "proxy-connection", "proxy-authenticate", "x-bluecoat-via", "x-cache-lookup"];

pub(super) async fn ask(host: &str, port: u16, connection: Connection) -> Result<Finding, Finding> {
    let authority = match (host.contains(':'), port) {
        (true, 443) => format!("[{host}]"),
        (true, port) => format!("[{host}]:{port}"),
        (false, 443) => host.to_owned(),
        (false, port) => format!("{host}:{port}"),
    };
    let request = Request::get("/")
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("nodewall/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, KEY)
        .body(Empty::<Bytes>::new())
        .map_err(|error| {
            fail("upgrade", format!("can not be asked: {error}")).advice("correct [mission_control] host")
        })?;
    let asked = async {
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
        tokio::spawn(async { drop(driver.with_upgrades().await) });
        sender.send_request(request).await
    };
    match timeout(STEP, asked).await {
        Ok(Ok(response)) => judge(response.status(), response.headers()),
        Ok(Err(error)) => Err(stopped(format!("the connection broke off: {error}"))),
        Err(_) => Err(stopped(format!("there was no answer within {} s", STEP.as_secs()))),
    }
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<Finding, Finding> {
    let ok = |found: String| Ok(Finding::ok(Subject::MissionControl, "upgrade", found));
    let is = |name, wanted: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let accepted =
            headers.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value.as_bytes() == ACCEPT.as_bytes());
        if accepted && is(header::UPGRADE, "websocket") {
            return ok("a WebSocket upgrade passes (101)".into());
        }
        return Err(stopped("101 came without the answer to our key: something in between said it".into()));
    }
    if let Some(name) = OF_A_PROXY.into_iter().find(|name| headers.contains_key(*name)) {
        return Err(stopped(format!("something in between refused it: {status}, with the header {name}")));
    }
    match status.as_u16() {
        407 | 502..=504 => Err(stopped(format!("something in between refused it: {status}"))),
        426 => Err(stopped(format!("the server saw no upgrade: {status}"))),
        200..=299 => Err(stopped(format!("it was answered as if no upgrade had been asked for: {status}"))),
        _ => ok(format!("the server itself answers ({status}): HTTP passes, and it takes no WebSocket at this path")),
    }
}

fn stopped(found: String) -> Finding {
    fail("upgrade", found)
        .because("Mission Control's remote access is a WebSocket within TLS; something in between takes it apart")
        .advice("let WebSocket pass: exempt Mission Control from TLS inspection in the proxy or firewall on the way")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> Result<String, String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        judge(StatusCode::from_u16(status).unwrap(), &headers).map(|ok| ok.found).map_err(|failed| failed.found)
    }

    #[test]
    fn only_the_servers_own_word_passes() {
        let accept = ("sec-websocket-accept", ACCEPT);
        assert!(judged(101, &[("upgrade", "WebSocket"), accept]).is_ok());
        assert!(judged(101, &[("upgrade", "websocket")]).is_err());
        assert!(judged(101, &[accept]).is_err());
        for status in [301, 400, 401, 403, 404, 500] {
            assert!(judged(status, &[]).unwrap().contains("the server itself answers"), "{status}");
            let error = judged(status, &[("via", "1.1 proxy")]).unwrap_err();
            assert!(error.contains("in between") && error.contains("via"), "{error}");
        }
        for status in [200, 204, 407, 426, 502, 503, 504] {
            assert!(judged(status, &[]).is_err(), "{status}");
        }
    }
}
