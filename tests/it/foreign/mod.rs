//! The QMux wire against another implementation of it: what each of them can do, and the tests that
//! each has to pass.

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

/// What a test asks of the foreign end. What is not asked for stays at the implementation's
/// default.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The window of each stream, which does not grow, and little more for all of them together.
    pub(crate) stream_receive_window: Option<u64>,
    /// The window of all streams together.
    pub(crate) connection_window: Option<u64>,
    /// How many streams of each kind we may have open at a time.
    pub(crate) streams: Option<u32>,
    /// Datagrams, where the implementation has them only on request.
    pub(crate) datagrams: bool,
}

/// Why a half of a foreign stream has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// We have reset it, or stopped it, with this code.
    Code(u64),
    Other(String),
}

/// A connection of another implementation.
pub(crate) trait Foreign: Clone + Send + Sync + 'static {
    type Config: Default;
    type Server;
    type Send: ForeignSend;
    type Recv: ForeignRecv;

    /// The largest application error code that it can send.
    const LARGEST_CODE: u64;

    /// It takes datagrams of more bytes than this.
    const DATAGRAM_SIZE: usize;

    /// Whether it may end its WebSocket before its CONNECTION_CLOSE has left. In crate qmux 0.6.6
    /// the writer's task learns of a close in two ways, and one of them does not send what is
    /// queued.
    const MAY_LOSE_ITS_CLOSE: bool;
    /// Whether it gives back, of its connection's window, what a stream that it stopped had in
    /// flight or unread.
    const RETURNS_CREDIT_OF_STOPPED_STREAMS: bool;

    fn config(settings: Settings) -> Self::Config;

    /// Its client. Fails the test if there is no connection.
    async fn connect(url: &str, config: Self::Config) -> Self;

    /// Its client over TLS, with everything at its default.
    async fn connect_tls(url: &str, tls: Arc<ClientConfig>) -> Self;

    /// Its server, over TLS if there is an acceptor.
    fn serve(tcp: TcpListener, tls: Option<TlsAcceptor>, config: Self::Config) -> Self::Server;

    async fn accept(server: &Self::Server) -> Self;

    /// `None` if the connection has ended, as with the three that follow.
    fn open_bi(&self) -> impl Future<Output = Option<(Self::Send, Self::Recv)>> + Send;

    fn open_uni(&self) -> impl Future<Output = Option<Self::Send>> + Send;

    fn accept_bi(&self) -> impl Future<Output = Option<(Self::Send, Self::Recv)>> + Send;

    fn accept_uni(&self) -> impl Future<Output = Option<Self::Recv>> + Send;

    fn max_datagram_size(&self) -> usize;

    /// Whether it was taken.
    fn send_datagram(&self, datagram: Bytes) -> bool;

    /// `None` if the connection has ended.
    fn read_datagram(&self) -> impl Future<Output = Option<Bytes>> + Send;

    fn close(&self, code: u64, reason: &str);

    /// The code and the reason with which we have closed the connection. Fails the test at any
    /// other end.
    async fn closed(&self) -> (u64, String);
}

/// Its half of a stream that sends.
pub(crate) trait ForeignSend: Send + 'static {
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), End>> + Send;

    /// Fails the test if the stream cannot be finished.
    fn finish(&mut self);

    fn reset(&mut self, code: u64);

    /// What ends it.
    fn stopped(&mut self) -> impl Future<Output = End> + Send;
}

/// Its half of a stream that receives.
pub(crate) trait ForeignRecv: Send + 'static {
    /// At most `max` bytes, or `None` after the last.
    fn read(&mut self, max: usize) -> impl Future<Output = Result<Option<Bytes>, End>> + Send;

    fn stop(&mut self, code: u64);
}
