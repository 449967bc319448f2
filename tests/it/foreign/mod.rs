//! Tests of the QMux wire against other implementations. This module has the traits through which
//! the tests use each implementation, and the tests that all implementations have to pass.

mod pair;
pub(crate) mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wsmux::rustls::ClientConfig;

use wsmux_testing::interop;

pub(crate) use pair::*;
pub(crate) use tests::every_test;

/// The settings that a test makes at the foreign end. For other settings, the implementation's
/// defaults apply.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The receive window of each stream, which does not grow. If `connection_window` is `None`,
    /// the connection's window is at most four stream windows.
    pub(crate) stream_receive_window: Option<u64>,
    /// The connection's window, which all streams share.
    pub(crate) connection_window: Option<u64>,
    /// How many streams of each kind we may have open at the same time.
    pub(crate) streams: Option<u32>,
    /// Enables datagrams in an implementation in which they are off by default.
    pub(crate) datagrams: bool,
}

/// Why one direction of a stream ended, as the foreign end sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Our end reset or stopped this direction of the stream, with this code.
    Code(u64),
    Other(String),
}

/// A connection of another implementation.
pub(crate) trait Foreign: Clone + Send + Sync + 'static {
    type Config: Default;
    type Server;
    type Send: ForeignSend;
    type Recv: ForeignRecv;

    /// The largest application error code that this implementation can send.
    const LARGEST_CODE: u64;

    /// The implementation can send us datagrams that are longer than this number of bytes.
    const DATAGRAM_SIZE: usize;

    /// Whether the implementation may end its WebSocket before its CONNECTION_CLOSE has been sent.
    /// In crate qmux 0.6.6 the writing task can learn of a close in two ways. In one of the two
    /// ways, the task does not send the queued frames, such as the CONNECTION_CLOSE.
    const MAY_LOSE_ITS_CLOSE: bool;
    /// Whether the implementation, after it has stopped a stream, grants connection credit again
    /// for the bytes of the stream that were in flight or unread.
    const RETURNS_CREDIT_OF_STOPPED_STREAMS: bool;

    fn config(settings: Settings) -> Self::Config;

    /// Connects with the implementation's client. Fails the test if there is no connection.
    async fn connect(url: &str, config: Self::Config) -> Self;

    /// Connects with the implementation's client over TLS, with all settings at their defaults.
    async fn connect_tls(url: &str, tls: Arc<ClientConfig>) -> Self;

    /// Starts the implementation's server, over TLS if there is an acceptor.
    fn serve(tcp: TcpListener, tls: Option<TlsAcceptor>, config: Self::Config) -> Self::Server;

    async fn accept(server: &Self::Server) -> Self;

    /// Opens a bidirectional stream. This method and the next three methods return `None` if the
    /// connection has ended.
    fn open_bi(&self) -> impl Future<Output = Option<(Self::Send, Self::Recv)>> + Send;

    fn open_uni(&self) -> impl Future<Output = Option<Self::Send>> + Send;

    fn accept_bi(&self) -> impl Future<Output = Option<(Self::Send, Self::Recv)>> + Send;

    fn accept_uni(&self) -> impl Future<Output = Option<Self::Recv>> + Send;

    fn max_datagram_size(&self) -> usize;

    /// Sends a datagram. Returns whether the implementation accepted the datagram.
    fn send_datagram(&self, datagram: Bytes) -> bool;

    /// Waits for a datagram. Returns `None` if the connection has ended.
    fn read_datagram(&self) -> impl Future<Output = Option<Bytes>> + Send;

    fn close(&self, code: u64, reason: &str);

    /// Waits for the connection's end. Returns the code and the reason with which we closed it, and
    /// fails the test if it ended in any other way.
    async fn closed(&self) -> (u64, String);
}

/// The sending half of a stream at the foreign end.
pub(crate) trait ForeignSend: Send + 'static {
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), End>> + Send;

    /// Finishes the stream. Fails the test if that is not possible.
    fn finish(&mut self);

    fn reset(&mut self, code: u64);

    /// Waits for the end of this half, and returns why it ended.
    fn stopped(&mut self) -> impl Future<Output = End> + Send;
}

/// The receiving half of a stream at the foreign end.
pub(crate) trait ForeignRecv: Send + 'static {
    /// Reads at most `max` bytes, or returns `None` after the last byte.
    fn read(&mut self, max: usize) -> impl Future<Output = Result<Option<Bytes>, End>> + Send;

    fn stop(&mut self, code: u64);
}
