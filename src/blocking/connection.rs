//! The connection's handle.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    RecvStream, SendStream, WaitError, WebSocketStream,
    wait::{try_wait, wait, wait_at_most},
};
use crate::{
    connection::ConnectionInfo,
    proto::{ConnectionError, ConnectionStats, OpenError, SendDatagramError, Side, VarInt, Wire},
};

/// One WebSocket as a QUIC-shaped connection of many streams, for threads.
///
/// The handle is cheap to clone, and all threads may use it at once. The connection is closed with code 0 when
/// the last handle is dropped, the handles of its streams included.
#[derive(Debug, Clone)]
pub struct WebSocketConnection(crate::connection::WebSocketConnection);

impl WebSocketConnection {
    /// The connection, to be used by threads from here on.
    ///
    /// It goes on in the runtime that it was made in, and ends with that. To wait for it in the thread of a
    /// runtime of a single thread, its own, would be for ever.
    pub fn from_async(connection: crate::connection::WebSocketConnection) -> Self {
        Self(connection)
    }

    /// The connection, to be used by tasks as well. It goes on where it is, in the background or in the
    /// runtime that it was made in.
    pub fn as_async(&self) -> &crate::connection::WebSocketConnection {
        &self.0
    }

    /// The connection, to be used by tasks. Else as [`as_async`](Self::as_async).
    pub fn into_async(self) -> crate::connection::WebSocketConnection {
        self.0
    }

    /// Waits until the peer's transport parameters have come; on the js-ws wire, which has none, it is done
    /// at once. A client's or a server's connection has waited already.
    ///
    /// # Errors
    /// [`ConnectionError`] when the connection ended first.
    pub fn established(&self) -> Result<(), ConnectionError> {
        wait(self.0.established())
    }

