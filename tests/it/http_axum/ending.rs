//! How the end of a connection over HTTP/2 looks in the HTTP/2 frames and in the TLS below them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use wsmux::{ConnectionError, Http2Client, WebSocketClient};

use super::{
    server::{Kind, Server, exchange, within},
    tls::Tls,
    ways::{WAYS, pass},
};

/// A frame by which a side ends an HTTP/2 stream, or an event that ends the whole TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    EndStream,
    Reset(u32),
    /// The close_notify of TLS.
    CloseNotify,
    Cut,
}

/// The signs that came from the client, and the signs that came from the server, each in the order
/// of arrival.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<[Vec<Sign>; 2]>>);

impl Heard {
    fn of(&self, who: usize, end: Sign) {
        self.0.lock().unwrap()[who].push(end);
    }

    fn ends(&self) -> [Vec<Sign>; 2] {
        self.0.lock().unwrap().clone()
    }
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Passes on HTTP/2 frames. Records the frames that end an HTTP/2 stream, and how TLS ends below
/// them.
async fn listen(
    who: usize,
    heard: Heard,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) {
    const PREFACE: usize = 24;
    let mut buf = Vec::new();
    let mut skip = if who == CLIENT { PREFACE } else { 0 };
    let look = |bytes: &[u8]| {
        buf.extend_from_slice(bytes);
        // The header of a frame has nine bytes (RFC 9113 §4.1).
        while buf.len() >= skip + 9 {
            let head = &buf[skip..];
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if head.len() < 9 + len {
                break;
            }
            let (kind, flags, payload) = (head[3], head[4], &head[9..9 + len]);
            match kind {
                0x0 | 0x1 if flags & 0x1 != 0 => heard.of(who, Sign::EndStream),
                0x3 => {
                    let code = u32::from_be_bytes(payload.try_into().unwrap());
                    heard.of(who, Sign::Reset(code));
                }
                _ => {}
            }
            buf.drain(..skip + 9 + len);
            skip = 0;
        }
    };
    let ended = pass(from, to, look).await;
    heard.of(who, if ended.is_ok() { Sign::CloseNotify } else { Sign::Cut });
}

/// Starts a relay that accepts TLS from one client and speaks HTTP/2 without TLS to this server.
async fn relay(server: SocketAddr) -> (SocketAddr, WebSocketClient, Heard, JoinHandle<()>) {
    let tls = Tls::new("localhost");
    let mut config = Arc::unwrap_or_clone(tls.server_config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let hearing = heard.clone();
    let relaying = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let (of_client, to_client) = tokio::io::split(acceptor.accept(tcp).await.unwrap());
        let (of_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
        let client = listen(CLIENT, hearing.clone(), of_client, to_server);
        let server = listen(SERVER, hearing, of_server, to_client);
        tokio::join!(client, server);
    });
    let client = tls.client().build().unwrap();
    (address, client, heard, relaying)
}

/// [W-55] Once both Closes have been sent, or the wait for the peer's Close is over, we MUST end
/// our direction of the underlying stream. We end it by a close_notify under TLS, by END_STREAM on
/// HTTP/2, and by a FIN on TCP.
#[tokio::test]
async fn either_end_closes_and_both_end_their_http2_stream_and_reset_none() {
    // The seventh of the `WAYS` to end a connection drops the server's last handle. This way is
    // impossible here, because the echo route holds a handle too.
    for (number, end) in WAYS[..6].iter().enumerate() {
        let server = Server::start(Kind::PLAIN).await;
        let (address, client, heard, relaying) = relay(server.address).await;
        let client = Http2Client::new(client);
        let url = format!("wss://localhost:{}/mux", address.port());
        let connection = within("connecting", client.connect(&url)).await.unwrap();
        exchange(&connection, 1000).await;
        for connection in end(connection, server.accepted().await) {
            within("the end", connection.closed()).await;
        }
        // When the last WebSocket on a TCP connection has ended, the TCP connection is ended
        // cleanly as well.
        within("the relay's end", relaying).await.unwrap();
        let in_order = vec![Sign::EndStream, Sign::CloseNotify];
        assert_eq!(heard.ends(), [in_order.clone(), in_order], "way {number}");
    }
}

/// [W-56] An endpoint that has not sent its Close in full MUST NOT end its direction by a
/// close_notify or END_STREAM.
#[test]
fn a_client_gone_without_a_close_cancels_its_stream_or_is_cut_off() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (theirs, ours) = (runtime(), runtime());
    let (server, heard, url, client) = theirs.block_on(async {
        let server = Server::start(Kind::PLAIN).await;
        let (address, client, heard, _) = relay(server.address).await;
        (server, heard, format!("wss://localhost:{}/mux", address.port()), client)
    });
    let client = Http2Client::new(client);
    let connection = ours.block_on(client.connect(&url)).unwrap();
    drop(ours);
    let end = theirs.block_on(async { within("the end", server.accepted().await.closed()).await });
    assert!(matches!(end, ConnectionError::SocketLost(_)), "{end:?}");
    let of_client = &heard.ends()[CLIENT];
    assert!(!of_client.contains(&Sign::EndStream), "{of_client:?}");
    drop(connection);
    // The server has to be dropped within the runtime in which it was started.
    let _guard = theirs.enter();
    drop(server);
}
