//! Tests of hooks: which data they see, what they can add and refuse, and how long they may take.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use wsmux::{
    AcceptError, ConnectError, WebSocketClient, WebSocketServer, Wire,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest, async_trait},
    http::StatusCode,
};
use wsmux_testing::server::*;

use super::{ask, status_of, turned_away, upgrade};

/// A hook that records what it sees and accepts every client.
#[derive(Clone, Default)]
struct Looks(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Authorize for Looks {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        // A hook may await something.
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
        // The hook's choice is used, not the server's first choice.
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
    // On the js-ws wire there is no subprotocol that a hook could choose.
    let server = WebSocketServer::builder()
        .wires([Wire::JsWs])
        .authorizer(|_: UpgradeRequest| async { Ok(Accept::new().subprotocol("qmux-02")) });
    let client = WebSocketClient::builder().wire(Wire::JsWs);
    assert_eq!(status_of(turned_away(server, client, "ws").await), 500);
    // A refusal with a status of success would mislead the client, so the server sends 403.
    let server = WebSocketServer::builder()
        .authorizer(|_: UpgradeRequest| async { Err(Refuse::new(StatusCode::OK)) });
    assert_eq!(status_of(turned_away(server, WebSocketClient::builder(), "ws").await), 403);
}

/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its
/// readiness: TLS, HTTP upgrade, and on QMux the peer's transport parameters.
#[tokio::test]
async fn a_hook_that_hangs_is_bounded_by_the_handshake_timeout() {
    /// Reports that the hook's future was dropped.
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
    // The answer lists each kind of login that the server accepts.
    let (address, _accepted) = one_client(server().authorizer(no(401).or(no(401)))).await;
    let answer = ask(address, &upgrade("/", "")).await;
    assert_eq!(answer.matches("Www-Authenticate: Scheme401\r\n").count(), 2, "{answer}");
}
