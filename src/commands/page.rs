//! `nodewall page`: the address of the running agent's page, with a ticket that opens it once.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{FINE, Failure, print};
use crate::{
    cli::{Common, PageArgs},
    export::{Address, token},
    ui,
};
use nodewall_host::{
    net::tcp_sockets,
    state::{Clock, StateDir},
};

#[derive(Serialize)]
struct Report {
    url: String,
}

pub(super) fn run(common: &Common, args: PageArgs) -> Result<u8, Failure> {
    let none = || anyhow!("no agent runs that could show a page; `nodewall run` starts one");
    let state = StateDir::open(&common.state_dir)?.ok_or_else(none)?;
    let agent = state.agent().ok_or_else(none)?;
    // First: it also serves who finds that another process got what was for the agent.
    if args.new_token {
        token::renew(&state)?;
    }
    let address = state.read_note::<Address>().filter(|address| address.pid == agent.pid()).with_context(|| {
        format!(
            "the agent (pid {agent}) answers nowhere: it is just starting, could not listen (`nodewall status` says why), or is older than this command; \
             try again, or restart it"
        )
    })?;
    let listen = address.listen.context(
        "the agent listens nowhere: take `listen = \"none\"` out of [export] and reload it, or restart it without `--listen none`",
    )?;
    let local = Address::local(listen);
    if !address.answers(local, &tcp_sockets()?) {
        return Err(anyhow!(
            "no address is printed: the agent (pid {agent}) noted that it listens at {listen}, and what answers at {local} from here is not its socket; \
             `ss -ltnp` says whose it is, and `nsenter` goes where the agent's network is"
        )
        .into());
    }
    let help = "no token can be used: `nodewall page --new-token` makes another";
    let token = token::read(&state).context(help)?.context(help)?;
    let ticket = token::ticket(&token, &Clock::now()).context("the ticket can not be made")?;
    let report = Report { url: format!("{}?{}={ticket}", base(&address, listen), token::QUERY) };
    print(common, &report, |report| ui::print_line(&report.url))?;
    Ok(FINE)
}

/// How a browser on this host, or by the configured name, reaches it.
fn base(address: &Address, listen: SocketAddr) -> String {
    let scheme = if address.tls { "https" } else { "http" };
    match address.host.as_ref().filter(|_| !listen.ip().is_loopback()) {
        Some(host) if host.contains(':') => format!("{scheme}://[{host}]:{}/", listen.port()),
        Some(host) => format!("{scheme}://{host}:{}/", listen.port()),
        None => format!("{scheme}://{}/", Address::local(listen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_a_browser_can_call() {
        let told = |listen: &str, host: Option<&str>, tls| {
            let listen = listen.parse().unwrap();
            base(&Address { pid: 1, listen: Some(listen), socket: 1, host: host.map(Into::into), tls }, listen)
        };
        assert_eq!(told("127.0.0.1:9117", Some("n1.example"), false), "http://127.0.0.1:9117/");
        assert_eq!(told("[::1]:9118", None, false), "http://[::1]:9118/");
        assert_eq!(told("0.0.0.0:9117", None, true), "https://127.0.0.1:9117/");
        assert_eq!(told("0.0.0.0:9117", Some("n1.example"), true), "https://n1.example:9117/");
        assert_eq!(told("[::]:9117", Some("fd00::5"), true), "https://[fd00::5]:9117/");
    }
}
