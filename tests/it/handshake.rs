//! The handshakes of both ends: how they succeed, and every way in which they can fail.

use wsmux_testing::server;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
};
use wsmux::{
    AcceptError, BuildError, Config, ConnectError, ConnectionError, Side, Timeout, WebSocketClient,
    WebSocketConnection, WebSocketServer, Wire, http::StatusCode, rustls, tokio_tungstenite,
};

use server::{Tls, connected, echo, one_client, one_client_at};

fn short(milliseconds: u64) -> Config {
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_millis(milliseconds));
    config
}

// ---- success ----

/// So far the library reads a socket's round-trip time only on Linux.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_sockets_own_round_trip_time_is_known_over_tcp_and_under_tls() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let secure = WebSocketServer::builder().certificate(
        [certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    );
    let trusting = WebSocketClient::builder().trust_self_signed(certificate.der().clone());
    for (builder, client, scheme) in
        [(WebSocketServer::builder(), WebSocketClient::builder(), "ws"), (secure, trusting, "wss")]
    {
        let (connection, accepted) = connected(builder, client, scheme).await;
        echo(&connection, &accepted).await;
        for end in [connection, accepted] {
            let rtt = end.socket_rtt().expect("TCP has measured one");
            assert!(rtt < Duration::from_secs(1), "{rtt:?} on loopback");
        }
    }
    let (left, right) = tokio::io::duplex(1024);
    let acceptor = WebSocketServer::builder().build().unwrap();
    let accepted = tokio::spawn(async move { acceptor.from_io(right).await });
    let client = WebSocketClient::builder().build().unwrap();
    let connection = client.from_io("ws://here/", left).await.unwrap();
    echo(&connection, &accepted.await.unwrap().unwrap()).await;
    assert_eq!(connection.socket_rtt(), None, "no TCP below");
}

#[tokio::test]
async fn a_server_is_reached_by_ipv4_ipv6_and_name() {
    for (bind, host) in
        [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]"), ("127.0.0.1:0", "localhost")]
    {
        let (address, accepted) = one_client_at(bind, WebSocketServer::builder()).await;
        let client = WebSocketClient::builder().build().unwrap();
        let url = format!("ws://{host}:{}", address.port());
        let connection = client.connect(&url).await.unwrap();
        let accepted = accepted.await.unwrap().unwrap();
        assert_eq!(connection.remote_address(), Some(address));
        assert_eq!(accepted.remote_address(), connection.info().local_address());
        echo(&connection, &accepted).await;
    }
}

#[tokio::test]
async fn both_ends_know_subprotocol_path_and_headers() {
    let (client, server) = connected(
        WebSocketServer::builder().protocol("b").protocol("a").header("X-Server", "1"),
        WebSocketClient::builder().protocol("a").protocol("b").header("X-Client", "2"),
        "ws",
    )
    .await;
    for end in [&client, &server] {
        assert_eq!(end.wire(), Wire::QMux);
        // The server's order of preference decides.
        assert_eq!(end.subprotocol(), Some("qmux-02.b"));
        let request = end.info().request().unwrap();
        assert_eq!(request.uri(), "/path?query");
        assert_eq!(request.headers()["x-client"], "2");
        assert_eq!(request.headers()["sec-websocket-protocol"], "qmux-02.a, qmux-02.b, qmux-02");
        assert_eq!(end.info().response_headers().unwrap()["x-server"], "1");
    }
    assert_eq!((client.side(), server.side()), (Side::Client, Side::Server));
}

#[tokio::test]
async fn js_ws_is_spoken_where_nothing_is_offered() {
    for wires in [&[Wire::JsWs][..], &[Wire::QMux, Wire::JsWs]] {
        let server = WebSocketServer::builder().wires(wires.iter().copied());
        let client = WebSocketClient::builder().wire(Wire::JsWs).protocol("ignored");
        let (client, server) = connected(server, client, "ws").await;
        for end in [&client, &server] {
            assert_eq!((end.wire(), end.subprotocol()), (Wire::JsWs, None));
        }
        echo(&client, &server).await;
    }
}

#[tokio::test]
async fn any_stream_of_bytes_will_do() {
    // The buffer is so small that every part of the handshake has to wait.
    let (near, far) = duplex(16);
    let acceptor = WebSocketServer::builder().build().unwrap();
    let accepted = tokio::spawn(async move { acceptor.from_io(far).await });
    let client = WebSocketClient::builder().build().unwrap();
    let connection = client.from_io("ws://example.com/", near).await.unwrap();
    let accepted = accepted.await.unwrap().unwrap();
    assert_eq!(accepted.remote_address(), None);
    assert_eq!(accepted.info().request().unwrap().headers()["host"], "example.com");
    echo(&connection, &accepted).await;
}

