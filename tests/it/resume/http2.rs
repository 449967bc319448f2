//! Connections of an HTTP server's routes, over HTTP/1.1 and over HTTP/2. Over HTTP/2 several
//! connections share a TCP connection.

use tokio::task::JoinSet;
use wsmux::{Http2Client, WebSocketConnection, WebSocketServer};
use wsmux_testing::{
    cutter::{Cut, Cutter},
    interop::{KIB, get_echo},
};

use super::{config, kill_at_random, resumed, suspended};
use crate::http_axum::server::{Kind, Server};

/// Starts a server whose connections can be resumed, and opens connections to it.
async fn connect(kind: Kind, count: usize) -> (Server, Cutter, Vec<WebSocketConnection>) {
    let server = Server::with(kind, WebSocketServer::builder().config(config())).await;
    let cutter = Cutter::start(server.address).await;
    let client = server.client().config(config()).build().unwrap();
    let client = match kind.tls {
        true => Http2Client::new(client),
        false => Http2Client::with_prior_knowledge(client),
    };
    let scheme = if kind.tls { "wss" } else { "ws" };
    let url = format!("{scheme}://localhost:{}/mux", cutter.address().port());
    let mut connections = Vec::new();
    for _ in 0..count {
        let connection = client.connect(&url).await.unwrap();
        // The connection cannot be resumed until the server has the client's parameters.
        get_echo(&connection, 1, 100).await;
        connections.push(connection);
    }
    (server, cutter, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_share_a_tcp_connection_come_back_together() {
    for kind in [Kind::PLAIN, Kind::TLS] {
        let (server, cutter, connections) = connect(kind, 3).await;
        let mut events: Vec<_> = connections.iter().map(WebSocketConnection::events).collect();
        for round in 2..=4 {
            cutter.cut(if round % 2 == 0 { Cut::Reset } else { Cut::End });
            for events in &mut events {
                suspended(events).await;
                resumed(events).await;
            }
            assert_eq!(server.tcp_connections(), round);
            for connection in &connections {
                get_echo(connection, 1, 100).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_repeated_by_kills_of_http_connections() {
    let http1 = Kind { alpn: &["http/1.1"], ..Kind::TLS };
    for (seed, kind) in [(8, Kind::PLAIN), (9, Kind::TLS), (10, http1)] {
        let (_server, cutter, connections) = connect(kind, 2).await;
        let mut jobs = JoinSet::new();
        for seed in 0..6 {
            for connection in &connections {
                let connection = connection.clone();
                jobs.spawn(async move {
                    for round in 0..4 {
                        get_echo(&connection, seed + round, 200 * KIB).await;
                    }
                });
            }
        }
        let working = async {
            while let Some(done) = jobs.join_next().await {
                done.expect("every byte comes back");
            }
        };
        tokio::select! {
            () = working => {}
            () = kill_at_random(&cutter, seed, 1..600_000) => {}
        }
        for connection in &connections {
            let stats = connection.session_stats();
            println!("{stats:?}, {} dials", cutter.accepted());
            assert!(stats.resumptions >= 1, "{stats:?}");
        }
    }
}
