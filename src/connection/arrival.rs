//! The arrival of a client's new socket at a server. The server's registry of sessions finds the
//! connection that goes on over the socket.
#![cfg_attr(target_family = "wasm", allow(dead_code, reason = "a web page has no servers"))]

use std::{fmt, sync::Arc};

use wsmux_proto::{Link, ResumeRequest, SessionId};

use super::{
    ConnectionInfo,
    resume::NewSocket,
    shared::{Kept, Shared},
};
use crate::{
    observe::trace,
    socket::{Incoming, Socket, SocketCapabilities},
};

/// The connections of a server that can be resumed.
pub(crate) trait Sessions: fmt::Debug + Send + Sync {
    /// Registers a connection that can be resumed. It stays registered until the returned value is
    /// dropped.
    fn register(&self, id: SessionId, connection: &Arc<Shared>) -> Box<dyn Registered>;

    /// Returns the connection with this id, if a client with this `info` may resume it.
    fn find(&self, id: SessionId, info: &ConnectionInfo) -> Option<Arc<Shared>>;
}

/// A connection in the registry of a server.
pub(crate) trait Registered: fmt::Debug + Send {
    /// Counts the connection among those without a socket, until the returned value is dropped.
    /// `cost` is the length in bytes of the messages that the connection keeps in order to send
    /// them again.
    fn suspend(&self, cost: u64) -> Kept;
}

/// Finds out on a server whether a new socket begins a new connection or belongs to an earlier
/// connection. The client's first message says which.
#[derive(Debug)]
pub(crate) struct Arrival(pub(super) Arc<dyn Sessions>);

/// An earlier connection that goes on over the socket of a new connection.
pub(super) struct Move {
    pub(super) to: Arc<Shared>,
    link: Link,
}

impl Arrival {
    /// Returns the earlier connection that the client asks for in the first message on a new
    /// socket, and makes that connection expect this socket. Returns `None` if the message begins a
    /// new connection, or if the client may not resume the connection that it asks for. In the
    /// second case the engine refuses the message.
    pub(super) fn find(
        &self,
        first: &Incoming,
        socket: SocketCapabilities,
        info: &ConnectionInfo,
    ) -> Option<Move> {
        let Incoming::Message(message) = first else { return None };
        let request = ResumeRequest::from_first_message(message)?;
        let to = self.0.find(request.id(), info)?;
        let mut state = to.lock();
        let now = state.time(to.now());
        let accepted = state.session.accept_resume(now, socket, &request);
        to.dispatch(&mut state);
        if state.session.is_closed() {
            // The request came after the deadline of the session, so the session has ended. The
            // task of the connection has to notice the end.
            state.wake_driver_now();
        }
        drop(state);
        match accepted {
            Ok(link) => Some(Move { to, link }),
            Err(error) => {
                trace::resume_refused(&to.span, &error);
                None
            }
        }
    }
}

impl Move {
    /// Gives the socket to the earlier connection. `received` contains the items that were read
    /// from the socket after the request.
    pub(super) fn complete(self, socket: impl Socket + Unpin, received: Vec<Incoming>) {
        let socket = NewSocket::with_received(socket, received);
        #[cfg(not(target_family = "wasm"))]
        self.to.hand_over(self.link, socket);
        // A web page has no servers, so this code never runs there.
        #[cfg(target_family = "wasm")]
        drop(socket);
    }
}