#[tokio::test]
async fn a_websocket_that_is_open_will_do_in_either_role() {
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
    for wire in [Wire::QMux, Wire::JsWs] {
        let (near, far) = duplex(1 << 16);
        let open = |io, role, side| async move {
            let config = Config::default();
            let settings = Some(WebSocketConnection::websocket_config(&config, wire));
            let websocket = WebSocketStream::from_raw_socket(io, role, settings).await;
            WebSocketConnection::from_websocket(websocket, side, wire, config).await.unwrap()
        };
        let client = open(near, Role::Client, Side::Client);
        let server = open(far, Role::Server, Side::Server);
        let (client, server) = tokio::join!(client, server);
        echo(&client, &server).await;
    }
}

#[tokio::test]
async fn a_slow_handshake_holds_up_nobody() {
    let server = WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    let slow = tokio::spawn(server.accept().await.unwrap());
    let client = WebSocketClient::builder().build().unwrap();
    let url = format!("ws://{address}");
    let (connection, accepted) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    echo(&connection.unwrap(), &accepted.unwrap()).await;
    assert!(!slow.is_finished());
}

#[tokio::test]
async fn a_closed_server_accepts_nobody_and_keeps_its_connections() {
    let server = Arc::new(WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap());
    let url = format!("ws://{}", server.local_addr().unwrap());
    let client = WebSocketClient::builder().build().unwrap();
    let (connection, accepted) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let waiting = server.clone();
    let waiting = tokio::spawn(async move { waiting.accept().await.is_none() });
    tokio::task::yield_now().await;
    server.close();
    assert!(waiting.await.unwrap());
    assert!(server.accept().await.is_none());
    echo(&connection.unwrap(), &accepted.unwrap()).await;
}

