//! Creates two connections and the WebSocket between them.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use wsmux::{
    Config, ConnectionInfo, Side, WebSocketConnection, Wire, proto,
    socket::{Socket, TungsteniteSocket, memory_pair},
};

pub(crate) const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

/// Returns the default settings with a change.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

pub(crate) fn connection(
    socket: impl Socket + Unpin,
    side: Side,
    wire: Wire,
    config: &Config,
) -> WebSocketConnection {
    let info = ConnectionInfo::default();
    WebSocketConnection::from_socket(socket, side, wire, config.clone(), info)
}

/// Connects a client and a server over two sockets, and waits until each end knows the other end's
/// parameters.
pub(crate) async fn over(
    (left, right): (impl Socket + Unpin, impl Socket + Unpin),
    wire: Wire,
    config: &Config,
) -> (WebSocketConnection, WebSocketConnection) {
    let client = connection(left, Side::Client, wire, config);
    let server = connection(right, Side::Server, wire, config);
    client.established().await.expect("the client is ready");
    server.established().await.expect("the server is ready");
    (client, server)
}

/// Connects a client and a server in memory.
pub(crate) async fn memory(
    wire: Wire,
    config: &Config,
) -> (WebSocketConnection, WebSocketConnection) {
    over(memory_pair(256 * 1024), wire, config).await
}

/// Returns a tungstenite WebSocket over a stream that needs no upgrade.
pub(crate) async fn websocket<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: S,
    side: Side,
    wire: Wire,
    config: &Config,
) -> TungsteniteSocket<S> {
    let engine = proto::Connection::new(config.clone(), side, wire, proto::Time::EPOCH);
    let settings = TungsteniteSocket::config(engine.max_inbound_message());
    let role = if side == Side::Client { Role::Client } else { Role::Server };
    TungsteniteSocket::new(WebSocketStream::from_raw_socket(stream, role, Some(settings)).await)
}

/// Returns the two ends of a local TCP connection.
pub(crate) async fn tcp_streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = (client.expect("it connects"), server.expect("it accepts").0);
    client.set_nodelay(true).expect("an option of TCP");
    server.set_nodelay(true).expect("an option of TCP");
    (client, server)
}

/// Connects a client and a server over tungstenite and TCP.
pub(crate) async fn tcp(wire: Wire, config: &Config) -> (WebSocketConnection, WebSocketConnection) {
    let (client, server) = tcp_streams().await;
    let client = websocket(client, Side::Client, wire, config).await;
    let server = websocket(server, Side::Server, wire, config).await;
    over((client, server), wire, config).await
}

/// Waits until all tasks are idle. The clock must be paused, because a paused clock advances only
/// when all tasks are idle.
pub(crate) async fn quiet() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Returns the output of `future`, which must not wait for any timer. With a paused clock, the
/// timeout of one second fires as soon as all tasks are idle.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(1), future).await.expect("it waits for nothing")
}
