//! Asking an HTTP proxy to connect (`CONNECT`, basic login), and what its refusals mean. Must not send the password anywhere else.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Connection, STEP, Step, fail};
use crate::doctor::{Finding, Subject};
use nodewall_https::Token;
use nodewall_policy::config::Proxy;

/// The same connection, after the proxy has made it one to `host`.
pub(super) async fn connect(proxy: &Proxy, host: &str, port: u16, connection: Connection) -> Step<Connection> {
    let through = format!("{}:{}", proxy.host, proxy.port);
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = Request::connect(&target).header(header::HOST, &target);
    if let (Some(user), Some(file)) = (&proxy.user, &proxy.password_file) {
        let password = Token::read(file).map_err(|error| {
            fail("proxy-login", format!("there is no password for {user}: {}: {}", error.place, error.problem))
                .advice(error.help)
        })?;
        if let Some(login) = password.basic(user) {
            request = request.header(header::PROXY_AUTHORIZATION, login);
        }
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| {
        fail("proxy", format!("can not be asked: {error}")).advice("correct [mission_control] host")
    })?;
    let broke_off = |why: String| {
        fail("proxy", format!("{through} {why}"))
            .because("everything to Mission Control goes through it")
            .advice("see that an HTTP proxy runs there, and its log")
    };
    let asked = async {
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
        tokio::spawn(async { drop(driver.with_upgrades().await) });
        let response = sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Ok((status, None));
        }
        let upgraded = hyper::upgrade::on(response).await?;
        Ok::<_, hyper::Error>((status, Some(upgraded)))
    };
    let (status, upgraded) = match timeout(STEP, asked).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(broke_off(format!("broke off: {error}"))),
        Err(_) => return Err(broke_off(format!("did not answer within {} s", STEP.as_secs()))),
    };
    match upgraded {
        Some(upgraded) => {
            let as_whom = proxy.user.as_ref().map_or_else(String::new, |user| format!(" as {user}"));
            let found = format!("{through} connects to {target}{as_whom}");
            Ok((Box::new(TokioIo::new(upgraded)), Finding::ok(Subject::MissionControl, "proxy", found)))
        }
        None => Err(refused(proxy, &through, &target, status)),
    }
}

fn refused(proxy: &Proxy, through: &str, target: &str, status: StatusCode) -> Finding {
    match (status.as_u16(), &proxy.user) {
        (407, Some(user)) if proxy.password_file.is_some() => {
            fail("proxy-login", format!("{through} does not let {user} in: it answered {status}"))
                .because("the proxy wants a login (basic), and this one is wrong")
                .advice("correct the user in [mission_control] proxy, or the password in proxy_password_file")
        }
        (407, _) => fail("proxy-login", format!("{through} wants a login: it answered {status}"))
            .because("the proxy lets nobody through without one")
            .advice("name the user in [mission_control] proxy (http://user@host:port), and the password's file with proxy_password_file"),
        (502..=504, _) => fail("proxy", format!("{through} can not reach {target}: it answered {status}"))
            .because("the way from the proxy on is closed, or it can not look up the name")
            .advice("see the proxy's log; let it out to Mission Control's addresses on port 443"),
        _ => fail("proxy", format!("{through} refuses to connect to {target}: it answered {status}"))
            .because("its rules do not let this host, this name or this port through")
            .advice(format!("allow CONNECT to {target} in the proxy's rules")),
    }
}
