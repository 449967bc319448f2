//! The connection of the blocking API.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    ConnectionError, ConnectionStats, OpenError, SendDatagramError, Side, VarInt, Wire,
};

use super::{
    RecvStream, SendStream, WaitError, WebSocketStream,
    wait::{try_wait, wait, wait_at_most},
};
use crate::connection::ConnectionInfo;

/// A QUIC-shaped connection of many streams over one WebSocket. Its methods block the calling
/// thread.
///
/// The handle is cheap to clone, and all threads may use it at once. When the last handle is
/// dropped, the connection is closed with code 0. The handle of a stream counts as a handle of the
/// connection.
#[derive(Debug, Clone)]
pub struct WebSocketConnection(crate::connection::WebSocketConnection);

impl WebSocketConnection {
    /// Wraps an async connection for use by threads.
    ///
    /// The connection keeps running in the runtime that it was made in, and ends with that runtime.
    /// If that runtime has a single thread, do not wait for the connection on that thread, because
    /// the wait would never end.
    pub fn from_async(connection: crate::connection::WebSocketConnection) -> Self {
        Self(connection)
    }

    /// Returns the async connection, for use by tasks. The connection keeps running where it is, in
    /// the background or in the runtime that it was made in.
    pub fn as_async(&self) -> &crate::connection::WebSocketConnection {
        &self.0
    }

    /// Converts this handle into the async connection, which keeps running as described at
    /// [`as_async`](Self::as_async).
    pub fn into_async(self) -> crate::connection::WebSocketConnection {
        self.0
    }

    /// Waits until the peer's transport parameters have arrived. The call returns at once on the
    /// js-ws wire, which has no transport parameters. The call also returns at once for a
    /// connection that a client or a server has made, because both wait for the parameters first.
    ///
    /// # Errors
    /// [`ConnectionError`] if the connection ended first.
    pub fn established(&self) -> Result<(), ConnectionError> {
        wait(self.0.established())
    }

