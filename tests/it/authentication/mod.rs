//! Who gets a connection: hooks, logins, origins and clients' certificates, and what those hear who get none.

use wsmux_testing::server as support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsmux::{
    AcceptError, BuildError, ConnectError, ConnectionError, WebSocketClient,
    WebSocketClientBuilder, WebSocketServer, WebSocketServerBuilder, Wire,
    authorize::{
        Accept, AllowedOrigins, Authorize, Basic, Bearer, Refuse, UpgradeRequest, User, async_trait,
    },
    http::{HeaderMap, Response, StatusCode},
};

use support::*;

/// What a client without a connection hears, with the server's view of it.
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

// ---- hooks ----

/// Tells what it sees, and lets everybody in.
#[derive(Clone, Default)]
struct Looks(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Authorize for Looks {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        // A hook may wait.
        tokio::task::yield_now().await;
        self.0.lock().unwrap().extend([
            format!("{} {} {:?}", request.method(), request.path(), request.query()),
            request.headers()["x-client"].to_str().unwrap().to_owned(),
            request.remote_address().unwrap().ip().to_string(),
            request.offered_subprotocols().collect::<Vec<_>>().join(" "),
            request.acceptable_subprotocols().join(" "),
            request.peer_certificates().map_or(0, |chain| chain.len()).to_string(),
        ]);
        let name = request.acceptable_subprotocols()[1].clone();
        Ok(Accept::new().subprotocol(name).header("X-Hook", "1").data(7u32).data("text"))
    }
}

#[tokio::test]
async fn a_hook_sees_the_request_and_adds_to_the_answer() {
    let (tls, people) = (Tls::new("127.0.0.1"), Tls::new("client"));
    let looks = Looks::default();
    let server = tls
        .server()
        .require_client_certificates([people.root.clone()])
        .protocol("a")
        .protocol("b")
        .header("X-Server", "2")
        .authorizer(looks.clone());
    let client = tls
        .client()
        .client_certificate([people.certificate.clone()], people.key())
        .protocol("c")
        .protocol("b")
        .header("X-Client", "3");
    let (client, server) = connected(server, client, "wss").await;
    let saw = looks.0.lock().unwrap().clone();
    assert_eq!(
        saw,
        [
            "GET /path Some(\"query\")",
            "3",
            "127.0.0.1",
            "qmux-02.c qmux-02.b qmux-02",
            "qmux-02.b qmux-02",
            "1"
        ]
    );
    for end in [&client, &server] {
        // Its choice, not the server's first.
        assert_eq!(end.subprotocol(), Some("qmux-02"));
        let headers = end.info().response_headers().unwrap();
        assert_eq!(
            (&headers["x-hook"], &headers["x-server"]),
            (&"1".parse().unwrap(), &"2".parse().unwrap())
        );
    }
    assert_eq!(server.application_data::<u32>().as_deref(), Some(&7));
    assert_eq!(server.application_data::<&str>().as_deref(), Some(&"text"));
    assert_eq!(server.info().application_data::<u64>(), None);
    assert_eq!(client.application_data::<u32>(), None);
    echo(&client, &server).await;
}

