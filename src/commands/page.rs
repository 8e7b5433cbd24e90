//! `nodewall page`: the address of the running agent's page, with the token that opens it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{FINE, Failure, print};
use crate::{
    cli::Common,
    export::{Address, Token},
    ui,
};
use nodewall_host::state::StateDir;

#[derive(Serialize)]
struct Report {
    url: String,
}

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let none = || anyhow!("no agent runs that could show a page; `nodewall run` starts one");
    let state = StateDir::open(&common.state_dir)?.ok_or_else(none)?;
    let agent = state.agent().ok_or_else(none)?;
    let address = state.read_note::<Address>().filter(|address| address.pid == agent.pid()).with_context(|| {
        format!("the agent (pid {agent}) is just starting, or older than this command; try again, or restart it")
    })?;
    let listen = address.listen.context(
        "the agent listens nowhere: take `listen = \"none\"` out of [export] and reload it, or restart it without `--listen none`",
    )?;
    let token = Token::read(&state)?
        .context("the agent has not made its token yet; `nodewall status` says whether it could listen")?;
    let report = Report { url: format!("{}?token={}", base(&address, listen), token.reveal()) };
    print(common, &report, |report| ui::print_line(&report.url))?;
    Ok(FINE)
}

/// How a browser on this host, or by the configured name, reaches it.
fn base(address: &Address, listen: SocketAddr) -> String {
    let scheme = if address.tls { "https" } else { "http" };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    match address.host.as_ref().filter(|_| !listen.ip().is_loopback()) {
        Some(host) if host.contains(':') => format!("{scheme}://[{host}]:{}/", listen.port()),
        Some(host) => format!("{scheme}://{host}:{}/", listen.port()),
        None => format!("{scheme}://{}/", SocketAddr::new(ip, listen.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_a_browser_can_call() {
        let told = |listen: &str, host: Option<&str>, tls| {
            let listen = listen.parse().unwrap();
            base(&Address { pid: 1, listen: Some(listen), host: host.map(Into::into), tls }, listen)
        };
        assert_eq!(told("127.0.0.1:9117", Some("n1.example"), false), "http://127.0.0.1:9117/");
        assert_eq!(told("[::1]:9118", None, false), "http://[::1]:9118/");
        assert_eq!(told("0.0.0.0:9117", None, true), "https://127.0.0.1:9117/");
        assert_eq!(told("0.0.0.0:9117", Some("n1.example"), true), "https://n1.example:9117/");
        assert_eq!(told("[::]:9117", Some("fd00::5"), true), "https://[fd00::5]:9117/");
    }
}