    /// Opens a bidirectional stream. While the peer's limit or [this end's own
    /// limit](crate::Config::max_local_streams) is reached, the call waits. Waiting calls are
    /// served in order.
    ///
    /// On the QMux wire the peer does not see the stream until the stream's first frame is sent.
    /// That frame is sent when you write to the stream, finish it or
    /// [announce](SendStream::announce) it. On the js-ws wire the peer sees the stream at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_bi(&self) -> Result<WebSocketStream, OpenError> {
        wait(self.0.open_bi()).map(WebSocketStream::from_async)
    }

    /// Like [`open_bi`](Self::open_bi), but waits at most `timeout`.
    ///
    /// # Errors
    /// [`WaitError`]; after a timeout no stream has been opened.
    pub fn open_bi_timeout(
        &self,
        timeout: Duration,
    ) -> Result<WebSocketStream, WaitError<OpenError>> {
        try_wait(Some(timeout), self.0.open_bi()).map(WebSocketStream::from_async)
    }

    /// Opens a unidirectional stream, and waits as [`open_bi`](Self::open_bi) does.
    ///
    /// # Errors
    /// [`OpenError`]; the js-ws wire has no unidirectional streams.
    pub fn open_uni(&self) -> Result<SendStream, OpenError> {
        wait(self.0.open_uni()).map(SendStream::from_async)
    }

    /// Like [`open_uni`](Self::open_uni), but waits at most `timeout`.
    ///
    /// # Errors
    /// [`WaitError`]; after a timeout no stream has been opened.
    pub fn open_uni_timeout(&self, timeout: Duration) -> Result<SendStream, WaitError<OpenError>> {
        try_wait(Some(timeout), self.0.open_uni()).map(SendStream::from_async)
    }

    /// Like [`open_bi`](Self::open_bi), without waiting. Returns `None` if a limit is reached, or
    /// if other callers are waiting to open a stream.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_bi(&self) -> Result<Option<WebSocketStream>, OpenError> {
        Ok(self.0.try_open_bi()?.map(WebSocketStream::from_async))
    }

    /// Like [`open_uni`](Self::open_uni), without waiting. Returns `None` if a limit is reached, or
    /// if other callers are waiting to open a stream.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_uni(&self) -> Result<Option<SendStream>, OpenError> {
        Ok(self.0.try_open_uni()?.map(SendStream::from_async))
    }

    /// Waits for the next bidirectional stream that the peer opens.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every stream that arrived before has
    /// been accepted.
    pub fn accept_bi(&self) -> Result<WebSocketStream, ConnectionError> {
        wait(self.0.accept_bi()).map(WebSocketStream::from_async)
    }

    /// Like [`accept_bi`](Self::accept_bi), but waits at most `timeout`. A timeout loses no stream.
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

    /// Like [`accept_uni`](Self::accept_uni), but waits at most `timeout`. A timeout loses no
    /// stream.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn accept_uni_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RecvStream, WaitError<ConnectionError>> {
        try_wait(Some(timeout), self.0.accept_uni()).map(RecvStream::from_async)
    }

    /// Sends a datagram without waiting (RFC 9221 §5). If the send buffer is full, the oldest
    /// waiting datagrams are dropped.
    ///
    /// # Errors
    /// [`SendDatagramError`]; the js-ws wire has no datagrams.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        self.0.send_datagram(datagram)
    }

    /// Sends a datagram once there is room for it, so that no older datagram is dropped.
    ///
    /// # Errors
    /// As [`send_datagram`](Self::send_datagram).
    pub fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        wait(self.0.send_datagram_wait(datagram))
    }

    /// Waits for a datagram and returns it. Several threads may wait at once; each datagram goes to
    /// one of these threads.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every datagram that arrived before has
    /// been read.
    pub fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        wait(self.0.read_datagram())
    }

    /// Like [`read_datagram`](Self::read_datagram), but waits at most `timeout`. A timeout loses no
    /// datagram.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn read_datagram_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Bytes, WaitError<ConnectionError>> {
        try_wait(Some(timeout), self.0.read_datagram())
    }

    /// Returns the size of the largest datagram that can be sent, in bytes, or `None` if the peer
    /// accepts no datagrams.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.max_datagram_size()
    }

    /// Closes the connection now, without waiting. Unsent data is lost. Received data can still be
    /// read. Every other operation fails from now on, including operations in which other threads
    /// are waiting. The peer receives the code and the reason, as far as [the wire's
    /// limits](crate::WebSocketConnection::close) allow.
    ///
    /// If the program exits right after this call, the close may not have been sent. Call
    /// [`closed`](Self::closed) to wait until the close has been sent.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.0.close(code, reason);
    }

    /// Starts to drain the connection, so that it ends once its streams have ended. To wait for the
    /// connection's end, call [`closed`](Self::closed). The documentation of [the async
    /// connection](crate::WebSocketConnection::drain) says what happens during a drain.
    ///
    /// The drain also waits for streams that the calling thread itself has open. Before you wait,
    /// finish these streams and read them to their end, or drop them.
    pub fn drain(&self) {
        self.0.drain();
    }

    /// Starts to [`drain`](Self::drain) the connection, which may take `timeout` at most. If
    /// streams are still open when this time has passed, the connection is closed with code 0 and
    /// reason `shutdown deadline`. Reads and writes on these streams then fail with
    /// [`ConnectionError::LocallyClosed`] at this end, and with
    /// [`ConnectionError::ApplicationClosed`] at the peer.
    pub fn drain_timeout(&self, timeout: Duration) {
        self.0.drain_timeout(timeout);
    }

    /// Changes how many bidirectional streams the peer may have open at once; see
    /// [`Config::max_concurrent_bidi_streams`](crate::Config::max_concurrent_bidi_streams). A lower
    /// limit takes effect as streams end.
    pub fn set_max_concurrent_bi_streams(&self, count: u64) {
        self.0.set_max_concurrent_bi_streams(count);
    }

    /// Changes how many unidirectional streams the peer may have open at once; see
    /// [`Config::max_concurrent_uni_streams`](crate::Config::max_concurrent_uni_streams). A lower
    /// limit takes effect as streams end.
    pub fn set_max_concurrent_uni_streams(&self, count: u64) {
        self.0.set_max_concurrent_uni_streams(count);
    }

    /// Changes how many bytes the peer may send on a stream before they are read; see
    /// [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window).
    pub fn set_stream_receive_window(&self, bytes: u64) {
        self.0.set_stream_receive_window(bytes);
    }

    /// Waits until the connection has ended and its socket is gone, and returns why the connection
    /// ended. After a close by either side, the call waits until the closing handshake is complete
    /// or the [close timeout](crate::Config::close_timeout) has expired.
    pub fn closed(&self) -> ConnectionError {
        wait(self.0.closed())
    }

    /// Like [`closed`](Self::closed), but waits at most `timeout`. Returns `None` if the socket
    /// still exists after that time.
    pub fn closed_timeout(&self, timeout: Duration) -> Option<ConnectionError> {
        wait_at_most(timeout, self.0.closed())
    }

    /// Returns why the connection has ended, or `None` while it is open.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.close_reason()
    }

    /// Returns counters of the connection's traffic.
    pub fn stats(&self) -> ConnectionStats {
        self.0.stats()
    }

    /// Returns the smoothed round-trip time, or `None` before the first answer to a ping.
    pub fn rtt(&self) -> Option<Duration> {
        self.0.rtt()
    }

    /// Returns whether this end is the client or the server.
    pub fn side(&self) -> Side {
        self.0.side()
    }

    /// Returns the wire protocol that the two ends use.
    pub fn wire(&self) -> Wire {
        self.0.wire()
    }

    /// Returns the peer's address, if the socket has one.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.remote_address()
    }

    /// Returns the results of the handshake: addresses, headers and certificates.
    pub fn info(&self) -> &ConnectionInfo {
        self.0.info()
    }

    /// Returns the negotiated WebSocket subprotocol, such as `qmux-02.app`, or `None` on the js-ws
    /// wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.subprotocol()
    }

    /// Returns the negotiated application protocol; see [`ConnectionInfo::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.0.protocol()
    }

    /// Returns the peer's certificate chain in DER, with the peer's own certificate first. Returns
    /// `None` if the peer presented no certificate.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.0.peer_certificates()
    }
}
