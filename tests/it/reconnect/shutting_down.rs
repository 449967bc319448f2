//! Either end shuts the connection down.

use std::time::Duration;

use tokio::time::timeout;
use wsmux::{Config, ConnectionError, ReconnectError, ReconnectEvent, ReconnectEvents};

use super::{
    Connects, connected, failed, gave_up, lost, next, refused, waiting, world, world_with,
};

async fn draining(events: &mut ReconnectEvents) {
    let event = next(events).await;
    assert!(matches!(event, ReconnectEvent::Draining), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_drains_is_replaced_for_new_streams() {
    let (builder, mut servers) = world([Connects, Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let first = client.connection().await.unwrap();
    let server = servers.recv().await.unwrap();
    let (mut send, mut recv) = first.open_bi().await.unwrap().into_split();
    send.write_all(b"before").await.unwrap();
    let (mut answer, mut request) = server.accept_bi().await.unwrap().into_split();

    first.drain();
    // From now on `current` returns `None`, although the client's task has not noticed the drain
    // yet.
    assert!(client.current().is_none());
    let second = client.connection().await.unwrap();
    let mut stream = second.open_uni().await.unwrap();
    stream.finish().unwrap();
    let second_server = servers.recv().await.unwrap();
    second_server.accept_uni().await.unwrap();
    draining(&mut events).await;
    waiting(&mut events, 1).await;
    connected(&mut events, 1).await;

    // The stream that was open on the first connection can still be used to its end.
    send.write_all(b" and after").await.unwrap();
    send.finish().unwrap();
    assert_eq!(request.read_to_end(100).await.unwrap(), b"before and after");
    answer.write_all(b"answer").await.unwrap();
    answer.finish().unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"answer");
    assert!(matches!(lost(&mut events).await, ConnectionError::LocallyClosed));
    assert!(second.close_reason().is_none() && client.current().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_drains_is_kept_until_it_is_done_even_after_giving_up() {
    let mut config = Config::default();
    config.stream_receive_window(1000).window_growth_budget(0);
    let (builder, mut servers) = world_with(config, [Connects, refused(401)]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let connection = client.connection().await.unwrap();
    let server = servers.recv().await.unwrap();
    // This is more data than the server accepts before it reads. The client then drops all handles.
    let mut send = connection.open_uni().await.unwrap();
    send.write_all(&[7; 5_000]).await.unwrap();
    send.finish().unwrap();
    connection.drain();
    drop((connection, send));
    draining(&mut events).await;
    waiting(&mut events, 1).await;
    failed(&mut events, 1).await;
    gave_up(&mut events).await;
    let mut recv = server.accept_uni().await.unwrap();
    assert_eq!(recv.read_to_end(10_000).await.unwrap(), [7; 5_000]);
    let end = timeout(Duration::from_secs(600), server.closed()).await.unwrap();
    assert!(matches!(end, ConnectionError::ApplicationClosed(_)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_after_which_nothing_is_to_be_dialled_is_the_end() {
    let (builder, mut servers) = world([Connects, Connects]);
    let is_ours = |error: &ConnectionError| matches!(error, ConnectionError::LocallyClosed);
    let (client, mut events) = builder.reconnect_if(move |error| !is_ours(error)).start();
    connected(&mut events, 1).await;
    let connection = client.connection().await.unwrap();
    let _server = servers.recv().await.unwrap();
    connection.drain();
    let end = connection.closed();
    let waits = client.connection();
    assert!(is_ours(&end.await));
    assert!(matches!(waits.await, Err(ReconnectError::Lost(_))));
    lost(&mut events).await;
    gave_up(&mut events).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_this_end_closes_is_replaced() {
    let (builder, mut servers) = world([Connects, Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let first = client.connection().await.unwrap();
    first.close(1u32.into(), b"sick");
    // From now on `current` returns `None`, although the task that dials has not noticed the drain
    // yet.
    assert!(client.current().is_none());
    assert!(client.connection().await.unwrap().close_reason().is_none());
    assert!(matches!(lost(&mut events).await, ConnectionError::LocallyClosed));
    servers.recv().await.unwrap();
    servers.recv().await.unwrap();
}
