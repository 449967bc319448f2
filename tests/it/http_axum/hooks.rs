//! How an application controls a route: by the server's hooks, by the client's check, and with a
//! proxy between the two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use wsmux::{
    Config, ConnectError, ConnectionInfo, Http2Client, VerifyServer, VerifyServerError,
    WebSocketClient, WebSocketConnection, WebSocketServer, async_trait,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    http::{Response, StatusCode, Version},
};

use super::server::{Kind, Server, exchange, version, within};

async fn connect(
    server: &Server,
    http2: bool,
    client: WebSocketClient,
    path: &str,
) -> Result<WebSocketConnection, ConnectError> {
    let url = server.url(path);
    match http2 {
        true => within("connecting", Http2Client::new(client).connect(&url)).await,
        false => within("connecting", client.connect(&url)).await,
    }
}

/// A hook that accepts `/mux?user=7`, never answers `/mux?slow`, and refuses other handshakes. A
/// request for `?health` that is no handshake gets a page.
struct Hook;

#[derive(Debug, PartialEq)]
struct UserId(u32);

#[async_trait]
impl Authorize for Hook {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        tokio::task::yield_now().await;
        match request.query() {
            Some("user=7") => Ok(Accept::new().header("x-user", "7").data(UserId(7))),
            Some("slow") => std::future::pending().await,
            _ => Err(Refuse::new(StatusCode::PAYMENT_REQUIRED).header("x-price", "3").body("pay")),
        }
    }

    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        (request.query() == Some("health")).then(|| Response::new("well".into()))
    }
}

async fn server_with_hook(handshake_timeout: Duration) -> Server {
    let mut config = Config::default();
    config.handshake_timeout(handshake_timeout);
    let builder = WebSocketServer::builder().authorizer(Hook).config(config);
    Server::with(Kind::TLS, builder).await
}

