//! The way to Mission Control, step by step as the vendor's server goes it: name, connection, proxy, TLS, certificate, WebSocket. Sends nothing but an
//! empty request, and no secret but the proxy's password, to the proxy alone.

mod certificate;
mod proxy;
mod step;
mod upgrade;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, AlertDescription, ProtocolVersion, pki_types::ServerName},
};

use super::finding::{Finding, Subject};
use nodewall_host::net::addresses_of;
use nodewall_https::{PresentedCertificate, recording_config, refusal};
use nodewall_policy::config::MissionLink;
use step::{Connection, STEP, StepResult, fail};

/// Goes the way until a step fails. The failed one is the last finding.
pub async fn check(link: &MissionLink) -> Vec<Finding> {
    let mut done = Vec::new();
    if let Err(failed) = go(link, &mut done).await {
        done.push(failed);
    }
    done
}

async fn go(link: &MissionLink, done: &mut Vec<Finding>) -> Result<(), Finding> {
    let (host, port) = link.proxy.as_ref().map_or((link.host.as_str(), link.port), |p| (p.host.as_str(), p.port));
    let (addresses, found) = resolve(host, port).await?;
    done.push(found);
    let (stream, found) = connect(&addresses, link.proxy.is_some()).await?;
    done.push(found);
    let mut connection: Connection = Box::new(stream);
    if let Some(proxy) = &link.proxy {
        let (through, found) = proxy::connect(proxy, &link.host, link.port, connection).await?;
        connection = through;
        done.push(found);
    }
    let (connection, found) = handshake(link, connection).await?;
    done.extend(found);
    done.push(upgrade::ask(&link.host, link.port, connection).await?);
    Ok(())
}

async fn resolve(host: &str, port: u16) -> StepResult<Vec<SocketAddr>> {
    let failed = |why: String| {
        fail("resolve", format!("{host} can not be looked up: {why}"))
            .because("without its address nothing of it can be reached")
            .advice("see /etc/resolv.conf and that the DNS servers in it answer; behind a proxy, configure that: [mission_control] proxy")
    };
    // As the vendor's server asks: by DNS, after /etc/hosts.
    let found = timeout(STEP, addresses_of(host, port)).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no answer within {} s", STEP.as_secs()))),
    };
    let mut shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    shown.dedup();
    Ok((addresses, Finding::ok(Subject::MissionControl, "resolve", format!("{host}: {}", shown.join(", ")))))
}

async fn connect(addresses: &[SocketAddr], is_proxy: bool) -> StepResult<TcpStream> {
    let mut problems = Vec::new();
    let attempt = async {
        // Each gets its part of the time: one that is silent must not hide the next.
        let each = STEP / u32::try_from(addresses.len()).unwrap_or(1).clamp(1, 4);
        for address in addresses {
            match timeout(each, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Some((stream, address)),
                Ok(Err(error)) => problems.push(format!("{address}: {error}")),
                Err(_) => problems.push(format!("{address}: no answer within {:.1} s", each.as_secs_f32())),
            }
        }
        None
    };
    match attempt.await {
        Some((stream, address)) => {
            let what = if is_proxy { "the proxy is reached" } else { "reached" };
            Ok((stream, Finding::ok(Subject::MissionControl, "connect", format!("{what} at {address}"))))
        }
        None if is_proxy => Err(fail("connect", format!("the proxy can not be reached: {}", problems.join("; ")))
            .because("everything to Mission Control goes through it")
            .advice("see that [mission_control] proxy is right, and that this host may reach it")),
        None => Err(fail("connect", format!("can not be reached: {}", problems.join("; ")))
            .because("a firewall on the way lets nothing out to this address, or there is no route")
            .advice("let TCP 443 out to Mission Control's addresses, or configure the proxy that has to be used: [mission_control] proxy")),
    }
}

async fn handshake(link: &MissionLink, connection: Connection) -> Result<(Connection, Vec<Finding>), Finding> {
    let ca = link.ca.as_deref();
    let (config, shown) = recording_config(ca).map_err(|error| {
        fail("tls", error.problem).because("nobody's certificate can be believed").advice(error.help)
    })?;
    let name = ServerName::try_from(link.host.clone()).map_err(|_| {
        fail("tls", format!("{} is no name that a certificate can have", link.host))
            .advice("correct [mission_control] host")
    })?;
    match timeout(STEP, TlsConnector::from(Arc::new(config)).connect(name, connection)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let version = version(session.protocol_version());
            let believed = certificate::describe(&shown).unwrap_or_else(|| "believed".to_owned());
            let found = vec![
                Finding::ok(Subject::MissionControl, "tls", version),
                Finding::ok(Subject::MissionControl, "certificate", believed),
            ];
            Ok((Box::new(stream), found))
        }
        Ok(Err(error)) => Err(refused(link, &shown, &error)),
        Err(_) => Err(fail("tls", format!("there was no TLS within {} s", STEP.as_secs()))
            .because("something takes the connection and says nothing")
            .advice("see what answers there: a firewall that inspects TLS, or a server that is not Mission Control")),
    }
}

fn version(version: Option<ProtocolVersion>) -> String {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".into(),
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".into(),
        other => format!("{other:?}"),
    }
}

fn refused(link: &MissionLink, shown: &PresentedCertificate, error: &io::Error) -> Finding {
    let why = refusal(&link.host, link.ca.as_deref(), error);
    if why.certificate {
        let which = certificate::describe(shown).map_or_else(String::new, |which| format!(" ({which})"));
        return fail("certificate", format!("{}{which}", why.problem))
            .because("what answers can not prove that it is Mission Control; a proxy that inspects TLS shows a certificate of its own")
            .advice(why.help);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_)) => {
            fail("tls", format!("it speaks no TLS 1.2 or later: {error}"))
                .because("Mission Control is spoken to by TLS 1.2 or later")
                .advice("see what answers there: Mission Control itself speaks TLS 1.2 and 1.3")
        }
        Some(rustls::Error::InvalidMessage(_)) => fail("tls", format!("what answers does not speak TLS: {error}"))
            .because("something else than Mission Control answers on this port, such as a captive portal or a plain proxy")
            .advice("see what answers there; a proxy belongs into [mission_control] proxy"),
        _ => fail("tls", format!("the connection broke off within the TLS handshake: {error}"))
            .because("a firewall that looks at the server's name (SNI) breaks off like this, and so does a server that is no TLS server")
            .advice(format!("let TLS to {} pass", link.host)),
    }
}
