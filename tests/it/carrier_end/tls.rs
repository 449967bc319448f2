//! How the end looks to rustls: a relay accepts TLS from a client, and speaks TLS to a server.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use wsmux::{Config, ConnectError, ConnectionError, Side, WebSocketConnection, Wire, rustls};

use super::{
    ending::{WAYS, pass},
    server::{Tls, echo, one_client, within},
};

/// `Ok` if both ends sent a close_notify. Otherwise `Err` with the side that ended its direction
/// without a close_notify.
type Ends = Result<(), Side>;

type Seen = JoinHandle<Ends>;

async fn seen_of(side: Side, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) -> Ends {
    pass(from, to, |_| ()).await.map_err(|_| side)
}

async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
) -> Ends {
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    // If one direction is cut off, the other direction is dropped.
    tokio::try_join!(
        seen_of(Side::Client, client_read, server_write),
        seen_of(Side::Server, server_read, client_write),
    )
    .map(|_| ())
}

fn trusting(tls: &Tls) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(tls.root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.into()
}

fn connector(tls: &Tls) -> TlsConnector {
    trusting(tls).into()
}

const NAME: &str = "localhost";

/// Starts a relay for one client.
async fn relay_to(server: SocketAddr, tls: &Tls) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, connector) = (TlsAcceptor::from(tls.server_config()), connector(tls));
    let seen = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let client = acceptor.accept(tcp).await.unwrap();
        let tcp = TcpStream::connect(server).await.unwrap();
        let server = connector.connect(ServerName::try_from(NAME).unwrap(), tcp).await.unwrap();
        relay(client, server).await
    });
    (address, seen)
}

/// Connects a client and a server of ours through the relay.
async fn ours(wire: Wire) -> (WebSocketConnection, WebSocketConnection, Seen) {
    let tls = Tls::new(NAME);
    let (address, accepted) = one_client(tls.server().wires([wire])).await;
    let (address, seen) = relay_to(address, &tls).await;
    let client = tls.client().wire(wire).build().unwrap();
    let url = format!("wss://{NAME}:{}/", address.port());
    let client = within(client.connect(&url)).await.unwrap();
    (client, within(accepted).await.unwrap().unwrap(), seen)
}

/// Connects two ends of ours through the relay. Both ends use a WebSocket of tungstenite over
/// rustls.
async fn of_tungstenite(wire: Wire) -> (WebSocketConnection, WebSocketConnection, Seen) {
    let tls = Tls::new(NAME);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = relay_to(listener.local_addr().unwrap(), &tls).await;
    let config = Config::default();
    let accept = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let io = TlsAcceptor::from(tls.server_config()).accept(tcp).await.unwrap();
        let settings = Some(WebSocketConnection::websocket_config(&config, wire));
        let websocket = WebSocketStream::from_raw_socket(io, Role::Server, settings).await;
        WebSocketConnection::from_websocket(websocket, Side::Server, wire, config.clone()).await
    };
    let connect = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let io = connector(&tls).connect(ServerName::try_from(NAME).unwrap(), tcp).await.unwrap();
        let settings = Some(WebSocketConnection::websocket_config(&config, wire));
        let websocket = WebSocketStream::from_raw_socket(io, Role::Client, settings).await;
        WebSocketConnection::from_websocket(websocket, Side::Client, wire, config.clone()).await
    };
    let (client, server) = within(async { tokio::join!(connect, accept) }).await;
    (client.unwrap(), server.unwrap(), seen)
}

