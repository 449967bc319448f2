//! What a server makes of clients that do not do as they should: the right answer, the right error, and no

//! harm to the next client.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use wsmux::{
    AcceptError, Config, ConnectionError, SocketError, Timeout, WebSocketClient,
    WebSocketConnection, WebSocketServer, WebSocketServerBuilder, Wire,
};

/// A request that is answered with a WebSocket.
const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: qmux-02\r\n\r\n";

/// A server that serves all who come.
struct Server {
    address: SocketAddr,
    outcomes: mpsc::UnboundedReceiver<Result<WebSocketConnection, AcceptError>>,
}

impl Server {
    async fn new(builder: WebSocketServerBuilder) -> Self {
        let server = Arc::new(builder.bind("127.0.0.1:0").await.unwrap());
        let address = server.local_addr().unwrap();
        let (tell, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(connecting) = server.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(connecting.await);
                });
            }
        });
        Self { address, outcomes }
    }

    async fn strict() -> Self {
        let mut config = Config::default();
        config.handshake_timeout(Duration::from_millis(500));
        Self::new(WebSocketServer::builder().config(config)).await
    }

    async fn outcome(&mut self) -> Result<WebSocketConnection, AcceptError> {
        timeout(Duration::from_secs(5), self.outcomes.recv()).await.unwrap().unwrap()
    }

    /// The status of the refusal that the server reports.
    async fn refusal(&mut self) -> u16 {
        match self.outcome().await.unwrap_err() {
            AcceptError::Refused { status, .. } => status.as_u16(),
            other => panic!("{other:?}"),
        }
    }

    /// Whatever went before, the next client is served.
    async fn still_serves(&mut self) {
        let client = WebSocketClient::builder().build().unwrap();
        let client = client.connect(&format!("ws://{}", self.address)).await.unwrap();
        let server = self.outcome().await.unwrap();
        let mut stream = client.open_bi().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(server.accept_bi().await.unwrap().read_u8().await.unwrap(), b'x');
    }

    /// Sends these bytes; returns all that comes back.
    async fn answer_to(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        answer(&mut stream).await
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(answer)
}

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
/// [W-17] When an offered name is one that the server accepts, the server MUST select it, speak QMux, and echo
/// exactly that name; its own order of preference decides between several.
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

/// Of the timeout the request has taken, the parameters get what is left.
///
/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its readiness: TLS,
/// HTTP upgrade, and on QMux the peer's transport parameters.
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
    // Stream 0 opens with credit 1, and a mask of zeroes.
    request.extend(b"\x82\x87\0\0\0\0\0\0\x01\0\0\0\x01");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let connection = server.outcome().await.unwrap();
    timeout(Duration::from_secs(5), connection.accept_bi()).await.unwrap().unwrap();
}

/// Takes so many writes, and then none.
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

/// A ping is answered while reading: a pong that cannot be written must not end that.
#[tokio::test]
async fn what_a_client_sent_before_it_went_away_is_read() {
    let (mut client, read) = tokio::io::duplex(1024);
    client.write_all(GOOD.as_bytes()).await.unwrap();
    client.write_all(b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\0").await.unwrap();
    let acceptor = WebSocketServer::builder().build().unwrap();
    // The response, and the server's parameters.
    let io = tokio::io::join(read, Deaf { writes: 2 });
    let connection = acceptor.from_io(io).await.unwrap();
    // A ping, and behind it a stream with its end.
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

/// js-ws is spoken only where it was asked for, and nothing else there.
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

#[tokio::test]
async fn a_bomb_of_headers_is_cut_off() {
    let mut server = Server::strict().await;
    let one_line = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200_000));
    let many_lines = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(30_000));
    let long_path = format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000));
    let blank = "\r\n".repeat(100_000);
    for bomb in [one_line, many_lines, long_path, blank] {
        let answer = server.answer_to(bomb.as_bytes()).await;
        assert_eq!(status(&answer), 431, "{answer}");
        assert_eq!(server.refusal().await, 431);
        server.still_serves().await;
    }
}

/// Closing on a client that is still sending would reset the connection before it has read its answer.
#[tokio::test]
async fn a_refused_client_can_finish_its_request() {
    let (near, mut far) = tokio::io::duplex(1024);
    let acceptor = WebSocketServer::builder().build().unwrap();
    let refused = tokio::spawn(async move { acceptor.from_io(near).await });
    let bomb = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200_000));
    far.write_all(bomb.as_bytes()).await.unwrap();
    far.shutdown().await.unwrap();
    let mut answer = String::new();
    far.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 431);
    assert!(matches!(refused.await.unwrap(), Err(AcceptError::Refused { .. })));
}

