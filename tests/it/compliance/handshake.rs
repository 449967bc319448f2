//! SPEC.md §3.1 and §3.2: what is sent before the WebSocket is open.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use wsmux::{
    AcceptError, ConnectError, WebSocketClient, WebSocketClientBuilder, WebSocketServer,
    WebSocketServerBuilder, Wire,
};

/// Reads the head of a request or a response, up to the empty line.
async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("HTTP")
}

/// Returns the values of a header. Each line of the header has one value.
fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// Returns a client's request. Asserts that the client sends nothing more while the server does not
/// answer.
async fn request(client: WebSocketClientBuilder) -> String {
    let (ours, mut server) = duplex(1 << 16);
    let client = client.build().unwrap();
    let asks = tokio::spawn(async move { client.from_io("ws://example.com/path", ours).await });
    let request = head(&mut server).await;
    let more = tokio::time::timeout(Duration::from_secs(5), server.read_u8()).await;
    assert!(more.is_err(), "{more:?} before the answer");
    asks.abort();
    request
}

/// [W-3] A client that writes its own handshake MUST NOT offer a WebSocket extension.
/// [W-11] We MUST NOT send a message before the WebSocket handshake is complete, nor after our
/// Close frame.
/// [W-12] A client on the QMux wire MUST offer at least one subprotocol. By default the client
/// offers `qmux-02.<app>` for each configured application protocol, in order of preference. After
/// these names the client offers `qmux-02`, unless an application protocol is required.
/// [W-13] A client on the js-ws wire MUST NOT offer a subprotocol, because a server built on npm
/// `ws` selects the first subprotocol that is offered, whatever it is.
#[tokio::test(start_paused = true)]
async fn a_client_offers_its_names_and_no_extension_and_waits() {
    let client = WebSocketClient::builder;
    for (client, offered) in [
        (client(), vec!["qmux-02"]),
        (client().protocol("b").protocol("a"), vec!["qmux-02.b", "qmux-02.a", "qmux-02"]),
        (client().protocol("a").require_protocol(true), vec!["qmux-02.a"]),
        (client().subprotocols(["x", "y"]), vec!["x", "y"]),
        (client().bare_protocol("moqt-18").protocol("a"), vec!["moqt-18", "qmux-02.a", "qmux-02"]),
        (
            client().protocol("a").older_versions(true),
            vec!["qmux-02.a", "qmux-01.a", "qmux-02", "qmux-01"],
        ),
        (client().wire(Wire::JsWs), vec![]),
        (client().wire(Wire::JsWs).protocol("a"), vec![]),
    ] {
        let request = request(client).await;
        let names = header(&request, "Sec-WebSocket-Protocol").join(",");
        let names: Vec<_> =
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        assert_eq!(names, offered);
        assert!(!request.to_lowercase().contains("extensions"), "{request}");
    }
}

/// Returns the error of a client that receives this answer.
async fn answered(client: WebSocketClientBuilder, lines: &str) -> ConnectError {
    let (ours, mut server) = duplex(1 << 16);
    let client = client.build().unwrap();
    let asks = tokio::spawn(async move { client.from_io("ws://example.com/", ours).await });
    let request = head(&mut server).await;
    let accept = tungstenite_accept(header(&request, "Sec-WebSocket-Key")[0]);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    );
    server.write_all(answer.as_bytes()).await.unwrap();
    asks.await.unwrap().unwrap_err()
}

fn tungstenite_accept(key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes())
}

