//! The limits on a server's connections with and without a socket.

use std::{sync::Arc, time::Duration};

use wsmux::{
    SessionState, ShutdownReport, WebSocketClient, WebSocketClientBuilder, WebSocketServer,
    WebSocketServerBuilder,
};
use wsmux_testing::{
    cutter::Cut,
    interop::{code, within},
};

use super::{
    config, ended_by_the_loss, lose,
    place::{Ends, Place},
    suspended,
};

fn server() -> WebSocketServerBuilder {
    WebSocketServer::builder().config(config())
}

fn client() -> WebSocketClientBuilder {
    WebSocketClient::builder().config(config())
}

/// Connects a client whose dials fail from now on, and cuts its connection.
async fn connect_and_lose(place: &Arc<Place>) -> Ends {
    let ends = place.connect(client()).await;
    ends.cutter.set_down(true);
    lose(&ends).await;
    ends
}

#[tokio::test]
async fn beyond_the_limit_the_connection_that_has_waited_longest_ends() {
    let place = Place::start(server().max_suspended_connections(Some(2)), "ws").await;
    let [first, second] = [connect_and_lose(&place).await, connect_and_lose(&place).await];
    for ends in [&first, &second] {
        assert_eq!(ends.server.session_state(), SessionState::Suspended);
    }
    let third = connect_and_lose(&place).await;
    ended_by_the_loss(&first.server).await;
    for ends in [&first, &second, &third] {
        ends.cutter.set_down(false);
    }
    ended_by_the_loss(&first.client).await;
    second.talk().await;
    third.talk().await;
    // Connections that have a new socket no longer count towards this limit.
    let _more = [connect_and_lose(&place).await, connect_and_lose(&place).await];
    second.talk().await;
}

#[tokio::test]
async fn with_a_limit_of_none_at_all_a_connection_ends_with_its_socket() {
    let place = Place::start(server().max_suspended_connections(Some(0)), "ws").await;
    let ends = place.connect(client()).await;
    ends.cutter.cut(Cut::Reset);
    ended_by_the_loss(&ends.server).await;
    ended_by_the_loss(&ends.client).await;
}

/// Lets the server send `bytes` bytes that do not arrive, and then cuts the connection.
async fn lose_with_unsent(ends: &Ends, bytes: usize) {
    ends.cutter.set_down(true);
    ends.cutter.cut(Cut::Silence);
    let mut events = ends.server.events();
    let mut stream = ends.server.open_uni().await.unwrap();
    stream.write_all(&vec![0; bytes]).await.unwrap();
    within("sending", async {
        while ends.server.session_stats().replay_held < bytes as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ends.cutter.cut(Cut::Reset);
    suspended(&mut events).await;
}

#[tokio::test]
async fn the_bytes_of_all_waiting_connections_together_are_limited() {
    let place = Place::start(server().max_suspended_bytes(Some(300_000)), "ws").await;
    let [first, second, third] = [
        place.connect(client()).await,
        place.connect(client()).await,
        place.connect(client()).await,
    ];
    lose_with_unsent(&first, 200_000).await;
    assert_eq!(first.server.session_state(), SessionState::Suspended);
    lose_with_unsent(&second, 200_000).await;
    ended_by_the_loss(&first.server).await;
    assert_eq!(second.server.session_state(), SessionState::Suspended);
    // An idle connection keeps hardly any bytes, so its loss ends no other connection.
    third.cutter.set_down(true);
    lose(&third).await;
    assert_eq!(second.server.session_state(), SessionState::Suspended);
    // The connection that keeps the most bytes ends. The connections of other clients continue.
    let fourth = place.connect(client()).await;
    lose_with_unsent(&fourth, 400_000).await;
    ended_by_the_loss(&fourth.server).await;
    for ends in [&second, &third] {
        assert_eq!(ends.server.session_state(), SessionState::Suspended);
    }
}

/// Asserts that a further client gets a connection only after `done` has completed.
async fn comes_only_after(place: &Arc<Place>, talk: &[&Ends], done: impl Future<Output = ()>) {
    let cutter = place.cutter().await;
    let mut connecting = std::pin::pin!(place.connect_through(&cutter, client()));
    for ends in talk {
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = &mut connecting => panic!("a connection beyond the limit"),
                () = ends.talk() => {}
            }
        }
    }
    let (_connection, ()) = tokio::join!(connecting, done);
}

#[tokio::test]
async fn a_connection_without_a_socket_has_no_slot_until_it_is_back() {
    let place = Place::start(server().max_connections(Some(1)), "ws").await;
    let first = connect_and_lose(&place).await;
    let second = place.connect(client()).await;
    second.talk().await;
    first.cutter.set_down(false);
    second.client.close(code(1), b"");
    second.server.closed().await;
    first.talk().await;
    assert_eq!(first.server.session_stats().resumptions, 1);
    let close = async { first.client.close(code(1), b"") };
    comes_only_after(&place, &[&first], close).await;
}

/// The server still has the old socket when the new one comes.
#[tokio::test]
async fn a_connection_whose_new_socket_replaces_an_open_one_keeps_a_slot() {
    let place = Place::start(server().max_connections(Some(2)), "ws").await;
    let first = place.connect(client()).await;
    first.cutter.cut(Cut::Client);
    first.talk().await;
    assert_eq!(first.server.session_stats().resumptions, 1);
    let second = place.connect(client()).await;
    let close = async { second.client.close(code(1), b"") };
    comes_only_after(&place, &[&first, &second], close).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_connections_without_a_socket_in_time() {
    for timeout in [Duration::ZERO, Duration::from_millis(100)] {
        let place = Place::start(server(), "ws").await;
        let lost = connect_and_lose(&place).await;
        // A stream is open, so the connection has not drained.
        let open = place.connect(client()).await;
        let stream = open.server.open_bi().await.unwrap();
        lose_with_unsent(&open, 1000).await;
        let live = place.connect(client()).await;
        assert_eq!(place.server.connections(), 3);
        let shutdown = place.server.shutdown(timeout, code(7), b"the end");
        let report =
            tokio::time::timeout(Duration::from_secs(20), shutdown).await.expect("in time");
        let ShutdownReport { drained, closed, .. } = report;
        assert_eq!(drained + closed, 3, "{report:?}");
        assert!(closed >= 1, "{report:?}");
        assert_eq!(place.server.connections(), 0);
        drop(stream);
        for ends in [&lost, &open, &live] {
            within("the end", ends.server.closed()).await;
        }
    }
}
