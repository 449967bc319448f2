//! No password, no token and no query of a URL is in an error, in what is recorded, or in a `Debug`.

use std::{
    error::Error,
    fmt::{self, Debug, Display, Write as _},
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, response::Response, routing::any};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tracing::{Event, Metadata, Subscriber, field::Field, span};
use wsmux::{
    ConnectError, ConnectionInfo, Http2Client, QlogConfig, ReconnectingClient, VerifyServer,
    VerifyServerError, WebSocketAcceptor, WebSocketClient, WebSocketClientBuilder, WebSocketServer,
    WebSocketServerBuilder, Wire, async_trait,
    authorize::{Accept, AllowedOrigins, Authorize, Basic, Bearer, Refuse, UpgradeRequest},
    axum::WsMuxUpgrade,
    http::{self, HeaderMap, StatusCode, header},
    rustls,
};

/// In every secret of these tests.
const CANARY: &str = "canary";

/// Base64 of `user:canary`, as a proxy gets it.
const CANARY_IN_BASE64: &str = "dXNlcjpjYW5hcnk=";

/// Every text that was made, with the place where it was seen.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<(String, String)>>>);

impl Said {
    fn text(&self, what: &str, text: String) {
        self.0.lock().unwrap().push((what.to_owned(), text));
    }

    fn debug(&self, what: &str, value: &dyn Debug) {
        self.text(what, format!("{value:?}"));
        self.text(what, format!("{value:#?}"));
    }

    /// With its sources, and as an `io::Error` would say it.
    fn error(&self, what: &str, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.text(what, format!("{error}"));
            self.debug(what, &error);
            next = error.source();
        }
    }

    fn failed<T: Debug, E: Error + Clone + Into<io::Error> + 'static>(
        &self,
        what: &str,
        result: Result<T, E>,
    ) -> E {
        let error = result.expect_err(what);
        self.error(what, &error);
        self.error(what, &error.clone().into());
        error
    }

    /// Fails for each place where a secret was seen.
    #[track_caller]
    fn holds_no_secret(&self, key: &[u8]) {
        let middle = &key[key.len() / 2..][..6];
        let numbers = format!("{middle:?}");
        let hex = middle.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let secrets = [CANARY, CANARY_IN_BASE64, &hex, numbers.trim_matches(['[', ']'])];
        let said = self.0.lock().unwrap();
        let seen: Vec<_> = said
            .iter()
            .filter(|(_, text)| {
                let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let low = text.to_lowercase();
                secrets.iter().any(|secret| flat.contains(secret) || low.contains(secret))
            })
            .collect();
        assert!(seen.is_empty(), "{seen:#?}");
    }
}

/// What all crates record, at every level.
impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = String::new();
        attributes.record(&mut Fields(&mut text));
        self.text(attributes.metadata().target(), text);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut text = String::new();
        values.record(&mut Fields(&mut text));
        self.text("a span", text);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Fields(&mut text));
        self.text(event.metadata().name(), text);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: cert.der().clone(),
            key: PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        }
    }
}

/// A client all of whose settings hold a secret.
fn secretive(identity: &Identity) -> WebSocketClientBuilder {
    WebSocketClient::builder()
        .header("Authorization", "Bearer canary")
        .header("Cookie", "session=canary")
        .header("X-Api-Key", "canary")
        .subprotocols(["qmux-02", "token.canary"])
        .client_certificate([identity.certificate.clone()], identity.key.clone_key())
        .trust_self_signed(identity.certificate.clone())
}

/// Repeats the request, as many error pages do.
struct Hook(Said);

#[async_trait]
impl Authorize for Hook {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let said = &self.0;
        said.debug("UpgradeRequest", request);
        said.debug("its info", request.info());
        said.debug("its headers", &standard(request.headers()));
        let accept = Accept::new().header("Set-Cookie", "a=canary").header("x-token", "canary");
        let accept = accept.data("canary");
        said.debug("Accept", &accept);
        let query = request.query().unwrap_or_default();
        let refuse = Refuse::new(StatusCode::FORBIDDEN)
            .header("Location", format!("/elsewhere?{query}"))
            .header("Set-Cookie", "a=canary")
            .body(format!("you may not see {}", request.uri()));
        said.debug("Refuse", &refuse);
        if request.path() == "/refused" { Err(refuse) } else { Ok(accept) }
    }
}

/// The headers whose values a standard calls secret; another crate's map cannot know which others are.
fn standard(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in ["x-api-key", "x-token", "location"] {
        headers.remove(name);
    }
    headers
}

fn builder(said: &Said, identity: &Identity) -> WebSocketServerBuilder {
    let builder = WebSocketServer::builder()
        .certificate([identity.certificate.clone()], identity.key.clone_key())
        .header("Set-Cookie", "b=canary")
        .authorizer(Hook(said.clone()));
    said.debug("WebSocketServerBuilder", &builder);
    builder
}

