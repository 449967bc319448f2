//! How a connection is closed, at once or after its streams have ended, and how to wait for its
//! end.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{ConnectionError, Dir, InFlight, VarInt};

use super::{
    WebSocketConnection,
    shared::{Queue, State, wait_for},
};

impl WebSocketConnection {
    /// Closes the connection now. Data that has not been sent is lost. After this call, operations
    /// fail, except that received data can still be read.
    ///
    /// The peer receives `code` and the first 1,024 bytes of `reason`. On the js-ws wire, it
    /// receives the first 123 bytes of `reason`, and a code above 999 arrives as 999, unless the
    /// code is from 3000 to 3999.
    ///
    /// The method returns before the close has been sent. A program that is about to exit should
    /// await [`closed`](Self::closed) first.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.0.close(code, Bytes::copy_from_slice(reason));
    }

    /// Starts to drain the connection, so that it ends once its streams have ended. To wait for the
    /// end, await [`closed`](Self::closed).
    ///
    /// This end still sends every byte that a write accepted, and every queued datagram. Open
    /// streams go on in both directions until they end, and streams that the peer opened before the
    /// drain can still be accepted. When all streams have ended, the connection is closed with code
    /// 0.
    ///
    /// After this call, opening a stream fails with [`OpenError::Draining`]. On the QMux wire, this
    /// end sends a notice of the drain if the peer is wsmux as well. The peer answers that it opens
    /// no more streams either. It usually answers at once, and this end waits for the answer for at
    /// most 5 s. During this wait, streams that the peer opens are accepted, and the connection is
    /// not closed. So even streams that the peer opened before it received the notice are accepted.
    /// After the wait, streams that the peer opens are refused. If this end sends no notice, there
    /// is no wait. A connection that is not [established](Self::established) is closed at once.
    ///
    /// There is no deadline: a stream that does not end keeps the connection open; see
    /// [`drain_timeout`](Self::drain_timeout). Keep a handle until the connection has ended. When
    /// the last handle is dropped, the connection is closed at once, and data that has not been
    /// sent is lost.
    ///
    /// [`OpenError::Draining`]: crate::OpenError::Draining
    pub fn drain(&self) {
        self.0.drain(None);
    }

    /// Starts to [`drain`](Self::drain) the connection, for `timeout` at most. If streams are still
    /// open when this time has passed, the connection is closed with code 0 and reason `shutdown
    /// deadline`. Reads and writes of these streams fail with [`ConnectionError::LocallyClosed`] on
    /// this end, and with [`ConnectionError::ApplicationClosed`] on the peer's.
    ///
    /// If this is called several times, the earliest deadline counts.
    pub fn drain_timeout(&self, timeout: Duration) {
        self.0.drain(Some(timeout));
    }

    /// Whether the peer has announced that it [drains](Self::drain) the connection. This stays true
    /// after the connection has ended. A peer that is not wsmux announces nothing, and the js-ws
    /// wire has no notice of a drain.
    pub fn is_peer_draining(&self) -> bool {
        self.0.lock().engine().is_peer_draining()
    }

    /// Sets whether this end stops opening streams as soon as the peer [drains](Self::drain) the
    /// connection. The default is `true`: once the peer drains, opening a stream fails with
    /// [`OpenError::Draining`] on both ends.
    ///
    /// With `false`, streams can be opened for 3 s after
    /// [`ConnectionEvent::PeerDraining`](crate::ConnectionEvent::PeerDraining), and the peer
    /// accepts them. In that time the application can connect to another server. Then it calls
    /// [`drain`](Self::drain) on this connection, so that the peer need not wait any longer. A
    /// [`ReconnectingClient`](crate::ReconnectingClient) does these steps itself.
    ///
    /// [`OpenError::Draining`]: crate::OpenError::Draining
    pub fn set_drain_with_peer(&self, drains: bool) {
        self.0.lock().engine_mut().set_drain_with_peer(drains);
    }

    /// Waits until the connection has ended and its socket is gone. Returns why the connection
    /// ended.
    ///
    /// After a close by either end, the socket is gone when the closing handshake is complete and
    /// both ends have closed the underlying stream. A client waits for the server to close the
    /// stream first. These steps together take no longer than
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> ConnectionError {
        let check = |state: &mut State| state.close_reason().filter(|_| state.is_finished());
        wait_for(&self.0, Queue::Finished, check).await
    }

    /// Returns why the connection has ended, or `None` while it has not.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.lock().close_reason()
    }

    /// Returns which streams were open and how many bytes were unsent when the connection ended.
    /// The result is empty while the connection has not ended. It contains no errors: calls on a
    /// stream's handle return the error of that stream.
    pub fn in_flight(&self) -> InFlight {
        self.0.lock().engine().in_flight().clone()
    }

    /// Waits as [`closed`](Self::closed) does, but without a handle, so that the future does not
    /// keep the connection open.
    #[cfg(feature = "blocking")]
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.0.without_handle();
        async move {
            wait_for(&shared, Queue::Finished, |state| state.is_finished().then_some(())).await;
        }
    }

    /// Waits until the connection has ended. Its socket may still exist.
    pub(crate) async fn ended(&self) -> ConnectionError {
        // The end of the connection wakes the tasks in this queue, too.
        wait_for(&self.0, Queue::Established, |state| state.close_reason()).await
    }

    /// Waits until new streams need a new connection, because either end drains this connection or
    /// because this connection has ended.
    pub(crate) async fn leaving(&self) {
        let is_leaving = |state: &State| is_spent(state) || state.engine().is_peer_draining();
        wait_for(&self.0, Queue::Established, |state| is_leaving(state).then_some(())).await;
    }

    /// Whether no more streams can be opened on this end.
    pub(crate) fn is_spent(&self) -> bool {
        is_spent(&self.0.lock())
    }
}

fn is_spent(state: &State) -> bool {
    // Bidirectional streams exist on every wire, so an error means that this end can open no more
    // streams. During the handshake the result is `Ok(0)`.
    state.engine().openable(Dir::Bi).is_err()
}
