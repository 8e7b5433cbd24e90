//! Where the running agent answers: noted once it does, for as long as it does, with the socket, so that nobody takes what another process holds for it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
};

use serde::{Deserialize, Serialize};

use nodewall_host::{
    net::Sockets,
    state::{Note, StateDir},
};
use nodewall_policy::config;

/// Where the running agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Process id of the agent that wrote it.
    pub pid: u32,
    /// What it is bound to; `null`: it listens nowhere.
    pub listen: Option<SocketAddr>,
    /// The inode of its socket; 0: none.
    pub socket: u64,
    /// The name to call it by, where it is not the address.
    pub host: Option<String>,
    /// It speaks TLS.
    pub tls: bool,
}

impl Note for Address {
    const FILE: &'static str = "export.json";
}

impl Address {
    /// Of this process, by its configuration.
    pub(super) fn new(export: &config::Export, socket: u64) -> Self {
        let host = export.hosts.first().cloned();
        Self { pid: std::process::id(), listen: export.listen, socket, host, tls: export.tls.is_some() }
    }

    /// Writes it down. Failing to is told, and no more: scrapes go on.
    pub(super) fn note(&self, state: &StateDir) {
        if let Err(error) = state.write_note(self) {
            tracing::warn!("{}: where the agent listens could not be noted: {error}", state.path().display());
        }
    }

    /// Where a process of this host reaches what is bound to `listen`.
    pub fn local(listen: SocketAddr) -> SocketAddr {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, listen.port())
    }

    /// Whether who connects to `at` reaches the agent's socket and no other: the one of that very address, else of all of its family, else of both.
    pub fn answers(&self, at: SocketAddr, sockets: &Sockets) -> bool {
        let any = [if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { at.ip() }, Ipv6Addr::UNSPECIFIED.into()];
        let mut places = [at.ip()].into_iter().chain(any).map(|ip| {
            let there = sockets.listening().filter(|one| one.local == SocketAddr::new(ip, at.port()));
            there.map(|one| one.inode).collect::<Vec<_>>()
        });
        places.find(|there| !there.is_empty()).is_some_and(|there| there.iter().all(|inode| *inode == self.socket))
    }
}

/// The note, until the agent ceases to listen.
pub(super) struct Noted(StateDir);

impl Noted {
    /// That `socket` listens.
    pub(super) fn new(state: &StateDir, export: &config::Export, socket: impl AsFd) -> Self {
        match rustix::fs::fstat(socket) {
            Ok(socket) => Address::new(export, socket.st_ino).note(state),
            Err(error) => tracing::warn!("where the agent listens is not noted, its socket tells nothing: {error}"),
        }
        Self(state.clone())
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.forget_note::<Address>();
    }
}
