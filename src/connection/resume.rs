//! New sockets for connections that outlive their sockets, and how a client gets a new socket.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{Either, select};
use wsmux_proto::Link;

#[cfg(not(target_family = "wasm"))]
use super::arrival::Sessions;
use super::{arrival::Arrival, driver::Driver, shared::Shared, task::Records};
use crate::{
    error::ConnectError,
    observe::trace,
    runtime::{MaybeSend, random, sleep},
    socket::{Incoming, Socket, SocketCapabilities},
};

/// The upper limit of the random pause before the second attempt to dial. There is no pause before
/// the first attempt, because a healthy server is usually reached at once. The limit doubles with
/// each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The doubled limit is never larger than this. A connection waits for a new socket for about as
/// long as an idle timeout, so longer pauses would leave time for only a few attempts.
const MAX_PAUSE: Duration = Duration::from_secs(4);

/// If an attempt is older than this, a sign that the network may be back ends the attempt and
/// starts another.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a connection gets a new socket.
#[derive(Debug, Clone, Default)]
pub(crate) enum Resume {
    /// The connection gets no new socket, so it ends with its socket.
    #[default]
    Never,
    /// This end is a client, and dials.
    Redial(Arc<dyn Redial>),
    /// This end is a server, and waits until its client dials.
    #[cfg(not(target_family = "wasm"))]
    Accept(Arc<dyn Sessions>),
}

/// Dials the server of one connection, for a client.
pub(crate) trait Redial: fmt::Debug + Send + Sync {
    /// Opens a WebSocket to the server, with the same subprotocol as the connection's first
    /// WebSocket. Also returns how long the server may take to answer on the new WebSocket.
    fn dial(&self) -> Pin<Box<dyn Dialling>>;

    /// Waits for a sign that the network may be back, such as an event of the browser.
    fn network_returns(&self) -> Pin<Box<dyn Waiting>> {
        Box::pin(std::future::pending())
    }
}

/// An attempt to open a WebSocket.
pub(crate) trait Dialling:
    Future<Output = Result<(NewSocket, Duration), ConnectError>> + MaybeSend
{
}

impl<T: Future<Output = Result<(NewSocket, Duration), ConnectError>> + MaybeSend> Dialling for T {}

/// A future without a result.
pub(crate) trait Waiting: Future<Output = ()> + MaybeSend {}

impl<T: Future<Output = ()> + MaybeSend> Waiting for T {}

/// A WebSocket that is open and has no connection yet. This type hides the type of the socket,
/// because the sockets of one connection may have different types.
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

    pub(super) fn with_received(socket: impl Socket + Unpin, received: Vec<Incoming>) -> Self {
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
/// connection has ended meanwhile, or if a further attempt would get the same answer from the
/// server.
pub(super) async fn redial(
    shared: Arc<Shared>,
    redial: Arc<dyn Redial>,
    mut failures: u32,
) -> Option<(Link, NewSocket)> {
    loop {
        pause(&*redial, longest_pause(failures).mul_f64(random())).await;
        let returns = async {
            sleep(PATIENCE).await;
            redial.network_returns().await;
        };
        let dialled = match select(redial.dial(), pin!(returns)).await {
            Either::Left((dialled, _)) => dialled,
            // The attempt may hang because it began before the network was back.
            Either::Right(_) => continue,
        };
        let error = match dialled {
            Ok((socket, left)) => {
                let mut state = shared.lock();
                let now = state.time(shared.now());
                let link = state.session.resume(now, socket.capabilities, left);
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
        // The pause has a limit, because a server may ask for a longer pause than the connection
        // lasts.
        pause(&*redial, error.retry_after().unwrap_or_default().min(MAX_PAUSE)).await;
    }
}

/// Waits for this time, or until there is a sign that the network may be back.
async fn pause(redial: &dyn Redial, time: Duration) {
    if !time.is_zero() {
        select(pin!(sleep(time)), redial.network_returns()).await;
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