#[tokio::test]
async fn a_hook_on_a_route_accepts_with_data_and_refuses_with_a_response() {
    let server = server_with_hook(Duration::from_secs(60)).await;
    for http2 in [false, true] {
        let client = || server.client().header("authorization", "secret").build().unwrap();
        let welcome = connect(&server, http2, client(), "/mux?user=7").await.unwrap();
        assert_eq!(welcome.info().response_headers().unwrap()["x-user"], "7");
        let accepted = server.accepted().await;
        assert_eq!(accepted.application_data::<UserId>().as_deref(), Some(&UserId(7)));
        exchange(&welcome, 1000).await;
        let known = format!("{:?} {:?}", accepted.info(), welcome.info());
        assert!(known.contains("authorization") && !known.contains("secret"), "{known}");

        match connect(&server, http2, client(), "/mux?user=8").await.unwrap_err() {
            ConnectError::Refused { status, headers, body } => {
                assert_eq!((status, body.as_str()), (StatusCode::PAYMENT_REQUIRED, "pay"));
                assert_eq!(headers["x-price"], "3");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hook_on_a_route_that_hangs_is_bounded_by_the_handshake_timeout() {
    let server = server_with_hook(Duration::from_millis(100)).await;
    for http2 in [false, true] {
        let client = server.client().build().unwrap();
        match connect(&server, http2, client, "/mux?slow").await.unwrap_err() {
            ConnectError::Refused { status, .. } => assert_eq!(status, StatusCode::REQUEST_TIMEOUT),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hook_on_a_route_answers_those_who_want_no_websocket() {
    let server = Server::with(Kind::PLAIN, WebSocketServer::builder().authorizer(Hook)).await;
    for (query, expected) in [("health", "well"), ("other", "no \"Upgrade: websocket\"\n")] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /mux?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("an answer", tcp.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = if query == "health" { "200" } else { "426" };
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(body, expected);
    }
}

/// A check that refuses servers that do not send `x-served-by`. If `certificates` is false, it also
/// refuses every certificate.
struct Check {
    certificates: bool,
}

#[async_trait]
impl VerifyServer for Check {
    async fn verify_certificates(&self, _: &str, _: &[Bytes]) -> Result<(), VerifyServerError> {
        if self.certificates { Ok(()) } else { Err("not this one".into()) }
    }

    async fn verify_response(
        &self,
        response: &Response<()>,
        info: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        assert!(info.peer_certificates().is_some());
        match response.headers().contains_key("x-served-by") {
            true => Ok(()),
            false => Err("by whom?".into()),
        }
    }
}

#[tokio::test]
async fn the_clients_check_holds_over_http2_too() {
    let named = Server::start(Kind::TLS).await;
    let nameless = Server::with(Kind::TLS, WebSocketServer::builder()).await;
    for (server, certificates, expected) in [
        (&named, true, None),
        (&named, false, Some("not this one")),
        (&nameless, true, Some("by whom?")),
    ] {
        let client = server.client().verify_server(Check { certificates }).build().unwrap();
        match (connect(server, true, client, "/mux").await, expected) {
            (Ok(connection), None) => {
                assert_eq!(connection.info().request().unwrap().version(), Version::HTTP_2);
                exchange(&connection, 1000).await;
            }
            (Err(ConnectError::ServerRejected(error)), Some(expected)) => {
                assert_eq!(error.to_string(), expected);
                let response = error.response_headers();
                assert_eq!(response.is_some(), certificates, "there is one after the certificates");
                assert!(
                    response.is_none_or(|headers| headers.contains_key("sec-websocket-protocol"))
                );
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// Starts a proxy to this server. Returns its URL and a count of its tunnels.
async fn proxy(server: &Server) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tunnels = Arc::new(AtomicUsize::new(0));
    let (made, server) = (tunnels.clone(), server.address);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            made.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let mut server = TcpStream::connect(server).await?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (url, tunnels)
}

#[tokio::test]
async fn connections_share_one_tunnel_of_a_proxy() {
    let server = Server::start(Kind::TLS).await;
    let (url, tunnels) = proxy(&server).await;
    let client = server.client().proxy(url).build().unwrap();
    let client = Http2Client::new(client);
    let mut connections = Vec::new();
    for _ in 0..3 {
        let url = server.url("/mux");
        connections.push(within("connecting", client.connect(&url)).await.unwrap());
        assert_eq!(version(&server.accepted().await), Version::HTTP_2);
    }
    for connection in &connections {
        exchange(connection, 100_000).await;
    }
    assert_eq!((tunnels.load(Ordering::SeqCst), server.tcp_connections()), (1, 1));
}

#[tokio::test]
async fn a_hook_on_a_route_sees_the_clients_certificate_and_ipv4_address() {
    let kind = Kind { client_certificates: true, ..Kind::TLS };
    let server = Server::start(kind).await;
    let (certificate, key) = server.client_identity();
    for http2 in [false, true] {
        let client = server.client().client_certificate([certificate.clone()], key.clone_key());
        let client = client.build().unwrap();
        let _connection = connect(&server, http2, client, "/mux").await.unwrap();
        let accepted = server.accepted().await;
        assert_eq!(accepted.peer_certificates().unwrap()[0], certificate[..]);
        let stranger = connect(&server, http2, server.client().build().unwrap(), "/mux").await;
        assert!(stranger.is_err());
    }

    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connecting = TcpStream::connect(("127.0.0.1", port));
    let (tcp, _client) = tokio::join!(listener.accept(), connecting);
    let info = ConnectionInfo::of_tcp(&tcp.unwrap().0);
    assert!(info.remote_address().unwrap().is_ipv4(), "{info:?}");
    assert!(info.local_address().unwrap().is_ipv4(), "{info:?}");
}

/// One acceptor serves all routes. If the path is below `/admin`, the acceptor's hook requires more
/// of the request.
#[tokio::test]
async fn a_hook_sees_the_path_that_was_asked_for_in_a_nested_router() {
    use axum::{Router, extract::State, response::Response, routing::any};
    use wsmux::{WebSocketAcceptor, axum::WsMuxUpgrade};

    async fn route(State(acceptor): State<WebSocketAcceptor>, upgrade: WsMuxUpgrade) -> Response {
        let serve = |connection: wsmux::WebSocketConnection| async move {
            connection.closed().await;
        };
        upgrade.on_connection(&acceptor, serve).await
    }

    let acceptor = wsmux::WebSocketServer::builder()
        .authorizer(|request: wsmux::authorize::UpgradeRequest| {
            let is_free = !request.path().starts_with("/admin/");
            async move {
                match is_free {
                    true => Ok(wsmux::authorize::Accept::new()),
                    false => Err(wsmux::authorize::Refuse::unauthorized("Basic")),
                }
            }
        })
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/admin/mux", listener.local_addr().unwrap());
    let admin = Router::new().route("/mux", any(route));
    let router = Router::new().nest("/admin", admin).with_state(acceptor);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let connected = wsmux::WebSocketClient::builder().build().unwrap().connect(&url).await;
    assert!(
        matches!(&connected, Err(wsmux::ConnectError::Refused { status, .. }) if *status == 401),
        "{connected:?}"
    );
}
