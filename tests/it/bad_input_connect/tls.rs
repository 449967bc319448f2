//! Clients that do not speak TLS, or that stop in the middle of its handshake.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wsmux::{AcceptError, Config, WebSocketClient, WebSocketServer};

use super::{GOOD, Server, answer};

/// Returns a TLS server with a short handshake timeout, and a client that trusts it.
async fn tls_server() -> (Server, WebSocketClient) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = key.signing_key.serialize_der().try_into().unwrap();
    let mut config = Config::default();
    // This timeout is long enough for the good client, even on a busy machine.
    config.handshake_timeout(Duration::from_secs(2));
    let builder = WebSocketServer::builder().config(config);
    let server = Server::new(builder.certificate([certificate.clone()], private)).await;
    let client = WebSocketClient::builder().trust_self_signed(certificate).build().unwrap();
    (server, client)
}

/// A client may send anything instead of a TLS handshake.
#[tokio::test]
async fn a_client_without_tls_does_no_harm_to_a_server_with_it() {
    let (mut server, client) = tls_server().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(GOOD.as_bytes()).await.unwrap();
    // The two handshakes may fail in either order, because the server gives the plain client some
    // time to read the TLS alert.
    let failed = [server.outcome().await, server.outcome().await].map(Result::unwrap_err);
    assert!(failed.iter().any(|error| matches!(error, AcceptError::Tls(_))), "{failed:?}");
    assert!(
        failed.iter().any(|error| matches!(error, AcceptError::HandshakeTimeout)),
        "{failed:?}"
    );
    assert_eq!(answer(&mut silent).await, "");
    client.connect(&format!("wss://{}", server.address)).await.unwrap();
    server.outcome().await.unwrap();
}

/// The client sends only a part of its TLS handshake.
#[tokio::test]
async fn a_client_that_stalls_within_tls_times_out() {
    let (mut server, client) = tls_server().await;
    // The bytes in `hello` are what a real client sends first.
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let dialler = client.clone();
    let dialling =
        tokio::spawn(async move { dialler.from_io("wss://localhost", near).await.err() });
    let mut hello = vec![0; 16 * 1024];
    let len = far.read(&mut hello).await.unwrap();
    dialling.abort();
    let mut stalled = Vec::new();
    for sent in [&hello[..5], &hello[..len / 2], &hello[..len]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stalled.push(stream);
    }
    for _ in &stalled {
        let outcome = server.outcome().await;
        assert!(matches!(outcome, Err(AcceptError::HandshakeTimeout)), "{outcome:?}");
    }
    client.connect(&format!("wss://{}", server.address)).await.unwrap();
    server.outcome().await.unwrap();
}