const PATH: &str = "/path?token=canary";

#[tokio::test]
async fn an_error_about_a_url_does_not_repeat_it() {
    let said = Said::default();
    let _recording = tracing::subscriber::set_default(said.clone());
    let client = WebSocketClient::builder().build().unwrap();
    for url in [
        "canary",
        "//canary@a/",
        "ws://canary@a/",
        "ws://u:canary@a/",
        "ws://u:canary@a:99999/",
        "ws://u:canary@a b/",
        "ws://a:1x/?canary",
        "ws://[canary]/",
        "ws://[::1%25canary/]/?canary",
        "ws://a/?canary#canary",
        "http://u:canary@a/canary?canary",
        "ws://a\u{0}canary/",
    ] {
        said.failed(url_without_secret(url), client.connect(url).await);
        let (io, _) = tokio::io::duplex(1);
        said.failed("from_io", client.from_io(url, io).await);
        let http2 = Http2Client::new(client.clone());
        said.failed("Http2Client", http2.connect(url).await);
    }
    for proxy in [
        "canary",
        "http://user:canary@",
        "http://user:canary@a:x",
        "http://user:canary@a/b",
        "http://user:canary@a?canary",
        "socks5://user:canary@a",
        "http://user%3A:canary@a",
        "http://user:canary%0A@a",
    ] {
        let error = WebSocketClient::builder().proxy(proxy).build().expect_err(proxy);
        said.error("BuildError", &error);
    }
    for builder in [
        WebSocketClient::builder().header("Authorization", "canary\n"),
        WebSocketClient::builder().header("canary\n", "x"),
        WebSocketClient::builder().header("Host", "canary@a"),
        WebSocketClient::builder().header("Sec-WebSocket-Protocol", "canary"),
        WebSocketClient::builder().subprotocols(["qmux-02", "canary=="]),
    ] {
        said.debug("WebSocketClientBuilder", &builder);
        said.error("BuildError", &builder.build().expect_err("a fault"));
    }
    said.holds_no_secret(&[0xf7; 32]);
}

/// Names the URL in a message without its secret.
fn url_without_secret(_: &str) -> &'static str {
    "a URL"
}

#[tokio::test]
async fn what_is_set_up_does_not_show_its_secrets() {
    let (said, identity) = (Said::default(), Identity::new());
    let proxy = "http://user:canary@127.0.0.1:1/";
    let builder = || secretive(&identity).proxy(proxy);
    said.debug("WebSocketClientBuilder", &builder());
    let client = builder().build().unwrap();
    said.debug("WebSocketClient", &client);
    said.debug("Http2Client", &Http2Client::new(client.clone()));
    let blocking = wsmux::blocking::WebSocketClient::new(client.clone()).unwrap();
    said.debug("blocking::WebSocketClient", &blocking);
    tokio::task::spawn_blocking(|| drop(blocking)).await.unwrap();
    let url = format!("wss://127.0.0.1:1{PATH}");
    let reconnecting = ReconnectingClient::builder(client, &url).max_attempts(Some(1));
    said.debug("ReconnectingClientBuilder", &reconnecting);
    let (reconnecting, mut events) = reconnecting.start();
    said.error("ReconnectError", &reconnecting.connection().await.unwrap_err());
    while let Some(event) = events.next().await {
        said.debug("ReconnectEvent", &event);
        said.text("ReconnectEvent", event.to_string());
    }
    said.debug("ReconnectingClient", &reconnecting);
    said.debug("ReconnectEvents", &events);

    let basic = Basic::new("realm").user("user", "canary");
    said.debug("Basic", &basic);
    let bearer = Bearer::new("realm").token("canary", "user");
    said.debug("Bearer", &bearer);
    let origins = AllowedOrigins::new(["https://example.com"]);
    said.debug("And", &bearer.clone().and(origins.clone()));
    said.debug("Or", &basic.clone().or(bearer.clone()));
    let server = self::builder(&said, &identity).authorizer(basic.or(bearer).and(origins));
    said.debug("WebSocketServerBuilder", &server);
    let acceptor = server.build().unwrap();
    said.debug("WebSocketAcceptor", &acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    said.debug("WebSocketServer", &WebSocketServer::new(listener, acceptor));
    said.holds_no_secret(identity.key.secret_der());
}

/// A server under TLS, and a client with a secret in all that it sends.
#[tokio::test]
async fn a_connection_and_a_refusal_do_not_show_what_was_asked() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let log = said.clone();
    let qlog = QlogConfig::new(move |connection| {
        log.debug("QlogConnection", connection);
        Some(Box::new(Lines(log.clone())))
    });
    let server = builder(&said, &identity)
        .require_client_certificates([identity.certificate.clone()])
        .qlog(Some(qlog.clone()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let base = format!("wss://{}", server.local_addr().unwrap());
    let client = secretive(&identity).qlog(Some(qlog)).build().unwrap();

    let url = format!("{base}{PATH}");
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let (client_end, server_end) = (client_end.unwrap(), server_end.unwrap());
    for end in [&client_end, &server_end] {
        said.debug("WebSocketConnection", end);
        said.debug("ConnectionInfo", end.info());
        said.debug("its request's headers", &standard(end.info().request().unwrap().headers()));
        said.debug("its response's headers", &standard(end.info().response_headers().unwrap()));
        said.debug("its stats", &end.stats());
    }
    // The first message of an application often has its credentials.
    let (mut send, recv) = client_end.open_bi().await.unwrap().into_split();
    send.write_all(b"canary").await.unwrap();
    let accepted = server_end.accept_bi().await.unwrap();
    said.debug("SendStream", &send);
    said.debug("RecvStream", &recv);
    said.debug("WebSocketStream", &accepted);
    said.debug("WebSocketConnection", &server_end);
    said.debug("WebSocketServer", &server);
    client_end.close(0u32.into(), b"");
    server_end.closed().await;

    let url = format!("{base}/refused?token=canary");
    let (refused, error) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let refused = said.failed("ConnectError", refused);
    let ConnectError::Refused { headers, body, .. } = &refused else { panic!("{refused:?}") };
    assert!(body.contains(CANARY), "the error has it, and does not show it: {body}");
    assert_eq!(headers[header::LOCATION], "/elsewhere?token=canary");
    said.debug("its headers", headers);
    said.failed("AcceptError", error);

    let stranger = WebSocketClient::builder().subprotocols(["token.canary"]);
    let stranger = stranger
        .client_certificate([identity.certificate.clone()], identity.key.clone_key())
        .trust_self_signed(identity.certificate.clone());
    let stranger = stranger.build().unwrap();
    let (refused, error) =
        tokio::join!(stranger.connect(&base), async { server.accept().await.unwrap().await });
    said.failed("ConnectError", refused);
    said.failed("AcceptError", error);
    drop((client_end, server_end));
    for event in ["handshake.completed", "handshake.refused", "connection.closed"] {
        let recorded = said.0.lock().unwrap().iter().any(|(what, _)| what == event);
        assert!(recorded, "{event}");
    }
    said.holds_no_secret(identity.key.secret_der());
}

/// A qlog whose text is looked at, too.
struct Lines(Said);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.text("qlog", String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends this to the first client that connects.
async fn speaker(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut head).await;
    });
    address
}

