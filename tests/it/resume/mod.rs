//! Connections that outlive their sockets, over real TCP, TLS and HTTP/2 (SPEC.md §12).

mod ending;
#[cfg(all(feature = "axum", feature = "http2"))]
mod http2;
mod identity;
mod kills;
mod limits;
mod place;
mod reconnecting;
mod redialling;
mod streams;
mod without_tls;

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wsmux::{
    Config, ConnectionError, ConnectionEvent, ConnectionEvents, SessionState, WebSocketClient,
    WebSocketConnection, WebSocketServer,
};
use wsmux_testing::{
    cutter::{Cut, Cutter},
    interop::{self, within},
    server::Tls,
};

use place::{Ends, Place};

/// Settings with which connections outlive their sockets.
fn config() -> Config {
    config_for(Duration::from_secs(60))
}

/// Settings with which connections outlive their sockets for this time.
fn config_for(timeout: Duration) -> Config {
    interop::config(|config| {
        config.resume_timeout(Some(timeout));
    })
}

/// Makes two ends that are connected without TLS.
async fn connect_plain() -> Ends {
    let place = Place::start(WebSocketServer::builder().config(config()), "ws").await;
    place.connect(WebSocketClient::builder().config(config())).await
}

/// Makes two ends that are connected over TLS.
async fn connect_tls() -> Ends {
    let tls = Tls::new("localhost");
    let place = Place::start(tls.server().config(config()), "wss").await;
    place.connect(tls.client().config(config())).await
}

async fn suspended(events: &mut ConnectionEvents) {
    assert_eq!(within("a loss", events.next()).await, Some(ConnectionEvent::Suspended));
}

async fn resumed(events: &mut ConnectionEvents) {
    match within("a resumption", events.next()).await {
        Some(ConnectionEvent::Resumed { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Cuts the connection, and waits until both ends have noticed the loss.
async fn lose(ends: &Ends) {
    let both = [&ends.client, &ends.server];
    let mut events = both.map(WebSocketConnection::events);
    ends.cutter.cut(Cut::Reset);
    for events in &mut events {
        suspended(events).await;
    }
}

/// Waits until the connection has ended with the error that suspended it.
async fn ended_by_the_loss(connection: &WebSocketConnection) {
    let error = within("the end", connection.closed()).await;
    assert!(matches!(error, ConnectionError::SocketLost(_)), "{error:?}");
    assert_eq!(connection.session_state(), SessionState::Ended);
}

/// How often [`kill_at_random`] cuts the connections. If a socket was lost soon after it was
/// opened, the client pauses before it dials again. So each cut takes an eighth of a second on
/// average.
const KILLS: u32 = 12;

/// Cuts the connections again and again, each time after a number of bytes that follows from the
/// seed.
async fn kill_at_random(cutter: &Cutter, seed: u64, bytes: std::ops::Range<u64>) {
    println!("kills with seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..KILLS {
        cutter.forwarded(rng.random_range(bytes.clone())).await;
        cutter.cut(if rng.random() { Cut::Reset } else { Cut::End });
    }
    std::future::pending().await
}
