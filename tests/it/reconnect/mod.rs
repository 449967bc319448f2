//! A client that reconnects: when and how often it dials, how it reports a loss, and how it is
//! stopped.

mod giving_up;
mod going_away;
mod handles;
mod pauses;
mod shutting_down;
mod tcp;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use wsmux::{
    Config, ConnectError, ConnectionError, ConnectionInfo, ReconnectError, ReconnectEvent,
    ReconnectEvents, ReconnectingClient, ReconnectingClientBuilder, Side, WebSocketConnection,
    Wire, http::StatusCode, socket::memory_pair,
};

/// A time limit that is long enough even for a machine that is busy with other work.
const BOUND: Duration = Duration::from_secs(60);

const INITIAL: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);

/// A connection that lasts this long counts as a success.
const LASTING: Duration = Duration::from_secs(30);

/// The outcome of an attempt to connect.
enum Step {
    Connects,
    Fails(ConnectError),
}
use Step::{Connects, Fails};

fn refused(status: u16) -> Step {
    let status = StatusCode::from_u16(status).unwrap();
    Fails(ConnectError::Refused { status, headers: Arc::default(), body: String::new() })
}

fn unreachable() -> Step {
    Fails(ConnectError::Connect(Arc::new(io::ErrorKind::ConnectionRefused.into())))
}

/// The servers' ends of the connections.
type Servers = mpsc::UnboundedReceiver<WebSocketConnection>;

/// Returns a client whose attempts have these outcomes. All later attempts hang.
fn world(script: impl IntoIterator<Item = Step>) -> (ReconnectingClientBuilder, Servers) {
    world_with(Config::default(), script)
}

fn world_with(
    config: Config,
    script: impl IntoIterator<Item = Step>,
) -> (ReconnectingClientBuilder, Servers) {
    let script: Mutex<VecDeque<_>> = Mutex::new(script.into_iter().collect());
    let (accept, servers) = mpsc::unbounded_channel();
    let dial = move || {
        let (step, accept, config) =
            (script.lock().unwrap().pop_front(), accept.clone(), config.clone());
        async move {
            match step {
                Some(Fails(error)) => return Err(error),
                None => std::future::pending().await,
                Some(Connects) => {}
            }
            let (left, right) = memory_pair(256 * 1024);
            let info = ConnectionInfo::default;
            let (side, wire) = (Side::Server, Wire::QMux);
            let server =
                WebSocketConnection::from_socket(right, side, wire, config.clone(), info());
            let (side, wire) = (Side::Client, Wire::QMux);
            let client = WebSocketConnection::from_socket(left, side, wire, config, info());
            client.established().await?;
            let _ = accept.send(server);
            Ok(client)
        }
    };
    (ReconnectingClient::with_dialer(dial), servers)
}

async fn next(events: &mut ReconnectEvents) -> ReconnectEvent {
    // In virtual time waiting for a day takes no longer than waiting for a second.
    timeout(Duration::from_secs(86_400), events.next()).await.unwrap().expect("an event")
}

/// Returns the pause before the next attempt, whose number must be `expected`.
async fn waiting(events: &mut ReconnectEvents, expected: u32) -> Duration {
    match next(events).await {
        ReconnectEvent::Waiting { attempt, delay } if attempt == expected => delay,
        other => panic!("{other:?}, not the wait for attempt {expected}"),
    }
}

async fn connected(events: &mut ReconnectEvents, expected: u32) {
    match next(events).await {
        ReconnectEvent::Connected { attempt } if attempt == expected => {}
        other => panic!("{other:?}, not attempt {expected} connected"),
    }
}

async fn failed(events: &mut ReconnectEvents, expected: u32) -> ConnectError {
    match next(events).await {
        ReconnectEvent::Failed { attempt, error } if attempt == expected => error,
        other => panic!("{other:?}, not attempt {expected} failed"),
    }
}

async fn gave_up(events: &mut ReconnectEvents) -> ReconnectError {
    let error = match next(events).await {
        ReconnectEvent::GaveUp { error } => error,
        other => panic!("{other:?}, not the end"),
    };
    assert!(events.next().await.is_none());
    error
}

async fn lost(events: &mut ReconnectEvents) -> ConnectionError {
    match next(events).await {
        ReconnectEvent::Lost { error, .. } => error,
        other => panic!("{other:?}, not a loss"),
    }
}