#[tokio::test]
async fn what_a_proxy_or_a_strange_server_repeats_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    for answer in [
        "HTTP/1.1 407 canary\r\nProxy-Authenticate: canary\r\nSet-Cookie: canary\r\n\r\ncanary",
        "HTTP/1.1 302 Found\r\nLocation: /?canary\r\n\r\n",
        "canary\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\ncanary",
    ] {
        let address = speaker(answer).await;
        let proxy = format!("http://user:canary@{address}");
        let client = secretive(&identity).proxy(proxy).build().unwrap();
        let failed = client.connect(&format!("ws://example.com{PATH}")).await;
        assert!(matches!(said.failed("ConnectError", failed), ConnectError::Proxy(_)));
        let address = speaker(answer).await;
        let client = secretive(&identity).build().unwrap();
        said.failed("ConnectError", client.connect(&format!("ws://{address}{PATH}")).await);
    }
    let accepts = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: canary\r\n\r\n";
    let address = speaker(accepts).await;
    let client = secretive(&identity).verify_server(Check).build().unwrap();
    said.failed("ConnectError", client.connect(&format!("ws://{address}{PATH}")).await);
    said.holds_no_secret(identity.key.secret_der());
}

// ---- what the other end chooses ----

/// Offered where a page cannot set a header; a server may select it.
const TOKEN: &str = "token.canary";

/// Agrees on the client's token, whether it is spoken here or not.
struct Choose(Said);

#[async_trait]
impl Authorize for Choose {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let offered = request.offered_subprotocols().find(|name| *name == TOKEN);
        let accept = Accept::new().subprotocol(offered.expect("it is offered"));
        self.0.debug("UpgradeRequest", request);
        self.0.debug("Accept", &accept);
        Ok(accept)
    }
}

