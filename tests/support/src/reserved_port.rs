//! A port of this host where nobody listens and that nobody else gets: bound, and listened on only when the test says so.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};

/// A reserved TCP port of 127.0.0.1. Connections are refused until [`Self::listen`].
pub struct ReservedPort(Socket);

impl ReservedPort {
    /// Any that is free.
    pub fn new() -> Result<Self> {
        let bound = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).into())?;
            Ok(socket)
        };
        bound().map(Self).map_err(Error::io("reserving a port"))
    }

    /// Its number.
    pub fn number(&self) -> Result<u16> {
        let address = self.0.local_addr().map_err(Error::io("asking for a reserved port"))?;
        Ok(address.as_socket().map_or(0, |address| address.port()))
    }

    /// Listens there from now on.
    pub fn listen(self) -> Result<TcpListener> {
        self.0.listen(128).map_err(Error::io("listening on a reserved port"))?;
        Ok(self.0.into())
    }
}
