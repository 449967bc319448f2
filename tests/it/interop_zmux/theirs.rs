//! The crates `zmux` and `zmux-websocket` as the foreign end of the tests.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wsmux::rustls::ClientConfig;
use zmux::{
    Cap, Listener, ListenerConfig, RecvStream, SendStream, Session, SessionError, StreamError,
};
use zmux_websocket::Options;

use super::{
    foreign::{End, Foreign, ForeignRecv, ForeignSend, Settings},
    interop::within,
};

/// A server of crate `zmux`.
pub(crate) struct Server {
    listener: Listener,
    serves: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(
        tcp: TcpListener,
        tls: Option<TlsAcceptor>,
        options: Options,
        config: zmux::Config,
    ) -> Self {
        let listener = Listener::new(config, ListenerConfig::default());
        let serves = match tls {
            None => tokio::spawn(zmux_websocket::serve(listener.clone(), tcp, options)),
            Some(tls) => {
                tokio::spawn(zmux_websocket::serve_tls(listener.clone(), tcp, tls, options))
            }
        };
        Self { listener, serves }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

impl Foreign for Session {
    type Config = zmux::Config;
    type Server = Server;
    type Send = SendStream;
    type Recv = RecvStream;

    const LARGEST_CODE: u64 = (1 << 62) - 1;

    const DATAGRAM_SIZE: usize = 16_000;

    const MAY_LOSE_ITS_CLOSE: bool = false;
    const RETURNS_CREDIT_OF_STOPPED_STREAMS: bool = true;

    fn config(settings: Settings) -> zmux::Config {
        let Settings { stream_receive_window, connection_window, streams, datagrams } = settings;
        let mut config = zmux::Config::default();
        if let Some(window) = stream_receive_window {
            config.initial_stream_receive_window = window;
            config.max_stream_receive_window = Cap::Fixed(window);
        }
        // The crate accepts no connection window that is smaller than four stream windows.
        if let Some(window) = connection_window.or(stream_receive_window.map(|window| 4 * window)) {
            config.initial_connection_receive_window = window;
            config.max_connection_receive_window = Cap::Fixed(window);
        }
        if let Some(streams) = streams {
            config.max_incoming_streams = streams as _;
            config.max_incoming_uni_streams = Some(streams as _);
        }
        config.enable_datagrams |= datagrams;
        config
    }

    async fn connect(url: &str, config: zmux::Config) -> Self {
        let options = Options::default();
        zmux_websocket::connect(url, &options, config).await.expect("their connection")
    }

    async fn connect_tls(url: &str, tls: Arc<ClientConfig>) -> Self {
        let (tls, options) = (TlsConnector::from(tls), Options::default());
        let connected = zmux_websocket::connect_tls(url, &tls, &options, zmux::Config::default());
        connected.await.expect("their connection")
    }

    fn serve(tcp: TcpListener, tls: Option<TlsAcceptor>, config: zmux::Config) -> Server {
        Server::start(tcp, tls, Options::default(), config)
    }

    async fn accept(server: &Server) -> Self {
        within("their session", server.listener.accept()).await.expect("a session")
    }

    async fn open_bi(&self) -> Option<(SendStream, RecvStream)> {
        Session::open_bi(self).await.ok()
    }

    async fn open_uni(&self) -> Option<SendStream> {
        Session::open_uni(self).await.ok()
    }

    async fn accept_bi(&self) -> Option<(SendStream, RecvStream)> {
        Session::accept_bi(self).await.ok()
    }

    async fn accept_uni(&self) -> Option<RecvStream> {
        Session::accept_uni(self).await.ok()
    }

    fn max_datagram_size(&self) -> usize {
        Session::max_datagram_size(self).expect("datagrams")
    }

    fn send_datagram(&self, datagram: Bytes) -> bool {
        Session::send_datagram(self, datagram).is_ok()
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        Session::read_datagram(self).await.ok()
    }

    fn close(&self, code: u64, reason: &str) {
        Session::close(self, their_code(code), reason.as_bytes());
    }

    async fn closed(&self) -> (u64, String) {
        match Session::closed(self).await {
            SessionError::ApplicationClosed { code, reason, remote: true } => {
                let reason = String::from_utf8(reason.to_vec()).expect("a reason in UTF-8");
                (code.into_inner(), reason)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn their_code(value: u64) -> zmux::VarInt {
    zmux::VarInt::from_u64(value).expect("a code of 62 bits")
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset { code, .. } => Self::Code(code.into_inner()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl ForeignSend for SendStream {
    async fn write(&mut self, chunk: Bytes) -> Result<(), End> {
        Ok(SendStream::write_chunk(self, chunk).await?)
    }

    fn finish(&mut self) {
        SendStream::finish(self).expect("a stream that can be finished");
    }

    fn reset(&mut self, code: u64) {
        SendStream::reset(self, their_code(code)).expect("a stream that can be reset");
    }

    async fn stopped(&mut self) -> End {
        match SendStream::stopped(self).await {
            Ok(Some(code)) => End::Code(code.into_inner()),
            other => End::Other(format!("{other:?}")),
        }
    }
}

impl ForeignRecv for RecvStream {
    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, End> {
        Ok(RecvStream::read_chunk(self, max).await?)
    }

    fn stop(&mut self, code: u64) {
        RecvStream::stop(self, their_code(code)).expect("a stream that can be stopped");
    }
}