#[tokio::test]
async fn a_token_that_a_hook_selects_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let client = secretive(&identity).build().unwrap();
    let builder = || WebSocketServer::builder().authorizer(Choose(said.clone()));
    // It is among the names that the server was given, and agreed on.
    let server = builder().subprotocols(["qmux-02", TOKEN]);
    said.debug("WebSocketServerBuilder", &server);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    said.debug("WebSocketServer", &server);
    said.debug("WebSocketAcceptor", server.acceptor());
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    for end in [client_end.unwrap(), server_end.unwrap()] {
        assert_eq!(end.subprotocol(), Some(TOKEN), "a program is told");
        said.debug("WebSocketConnection", &end);
        said.debug("ConnectionInfo", end.info());
    }
    // It is not: the mistake of the hook.
    let server = builder().bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (refused, error) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    said.failed("ConnectError", refused);
    let error = said.failed("AcceptError", error);
    assert!(error.to_string().contains("not acceptable"), "{error}");
    for event in ["handshake.completed", "handshake.refused"] {
        assert!(said.0.lock().unwrap().iter().any(|(what, _)| what == event), "{event}");
    }
    said.holds_no_secret(&[0xf7; 32]);
}

#[tokio::test]
async fn the_names_of_configured_protocols_are_shown() {
    let said = Said::default();
    let _recording = tracing::subscriber::set_default(said.clone());
    let server = WebSocketServer::builder().bare_protocol("moqt-18").bind("127.0.0.1:0");
    let server = server.await.unwrap();
    let client = WebSocketClient::builder().bare_protocol("moqt-18").build().unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    for end in [client_end.unwrap(), server_end.unwrap()] {
        assert!(format!("{:?}", end.info()).contains("moqt-18"), "{:?}", end.info());
    }
    assert!(format!("{:?}", server.acceptor()).contains("moqt-18"));
    let said = said.0.lock().unwrap();
    let mut logged = said.iter().filter(|(what, _)| what == "handshake.completed");
    assert!(logged.all(|(_, text)| text.contains("moqt-18")), "{said:#?}");
}

/// Answers an upgrade with these lines besides those that it needs, and then with these bytes.
async fn answers(lines: &'static str, then: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        );
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.write_all(then).await.unwrap();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    url
}

#[tokio::test]
async fn a_token_that_a_strange_server_selects_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    for (wire, line) in [
        (Wire::JsWs, "Sec-WebSocket-Protocol: token.canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: qmux\u{e9}canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: token.canary, qmux-02\r\n"),
        (Wire::QMux, "Sec-WebSocket-Extensions: canary\r\n"),
    ] {
        let client = secretive(&identity).wire(wire).build().unwrap();
        said.failed("ConnectError", client.connect(&answers(line, b"").await).await);
    }
    said.holds_no_secret(&[0xf7; 32]);
}

/// Of a peer's close an error shows the reason, as it is for the application to print; a log of ours has the code.
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

struct Check;

#[async_trait]
impl VerifyServer for Check {
    async fn verify_response(
        &self,
        _: &http::Response<()>,
        _: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        Err("not this one".into())
    }
}

#[derive(Clone)]
struct Route {
    acceptor: WebSocketAcceptor,
    said: Said,
}

async fn route(State(Route { acceptor, said }): State<Route>, upgrade: WsMuxUpgrade) -> Response {
    said.debug("WsMuxUpgrade", &upgrade);
    upgrade
        .on_connection(&acceptor, |connection| async move { drop(connection.closed().await) })
        .await
}

#[tokio::test]
async fn neither_does_a_route_nor_a_client_over_http2() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let acceptor = WebSocketServer::builder().authorizer(Hook(said.clone())).build().unwrap();
    let state = Route { acceptor: acceptor.clone(), said: said.clone() };
    let routes = Router::new().fallback(any(route)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let client = secretive(&identity).build().unwrap();
    for http2 in [false, true] {
        let over_http2 = Http2Client::with_prior_knowledge(client.clone());
        let connect = async |path: &str| {
            let url = format!("{base}{path}");
            if http2 { over_http2.connect(&url).await } else { client.connect(&url).await }
        };
        let connection = connect(PATH).await.unwrap();
        said.debug("WebSocketConnection", &connection);
        said.debug("its headers", &standard(connection.info().request().unwrap().headers()));
        said.debug("its headers", &standard(connection.info().response_headers().unwrap()));
        said.failed("ConnectError", connect("/refused?token=canary").await);
        said.debug("Http2Client", &over_http2);
    }

    let mut request = http::Request::new(());
    *request.uri_mut() = "/refused?token=canary".parse().unwrap();
    request.headers_mut().insert(header::COOKIE, "canary".parse().unwrap());
    let refused = wsmux::hyper::upgrade(&acceptor, &mut request).await.unwrap_err();
    said.error("hyper::UpgradeError", &refused);
    said.holds_no_secret(identity.key.secret_der());
}

/// The test itself must find a secret that is there.
#[test]
#[should_panic(expected = "Loud")]
fn a_secret_that_is_shown_is_seen() {
    #[derive(Debug)]
    struct Loud(#[expect(dead_code)] &'static str);
    impl Display for Loud {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }
    let said = Said::default();
    said.debug("Loud", &Loud(CANARY));
    said.holds_no_secret(&[0xf7; 32]);
}