#[tokio::test]
async fn a_hook_refuses_with_status_headers_and_body() {
    let server = WebSocketServer::builder().authorizer(|request: UpgradeRequest| async move {
        assert_eq!(request.path(), "/");
        let teapot = StatusCode::from_u16(418).unwrap();
        Err(Refuse::new(teapot)
            .header("X-Why", "short and stout")
            .header("Content-Type", "application/json")
            .header("Content-Length", "3")
            .body("{\"stout\":true}"))
    });
    let (address, accepted) = one_client(server).await;
    let answer = ask(address, &upgrade("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
    assert!(answer.contains("\r\nX-Why: short and stout\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Length: 14\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"stout\":true}"), "{answer}");
    match accepted.await.unwrap().unwrap_err() {
        AcceptError::Refused { status, reason } => {
            assert_eq!((status.as_u16(), &*reason), (418, "I'm a teapot"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_hook_cannot_answer_is_an_error_of_the_server() {
    let odd: [fn() -> Accept; 3] = [
        || Accept::new().subprotocol("qmux-02.unheard"),
        || Accept::new().header("Connection", "close"),
        || Accept::new().header("a", "b\nc"),
    ];
    for (odd, expected) in odd.into_iter().zip(["unheard", "connection", "\"a\""]) {
        let server = WebSocketServer::builder()
            .authorizer(move |_: UpgradeRequest| async move { Ok(odd()) });
        let (client, server) = turned_away(server, WebSocketClient::builder(), "ws").await;
        let AcceptError::Refused { reason, .. } = &server else { panic!("{server:?}") };
        assert!(reason.contains(expected), "{reason}");
        let ConnectError::Refused { body, .. } = &client else { panic!("{client:?}") };
        assert!(!body.contains(expected), "not the client's business: {body}");
        assert_eq!(status_of((client, server)), 500);
    }
    // Nor is there a subprotocol to choose on the js-ws wire.
    let server = WebSocketServer::builder()
        .wires([Wire::JsWs])
        .authorizer(|_: UpgradeRequest| async { Ok(Accept::new().subprotocol("qmux-02")) });
    let client = WebSocketClient::builder().wire(Wire::JsWs);
    assert_eq!(status_of(turned_away(server, client, "ws").await), 500);
    // A refusal that looks like a success would not be understood.
    let server = WebSocketServer::builder()
        .authorizer(|_: UpgradeRequest| async { Err(Refuse::new(StatusCode::OK)) });
    assert_eq!(status_of(turned_away(server, WebSocketClient::builder(), "ws").await), 403);
}

/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its readiness: TLS,
/// HTTP upgrade, and on QMux the peer's transport parameters.
#[tokio::test]
async fn a_hook_that_hangs_is_bounded_by_the_handshake_timeout() {
    /// Tells that the hook's future is gone.
    struct Gone(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, mut was_dropped) = tokio::sync::mpsc::unbounded_channel();
    let server = WebSocketServer::builder()
        .config(config(|config| _ = config.handshake_timeout(Duration::from_secs(1))))
        .authorizer(move |_: UpgradeRequest| {
            let gone = Gone(gone.clone());
            async move {
                let _gone = gone;
                std::future::pending().await
            }
        });
    let (client, server) = turned_away(server, WebSocketClient::builder(), "ws").await;
    let ConnectError::Refused { status, .. } = client else { panic!("{client:?}") };
    assert_eq!(status.as_u16(), 408);
    assert!(matches!(server, AcceptError::HandshakeTimeout), "{server:?}");
    within(was_dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn hooks_join() {
    fn yes(name: &'static str) -> impl Authorize {
        move |_: UpgradeRequest| async move {
            Ok(Accept::new().header("X-Name", name).data(name).data(name.len()))
        }
    }
    fn no(status: u16) -> impl Authorize {
        let status = StatusCode::from_u16(status).unwrap();
        move |_: UpgradeRequest| async move {
            Err(Refuse::new(status)
                .header("WWW-Authenticate", format!("Scheme{}", status.as_u16())))
        }
    }
    let server = WebSocketServer::builder;
    let client = WebSocketClient::builder;
    for builder in [
        server().authorizer(yes("one").and(yes("other"))),
        server().authorizer(yes("one")).authorizer(yes("other")),
        server().authorizer(no(404).or(yes("one")).and(yes("other"))),
        server().authorize(|_| Ok(())).authorizer(yes("one").or(no(404)).and(yes("other"))),
    ] {
        let (_client, server) = connected(builder, client(), "ws").await;
        let names = server.info().response_headers().unwrap().get_all("x-name");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["one", "other"]);
        assert_eq!(*server.application_data::<&str>().unwrap(), "other");
        assert_eq!(*server.application_data::<usize>().unwrap(), 5);
    }
    for (builder, status) in [
        (server().authorizer(yes("one").and(no(404))), 404),
        (server().authorizer(no(402).and(no(404))), 402),
        (server().authorizer(no(402).or(no(404))), 402),
        (server().authorizer(yes("one")).authorizer(no(404)), 404),
        (server().authorizer(yes("one")).authorize(|_| Err(StatusCode::GONE)), 410),
    ] {
        assert_eq!(status_of(turned_away(builder, client(), "ws").await), status);
    }
    // Each login that would do is named.
    let (address, _accepted) = one_client(server().authorizer(no(401).or(no(401)))).await;
    let answer = ask(address, &upgrade("/", "")).await;
    assert_eq!(answer.matches("Www-Authenticate: Scheme401\r\n").count(), 2, "{answer}");
}

/// A page for browsers on the port of the WebSocket.
struct Pages;

#[async_trait]
impl Authorize for Pages {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        match request.path() {
            "/socket" => Ok(Accept::new()),
            _ => Err(Refuse::new(StatusCode::NOT_FOUND)),
        }
    }

    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<bytes::Bytes>> {
        let (status, body) = match request.path() {
            "/" => (StatusCode::OK, "<p>hello"),
            "/socket" => return None,
            "/empty" => (StatusCode::NO_CONTENT, ""),
            _ => (StatusCode::NOT_FOUND, "no such page"),
        };
        let response = Response::builder().status(status).header("content-type", "text/html");
        Some(response.body(body.into()).unwrap())
    }
}

#[tokio::test]
async fn who_asks_for_no_websocket_gets_a_page() {
    let get = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (request, status, end) in [
        (get("GET", "/"), 200, "\r\nContent-Length: 8\r\n\r\n<p>hello"),
        (get("HEAD", "/"), 200, "\r\nContent-Length: 8\r\n\r\n"),
        (get("GET", "/empty"), 204, "\r\nConnection: close\r\n\r\n"),
        (get("GET", "/other"), 404, "\r\n\r\nno such page"),
        // As some balancers ask.
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 200, "\r\nContent-Length: 8\r\n\r\n<p>hello"),
        (get("HEAD", "/socket"), 405, "\r\n\r\n"),
        (get("GET", "/socket"), 426, "\n"),
        (get("POST", "/socket"), 405, "\n"),
        (upgrade("/other", ""), 404, "\r\n\r\nNot Found\n"),
        (upgrade("/", "").replace("GET", "POST"), 405, "\n"),
    ] {
        let (address, accepted) = one_client(WebSocketServer::builder().authorizer(Pages)).await;
        let answer = ask(address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        assert!(answer.ends_with(end), "{request}{answer}");
        match (status, accepted.await.unwrap().unwrap_err()) {
            (405 | 426, AcceptError::Refused { .. }) => {}
            (404, AcceptError::Refused { .. }) => assert!(request.contains("Upgrade")),
            (_, AcceptError::Answered { status: answered }) => assert_eq!(answered, status),
            (_, other) => panic!("{other:?}"),
        }
    }
}

/// In virtual time, over a stream that holds little.
#[tokio::test(start_paused = true)]
async fn a_page_is_whole_for_those_who_read_slowly() {
    struct LargePage;

    #[async_trait]
    impl Authorize for LargePage {
        async fn authorize(&self, _: &UpgradeRequest) -> Result<Accept, Refuse> {
            Ok(Accept::new())
        }

        async fn respond(&self, _: &UpgradeRequest) -> Option<Response<Bytes>> {
            Some(Response::new(vec![b'x'; 100_000].into()))
        }
    }

    let acceptor = WebSocketServer::builder().authorizer(LargePage).build().unwrap();
    let (mut client, server) = tokio::io::duplex(1024);
    let serving = tokio::spawn(async move { acceptor.from_io(server).await });
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 500];
    client.read_exact(&mut answer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.iter().rev().take_while(|byte| **byte == b'x').count(), 100_000);
    drop(client);
    let answered = serving.await.unwrap().unwrap_err();
    assert!(matches!(answered, AcceptError::Answered { .. }), "{answered:?}");
}

// ---- logins ----

#[tokio::test]
async fn basic_lets_its_users_in_and_names_the_challenge() {
    let server = || {
        let basic = Basic::new("fi\"les").user("Aladdin", "open sesame").user("b", "");
        WebSocketServer::builder().authorizer(basic)
    };
    for (credentials, user) in [("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin"), ("Yjo=", "b")] {
        let client =
            WebSocketClient::builder().header("Authorization", format!("Basic {credentials}"));
        let (_client, server) = connected(server(), client, "ws").await;
        assert_eq!(*server.application_data::<User>().unwrap(), User(user.into()));
    }
    // Nobody, "Aladdin:", "Aladdin:open sesam", "b:open sesame", "aladdin:open sesame", twice.
    let good = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    for headers in [
        "",
        "Authorization: Basic QWxhZGRpbjo=\r\n",
        "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2Ft\r\n",
        "Authorization: Basic YjpvcGVuIHNlc2FtZQ==\r\n",
        "Authorization: Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n",
        &good.repeat(2),
    ] {
        let (address, accepted) = one_client(server()).await;
        let answer = ask(address, &upgrade("/", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
        let challenge = "\r\nWww-Authenticate: Basic realm=\"fi\\\"les\", charset=\"UTF-8\"\r\n";
        assert!(answer.contains(challenge), "{answer}");
        assert!(matches!(accepted.await.unwrap(), Err(AcceptError::Refused { .. })));
    }
}

#[tokio::test]
async fn bearer_lets_its_tokens_in_and_names_the_challenge() {
    let server = || {
        let bearer = Bearer::new("api").token("t0ken", "one").token("t1ken", "other");
        WebSocketServer::builder().authorizer(bearer)
    };
    let client = WebSocketClient::builder().header("Authorization", "Bearer t1ken");
    let (_client, accepted) = connected(server(), client, "ws").await;
    assert_eq!(*accepted.application_data::<User>().unwrap(), User("other".into()));
    for (headers, challenge) in [
        ("", "Bearer realm=\"api\"\r\n"),
        ("Authorization: Bearer t0ke\r\n", "Bearer realm=\"api\", error=\"invalid_token\"\r\n"),
    ] {
        let (address, _accepted) = one_client(server()).await;
        let answer = ask(address, &upgrade("/", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains(&format!("\r\nWww-Authenticate: {challenge}")), "{answer}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let server = |required| {
        let origins = AllowedOrigins::new(["https://example.com", "http://localhost:8080"]);
        WebSocketServer::builder().authorizer(origins.require(required))
    };
    let client = |headers: &[&'static str]| {
        headers
            .iter()
            .fold(WebSocketClient::builder(), |client, origin| client.header("Origin", *origin))
    };
    connected(server(false), client(&[]), "ws").await;
    connected(server(true), client(&["HTTPS://Example.com"]), "ws").await;
    connected(server(false), client(&["http://localhost:8080"]), "ws").await;
    for origins in [
        &["null"][..],
        &["https://example.com.evil.example"],
        &["https://example.com:444"],
        &["http://example.com"],
        &["https://example.com", "https://evil.example"],
        &["https://evil.example"],
    ] {
        assert_eq!(status_of(turned_away(server(false), client(origins), "ws").await), 403);
    }
    assert_eq!(status_of(turned_away(server(true), client(&[]), "ws").await), 403);
}

// ---- certificates ----

#[tokio::test]
async fn required_certificates_keep_out_those_without_and_those_of_others() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let server = || tls.server().require_client_certificates([people.root.clone()]);
    let shows = |who: &Tls| tls.client().client_certificate([who.certificate.clone()], who.key());
    let (client, accepted) = connected(server(), shows(&people), "wss").await;
    assert_eq!(accepted.peer_certificates().unwrap().to_vec(), [&*people.certificate]);
    echo(&client, &accepted).await;
    for (client, alert) in [(tls.client(), "CertificateRequired"), (shows(&others), "UnknownCA")] {
        let (address, accepted) = one_client(server()).await;
        let client = client.build().unwrap();
        let failed = within(client.connect(&format!("wss://{address}"))).await.unwrap_err();
        // With TLS 1.3 the client's handshake is done when the alert comes.
        assert!(format!("{failed:?}").contains(alert), "{failed:?}");
        let failed = accepted.await.unwrap().unwrap_err();
        assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn optional_certificates_keep_out_only_those_of_others() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let server = || tls.server().request_client_certificates([people.root.clone()]);
    let shows = |who: &Tls| tls.client().client_certificate([who.certificate.clone()], who.key());
    let (_client, accepted) = connected(server(), shows(&people), "wss").await;
    assert_eq!(accepted.peer_certificates().unwrap().to_vec(), [&*people.certificate]);
    let (_client, accepted) = connected(server(), tls.client(), "wss").await;
    assert_eq!(accepted.peer_certificates(), None);
    let (_, failed) = turned_away(server(), shows(&others), "wss").await;
    assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
}

#[tokio::test]
async fn clients_certificates_need_a_certificate_and_roots() {
    let tls = Tls::new("127.0.0.1");
    let builder = WebSocketServer::builder;
    for builder in [
        builder().require_client_certificates([tls.root.clone()]),
        tls.server().require_client_certificates([]),
    ] {
        let failed = builder.build().unwrap_err();
        assert!(matches!(failed, BuildError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_asks_as_before() {
    let (old, new, people) = (Tls::new("127.0.0.1"), Tls::new("127.0.0.1"), Tls::new("client"));
    let server = old.server().require_client_certificates([people.root.clone()]);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", server.local_addr().unwrap());
    let shows = |tls: &Tls| {
        let client = tls.client().client_certificate([people.certificate.clone()], people.key());
        client.build().unwrap()
    };
    let both = async |client: &WebSocketClient| {
        let accept = async { server.accept().await.unwrap().await };
        within(async { tokio::join!(client.connect(&url), accept) }).await
    };
    let (before, accepted) = both(&shows(&old)).await;
    let (before, accepted_before) = (before.unwrap(), accepted.unwrap());

    let mismatch = server.set_certificate([new.certificate.clone()], old.key());
    assert!(matches!(mismatch, Err(BuildError::Tls(_))), "{mismatch:?}");
    both(&shows(&old)).await.0.expect("as it was");

    server.set_certificate([new.certificate.clone()], new.key()).unwrap();
    let (after, accepted) = both(&shows(&new)).await;
    assert_eq!(after.unwrap().peer_certificates().unwrap()[0], *new.certificate);
    assert_eq!(accepted.unwrap().peer_certificates().unwrap()[0], *people.certificate);
    let (failed, _) = both(&shows(&old)).await;
    assert!(matches!(failed, Err(ConnectError::Tls(_))), "{failed:?}");
    let (failed, accepted) = both(&new.client().build().unwrap()).await;
    assert!(failed.is_err() && matches!(accepted, Err(AcceptError::Tls(_))), "{accepted:?}");
    // The old connection did not notice.
    echo(&before, &accepted_before).await;

    // A whole configuration, taken as it is: it asks for no certificate.
    let third = Tls::new("127.0.0.1");
    server.set_tls_config(third.server_config()).unwrap();
    let (client, accepted) = both(&third.client().build().unwrap()).await;
    assert_eq!(client.unwrap().peer_certificates().unwrap()[0], *third.certificate);
    assert_eq!(accepted.unwrap().peer_certificates(), None);
    echo(&before, &accepted_before).await;
    // What it asks of clients would get lost with a certificate of the builder's kind.
    let failed = server.set_certificate([new.certificate.clone()], new.key());
    assert!(matches!(failed, Err(BuildError::Tls(_))), "{failed:?}");
    let (client, _) = both(&third.client().build().unwrap()).await;
    assert_eq!(client.unwrap().peer_certificates().unwrap()[0], *third.certificate);
}

#[test]
fn a_server_without_tls_does_not_begin_with_it_by_a_certificate() {
    let tls = Tls::new("127.0.0.1");
    let acceptor = WebSocketServer::builder().build().unwrap();
    let failed = acceptor.set_certificate([tls.certificate.clone()], tls.key());
    assert!(matches!(failed, Err(BuildError::Tls(_))), "{failed:?}");
}

/// The third layer: the application's own.
#[tokio::test]
async fn a_payload_that_does_not_authenticate_gets_the_applications_code() {
    let (client, server) =
        connected(WebSocketServer::builder(), WebSocketClient::builder(), "ws").await;
    tokio::spawn(async move {
        let mut login = server.accept_bi().await.unwrap();
        let token = login.recv().read_to_end(64).await.unwrap();
        if !wsmux::authorize::constant_time_eq(token, "secret") {
            server.close(401u32.into(), b"bad token");
        }
        server.closed().await;
    });
    let mut login = client.open_bi().await.unwrap();
    login.write_all(b"wrong").await.unwrap();
    login.send().finish().unwrap();
    match within(client.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(
                (close.error_code.into_inner(), &close.reason[..]),
                (401, &b"bad token"[..])
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Sends these bytes and gives all that comes back.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// A request as the standard wants it, with these headers too.
fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\
         Sec-WebSocket-Protocol: qmux-02\r\n{headers}\r\n"
    )
}

#[test]
fn headers_are_read_by_the_helpers_alone() {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic YTpi".parse().unwrap());
    let some = Some(("a".to_owned(), "b".to_owned()));
    assert_eq!(wsmux::authorize::basic_credentials(&headers), some);
    assert_eq!(wsmux::authorize::bearer_token(&headers), None);
}
