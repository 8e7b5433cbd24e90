//! Says when links, addresses or filters of traffic control changed, not what changed: the answer to an event is a new `snapshot`.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};

use super::codec::{Connection, Handle, connect};
use super::error::NetError;

/// With traffic control, for the kernel tells nobody else when a filter of ours is deleted.
const GROUPS: [MulticastGroup; 4] =
    [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr, MulticastGroup::Tc];

type Messages = Pin<Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send>>;

/// A subscription to changes of the links, addresses and filters in the network namespace of the thread that made it.
///
/// Between two calls events wait in the socket's buffer; however many there are, they make one event. When the buffer
/// overflows (`ENOBUFS`) or the socket has to be opened again, that is an event, too: something was missed.
pub struct LinkWatch {
    connection: Connection,
    messages: Messages,
    // The connection ends itself when its last handle is gone.
    _handle: Handle,
}

impl LinkWatch {
    /// Subscribes. Needs no privilege; must run inside a tokio runtime with I/O enabled. To miss nothing, subscribe
    /// first and take the first snapshot afterwards.
    ///
    /// # Errors
    /// When the socket can not be opened.
    pub fn new() -> Result<Self, NetError> {
        let failed = |source| NetError::Socket { action: "subscribing to link changes", source };
        let (mut connection, handle, messages) = connect().map_err(failed)?;
        let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (*group as u32 - 1));
        connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, groups)).map_err(failed)?;
        Ok(Self { connection, messages: Box::pin(messages), _handle: handle })
    }

    /// Waits until something changed since the last call. May be dropped and called again: no event is lost.
    ///
    /// # Errors
    /// When the kernel closed the socket and a new one can not be opened. A new one is opened by the calling thread,
    /// which must still be in the namespace that is watched.
    pub async fn changed(&mut self) -> Result<(), NetError> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        // Moves all that is queued in the socket into `messages`, then waits for the socket.
        if Pin::new(&mut self.connection).poll(context).is_ready() {
            // What was sent between the two sockets is lost, so this is an event by itself.
            return Poll::Ready(Self::new().map(|fresh| *self = fresh));
        }
        let mut changed = false;
        loop {
            match self.messages.as_mut().poll_next(context) {
                // An overrun comes as a message, too.
                Poll::Ready(Some(_)) => changed = true,
                Poll::Ready(None) | Poll::Pending if changed => return Poll::Ready(Ok(())),
                Poll::Ready(None) => {
                    let source = io::Error::from(io::ErrorKind::ConnectionAborted);
                    return Poll::Ready(Err(NetError::Socket { action: "reading link changes", source }));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl std::fmt::Debug for LinkWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkWatch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
