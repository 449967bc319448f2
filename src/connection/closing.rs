//! How a connection ends: at once, or after its streams; and how to wait for that.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{ConnectionError, InFlight, VarInt};

use super::{
    WebSocketConnection,
    shared::{Queue, State, wait_for},
};

impl WebSocketConnection {
    /// Closes the connection now. Data that has not been sent is lost. From here on operations fail,
    /// except that received data can still be read.
    ///
    /// The peer receives `code` and the first 1,024 bytes of `reason`. On the js-ws wire it
    /// receives 123 bytes of the reason, and a code above 999 only if it is from 3000 to 3999.
    ///
    /// This returns before the close has been sent. A program that is about to end awaits
    /// [`closed`](Self::closed) first.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.0.close(code, Bytes::copy_from_slice(reason));
    }

    /// Starts to drain the connection: it ends once its streams have ended. To wait for that, await
    /// [`closed`](Self::closed).
    ///
    /// Every byte that a write accepted and every queued datagram is sent. Open streams go on in
    /// both directions until they end, and streams that the peer has opened before can be accepted.
    /// Then the connection is closed with code 0.
    ///
    /// From now on, opening a stream fails with [`OpenError::Draining`], and streams that the peer
    /// opens are refused. Neither wire can announce a drain, so the peer notices it by these
    /// refusals and by the close. A connection that is not [established](Self::established) is
    /// closed at once.
    ///
    /// There is no deadline: a stream that does not end keeps the connection open; see
    /// [`drain_timeout`](Self::drain_timeout). Keep a handle until the end. When the last handle is
    /// dropped, the connection is closed at once, and data that has not been sent is lost.
    ///
    /// [`OpenError::Draining`]: crate::OpenError::Draining
    pub fn drain(&self) {
        self.0.drain(None);
    }

    /// Starts to [`drain`](Self::drain) the connection, for `timeout` at most. If streams are still
    /// open then, the connection is closed with code 0 and reason `shutdown deadline`. Their reads
    /// and writes fail with [`ConnectionError::LocallyClosed`], and the peer's with
    /// [`ConnectionError::ApplicationClosed`].
    ///
    /// Of several deadlines the earliest counts.
    pub fn drain_timeout(&self, timeout: Duration) {
        self.0.drain(Some(timeout));
    }

    /// Waits until the connection has ended and its socket is gone. Returns why the connection
    /// ended.
    ///
    /// After a close by either end, the socket is gone when the closing handshake is complete and
    /// both ends have closed the underlying stream. A client waits for the server to close it
    /// first. All of this takes no longer than
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn closed(&self) -> ConnectionError {
        let check = |state: &mut State| state.close_reason().filter(|_| state.is_finished());
        wait_for(&self.0, Queue::Finished, check).await
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.lock().close_reason()
    }

    /// The streams that were open and the data that was unsent at the moment when the connection
    /// ended; empty while it has not. The handle of each stream returns its own error.
    pub fn in_flight(&self) -> InFlight {
        self.0.lock().engine.in_flight().clone()
    }

    /// Waits as [`closed`](Self::closed) does, without a handle: the future does not keep the
    /// connection open.
    #[cfg(feature = "blocking")]
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.0.without_handle();
        async move {
            wait_for(&shared, Queue::Finished, |state| state.is_finished().then_some(())).await;
        }
    }

    /// Waits until the connection has ended. Its socket may still exist.
    pub(crate) async fn ended(&self) -> ConnectionError {
        // The end of the connection wakes this queue, too.
        wait_for(&self.0, Queue::Established, |state| state.close_reason()).await
    }

    /// Waits until no more streams can be opened on this end: until the connection drains or has
    /// ended.
    pub(crate) async fn spent(&self) {
        wait_for(&self.0, Queue::Established, |state| is_spent(state).then_some(())).await;
    }

    /// Whether no more streams can be opened on this end.
    pub(crate) fn is_spent(&self) -> bool {
        is_spent(&self.0.lock())
    }
}

fn is_spent(state: &State) -> bool {
    state.engine.close_reason().is_some() || state.engine.is_draining()
}
