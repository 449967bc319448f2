//! Connections of our client that share a TCP connection, and connections that cannot share one.

use std::time::Duration;

use wsmux::{Config, Http2Client, http::Version};

use super::server::{Kind, Server, exchange, version, within};

async fn http2(server: &Server) -> Http2Client {
    Http2Client::new(server.client().build().unwrap())
}

#[tokio::test]
async fn three_connections_share_one_tcp_connection() {
    let server = Server::start(Kind::TLS).await;
    let client = http2(&server).await;
    let url = server.url("/mux");
    let connect = || async { within("connecting", client.connect(&url)).await.unwrap() };
    // All three connect at the same time: the first one dials, and the others wait for it.
    let (one, two, three) = tokio::join!(connect(), connect(), connect());
    for _ in 0..3 {
        assert_eq!(version(&server.accepted().await), Version::HTTP_2);
    }
    tokio::join!(exchange(&one, 5_000_000), exchange(&two, 5_000_000), exchange(&three, 5_000_000),);
    assert_eq!(server.tcp_connections(), 1);

    // The TCP connection lives as long as any of the three wsmux connections.
    drop((one, two));
    exchange(&three, 1000).await;
    drop(three);
    server.tcp_ended().await;
    let again = connect().await;
    exchange(&again, 1000).await;
    assert_eq!(server.tcp_connections(), 2);
}

/// The stalled connections use up the credit of all their streams. These are more bytes than the
/// initial HTTP/2 windows allow.
#[tokio::test]
async fn stalled_connections_do_not_slow_another_on_the_same_tcp_connection() {
    let server = Server::start(Kind::TLS).await;
    let client = http2(&server).await;
    let url = server.url("/mux");
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let connection = client.connect(&url).await.unwrap();
        for _ in 0..4 {
            let mut stream = connection.open_bi().await.unwrap();
            stream.send().write_all(b"stall").await.unwrap();
            // These bytes fill the stream's window and a part of the send buffer.
            let filled = stream.send().write_all(&[0; 1024 * 1024 + 256 * 1024]);
            within("filling", filled).await.unwrap();
            stalled.push(stream);
        }
    }
    let connection = client.connect(&url).await.unwrap();
    exchange(&connection, 20_000_000).await;
    assert_eq!(server.tcp_connections(), 1);
}

#[tokio::test]
async fn a_server_without_http2_is_upgraded_on_the_connection_that_found_out() {
    let server = Server::start(Kind { alpn: &["http/1.1"], ..Kind::TLS }).await;
    let client = http2(&server).await;
    for expected in 1..=3 {
        let connection = client.connect(&server.url("/mux")).await.unwrap();
        assert_eq!(version(&server.accepted().await), Version::HTTP_11);
        exchange(&connection, 1000).await;
        assert_eq!(server.tcp_connections(), expected);
    }
}

#[tokio::test]
async fn a_server_with_http2_and_without_websocket_over_it_falls_back_to_http1() {
    let server = Server::start(Kind { extended_connect: false, ..Kind::TLS }).await;
    let client = http2(&server).await;
    // The first connect tries HTTP/2 in vain, and then dials a second TCP connection for HTTP/1.1.
    // The client remembers that the server needs HTTP/1.1. So each later connect makes only one TCP
    // connection.
    for expected in 2..=4 {
        let connection = client.connect(&server.url("/mux")).await.unwrap();
        assert_eq!(version(&server.accepted().await), Version::HTTP_11);
        exchange(&connection, 1000).await;
        assert_eq!(server.tcp_connections(), expected);
    }
    // The TCP connection of the failed attempt has ended.
    server.tcp_ended().await;
}

