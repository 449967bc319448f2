//! A server with a WebSocket route, which is an ordinary HTTP server on all other routes.

use std::process::Stdio;

use wsmux::{ConnectError, Http2Client, WebSocketConnection, http::Version};

use super::server::{Kind, Server, exchange, version, within};

/// Returns what curl prints: the body, followed by the status and the HTTP version.
async fn curl(args: &[&str], url: &str) -> Option<String> {
    let command = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
        .args(["--write-out", "%{http_code} %{http_version}"])
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .output();
    let output = match within("curl", command).await {
        Ok(output) => output,
        Err(error) => {
            eprintln!("MISSING: curl ({error}): NOTHING WAS TESTED AGAINST IT");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

async fn ours(
    server: &Server,
    http2: bool,
    path: &str,
) -> Result<WebSocketConnection, ConnectError> {
    let client = server.client().build().unwrap();
    let url = server.url(path);
    match http2 {
        true => within("connecting", Http2Client::new(client).connect(&url)).await,
        false => within("connecting", client.connect(&url)).await,
    }
}

#[tokio::test]
async fn curl_gets_its_page_its_404_and_its_401_beside_a_connection() {
    let server = Server::start(Kind::TLS).await;
    let connections =
        [ours(&server, false, "/mux").await.unwrap(), ours(&server, true, "/mux").await.unwrap()];
    let page = |path: &str| format!("https://{}{path}", server.address);
    for (args, path, expected) in [
        (&["--http1.1"][..], "/", "a page\n200 1.1"),
        (&["--http2"], "/", "a page\n200 2"),
        (&["--http1.1"], "/nowhere", "404 1.1"),
        (&["--http2"], "/nowhere", "404 2"),
        (&["--http1.1"], "/private", "who are you?\n401 1.1"),
        (&["--http2", "--user", "user:wrong"], "/private", "who are you?\n401 2"),
        (&["--http2", "--user", "user:secret"], "/private", "a private page\n200 2"),
        // These requests for the WebSocket route do not ask for a WebSocket.
        (&["--http1.1"], "/mux", "no \"Upgrade: websocket\"\n426 1.1"),
        (&["--http1.1", "--request", "POST"], "/mux", "WebSocket needs GET\n405 1.1"),
        (&["--http2"], "/mux", "WebSocket over HTTP/2 needs an extended CONNECT\n400 2"),
        (&["--http1.1"], "/private/mux", "who are you?\n401 1.1"),
    ] {
        let Some(answer) = curl(args, &page(path)).await else { return };
        assert_eq!(answer, expected, "{args:?} {path}");
    }
    for connection in &connections {
        exchange(connection, 1000).await;
    }
}

#[tokio::test]
async fn a_refused_client_is_told_its_status_in_either_version() {
    let server = Server::start(Kind::TLS).await;
    for http2 in [false, true] {
        for (path, expected) in [("/nowhere", 404), ("/private/mux", 401)] {
            let refused = ours(&server, http2, path).await.unwrap_err();
            let ConnectError::Refused { status, body, .. } = &refused else {
                panic!("{refused:?}")
            };
            assert_eq!(status.as_u16(), expected, "{path}");
            assert_eq!(body, if expected == 401 { "who are you?" } else { "" });
        }
        let client = server.client().protocol("other").require_protocol(true).build().unwrap();
        let url = server.url("/mux");
        let refused = match http2 {
            true => Http2Client::new(client).connect(&url).await,
            false => client.connect(&url).await,
        };
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, ConnectError::Refused { status, body, .. }
                if *status == 400 && body == "no subprotocol that is offered is spoken here"),
            "{refused:?}"
        );
        let client = server.client().header("authorization", "Basic dXNlcjpzZWNyZXQ=");
        let client = client.build().unwrap();
        let url = server.url("/private/mux");
        let connection = match http2 {
            true => Http2Client::new(client).connect(&url).await,
            false => client.connect(&url).await,
        };
        exchange(&connection.unwrap(), 10).await;
        server.accepted().await;
    }
}

#[tokio::test]
async fn both_ends_know_what_the_handshake_said() {
    for kind in [Kind::PLAIN, Kind::TLS] {
        let server = Server::start(kind).await;
        for (http2, expected) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
            let client = server.client().protocol("chat").header("x-hello", "you").build().unwrap();
            let url = server.url("/mux?a=b");
            let client = match (http2, kind.tls) {
                (false, _) => client.connect(&url).await,
                (true, true) => Http2Client::new(client).connect(&url).await,
                (true, false) => Http2Client::with_prior_knowledge(client).connect(&url).await,
            }
            .unwrap();
            let accepted = server.accepted().await;
            for end in [&client, &accepted] {
                assert_eq!(end.subprotocol(), Some("qmux-02.chat"));
                let request = end.info().request().unwrap();
                assert_eq!(request.uri().path_and_query().unwrap(), "/mux?a=b");
                assert_eq!(request.headers()["x-hello"], "you");
                assert_eq!(end.info().response_headers().unwrap()["x-served-by"], "axum");
            }
            assert_eq!(version(&accepted), expected);
            assert_eq!(client.remote_address(), Some(server.address));
            assert_eq!(accepted.remote_address(), client.info().local_address());
            assert_eq!(client.peer_certificates().is_some(), kind.tls);
            exchange(&client, 3_000_000).await;
            // Over HTTP/1.1 the acceptor finds the socket inside hyper's upgraded connection, so it
            // can ask the system for the round-trip time.
            #[cfg(target_os = "linux")]
            assert_eq!(accepted.socket_rtt().is_some(), !http2);
        }
    }
}

#[tokio::test]
async fn a_connection_closes_as_it_does_over_a_socket_of_its_own() {
    let server = Server::start(Kind::TLS).await;
    for http2 in [false, true] {
        let connection = ours(&server, http2, "/mux").await.unwrap();
        let accepted = server.accepted().await;
        connection.close(7u32.into(), b"enough");
        let end = within("the server's end", accepted.closed()).await;
        assert!(end.to_string().contains("enough"), "{end}");
        within("the client's end", connection.closed()).await;
        drop((connection, accepted));
        server.tcp_ended().await;
    }
}