#[tokio::test]
async fn a_client_can_be_turned_away_for_what_it_asks() {
    let builder = || {
        WebSocketServer::builder().authorize(|info| {
            assert!(info.remote_address().is_some() && info.subprotocol().is_some());
            match info.request().map(|request| request.uri().path()) {
                Some("/open") => Ok(()),
                Some("/odd") => Err(StatusCode::OK),
                _ => Err(StatusCode::NOT_FOUND),
            }
        })
    };
    for (path, expected) in [("/open", None), ("/odd", Some(403)), ("/", Some(404))] {
        let (address, accepted) = one_client(builder()).await;
        let client = WebSocketClient::builder().build().unwrap();
        let refused = client.connect(&format!("ws://{address}{path}")).await.err();
        let status = refused.map(|error| match error {
            ConnectError::Refused { status, body, .. } => {
                assert_eq!(body, "not authorised");
                status.as_u16()
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(status, expected);
        assert_eq!(accepted.await.unwrap().is_ok(), expected.is_none());
    }
}

// ---- TLS ----

#[tokio::test]
async fn tls_is_trusted_by_a_root_by_a_pin_or_blindly() {
    let tls = Tls::new("127.0.0.1");
    let other = Tls::new("127.0.0.1");
    let client = WebSocketClient::builder;
    for client in [
        client().add_root_certificate(tls.root.clone()),
        client().add_root_certificate(other.root.clone()).add_root_certificate(tls.root.clone()),
        client().trust_self_signed(tls.certificate.clone()),
        client()
            .trust_self_signed(other.certificate.clone())
            .trust_self_signed(tls.certificate.to_vec()),
        client().danger_accept_any_certificate(),
    ] {
        let (client, server) = connected(tls.server(), client, "wss").await;
        assert_eq!(client.peer_certificates().unwrap()[0], *tls.certificate);
        assert!(server.peer_certificates().is_none());
        echo(&client, &server).await;
    }
    // A pinned certificate is accepted for any name.
    let tls = Tls::new("example.com");
    let client = client().trust_self_signed(tls.certificate.clone());
    connected(tls.server(), client, "wss").await;
}

#[tokio::test]
async fn tls_that_is_not_trusted_fails_on_both_ends() {
    let tls = Tls::new("127.0.0.1");
    let other = Tls::new("127.0.0.1");
    let elsewhere = Tls::new("example.com");
    let client = WebSocketClient::builder;
    for (tls, client) in [
        (&tls, client()),
        (&tls, client().add_root_certificate(other.root.clone())),
        (&tls, client().trust_self_signed(other.certificate.clone())),
        // The client pins the root certificate and not the server's own certificate. So it refuses
        // the server's certificate, although the root has signed it.
        (&tls, client().trust_self_signed(tls.root.clone())),
        (&elsewhere, client().add_root_certificate(elsewhere.root.clone())),
    ] {
        let (address, accepted) = one_client(tls.server()).await;
        let client = client.build().unwrap();
        let failed = client.connect(&format!("wss://{address}")).await.unwrap_err();
        let ConnectError::Tls(error) = &failed else { panic!("{failed:?}") };
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        assert!(matches!(inner, Some(rustls::Error::InvalidCertificate(_))), "{failed:?}");
        let failed = accepted.await.unwrap().unwrap_err();
        assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn tls_and_plain_do_not_meet() {
    let tls = Tls::new("127.0.0.1");
    let (address, accepted) = one_client(tls.server()).await;
    let client = WebSocketClient::builder().build().unwrap();
    client.connect(&format!("ws://{address}")).await.unwrap_err();
    assert!(matches!(accepted.await.unwrap(), Err(AcceptError::Tls(_))));

    let (address, accepted) = one_client(WebSocketServer::builder()).await;
    let failed = client.connect(&format!("wss://{address}")).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Tls(_)), "{failed:?}");
    let failed = accepted.await.unwrap().unwrap_err();
    assert!(matches!(failed, AcceptError::Refused { .. }), "{failed:?}");
}

#[tokio::test]
async fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let (tls, client) = (Tls::new("127.0.0.1"), Tls::new("client"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client.root.clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![tls.certificate.clone()], tls.key())
        .unwrap();
    let server = WebSocketServer::builder().tls_config(config.into());
    let builder = WebSocketClient::builder()
        .trust_self_signed(tls.certificate.clone())
        .client_certificate([client.certificate.clone()], client.key());
    let (_client, server) = connected(server, builder, "wss").await;
    assert_eq!(server.peer_certificates().unwrap()[0], *client.certificate);
}

/// A Close must not stay in the buffer of the TLS session; see `TungsteniteSocket`.
#[tokio::test]
async fn a_close_reaches_the_other_end_through_tls() {
    let tls = Tls::new("127.0.0.1");
    for close_client in [true, false] {
        let client = WebSocketClient::builder().danger_accept_any_certificate();
        let (client, server) = connected(tls.server(), client, "wss").await;
        let (closing, other) = if close_client { (client, server) } else { (server, client) };
        let start = Instant::now();
        closing.close(7u32.into(), b"bye");
        match other.closed().await {
            ConnectionError::ApplicationClosed(close) => assert_eq!(&close.reason[..], b"bye"),
            error => panic!("{error:?}"),
        }
        closing.closed().await;
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

// ---- a client's failures ----

/// Starts a server that reads a request and answers with these bytes, in which ACCEPT is replaced
/// by the right `Sec-WebSocket-Accept`.
async fn fake_server(answer: &str) -> String {
    slow_fake_server(answer, Duration::ZERO).await
}

async fn slow_fake_server(answer: &str, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap();
        let key = key.split("\r\n").next().unwrap().as_bytes();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
        let answer = answer.replace("ACCEPT", &accept);
        tokio::time::sleep(delay).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    url
}

async fn connect_error(url: &str) -> ConnectError {
    let client = WebSocketClient::builder().protocol("a").config(short(500)).build().unwrap();
    client.connect(url).await.unwrap_err()
}

#[tokio::test]
async fn urls_and_names_that_lead_nowhere() {
    assert!(matches!(connect_error("ws://").await, ConnectError::InvalidUrl(_)));
    assert!(matches!(connect_error("http://a").await, ConnectError::UnsupportedScheme(_)));
    let error = connect_error("ws://no-such-host.invalid").await;
    assert!(matches!(error, ConnectError::Resolve(_)), "{error:?}");
    assert!(error.source().is_some());
    // This port was free a moment ago, so nobody listens on it.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = connect_error(&format!("ws://{free}")).await;
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}

/// Linux drops connection requests that do not fit into a full queue, so this server looks like a
/// dead host.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connect_that_takes_too_long_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_millis(200);
    let mut queue = Vec::new();
    while let Ok(queued) = tokio::time::timeout(limit, TcpStream::connect(address)).await {
        queue.push(queued.unwrap());
    }
    let client = WebSocketClient::builder().connect_timeout(limit).build().unwrap();
    let error = client.connect(&format!("ws://{address}")).await.unwrap_err();
    assert!(matches!(error, ConnectError::ConnectTimeout), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["ws", "wss"] {
        let error = connect_error(&format!("{scheme}://{address}")).await;
        assert!(matches!(error, ConnectError::HandshakeTimeout), "{error:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_the_start_of_its_body() {
    let body = "no ".repeat(1000);
    let url = fake_server(&format!("HTTP/1.0 403 Forbidden\r\nX: y\r\n\r\n{body}")).await;
    match connect_error(&url).await {
        ConnectError::Refused { status, body, .. } => {
            assert_eq!(status, StatusCode::FORBIDDEN);
            assert!(body.starts_with("no no") && body.len() <= 1024, "{}", body.len());
        }
        other => panic!("{other:?}"),
    }
    let start = Instant::now();
    let url = fake_server("HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nnotmore").await;
    match connect_error(&url).await {
        ConnectError::Refused { body, .. } => assert_eq!(body, "no"),
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_is_reported_although_its_body_does_not_come() {
    let (near, mut far) = duplex(1024);
    let server = tokio::spawn(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(far.read_u8().await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(9_500)).await;
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nlog in";
        far.write_all(head.as_bytes()).await.unwrap();
        far
    });
    let client = WebSocketClient::builder().config(short(10_000)).build().unwrap();
    let start = tokio::time::Instant::now();
    let error = client.from_io("ws://example.com/", near).await.unwrap_err();
    let ConnectError::Refused { status, body, .. } = error else { panic!("{error:?}") };
    assert_eq!((status.as_u16(), &*body), (401, "log in"));
    // The client waits for the body until the handshake timeout, and no longer.
    assert!(start.elapsed() <= Duration::from_millis(10_010), "{:?}", start.elapsed());
    drop(server.await.unwrap());
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n";

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 101 \r\n\r\n".to_owned(),
        format!("{}\r\n", SWITCHING.replace("ACCEPT", "AAAA")),
        format!("{SWITCHING}{extension}Sec-WebSocket-Protocol: qmux-02\r\n\r\n"),
        format!("{SWITCHING}X: {}\r\n\r\n", "x".repeat(70_000)),
        format!("{SWITCHING}{}\r\n", "X: y\r\n".repeat(200)),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20),
    ] {
        let error = connect_error(&fake_server(&answer).await).await;
        assert!(matches!(error, ConnectError::InvalidResponse(_)), "{error:?}");
    }
}

/// [W-14] If the server selects no subprotocol, or a subprotocol that was not offered, a client on
/// the QMux wire MUST fail the handshake. The error MUST name what was offered and what the server
/// selected.
#[tokio::test]
async fn a_subprotocol_that_was_not_offered_is_refused() {
    for (line, expected) in
        [("", None), ("Sec-WebSocket-Protocol: qmux-02.b\r\n", Some("qmux-02.b".to_owned()))]
    {
        match connect_error(&fake_server(&format!("{SWITCHING}{line}\r\n")).await).await {
            ConnectError::Subprotocol { offered, selected } => {
                assert_eq!(offered, ["qmux-02.a", "qmux-02"]);
                assert_eq!(selected, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The upgrade uses up a part of the timeout, and only the rest is left for the parameters.
///
/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its
/// readiness: TLS, HTTP upgrade, and on QMux the peer's transport parameters.
#[tokio::test]
async fn a_server_that_only_echoes_the_subprotocol_is_given_up() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let answer = format!("{interim}{SWITCHING}Sec-WebSocket-Protocol: qmux-02\r\n\r\n");
    let url = slow_fake_server(&answer, Duration::from_millis(700)).await;
    let client = WebSocketClient::builder().config(short(1000)).build().unwrap();
    let start = Instant::now();
    match client.connect(&url).await.unwrap_err() {
        ConnectError::Connection(ConnectionError::TimedOut(Timeout::Handshake)) => {}
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_lost_in_the_handshake_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let error = connect_error(&url).await;
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
}

// ---- settings ----

#[tokio::test]
async fn settings_that_cannot_be_are_refused_when_they_are_made() {
    let client = WebSocketClient::builder;
    for (builder, expected) in [
        (client().protocol("a b"), "invalid subprotocol name: ' ' at byte 1"),
        (client().protocol(""), "invalid subprotocol name: it is empty"),
        (client().wire(Wire::JsWs).protocol(""), "invalid subprotocol name: it is empty"),
        (client().require_protocol(true), "no subprotocol to offer or accept"),
        (client().subprotocols([""; 0]), "no subprotocol to offer or accept"),
        (client().header("Upgrade", "h2c"), "the header \"upgrade\" is reserved for the handshake"),
        (client().header("a", "b\nc"), "invalid header \"a\""),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
    let server = WebSocketServer::builder;
    assert!(matches!(server().wires([]).build(), Err(BuildError::NoWire)));
    let (one, other) = (Tls::new("a"), Tls::new("b"));
    let mismatch = server().certificate([one.certificate.clone()], other.key()).build();
    assert!(matches!(mismatch, Err(BuildError::Tls(_))), "{mismatch:?}");
}
