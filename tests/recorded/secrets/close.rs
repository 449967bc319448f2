//! The reason of a close is not in any log.

use tokio::io::AsyncWriteExt;
use wsmux::{WebSocketClient, WebSocketServer};

use super::{Said, answers};

/// The error for a peer's close shows the reason, because the application decides whether to print
/// it. Our logs contain only the code.
#[tokio::test]
async fn the_reason_of_a_peers_close_is_in_its_error_and_in_no_log() {
    let said = Said::default();
    let _recording = tracing::subscriber::set_default(said.clone());
    let client = WebSocketClient::builder().build().unwrap();
    let close = b"\x88\x08\x03\xf0canary";
    let url = answers("Sec-WebSocket-Protocol: qmux-02\r\n", close).await;
    let error = client.connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("WebSocket close 1008: canary"), "{error}");

    let (io, mut strange) = tokio::io::duplex(4096);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: qmux-02\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    strange.write_all(request.as_bytes()).await.unwrap();
    strange.write_all(b"\x88\x88\0\0\0\0\x03\xf0canary").await.unwrap();
    let acceptor = WebSocketServer::builder().build().unwrap();
    let error = acceptor.from_io(io).await.unwrap_err();
    assert!(error.to_string().contains("WebSocket close 1008: canary"), "{error}");

    let server = WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let (client_end, server_end) = (client_end.unwrap(), server_end.unwrap());
    server_end.close(7u32.into(), b"canary");
    let error = client_end.closed().await;
    assert!(error.to_string().contains("code 7: canary"), "{error}");

    let logged = |event: &str, words: &str| {
        let said = said.0.lock().unwrap();
        let mut texts = said.iter().filter(|(what, _)| what == event);
        assert!(texts.any(|(_, text)| text.contains(words)), "{event} {words}: {said:#?}");
    };
    logged("handshake.failed", "WebSocket close 1008");
    logged("connection.closed", "WebSocket close 1008");
    logged("connection.closed", "code 7");
    said.holds_no_secret(&[0xf7; 32]);
}
