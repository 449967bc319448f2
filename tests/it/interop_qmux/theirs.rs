//! The crate `qmux` as the foreign end of the tests.

use std::sync::Arc;

use bytes::Bytes;
use qmux::{
    Error, RecvStream, SendStream, Session,
    ws::tokio_tungstenite::{
        Connector, connect_async_with_config, tungstenite::client::IntoClientRequest,
    },
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use web_transport_trait as trait_;
use wsmux::{http::HeaderValue, rustls::ClientConfig};

use super::{
    foreign::{End, Foreign, ForeignRecv, ForeignSend, Settings},
    interop::within,
};

/// Returns the crate's default settings after a change.
pub(crate) fn their_config(change: impl FnOnce(&mut qmux::Config)) -> qmux::Config {
    let mut config = qmux::Config::default();
    change(&mut config);
    config
}

/// A server of crate `qmux`.
pub(crate) struct Server {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) server: qmux::ws::Server,
}

impl Foreign for Session {
    type Config = qmux::Config;
    type Server = Server;
    type Send = SendStream;
    type Recv = RecvStream;

    /// The crate sends codes of 32 bits, and accepts our codes of up to 62 bits.
    const LARGEST_CODE: u64 = u32::MAX as u64;

    const DATAGRAM_SIZE: usize = 60_000;

    const MAY_LOSE_ITS_CLOSE: bool = true;
    const RETURNS_CREDIT_OF_STOPPED_STREAMS: bool = false;

    fn config(settings: Settings) -> qmux::Config {
        let Settings { stream_receive_window, connection_window, streams, datagrams } = settings;
        their_config(|config| {
            assert!(!datagrams || config.max_datagram_frame_size > 0, "it has them by default");
            if let Some(window) = stream_receive_window {
                config.max_stream_data_bidi_local = window;
                config.max_stream_data_bidi_remote = window;
                config.max_stream_data_uni = window;
                config.max_data = window + window / 2;
            }
            if let Some(window) = connection_window {
                config.max_data = window;
            }
            if let Some(streams) = streams {
                config.max_streams_bidi = streams.into();
                config.max_streams_uni = streams.into();
            }
        })
    }

    /// Connects as `qmux::ws::Client` does, but without Nagle's algorithm.
    async fn connect(url: &str, config: qmux::Config) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        let offered = HeaderValue::from_static("qmux-02, qmux-01, qmux-00, webtransport");
        request.headers_mut().insert("sec-websocket-protocol", offered);
        let connected = connect_async_with_config(request, None, true);
        let (websocket, response) =
            within("their connection", connected).await.expect("a WebSocket");
        let selected = &response.headers()["sec-websocket-protocol"];
        qmux::ws::Upgraded::new(websocket)
            .with_alpn(selected.to_str().expect("a name"))
            .with_session_config(config)
            .connect()
    }

    async fn connect_tls(url: &str, tls: Arc<ClientConfig>) -> Self {
        let client = qmux::ws::Client::new().with_connector(Connector::Rustls(tls));
        client.connect(url).await.expect("their connection")
    }

    fn serve(tcp: TcpListener, tls: Option<TlsAcceptor>, config: qmux::Config) -> Server {
        Server { tcp, tls, server: qmux::ws::Server::new().with_session_config(config) }
    }

    async fn accept(Server { tcp, tls, server }: &Server) -> Self {
        let tcp = accept_nodelay(tcp).await;
        match tls {
            None => server.accept(tcp).await,
            Some(tls) => server.accept(tls.accept(tcp).await.expect("TLS")).await,
        }
        .expect("their handshake")
    }

    async fn open_bi(&self) -> Option<(SendStream, RecvStream)> {
        trait_::Session::open_bi(self).await.ok()
    }

    async fn open_uni(&self) -> Option<SendStream> {
        trait_::Session::open_uni(self).await.ok()
    }

    async fn accept_bi(&self) -> Option<(SendStream, RecvStream)> {
        trait_::Session::accept_bi(self).await.ok()
    }

    async fn accept_uni(&self) -> Option<RecvStream> {
        trait_::Session::accept_uni(self).await.ok()
    }

    fn max_datagram_size(&self) -> usize {
        trait_::Session::max_datagram_size(self)
    }

    fn send_datagram(&self, datagram: Bytes) -> bool {
        trait_::Session::send_datagram(self, datagram).is_ok()
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        trait_::Session::recv_datagram(self).await.ok()
    }

    fn close(&self, code: u64, reason: &str) {
        trait_::Session::close(self, code_of_32_bits(code), reason);
    }

    async fn closed(&self) -> (u64, String) {
        match trait_::Session::closed(self).await {
            Error::ConnectionClosed { code, reason } => (code.into_inner(), reason.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

fn code_of_32_bits(code: u64) -> u32 {
    code.try_into().expect("a code of 32 bits")
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::StreamReset(code) | Error::StreamStop(code) => Self::Code(code.into_inner()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl ForeignSend for SendStream {
    async fn write(&mut self, chunk: Bytes) -> Result<(), End> {
        Ok(trait_::SendStream::write_chunk(self, chunk).await?)
    }

    fn finish(&mut self) {
        trait_::SendStream::finish(self).expect("a stream that can be finished");
    }

    fn reset(&mut self, code: u64) {
        trait_::SendStream::reset(self, code_of_32_bits(code));
    }

    async fn stopped(&mut self) -> End {
        match trait_::SendStream::closed(self).await {
            Ok(()) => End::Other("finished".to_owned()),
            Err(error) => error.into(),
        }
    }
}

impl ForeignRecv for RecvStream {
    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, End> {
        Ok(trait_::RecvStream::read_chunk(self, max).await?)
    }

    fn stop(&mut self, code: u64) {
        trait_::RecvStream::stop(self, code_of_32_bits(code));
    }
}

/// Accepts the next TCP connection, and turns Nagle's algorithm off, which the crate leaves on.
/// With Nagle's algorithm, each short stream would wait 40 ms, until the other end sends its
/// delayed TCP acknowledgement.
async fn accept_nodelay(listener: &TcpListener) -> TcpStream {
    let (tcp, _) = within("a connection", listener.accept()).await.expect("a connection");
    tcp.set_nodelay(true).expect("a socket");
    tcp
}
