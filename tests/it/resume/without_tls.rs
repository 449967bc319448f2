//! Resumption without TLS, where an observer could learn the secret of a session.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use wsmux::{SessionState, WebSocketClient, WebSocketServer};
use wsmux_testing::interop;

use super::config;

/// Starts an HTTP proxy that leads to this server, whatever host a request names.
async fn proxy(server: std::net::SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    format!("http://{address}")
}

/// A client MUST NOT offer resumption on a connection without TLS. There are two exceptions:
/// the server has a loopback address, or the application asks for resumption.
#[tokio::test]
async fn without_tls_only_loopback_is_resumed_unless_asked_for() {
    let server = WebSocketServer::builder().config(config()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let proxy = proxy(address).await;
    for (url, without_tls, expected) in [
        ("ws://example.com/".to_owned(), false, SessionState::Fixed),
        ("ws://example.com/".to_owned(), true, SessionState::Live),
        (format!("ws://{address}/"), false, SessionState::Live),
    ] {
        let client = WebSocketClient::builder().config(config()).resume_without_tls(without_tls);
        let client = client.proxy(&proxy).build().unwrap();
        let (client, server) = tokio::join!(client.connect(&url), interop::accept(&server));
        assert_eq!(client.unwrap().session_state(), expected, "{url}");
        assert_eq!(server.session_state(), expected, "{url}");
    }
}
