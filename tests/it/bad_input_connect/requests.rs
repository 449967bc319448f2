//! Upgrade requests, and what a client sends right after them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use wsmux::{Config, ConnectionError, SocketError, Timeout, WebSocketServer, Wire};

use super::{GOOD, Server, status};

#[tokio::test]
async fn every_bad_request_gets_its_status_and_the_next_client_is_served() {
    let mut server = Server::strict().await;
    for (from, to, expected) in [
        ("GET ", "POST ", 405),
        ("GET ", "HEAD ", 405),
        ("HTTP/1.1", "HTTP/1.0", 505),
        ("HTTP/1.1", "HTTP/2.0", 505),
        ("GET / HTTP/1.1", "PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.1", "nonsense", 400),
        ("GET ", "\x16\x03\x01", 400),
        ("Host: localhost\r\n", "", 400),
        ("Host: localhost", "Host: localhost\r\nContent-Length: 5", 400),
        ("Upgrade: websocket\r\n", "", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Connection: Upgrade", "Connection: close", 426),
        ("Version: 13", "Version: 12", 426),
        ("Version: 13", "Version: 13, 12", 426),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: dGhl", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("Protocol: qmux-02", "Protocol: qmux-00, other", 400),
        ("Protocol: qmux-02", "Protocol: ", 400),
        ("Sec-WebSocket-Protocol: qmux-02\r\n", "", 400),
    ] {
        assert!(GOOD.contains(from));
        let answer = server.answer_to(GOOD.replacen(from, to, 1).as_bytes()).await;
        assert_eq!(status(&answer), expected, "{from:?} -> {to:?}: {answer}");
        let answer = answer.to_lowercase();
        assert!(answer.contains("\r\ncontent-length: "), "{answer}");
        assert_eq!(answer.contains("\r\nallow: get\r\n"), expected == 405, "{answer}");
        assert_eq!(answer.contains("\r\nupgrade: websocket\r\n"), expected == 426, "{answer}");
        let version = "\r\nsec-websocket-version: 13\r\n";
        assert_eq!(answer.contains(version), expected == 426, "{answer}");
        assert_eq!(server.refusal().await, expected);
        server.still_serves().await;
    }
}

/// [W-4] A server MUST NOT accept a WebSocket extension, whatever the client offers.
/// [W-17] If a server accepts an offered name, the server MUST select it, speak QMux, and echo
/// exactly that name. If the server accepts several of the offered names, its own order of
/// preference decides.
#[tokio::test]
async fn a_good_request_gets_its_subprotocol_and_no_extension() {
    let mut server = Server::strict().await;
    let offer = "Host: localhost\r\nSec-WebSocket-Extensions: permessage-deflate";
    let request = GOOD.replace("Host: localhost", offer);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: qmux-02\r\n"), "{head}");
    assert!(!head.to_lowercase().contains("extensions"), "{head}");
    server.outcome().await.unwrap_err();
    server.still_serves().await;
}

/// The request uses up a part of the timeout, and only the rest is left for the parameters.
///
/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its
/// readiness: TLS, HTTP upgrade, and on QMux the peer's transport parameters.
#[tokio::test]
async fn a_client_that_never_sends_parameters_times_out_with_its_request() {
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_secs(1));
    let mut server = Server::new(WebSocketServer::builder().config(config)).await;
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    sleep(Duration::from_millis(700)).await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    let error = server.outcome().await.unwrap_err();
    let expected = ConnectionError::TimedOut(Timeout::Handshake).to_string();
    assert_eq!(error.to_string(), expected, "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn frames_right_behind_the_request_are_not_lost() {
    let mut server = Server::new(WebSocketServer::builder().wires([Wire::JsWs])).await;
    let mut request = GOOD.replace("Sec-WebSocket-Protocol: qmux-02\r\n", "").into_bytes();
    // This Ack opens stream 0 with a credit of 1. The frame's mask is all zeros.
    request.extend(b"\x82\x87\0\0\0\0\0\0\x01\0\0\0\x01");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let connection = server.outcome().await.unwrap();
    timeout(Duration::from_secs(5), connection.accept_bi()).await.unwrap().unwrap();
}

/// An output that accepts `writes` writes and then fails.
struct Deaf {
    writes: usize,
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(left) = self.writes.checked_sub(1) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        self.writes = left;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A ping is answered while the server reads. If the pong cannot be written, the server must still
/// go on reading.
#[tokio::test]
async fn what_a_client_sent_before_it_went_away_is_read() {
    let (mut client, read) = tokio::io::duplex(1024);
    client.write_all(GOOD.as_bytes()).await.unwrap();
    client.write_all(b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\0").await.unwrap();
    let acceptor = WebSocketServer::builder().build().unwrap();
    // Two writes succeed: the response, and the server's parameters.
    let io = tokio::io::join(read, Deaf { writes: 2 });
    let connection = acceptor.from_io(io).await.unwrap();
    // A ping, and then a stream with its FIN.
    let rest = b"\x89\x80\0\0\0\0\x82\x83\0\0\0\0\x09\0x";
    client.write_all(rest).await.unwrap();
    let bound = Duration::from_secs(30);
    let mut stream = timeout(bound, connection.accept_bi()).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    timeout(bound, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes, b"x");
    let end = timeout(bound, connection.closed()).await.unwrap();
    assert!(matches!(end, ConnectionError::SocketLost(SocketError::Io(_))), "{end:?}");
}

/// A server speaks only the wires for which it is configured: QMux, js-ws or both. The default is
/// QMux.
#[tokio::test]
async fn a_server_speaks_the_wires_it_was_told() {
    let nothing = GOOD.replace("Sec-WebSocket-Protocol: qmux-02\r\n", "");
    for (wires, offer_nothing, offer_qmux) in [
        (&[Wire::QMux][..], 400, 101),
        (&[Wire::JsWs], 101, 400),
        (&[Wire::QMux, Wire::JsWs], 101, 101),
    ] {
        let server = Server::new(WebSocketServer::builder().wires(wires.iter().copied())).await;
        for (request, expected) in [(&nothing[..], offer_nothing), (GOOD, offer_qmux)] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut line = [0; 12];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(status(std::str::from_utf8(&line).unwrap()), expected, "{wires:?}");
        }
    }
}