    /// Opens a bidirectional stream. At the peer's limit, and at
    /// [this end's own](crate::Config::max_local_streams), it waits for its turn, first come first served.
    ///
    /// On the QMux wire the peer sees the stream with its first frame, so before something is written,
    /// finished or [announced](SendStream::announce); on the js-ws wire at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_bi(&self) -> Result<WebSocketStream, OpenError> {
        wait(self.0.open_bi()).map(WebSocketStream::from_async)
    }

    /// [`open_bi`](Self::open_bi) that waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`WaitError`]; after a timeout no stream is open.
    pub fn open_bi_timeout(
        &self,
        timeout: Duration,
    ) -> Result<WebSocketStream, WaitError<OpenError>> {
        try_wait(Some(timeout), self.0.open_bi()).map(WebSocketStream::from_async)
    }

    /// Opens a unidirectional stream; else as [`open_bi`](Self::open_bi).
    ///
    /// # Errors
    /// [`OpenError`]; the js-ws wire has no such streams.
    pub fn open_uni(&self) -> Result<SendStream, OpenError> {
        wait(self.0.open_uni()).map(SendStream::from_async)
    }

    /// [`open_uni`](Self::open_uni) that waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`WaitError`]; after a timeout no stream is open.
    pub fn open_uni_timeout(&self, timeout: Duration) -> Result<SendStream, WaitError<OpenError>> {
        try_wait(Some(timeout), self.0.open_uni()).map(SendStream::from_async)
    }

    /// [`open_bi`](Self::open_bi) without waiting: `None` at either limit, or when others wait there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_bi(&self) -> Result<Option<WebSocketStream>, OpenError> {
        Ok(self.0.try_open_bi()?.map(WebSocketStream::from_async))
    }

    /// [`open_uni`](Self::open_uni) without waiting: `None` at either limit, or when others wait there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_uni(&self) -> Result<Option<SendStream>, OpenError> {
        Ok(self.0.try_open_uni()?.map(SendStream::from_async))
    }

    /// Waits for the next bidirectional stream that the peer opens.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every stream that came before has been accepted.
    pub fn accept_bi(&self) -> Result<WebSocketStream, ConnectionError> {
        wait(self.0.accept_bi()).map(WebSocketStream::from_async)
    }

    /// [`accept_bi`](Self::accept_bi) that waits no longer than `timeout`. No stream is lost by it.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn accept_bi_timeout(
        &self,
        timeout: Duration,
    ) -> Result<WebSocketStream, WaitError<ConnectionError>> {
        try_wait(Some(timeout), self.0.accept_bi()).map(WebSocketStream::from_async)
    }

    /// Waits for the next unidirectional stream that the peer opens.
    ///
    /// # Errors
    /// As [`accept_bi`](Self::accept_bi).
    pub fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        wait(self.0.accept_uni()).map(RecvStream::from_async)
    }

    /// [`accept_uni`](Self::accept_uni) that waits no longer than `timeout`. No stream is lost by it.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn accept_uni_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RecvStream, WaitError<ConnectionError>> {
        try_wait(Some(timeout), self.0.accept_uni()).map(RecvStream::from_async)
    }

    /// Sends a datagram, or drops an older one that still waits to be sent (RFC 9221 §5). Waits for nothing.
    ///
    /// # Errors
    /// [`SendDatagramError`]; the js-ws wire has no datagrams.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        self.0.send_datagram(datagram)
    }

    /// Sends a datagram once there is room, so that no older one is dropped for it.
    ///
    /// # Errors
    /// As [`send_datagram`](Self::send_datagram).
    pub fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        wait(self.0.send_datagram_wait(datagram))
    }

    /// Waits for a datagram. Several threads may wait at once; each datagram goes to one of them.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every datagram that came before has been read.
    pub fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        wait(self.0.read_datagram())
    }

    /// [`read_datagram`](Self::read_datagram) that waits no longer than `timeout`. No datagram is lost by it.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn read_datagram_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Bytes, WaitError<ConnectionError>> {
        try_wait(Some(timeout), self.0.read_datagram())
    }

    /// The largest datagram that the peer takes, in bytes; `None` when it takes none.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.max_datagram_size()
    }

    /// Closes the connection now, and waits for nothing. What has not been sent is lost, and every operation
    /// fails from here on, also those that other threads wait for; what has come stays readable. The peer is
    /// told code and reason, within the [limits of both](crate::WebSocketConnection::close).
    ///
    /// A program that ends right after this may end before the peer is told:
    /// [`closed`](Self::closed) waits for that.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.0.close(code, reason);
    }

    /// Starts to drain the connection: it ends once its streams have ended. To wait for that, call
    /// [`closed`](Self::closed). What happens until then is what
    /// [the async connection](crate::WebSocketConnection::drain) documents.
    ///
    /// The drain also waits for streams of the calling thread. Finish them and read them to their
    /// end, or drop them, before you wait.
    pub fn drain(&self) {
        self.0.drain();
    }

    /// Starts to [`drain`](Self::drain) the connection, for `timeout` at most. If streams are still
    /// open then, the connection is closed with code 0 and reason `shutdown deadline`. Their reads
    /// and writes fail with [`ConnectionError::LocallyClosed`], and the peer's with
    /// [`ConnectionError::ApplicationClosed`].
    pub fn drain_timeout(&self, timeout: Duration) {
        self.0.drain_timeout(timeout);
    }

    /// The peer may have so many bidirectional streams open at once from now on; see
    /// [`Config::max_concurrent_bidi_streams`](crate::Config::max_concurrent_bidi_streams). Fewer than before
    /// takes effect as streams end.
    pub fn set_max_concurrent_bi_streams(&self, count: u64) {
        self.0.set_max_concurrent_bi_streams(count);
    }

    /// The peer may have so many unidirectional streams open at once from now on; see
    /// [`Config::max_concurrent_uni_streams`](crate::Config::max_concurrent_uni_streams). Fewer than before
    /// takes effect as streams end.
    pub fn set_max_concurrent_uni_streams(&self, count: u64) {
        self.0.set_max_concurrent_uni_streams(count);
    }

    /// The peer may send so many bytes on a stream before they are read, from now on; see
    /// [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window).
    pub fn set_stream_receive_window(&self, bytes: u64) {
        self.0.set_stream_receive_window(bytes);
    }

    /// Waits until the connection has ended and its socket is gone, and says why it ended. After a close on
    /// either side that is when the closing handshake is done, or has taken too long
    /// ([`Config::close_timeout`](crate::Config::close_timeout)).
    pub fn closed(&self) -> ConnectionError {
        wait(self.0.closed())
    }

    /// [`closed`](Self::closed) that waits no longer than `timeout`: `None` while the connection is not gone.
    pub fn closed_timeout(&self, timeout: Duration) -> Option<ConnectionError> {
        wait_at_most(timeout, self.0.closed())
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.close_reason()
    }

    /// What the connection has done.
    pub fn stats(&self) -> ConnectionStats {
        self.0.stats()
    }

    /// The smoothed time from a keep-alive ping to its answer; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.0.rtt()
    }

    /// Which end of the connection this is.
    pub fn side(&self) -> Side {
        self.0.side()
    }

    /// Which language the two ends speak.
    pub fn wire(&self) -> Wire {
        self.0.wire()
    }

    /// The peer's address, where the socket has one.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.remote_address()
    }

    /// What the handshake said: addresses, headers, certificates.
    pub fn info(&self) -> &ConnectionInfo {
        self.0.info()
    }

    /// The WebSocket subprotocol that was agreed on, such as `qmux-02.app`; `None` on the js-ws wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol()
    }

    /// The application protocol that was agreed on; see [`ConnectionInfo::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.0.protocol()
    }

    /// The peer's certificate chain in DER, its own certificate first; `None` where it showed none.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.0.peer_certificates()
    }
}