/// [W-5] A client MUST fail the handshake when the server's answer names an extension that was not
/// offered.
/// [W-14] If the server selects no subprotocol, or a subprotocol that was not offered, a client on
/// the QMux wire MUST fail the handshake. The error MUST name what was offered and what the server
/// selected.
/// [W-15] A client on the js-ws wire MUST fail the handshake when the server selects a subprotocol.
#[tokio::test(start_paused = true)]
async fn a_client_takes_no_extension_and_no_name_that_it_did_not_offer() {
    let qmux = || WebSocketClient::builder().protocol("a");
    let js_ws = || WebSocketClient::builder().wire(Wire::JsWs);
    let name = "Sec-WebSocket-Protocol: ";
    for extension in ["permessage-deflate", "x-unknown; a=b", "a, b"] {
        let extension = format!("Sec-WebSocket-Extensions: {extension}\r\n");
        for (client, lines) in
            [(qmux(), format!("{extension}{name}qmux-02\r\n")), (js_ws(), extension.clone())]
        {
            let error = answered(client, &lines).await;
            assert!(matches!(error, ConnectError::InvalidResponse(_)), "{error:?}");
        }
    }
    for (selected, lines) in [
        (None, String::new()),
        (Some("qmux-02.b"), format!("{name}qmux-02.b\r\n")),
        (Some("QMUX-02"), format!("{name}QMUX-02\r\n")),
    ] {
        let error = answered(qmux(), &lines).await;
        let text = error.to_string();
        match error {
            ConnectError::Subprotocol { offered, selected: told } => {
                assert_eq!(offered, ["qmux-02.a", "qmux-02"]);
                assert_eq!(told.as_deref(), selected);
                assert!(
                    text.contains("qmux-02.a") && text.contains(selected.unwrap_or("")),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    for selected in ["qmux-02", "x"] {
        let error = answered(js_ws(), &format!("{name}{selected}\r\n")).await;
        assert!(matches!(error, ConnectError::Subprotocol { .. }), "{error:?}");
    }
}

/// Returns the status with which a server answers a request with these lines, and the response's
/// head. Asserts that the server reports a connection only if it accepts the request.
async fn asked(server: WebSocketServerBuilder, lines: &str) -> (u16, String) {
    let (ours, mut client) = duplex(1 << 16);
    let acceptor = server.build().unwrap();
    let serves = tokio::spawn(async move { acceptor.from_io(ours).await });
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut client).await;
    let status = head[9..12].parse().unwrap();
    drop(client);
    let outcome = serves.await.unwrap();
    match &outcome {
        Err(AcceptError::Refused { status: told, .. }) => assert_eq!(told.as_u16(), status),
        outcome => assert_eq!(status, 101, "{outcome:?}"),
    }
    (status, head)
}

/// [W-4] A server MUST NOT accept a WebSocket extension, whatever the client offers.
/// [W-16] A server MUST split every `Sec-WebSocket-Protocol` line of the request at commas, and
/// compare each subprotocol byte by byte.
/// [W-17] If a server accepts an offered name, the server MUST select it, speak QMux, and echo
/// exactly that name. If the server accepts several of the offered names, its own order of
/// preference decides.
/// [W-18] When names are offered and the server accepts none of them, the server MUST answer HTTP
/// 400 and not upgrade.
/// [W-19] When nothing is offered, a server that permits js-ws MUST speak js-ws and select no
/// subprotocol.
/// [W-20] When nothing is offered, a server that does not permit js-ws MUST answer HTTP 400.
/// [W-21] A `Sec-WebSocket-Protocol` header that is present but holds no valid name counts as an
/// offer, and MUST be answered with HTTP 400.
#[tokio::test(start_paused = true)]
async fn a_server_answers_each_offer_as_the_table_says() {
    let qmux = || WebSocketServer::builder().protocol("b").protocol("a").wires([Wire::QMux]);
    let both =
        || WebSocketServer::builder().protocol("b").protocol("a").wires([Wire::QMux, Wire::JsWs]);
    let line = |names: &str| format!("Sec-WebSocket-Protocol: {names}\r\n");
    for (offer, selected) in [
        (line("qmux-02"), Some("qmux-02")),
        (line("qmux-02.a"), Some("qmux-02.a")),
        (line("qmux-02, qmux-02.a ,\tqmux-02.b"), Some("qmux-02.b")),
        (line("x") + &line("y,qmux-02.a") + &line("qmux-02"), Some("qmux-02.a")),
        (line("QMUX-02"), None),
        (line("qmux-02.A"), None),
        (line("qmux-02.c"), None),
        (line("qmux-0"), None),
        (line("qmux-02.a.b"), None),
        (line(""), None),
        (line(","), None),
        (line("qmux-02 qmux-02.a"), None),
        (line("\"qmux-02\""), None),
    ] {
        for server in [qmux(), both()] {
            let extension =
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x\r\n";
            let (status, head) = asked(server, &format!("{extension}{offer}")).await;
            assert_eq!(status, if selected.is_some() { 101 } else { 400 }, "{offer}");
            let echoed = header(&head, "Sec-WebSocket-Protocol");
            assert_eq!(echoed, selected.into_iter().collect::<Vec<_>>(), "{offer}");
            assert!(!head.to_lowercase().contains("extensions"), "{head}");
        }
    }
    for (server, expected) in [(qmux(), 400), (both(), 101)] {
        let (status, head) = asked(server, "").await;
        assert_eq!(status, expected);
        assert!(header(&head, "Sec-WebSocket-Protocol").is_empty(), "{head}");
    }
}

/// [W-40] A server MUST accept `qmux-01` and `qmux-01.<app>` wherever it accepts the corresponding
/// name with `qmux-02`. If a client offers both, the server MUST prefer the name with `qmux-02`. By
/// default a server accepts the older names, and a client does not offer them. Settings change both
/// defaults.
/// [W-41] An application protocol that is configured by its bare name MUST be offered, or accepted,
/// as exactly that name.
/// [W-17] If a server accepts an offered name, the server MUST select it, speak QMux, and echo
/// exactly that name. If the server accepts several of the offered names, its own order of
/// preference decides.
#[tokio::test(start_paused = true)]
async fn a_server_takes_the_older_name_and_a_bare_one() {
    let server = || WebSocketServer::builder().protocol("a").bare_protocol("com.example.rpc");
    let newest = || server().older_versions(false);
    for (server, offer, selected) in [
        (server(), "qmux-01", Some("qmux-01")),
        (server(), "qmux-01.a, webtransport", Some("qmux-01.a")),
        (server(), "qmux-01.a, qmux-02.a", Some("qmux-02.a")),
        (server(), "qmux-01, com.example.rpc", Some("com.example.rpc")),
        (server(), "qmux-00, qmux-00.a, webtransport, a, rpc", None),
        (server(), "qmux-02.com.example.rpc", None),
        (newest(), "qmux-01, qmux-01.a", None),
        (newest(), "qmux-02", Some("qmux-02")),
    ] {
        let (status, head) = asked(server, &format!("Sec-WebSocket-Protocol: {offer}\r\n")).await;
        assert_eq!(status, if selected.is_some() { 101 } else { 400 }, "{offer}");
        let echoed = header(&head, "Sec-WebSocket-Protocol");
        assert_eq!(echoed, selected.into_iter().collect::<Vec<_>>(), "{offer}");
    }
}

/// [W-43] If a subprotocol begins with the name of a version that we speak and a dot, the part
/// after the dot MUST be reported as the application protocol. If the subprotocol is only the name
/// of such a version, there is no application protocol. Any other subprotocol MUST be reported
/// whole.
#[tokio::test]
async fn both_ends_report_the_application_protocol() {
    for (offered, application) in [
        ("moqt-18", Some("moqt-18")),
        ("com.example.rpc", Some("com.example.rpc")),
        ("qmux-02.moq-lite-04", Some("moq-lite-04")),
        ("qmux-01.moq-lite-04", Some("moq-lite-04")),
        ("qmux-01.com.example.rpc", Some("com.example.rpc")),
        ("qmux-02", None),
        ("qmux-01", None),
    ] {
        let server = WebSocketServer::builder()
            .protocol("moq-lite-04")
            .protocol("com.example.rpc")
            .bare_protocol("moqt-18")
            .bare_protocol("com.example.rpc")
            .build()
            .unwrap();
        let client = WebSocketClient::builder().subprotocols([offered]).build().unwrap();
        let (ours, theirs) = duplex(1 << 16);
        let (client, server) =
            tokio::join!(client.from_io("ws://example.com/", ours), server.from_io(theirs));
        for connection in [client.unwrap(), server.unwrap()] {
            assert_eq!(connection.subprotocol(), Some(offered));
            assert_eq!(connection.protocol(), application, "{offered}");
            assert_eq!(connection.info().protocol(), application, "{offered}");
            #[cfg(feature = "web-transport")]
            assert_eq!(web_transport_trait::Session::protocol(&connection), application);
        }
    }
}
