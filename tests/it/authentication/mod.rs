//! How hooks, logins, origins and client certificates decide which clients get a connection, and
//! what a refused client receives.

mod certificates;
mod hooks;
mod logins;
mod pages;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsmux::{AcceptError, ConnectError, WebSocketClientBuilder, WebSocketServerBuilder};
use wsmux_testing::server::*;

/// Connects a client that the server refuses. Returns the client's error and the server's error.
async fn turned_away(
    server: WebSocketServerBuilder,
    client: WebSocketClientBuilder,
    scheme: &str,
) -> (ConnectError, AcceptError) {
    let (address, accepted) = one_client(server).await;
    let client = client.build().unwrap();
    let url = format!("{scheme}://{address}/path?query");
    let failed = within(client.connect(&url)).await.unwrap_err();
    (failed, within(accepted).await.unwrap().unwrap_err())
}

fn status_of((client, server): (ConnectError, AcceptError)) -> u16 {
    let ConnectError::Refused { status, .. } = client else { panic!("{client:?}") };
    let AcceptError::Refused { status: ours, .. } = server else { panic!("{server:?}") };
    assert_eq!(status, ours);
    status.as_u16()
}

/// Sends these bytes, and returns all that comes back.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Returns a valid upgrade request with these headers added.
fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\
         Sec-WebSocket-Protocol: qmux-02\r\n{headers}\r\n"
    )
}
