//! What a connection that outlives its socket needs from clients and servers: a way to a new
//! socket.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use wsmux_proto::{Link, ResumeRequest, SessionId};

use super::{
    ConnectionInfo,
    driver::Driver,
    shared::{Kept, Shared},
    task::Records,
};
use crate::{
    error::ConnectError,
    observe::trace,
    runtime::{MaybeSend, MaybeSync, random, sleep},
    socket::{Incoming, Socket, SocketCapabilities},
};

/// The longest pause before the second attempt to dial. The first attempt follows the loss of a
/// socket at once, because a healthy server is usually reached at once. The longest pause doubles
/// with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The upper limit of the longest pause. A connection waits for a new socket for about as long as
/// an idle timeout, so a longer pause would leave it only a few attempts.
const MAX_PAUSE: Duration = Duration::from_secs(4);

/// How a connection gets a new socket.
#[derive(Debug, Clone, Default)]
pub(crate) enum Resume {
    /// It gets none, so it ends with its socket.
    #[default]
    Never,
    /// The client dials.
    Redial(Arc<dyn Redial>),
    /// The client of this server dials.
    #[cfg(not(target_family = "wasm"))]
    Accept(Arc<dyn Sessions>),
}

/// A client's way to the server of one connection.
pub(crate) trait Redial: fmt::Debug + MaybeSend + MaybeSync {
    /// Opens a WebSocket to the server, with the same subprotocol as the first one.
    fn dial(&self) -> Pin<Box<dyn Dialling>>;

    /// Waits for a sign that the network may be back, such as a browser's event.
    fn network_returns(&self) -> Pin<Box<dyn Waiting>> {
        Box::pin(std::future::pending())
    }
}

/// An attempt to open a WebSocket.
pub(crate) trait Dialling:
    Future<Output = Result<NewSocket, ConnectError>> + MaybeSend
{
}

impl<T: Future<Output = Result<NewSocket, ConnectError>> + MaybeSend> Dialling for T {}

/// A future without a result.
pub(crate) trait Waiting: Future<Output = ()> + MaybeSend {}

impl<T: Future<Output = ()> + MaybeSend> Waiting for T {}

/// The connections of a server that can be resumed.
pub(crate) trait Sessions: fmt::Debug + MaybeSend + MaybeSync {
    /// Registers a connection that can be resumed, until the returned value is dropped.
    fn register(&self, id: SessionId, connection: &Arc<Shared>) -> Box<dyn Registered>;

    /// Returns the connection with this id, if a client with this `info` may resume it.
    fn find(&self, id: SessionId, info: &ConnectionInfo) -> Option<Arc<Shared>>;
}

/// A connection in the registry of a server.
pub(crate) trait Registered: fmt::Debug + MaybeSend {
    /// Counts the connection among those without a socket, until the returned value is dropped.
    /// `cost` is the memory that it keeps to send again, in bytes.
    fn suspend(&self, cost: u64) -> Kept;
}

/// The server's part of a new connection: until its first message has arrived, it may turn out to
/// be the new socket of an earlier connection.
#[derive(Debug)]
pub(crate) struct Arrival(pub(super) Arc<dyn Sessions>);

/// An earlier connection that goes on over the socket of a new one.
pub(super) struct Move {
    pub(super) to: Arc<Shared>,
    link: Link,
}

impl Arrival {
    /// Returns the earlier connection that the client asks for in the first message on a new
    /// socket, and makes that connection expect this socket. Returns `None` if the message begins a
    /// new connection, or if the client may not resume what it asks for. The engine refuses the
    /// latter.
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
    /// Gives the socket to the earlier connection. `received` is what was read from the socket
    /// after the request.
    pub(super) fn complete(self, socket: impl Socket + Unpin, received: Vec<Incoming>) {
        let socket = NewSocket::with_received(socket, received);
        #[cfg(not(target_family = "wasm"))]
        self.to.hand_over(self.link, socket);
        // A web page has no servers.
        #[cfg(target_family = "wasm")]
        drop(socket);
    }
}

/// A WebSocket that is open and has no connection yet. It hides the type of the socket, because the
/// sockets of one connection may have different types.
pub(crate) struct NewSocket {
    pub(super) capabilities: SocketCapabilities,
    drive: Box<dyn Drives>,
}

impl fmt::Debug for NewSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSocket")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// The future of a driver.
pub(super) type Drive = Pin<Box<dyn DriveFuture>>;

/// A future that is complete when the connection no longer uses the socket.
pub(super) trait DriveFuture: Future<Output = Records> + MaybeSend {}

impl<T: Future<Output = Records> + MaybeSend> DriveFuture for T {}

/// A function that makes the driver of a socket.
trait Drives: FnOnce(Arc<Shared>, Link, Records, Option<Arrival>) -> Drive + MaybeSend {}

impl<T> Drives for T where
    T: FnOnce(Arc<Shared>, Link, Records, Option<Arrival>) -> Drive + MaybeSend
{
}

impl NewSocket {
    pub(crate) fn new(socket: impl Socket + Unpin) -> Self {
        Self::with_received(socket, Vec::new())
    }

    fn with_received(socket: impl Socket + Unpin, received: Vec<Incoming>) -> Self {
        Self {
            capabilities: socket.capabilities(),
            drive: Box::new(move |shared, link, records, arrival| {
                let driver = Driver::new(shared, socket, received, link, records);
                Box::pin(driver.with_arrival(arrival).run())
            }),
        }
    }

    /// Makes the driver of the socket.
    pub(super) fn drive(
        self,
        shared: Arc<Shared>,
        link: Link,
        records: Records,
        arrival: Option<Arrival>,
    ) -> Drive {
        (self.drive)(shared, link, records, arrival)
    }
}

/// Dials until there is a new socket. `failures` is the number of sockets and attempts that have
/// failed since the connection last had a socket that carried data. Returns `None` if the
/// connection has ended meanwhile, or the server will not answer further attempts differently.
pub(super) async fn redial(
    shared: Arc<Shared>,
    redial: Arc<dyn Redial>,
    mut failures: u32,
) -> Option<(Link, NewSocket)> {
    loop {
        pause(&*redial, longest_pause(failures).mul_f64(random())).await;
        let error = match redial.dial().await {
            Ok(socket) => {
                let mut state = shared.lock();
                let now = state.time(shared.now());
                let link = state.session.resume(now, socket.capabilities);
                drop(state);
                return link.map(|link| (link, socket));
            }
            Err(error) => error,
        };
        trace::redial_failed(&shared.span, &error);
        if !error.is_retryable() {
            let mut state = shared.lock();
            let now = state.time(shared.now());
            state.session.give_up(now);
            return None;
        }
        failures = failures.saturating_add(1);
        pause(&*redial, error.retry_after().unwrap_or_default()).await;
    }
}

/// Waits for this time, or until there is a sign that the network may be back.
async fn pause(redial: &dyn Redial, time: Duration) {
    if !time.is_zero() {
        let pause = std::pin::pin!(sleep(time));
        futures_util::future::select(pause, redial.network_returns()).await;
    }
}

fn longest_pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        more => {
            let factor = 1_u32.checked_shl(more - 1).unwrap_or(u32::MAX);
            FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE)
        }
    }
}
