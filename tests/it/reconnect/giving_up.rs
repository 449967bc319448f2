//! Which failures lead to another attempt, and which are final.

use std::{io, sync::Arc, time::Duration};

use wsmux::{ConnectError, ConnectionError, ReconnectError, http::StatusCode};

use super::{
    Connects, Fails, INITIAL, LASTING, connected, failed, gave_up, lost, refused, unreachable,
    waiting, world,
};

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_is_is_not_tried_again() {
    let rejected = ConnectError::ServerRejected(wsmux::VerifyServerError::from("no").into());
    for step in [
        refused(401),
        refused(403),
        refused(404),
        refused(302),
        refused(200),
        refused(505),
        Fails(ConnectError::InvalidUrl("x".into())),
        Fails(ConnectError::Subprotocol { offered: vec![], selected: None }),
        Fails(rejected),
        Fails(ConnectError::Proxy(Arc::new(ConnectError::Refused {
            status: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            headers: Arc::default(),
            body: String::new(),
        }))),
    ] {
        let (builder, _servers) = world([step, Connects]);
        let (client, mut events) = builder.start();
        let waits = tokio::spawn({
            let client = client.clone();
            async move { client.connection().await.map(drop) }
        });
        failed(&mut events, 1).await;
        let error = gave_up(&mut events).await;
        assert!(matches!(error, ReconnectError::Connect(_)), "{error:?}");
        assert!(matches!(waits.await.unwrap(), Err(ReconnectError::Connect(_))));
        assert!(matches!(client.connection().await, Err(ReconnectError::Connect(_))));
        assert!(client.current().is_none());
        assert!(client.events().next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    for step in [
        refused(408),
        refused(429),
        refused(500),
        refused(502),
        refused(503),
        unreachable(),
        Fails(ConnectError::ConnectTimeout),
        Fails(ConnectError::HandshakeTimeout),
        Fails(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Fails(ConnectError::Proxy(Arc::new(ConnectError::ConnectTimeout))),
    ] {
        let (builder, _servers) = world([step, Connects]);
        let (_client, mut events) = builder.start();
        failed(&mut events, 1).await;
        waiting(&mut events, 2).await;
        connected(&mut events, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_application_decides_otherwise() {
    let (builder, mut servers) = world([refused(401), Connects]);
    let builder = builder.retry_if(|_| true).reconnect_if(|error| {
        !matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == 4u32.into())
    });
    let (client, mut events) = builder.start();
    failed(&mut events, 1).await;
    waiting(&mut events, 2).await;
    connected(&mut events, 2).await;
    servers.recv().await.unwrap().close(4u32.into(), b"go away");
    lost(&mut events).await;
    assert!(matches!(gave_up(&mut events).await, ReconnectError::Lost(_)));
    assert!(matches!(client.connection().await, Err(ReconnectError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_from_the_last_connection_that_lasted() {
    let script = [unreachable(), Connects, unreachable(), unreachable(), unreachable(), Connects];
    let (builder, mut servers) = world(script);
    let (_client, mut events) = builder.max_attempts(Some(3)).start();
    failed(&mut events, 1).await;
    waiting(&mut events, 2).await;
    connected(&mut events, 2).await;
    tokio::time::sleep(LASTING).await;
    servers.recv().await.unwrap().close(0u32.into(), b"");
    lost(&mut events).await;
    for attempt in 1..=3 {
        waiting(&mut events, attempt).await;
        failed(&mut events, attempt).await;
    }
    assert!(matches!(gave_up(&mut events).await, ReconnectError::Connect(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_goes_away_is_left_in_peace() {
    let (builder, mut servers) = world((0..20).map(|_| Connects));
    let (client, mut events) = builder.start();
    let mut longest = Duration::ZERO;
    for attempt in 1..=12 {
        connected(&mut events, attempt).await;
        servers.recv().await.unwrap().close(0u32.into(), b"");
        lost(&mut events).await;
        longest = longest.max(waiting(&mut events, attempt + 1).await);
    }
    // Without doubling, all pauses would be at most `INITIAL`. With doubling, this happens by
    // chance only once in 2^50 runs.
    assert!(longest > INITIAL, "{longest:?}");
    // After a connection that lasts, the pauses are short again.
    for attempt in [13, 1, 1, 1, 1, 1, 1, 1] {
        connected(&mut events, attempt).await;
        let server = servers.recv().await.unwrap();
        tokio::time::sleep(LASTING).await;
        assert!(client.current().is_some());
        server.close(0u32.into(), b"");
        lost(&mut events).await;
        let delay = waiting(&mut events, 1).await;
        assert!(delay <= INITIAL, "{delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_goes_away_is_given_up_in_the_end() {
    let (builder, mut servers) = world((0..20).map(|_| Connects));
    // Attempts are counted even if there are no pauses.
    let (client, mut events) = builder.max_delay(Duration::ZERO).max_attempts(Some(3)).start();
    for attempt in 1..=3 {
        connected(&mut events, attempt).await;
        let server = servers.recv().await.unwrap();
        tokio::time::sleep(LASTING - Duration::from_secs(1)).await;
        server.close(3u32.into(), b"overloaded");
        lost(&mut events).await;
        if attempt < 3 {
            waiting(&mut events, attempt + 1).await;
        }
    }
    let error = gave_up(&mut events).await;
    assert!(matches!(error, ReconnectError::Lost(ConnectionError::ApplicationClosed(_))));
    assert!(matches!(client.connection().await, Err(ReconnectError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lasts_or_is_closed_here_is_no_failure() {
    let (builder, mut servers) = world((0..20).map(|_| Connects));
    let (client, mut events) = builder.max_attempts(Some(1)).start();
    for _ in 0..5 {
        connected(&mut events, 1).await;
        let server = servers.recv().await.unwrap();
        tokio::time::sleep(LASTING).await;
        server.close(0u32.into(), b"");
        lost(&mut events).await;
        waiting(&mut events, 1).await;
        connected(&mut events, 1).await;
        client.current().unwrap().close(0u32.into(), b"");
        servers.recv().await.unwrap();
        assert!(matches!(lost(&mut events).await, ConnectionError::LocallyClosed));
        waiting(&mut events, 1).await;
    }
}
