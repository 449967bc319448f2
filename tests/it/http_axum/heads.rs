//! How a server finds the host that a request is meant for, and which requests a server refuses.
//! Each request head is sent to our own server and to a hyper server that uses our acceptor.

use std::convert::Infallible;

use bytes::Bytes;
use h2::ext::Protocol;
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wsmux::{
    WebSocketAcceptor, WebSocketServer,
    authorize::{Accept, Refuse, UpgradeRequest},
    http::{Method, Request, Response, StatusCode, Version, header},
};

use super::server::within;

/// The request line, the headers, and the expected status of each server.
struct Head {
    line: &'static str,
    host: &'static str,
    ours: u16,
    hypers: u16,
}

const fn head(line: &'static str, host: &'static str, status: u16) -> Head {
    Head { line, host, ours: status, hypers: status }
}

/// Returns a head to which the two servers give different answers, because hyper parses the head
/// before our code sees it.
const fn differs(line: &'static str, host: &'static str, ours: u16, hypers: u16) -> Head {
    Head { line, host, ours, hypers }
}

const TARGET: &str = "GET / HTTP/1.1";
const HOST: &str = "Host: a\r\n";

const HEADS: &[Head] = &[
    head(TARGET, HOST, 101),
    head(TARGET, "host:a\r\n", 101),
    head(TARGET, "Host: \t a:80 \t\r\n", 101),
    head(TARGET, "Host: A.b-c_d.:65535\r\n", 101),
    // RFC 3986 §3.2.3: an empty port means the scheme's default port.
    head(TARGET, "Host: a:\r\n", 101),
    head(TARGET, "Host: 1.2.3.4:5\r\n", 101),
    head(TARGET, "Host: [::1]\r\n", 101),
    head(TARGET, "Host: [::ffff:1.2.3.4]:8080\r\n", 101),
    head(TARGET, "", 400),
    head(TARGET, "Host:\r\n", 400),
    head(TARGET, "Host: \t \r\n", 400),
    head(TARGET, "Host: a\r\nHost: a\r\n", 400),
    head(TARGET, "Host: a\r\nhost: b\r\n", 400),
    head(TARGET, "Host: a b\r\n", 400),
    head(TARGET, "Host: a/../b\r\n", 400),
    head(TARGET, "Host: a/\r\n", 400),
    head(TARGET, "Host: a?b\r\n", 400),
    head(TARGET, "Host: a#b\r\n", 400),
    head(TARGET, "Host: a\\b\r\n", 400),
    head(TARGET, "Host: http://a\r\n", 400),
    head(TARGET, "Host: u@a\r\n", 400),
    head(TARGET, "Host: u:p@a\r\n", 400),
    head(TARGET, "Host: a:99999999\r\n", 400),
    head(TARGET, "Host: a:65536\r\n", 400),
    head(TARGET, "Host: a:+80\r\n", 400),
    head(TARGET, "Host: a:b\r\n", 400),
    head(TARGET, "Host: a:80:80\r\n", 400),
    head(TARGET, "Host: :80\r\n", 400),
    head(TARGET, "Host: ::1\r\n", 400),
    head(TARGET, "Host: [::1\r\n", 400),
    head(TARGET, "Host: [a]\r\n", 400),
    // RFC 6874 §4: a zone must not be sent.
    head(TARGET, "Host: [fe80::1%25eth0]\r\n", 400),
    head(TARGET, "Host: \u{e9}\r\n", 400),
    head(TARGET, "Host : a\r\n", 400),
    head("GET /a/b?c=d&e HTTP/1.1", HOST, 101),
    head("GET //a HTTP/1.1", HOST, 101),
    // Browsers do not escape these characters.
    head("GET /a|b?{c}|^` HTTP/1.1", HOST, 101),
    head("GET http://b HTTP/1.1", HOST, 101),
    head("GET HTTP://b:8080/c?d HTTP/1.1", HOST, 101),
    head("GET https://[::1]:1/ HTTP/1.1", HOST, 101),
    head("GET http://b/ HTTP/1.1", "", 400),
    head("GET http://b/ HTTP/1.1", "Host: a b\r\n", 400),
    head("GET http:///b HTTP/1.1", HOST, 400),
    head("GET http://u@b/ HTTP/1.1", HOST, 400),
    head("GET http://u:p@b/ HTTP/1.1", HOST, 400),
    head("GET http://b:65536/ HTTP/1.1", HOST, 400),
    head("GET http://b:+80/ HTTP/1.1", HOST, 400),
    head("GET ftp://b/ HTTP/1.1", HOST, 400),
    // RFC 6455 §4.1: the absolute form is an HTTP or HTTPS URI.
    head("GET ws://b/ HTTP/1.1", HOST, 400),
    head("GET foo HTTP/1.1", HOST, 400),
    head("GET a:80 HTTP/1.1", HOST, 400),
    head("GET a/b HTTP/1.1", HOST, 400),
    head("GET ?a HTTP/1.1", HOST, 400),
    head("GET * HTTP/1.1", HOST, 400),
    head("GET *a HTTP/1.1", HOST, 400),
    // hyper's parser removes a fragment before the route sees the target.
    differs("GET /a#b HTTP/1.1", HOST, 400, 101),
    differs("GET /# HTTP/1.1", HOST, 400, 101),
    differs("GET http://b/#c HTTP/1.1", HOST, 400, 101),
    head("GET #a HTTP/1.1", HOST, 400),
    head("GET /\u{e9} HTTP/1.1", HOST, 400),
    head("GET /?\u{e9} HTTP/1.1", HOST, 400),
    head("GET /a b HTTP/1.1", HOST, 400),
    head("GET / HTTP/1.1 x", HOST, 400),
    head("GET /\"a\"?<b> HTTP/1.1", HOST, 400),
    head("GET HTTP/1.1", HOST, 400),
    // These requests are valid, but do not ask for a WebSocket.
    head("OPTIONS * HTTP/1.1", HOST, 405),
    head("POST / HTTP/1.1", HOST, 405),
    head("POST / HTTP/1.1", "", 400),
    // hyper treats a version that it does not know as a syntax error.
    differs("GET / HTTP/3.0", HOST, 505, 400),
];

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: qmux-02\r\n\r\n";