#[tokio::test]
async fn without_tls_http2_is_spoken_only_where_it_is_known_to_be() {
    let server = Server::start(Kind::PLAIN).await;
    let url = server.url("/mux");
    let plain = http2(&server).await.connect(&url).await.unwrap();
    assert_eq!(version(&server.accepted().await), Version::HTTP_11);
    exchange(&plain, 1000).await;

    let client = Http2Client::with_prior_knowledge(server.client().build().unwrap());
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(client.connect(&url).await.unwrap());
        assert_eq!(version(&server.accepted().await), Version::HTTP_2);
    }
    for connection in &connections {
        exchange(connection, 1000).await;
    }
    assert_eq!(server.tcp_connections(), 2);
}

#[tokio::test]
async fn beyond_the_servers_limit_another_tcp_connection_is_opened() {
    let server = Server::start(Kind { max_streams: 2, ..Kind::TLS }).await;
    let client = http2(&server).await;
    let mut connections = Vec::new();
    for expected in [1, 1, 2, 2, 3] {
        connections.push(client.connect(&server.url("/mux")).await.unwrap());
        assert_eq!(server.tcp_connections(), expected);
    }
    for connection in &connections {
        exchange(connection, 1000).await;
    }
    // When an HTTP/2 stream ends, one more connection fits on its TCP connection.
    drop(connections.remove(0));
    server.accepted().await.closed().await;
    let count = server.tcp_connections();
    connections.push(within("connecting", client.connect(&server.url("/mux"))).await.unwrap());
    exchange(connections.last().unwrap(), 1000).await;
    assert_eq!(server.tcp_connections(), count);
}

#[tokio::test]
async fn a_lost_tcp_connection_ends_all_on_it_and_the_next_one_dials() {
    let server = Server::start(Kind::TLS).await;
    let client = http2(&server).await;
    let url = server.url("/mux");
    let connections = [client.connect(&url).await.unwrap(), client.connect(&url).await.unwrap()];
    server.kill();
    for connection in &connections {
        within("the end", connection.closed()).await;
    }
    // Nobody listens at this address now. So an error from dialling shows that the client tried to
    // make a new TCP connection.
    let failed = within("connecting", client.connect(&url)).await.unwrap_err();
    assert!(matches!(failed, wsmux::ConnectError::Connect(_)), "{failed:?}");
}

/// The server sends GOAWAY on both TCP connections of the client. The next call of `connect` must
/// then open a new TCP connection, and not fail.
#[tokio::test]
async fn connections_that_go_away_take_nothing_new_and_end_nothing() {
    let server = Server::start(Kind { max_streams: 2, ..Kind::TLS }).await;
    let client = http2(&server).await;
    let url = server.url("/mux");
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(client.connect(&url).await.unwrap());
    }
    assert_eq!(server.tcp_connections(), 2);
    // Each TCP connection could still carry one more HTTP/2 stream.
    drop(old.remove(0));
    server.accepted().await.closed().await;
    server.go_away();
    // Once data that was sent after GOAWAY has arrived, GOAWAY has arrived as well.
    for connection in &old {
        exchange(connection, 1000).await;
        exchange(connection, 1000).await;
    }
    let new = within("connecting", client.connect(&url)).await.unwrap();
    for connection in old.iter().chain([&new]) {
        exchange(connection, 1000).await;
    }
    assert_eq!(server.tcp_connections(), 3);
}

/// The future of a call of `connect` is no longer polled, which can happen after a `select!`. Other
/// calls of `connect` wait for that call, but only for a limited time.
#[tokio::test]
async fn an_attempt_that_stands_still_holds_up_the_next_for_its_time_at_most() {
    let server = Server::start(Kind::TLS).await;
    let mut config = Config::default();
    config.handshake_timeout(Duration::from_secs(4));
    let client = server.client().config(config).connect_timeout(Duration::from_secs(1));
    let client = Http2Client::new(client.build().unwrap());
    let url = server.url("/mux");
    let mut parked = Box::pin(client.connect(&url));
    assert!(futures_util::poll!(&mut parked).is_pending());
    let connection = within("connecting", client.connect(&url)).await.unwrap();
    exchange(&connection, 1000).await;
    drop(parked);
}