#[tokio::test]
async fn a_bomb_without_end_is_closed_on() {
    let mut server = Server::strict().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0;
    let flood = async {
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
    };
    timeout(Duration::from_secs(10), flood).await.expect("the server reads for ever");
    // What it reads besides the head is bounded; the rest lies in the operating system's buffers.
    assert!(sent < 32 << 20, "{sent}");
    assert_eq!(server.refusal().await, 431);
    server.still_serves().await;
}

#[tokio::test]
async fn slow_headers_time_out_whole() {
    let mut server = Server::strict().await;
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in GOOD.bytes().cycle() {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = drip => panic!("dripping has no end"),
        read = read.read_to_end(&mut answer) => read.unwrap(),
    };
    assert_eq!(status(std::str::from_utf8(&answer).unwrap()), 408);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    drop(stream);
    let outcome = server.outcome().await;
    assert!(matches!(outcome, Err(AcceptError::HandshakeTimeout)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_times_out() {
    let mut server = Server::strict().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(status(&answer(&mut stream).await), 408);
    drop(stream);
    assert!(matches!(server.outcome().await, Err(AcceptError::HandshakeTimeout)));
    server.still_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_told_of() {
    let mut server = Server::strict().await;
    for sent in ["", "GET / HTTP/1.1\r\nHost"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        drop(stream);
        let outcome = server.outcome().await;
        assert!(matches!(outcome, Err(AcceptError::Io(_))), "{outcome:?}");
        server.still_serves().await;
    }
}

#[tokio::test]
async fn what_comes_instead_of_parameters_ends_the_connection_with_a_reason() {
    let mut server = Server::strict().await;
    for frames in [
        &b"\x81\x81\0\0\0\0x"[..],
        b"\x82\x81\0\0\0\0\x01",
        b"\x82\x01x",
        b"\x88\x80\0\0\0\0",
        b"\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&[GOOD.as_bytes(), frames].concat()).await.unwrap();
        let outcome = server.outcome().await;
        assert!(matches!(outcome, Err(AcceptError::Connection(_))), "{outcome:?}");
        server.still_serves().await;
    }
}

/// What the server says in its Close to a client that is in order up to these frames.
async fn close_for(server: &mut Server, frames: &[u8]) -> (u16, String) {
    // No transport parameter, and a mask of zeros.
    const HELLO: &[u8] = b"\x82\x89\0\0\0\0\xff\x51\x53\x30\x0d\x0a\x0d\x0a\0";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[GOOD.as_bytes(), HELLO].concat()).await.unwrap();
    let connection = server.outcome().await.unwrap();
    stream.write_all(frames).await.unwrap();
    let mut heard = Vec::new();
    let ended = timeout(Duration::from_secs(30), connection.closed()).await;
    assert!(ended.is_ok(), "{:?}", connection.stats());
    // Its end of the stream: the Close is the last, and says less than a long frame.
    timeout(Duration::from_secs(30), stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    let at = heard.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] < 126);
    let close = &heard[at.expect("a Close") + 2..];
    let (code, reason) = close.split_first_chunk().unwrap();
    (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap())
}

/// A frame of a client, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let long = [254, len.to_be_bytes()[0], len.to_be_bytes()[1]];
    let len = if len < 126 { vec![0x80 | len as u8] } else { long.to_vec() };
    [&[first], &len[..], &[0; 4], payload].concat()
}

/// [W-7] On a message above the limit we MUST close with FRAME_ENCODING_ERROR and WebSocket code 1009.
/// [W-24] The code of our Close frame MUST be that of the table.
/// [W-25] The reason of a Close frame for a transport error MUST start with the error's name as in §1.
/// [W-30] On more than 1000 empty continuation frames in one message we MUST close with
/// PROTOCOL_VIOLATION and WebSocket code 1002, if the WebSocket layer is our own.
#[tokio::test]
async fn each_violation_of_the_websocket_is_closed_on_with_its_code_and_a_reason() {
    let announced = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    let empty = |count: usize| [frame(0x02, b""), frame(0x00, b"").repeat(count)].concat();
    let mut config = Config::default();
    // The bad client answers no Close, which each case waits for. Within this time it has to leave.
    config.close_timeout(Duration::from_millis(500));
    let mut server = Server::new(WebSocketServer::builder().config(config)).await;
    for (what, frames, code, name) in [
        ("no mask", b"\x82\x01x".to_vec(), 1002, "PROTOCOL_VIOLATION"),
        ("a ping without a mask", b"\x89\0".to_vec(), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 1", frame(0xc2, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 2", frame(0xa2, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved bit 3", frame(0x92, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved opcode 3", frame(0x83, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("reserved opcode 15", frame(0x8f, b""), 1002, "PROTOCOL_VIOLATION"),
        ("a ping in fragments", frame(0x09, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("a close in fragments", frame(0x08, b"\x03\xe8"), 1002, "PROTOCOL_VIOLATION"),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002, "PROTOCOL_VIOLATION"),
        ("half a close code", frame(0x88, b"\x03"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 999", frame(0x88, b"\x03\xe7"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 1005", frame(0x88, b"\x03\xed"), 1002, "PROTOCOL_VIOLATION"),
        ("close code 5000", frame(0x88, b"\x13\x88"), 1002, "PROTOCOL_VIOLATION"),
        ("a reason of no text", frame(0x88, b"\x03\xe8\xff"), 1002, "PROTOCOL_VIOLATION"),
        ("continuation of nothing", frame(0x80, b"x"), 1002, "PROTOCOL_VIOLATION"),
        (
            "a message in a message",
            [frame(0x02, b"x"), frame(0x82, b"x")].concat(),
            1002,
            "PROTOCOL_VIOLATION",
        ),
        ("text", frame(0x81, b"x"), 1002, "PROTOCOL_VIOLATION"),
        ("1001 empty fragments", empty(1_001), 1002, "PROTOCOL_VIOLATION"),
        ("a byte above the limit", announced((64 << 10) + 1), 1009, "FRAME_ENCODING_ERROR"),
        ("2^63 - 1 bytes", announced((1 << 63) - 1), 1009, "FRAME_ENCODING_ERROR"),
        ("2^63 bytes", announced(1 << 63), 1002, "PROTOCOL_VIOLATION"),
        // A valid handshake is followed by a text message, which is an error.
        (
            "1000 empty fragments",
            [empty(999), frame(0x80, b""), frame(0x81, b"x")].concat(),
            1002,
            "PROTOCOL_VIOLATION: text message",
        ),
    ] {
        let (told, reason) = close_for(&mut server, &frames).await;
        assert_eq!(told, code, "{what}: {reason}");
        assert!(reason.starts_with(name), "{what}: {reason}");
        server.still_serves().await;
    }
}

/// A server under TLS with a short handshake timeout, and a client that trusts it.
#[cfg(feature = "tls")]
async fn tls_server() -> (Server, WebSocketClient) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = key.signing_key.serialize_der().try_into().unwrap();
    let mut config = Config::default();
    // Enough for the good client on a machine that has other things to do.
    config.handshake_timeout(Duration::from_secs(2));
    let builder = WebSocketServer::builder().config(config);
    let server = Server::new(builder.certificate([certificate.clone()], private)).await;
    let client = WebSocketClient::builder().trust_self_signed(certificate).build().unwrap();
    (server, client)
}

/// With TLS even the first step can be anything.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_client_without_tls_does_no_harm_to_a_server_with_it() {
    let (mut server, client) = tls_server().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(GOOD.as_bytes()).await.unwrap();
    // In either order: a client that is sent an alert may take its time to read it.
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

/// Of TLS there can be a part.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_client_that_stalls_within_tls_times_out() {
    let (mut server, client) = tls_server().await;
    // What a real client sends first.
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

#[tokio::test]
async fn half_open_handshakes_of_every_kind_hold_up_no_other_client() {
    // Nothing times out while the good client is served.
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_secs(600));
    let mut server = Server::new(WebSocketServer::builder().config(config)).await;
    let mut stuck = Vec::new();
    for _ in 0..50 {
        for start in ["", "G", "GET / HTTP/1.1\r\nHost: ", GOOD] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            stuck.push(stream);
        }
    }
    server.still_serves().await;
    assert!(server.outcomes.try_recv().is_err(), "the others wait");
}

/// Out of file descriptors: in a process of its own, which has few of them.
#[cfg(unix)]
#[test]
fn a_server_out_of_file_descriptors_takes_the_client_later() {
    let this = std::env::current_exe().unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --ignored --exact \"$1\""])
        .arg(this)
        .arg("bad_input_connect::out_of_file_descriptors")
        .status()
        .unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "takes all file descriptors; started by the test above"]
async fn out_of_file_descriptors() {
    let mut server = Server::strict().await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    assert!(files.len() < 64);
    // One for the client, and none for the server's end of it.
    files.pop();
    let stream = TcpStream::connect(server.address).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(server.outcomes.try_recv().is_err());
    files.clear();
    drop(stream);
    assert!(matches!(server.outcome().await, Err(AcceptError::Io(_))));
    server.still_serves().await;
}