/// [W-55] Once both Closes have been sent, or the wait for the peer's Close is over, we MUST end
/// our direction of the underlying stream. We end it by a close_notify under TLS, by END_STREAM on
/// HTTP/2, and by a FIN on TCP.
#[tokio::test]
async fn either_end_closes_and_tls_ends_with_close_notify_both_ways() {
    for wire in [Wire::QMux, Wire::JsWs] {
        for (number, end) in WAYS.into_iter().enumerate() {
            let (client, server, seen) = ours(wire).await;
            echo(&client, &server).await;
            for connection in end(client, server) {
                within(connection.closed()).await;
            }
            assert_eq!(within(seen).await.unwrap(), Ok(()), "{wire:?}, way {number}");

            let (client, server, seen) = of_tungstenite(wire).await;
            echo(&client, &server).await;
            for connection in end(client, server) {
                within(connection.closed()).await;
            }
            assert_eq!(within(seen).await.unwrap(), Ok(()), "tungstenite, {wire:?}, way {number}");
        }
    }
}

/// [W-56] An endpoint that has not sent its Close in full MUST NOT end its direction by a
/// close_notify or END_STREAM.
#[tokio::test]
async fn an_end_that_is_gone_without_a_close_is_seen_as_cut_off() {
    let tls = Tls::new(NAME);
    let (address, accepted) = one_client(tls.server()).await;
    let (address, seen) = relay_to(address, &tls).await;
    let client = tls.client().build().unwrap();
    let url = format!("wss://{NAME}:{}/", address.port());
    let (connected, is_connected) = tokio::sync::oneshot::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let program = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(client.connect(&url)).unwrap();
        connected.send(()).unwrap();
        gone.recv().unwrap();
        drop(runtime);
        connection
    });
    within(is_connected).await.unwrap();
    let server = within(accepted).await.unwrap().unwrap();
    go.send(()).unwrap();
    let end = within(server.closed()).await;
    assert!(matches!(end, ConnectionError::SocketLost(_)), "{end:?}");
    assert_eq!(within(seen).await.unwrap(), Err(Side::Client));
    program.join().unwrap();
}

/// [W-59] If the response to a client's handshake opens no WebSocket, the client MUST end its
/// direction of the underlying stream as W-55 requires.
#[tokio::test]
async fn a_client_that_is_refused_ends_tls_in_order() {
    let tls = Tls::new(NAME);
    let refusing = tls.server().authorize(|_| Err(wsmux::http::StatusCode::FORBIDDEN));
    let (address, accepted) = one_client(refusing).await;
    let (address, seen) = relay_to(address, &tls).await;
    let url = format!("wss://{NAME}:{}/", address.port());
    let failed = within(tls.client().build().unwrap().connect(&url)).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Refused { .. }), "{failed:?}");
    within(accepted).await.unwrap().unwrap_err();
    assert_eq!(within(seen).await.unwrap(), Ok(()));
}

/// A client also sends a close_notify to a TLS proxy. It does so when the proxy refuses the client,
/// and when the connection in the tunnel ends.
#[tokio::test]
async fn tls_to_a_proxy_is_ended_in_order_by_refusal_and_by_close() {
    // The last of these is not a valid response.
    for status in ["200 OK", "403 Forbidden", "no status"] {
        let tls = Tls::new(NAME);
        let (target, accepted) = one_client(tls.server()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(tls.server_config());
        let seen = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut client = acceptor.accept(tcp).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            client.write_all(answer.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
            if !status.starts_with('2') {
                return seen_of(Side::Client, client, tokio::io::sink()).await;
            }
            relay(client, TcpStream::connect(target).await.unwrap()).await
        });
        let client = tls.client().proxy(format!("https://{NAME}:{}", proxy.port()));
        let client = client.proxy_tls_config(trusting(&tls)).build().unwrap();
        let url = format!("wss://{NAME}:{}/", target.port());
        match within(client.connect(&url)).await {
            Ok(connection) => {
                connection.close(0u32.into(), b"");
                within(connection.closed()).await;
                within(accepted).await.unwrap().unwrap();
            }
            Err(error) => assert!(matches!(error, ConnectError::Proxy(_)), "{error:?}"),
        }
        assert_eq!(within(seen).await.unwrap(), Ok(()), "{status}");
    }
}
