//! Pages for clients that do not ask for a WebSocket.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsmux::{
    AcceptError, WebSocketServer,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest, async_trait},
    http::{Response, StatusCode},
};
use wsmux_testing::server::*;

use super::{ask, upgrade};

/// Serves a page for browsers on the port of the WebSocket.
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
        // Some load balancers send such a request.
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

/// The test runs in virtual time, over a stream with a small buffer.
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