/// Returns a server whose response names the host that it has found in the request.
fn builder() -> wsmux::WebSocketServerBuilder {
    WebSocketServer::builder().authorizer(|request: UpgradeRequest| async move {
        let host = &request.headers()[header::HOST];
        assert_eq!(request.authority(), host.to_str().ok());
        Ok::<_, Refuse>(Accept::new().header("x-for", host.clone()))
    })
}

async fn own_server() -> std::net::SocketAddr {
    let server = builder().bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(async move { connecting.await.map(drop) });
        }
    });
    address
}

async fn hypers_server() -> std::net::SocketAddr {
    let acceptor = builder().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                wsmux::hyper::allow_http2(&mut server);
                let service =
                    hyper::service::service_fn(move |request| route(acceptor.clone(), request));
                let _ = server.serve_connection_with_upgrades(TokioIo::new(tcp), service).await;
            });
        }
    });
    address
}

async fn route(
    acceptor: WebSocketAcceptor,
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match wsmux::hyper::upgrade(&acceptor, &mut request).await {
        Ok((response, upgrading)) => {
            tokio::spawn(upgrading);
            response
        }
        Err(refused) => refused.into_response(),
    })
}

/// Sends a request, and returns the head of the answer.
async fn answer(address: std::net::SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an answer", tcp.read_u8()).await.expect("a whole head"));
    }
    String::from_utf8(head).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// [W-45] A server MUST answer HTTP 400 to an HTTP/1.1 request without a `Host` header, and to any
/// request with more than one `Host` header. It MUST answer HTTP 400 as well if the `Host` is not a
/// host with an optional port of at most 65535.
///
/// [W-46] A server MUST answer HTTP 400 if the target of a request has none of the forms of RFC
/// 9112 §3.2 that the method permits. It MUST answer HTTP 400 as well if the target contains a
/// user, a fragment or a character outside ASCII. The absolute form, with `http` or `https`, MUST
/// be accepted.
#[tokio::test]
async fn a_request_says_whom_it_is_for_or_gets_status_400() {
    let (own, hypers) = (own_server().await, hypers_server().await);
    let mut faults = Vec::new();
    for Head { line, host, ours, hypers: theirs } in HEADS {
        let request = format!("{line}\r\n{host}{UPGRADE}");
        for (server, address, expected) in [("ours", own, ours), ("hyper's", hypers, theirs)] {
            let found = status(&answer(address, &request).await);
            if found != *expected {
                faults.push(format!("{server}: {line:?} {host:?}: {found}, not {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// [W-47] If a request's target has an authority, a server MUST use that authority as the host of
/// the request, whatever the `Host` header says.
#[tokio::test]
async fn the_targets_authority_wins_over_the_host_header() {
    for address in [own_server().await, hypers_server().await] {
        for (target, expected) in [("/", "a:1"), ("http://b:2/", "b:2"), ("https://[::1]", "[::1]")]
        {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a:1\r\n{UPGRADE}");
            let answer = answer(address, &request).await.to_lowercase();
            assert!(answer.contains(&format!("\r\nx-for: {expected}\r\n")), "{answer}");
        }
    }
}

/// [W-48] Over HTTP/2 a server MUST answer HTTP 400 in three cases. First, the request has neither
/// `:authority` nor `Host`. Second, W-45 would not accept the `:authority` as a `Host`. Third,
/// `:authority` and `Host` differ.
#[tokio::test]
async fn an_authority_of_http2_is_held_to_what_a_host_is() {
    let address = hypers_server().await;
    for (authority, host, expected) in [
        ("a", None, Ok("a")),
        ("a:80", None, Ok("a:80")),
        ("[::1]:8080", None, Ok("[::1]:8080")),
        ("a", Some("A"), Ok("a")),
        ("a", Some("b"), Err(400)),
        ("a", Some(""), Err(400)),
        ("a", Some("u@a"), Err(400)),
        ("u@a", None, Err(400)),
        ("u:p@a", None, Err(400)),
        ("a:99999999", None, Err(400)),
        ("a:+80", None, Err(400)),
        ("[a]", None, Err(400)),
    ] {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(tcp).await.unwrap();
        let mut connection = connection;
        let mut ping_pong = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        within("SETTINGS", ping_pong.ping(h2::Ping::opaque())).await.unwrap();
        let request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri(format!("http://{authority}/"))
            .extension(Protocol::from_static("websocket"))
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, "qmux-02");
        let request = match host {
            Some(host) => request.header(header::HOST, host),
            None => request,
        };
        let (response, _send) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let response = within("an answer", response).await;
        let found = match &response {
            Ok(response) if response.status() == StatusCode::OK => {
                Ok(response.headers()["x-for"].to_str().unwrap())
            }
            Ok(response) => Err(response.status().as_u16()),
            Err(error) => panic!("{authority:?}: {error}"),
        };
        assert_eq!(found, expected, "{authority:?} {host:?}");
    }
}
