//! A client that reconnects, and whose connections can be resumed.

use wsmux::{
    AcceptError, ReconnectEvent, ReconnectEvents, ReconnectingClient, WebSocketClient,
    WebSocketServer,
};
use wsmux_testing::{cutter::Cut, interop::within};

use super::{config, place::Place, resumed, suspended};

async fn next(events: &mut ReconnectEvents) -> ReconnectEvent {
    within("an event", events.next()).await.expect("an event")
}

#[tokio::test]
async fn one_of_the_two_ways_back_is_taken_at_a_time() {
    let server = || WebSocketServer::builder().config(config());
    let (place, another) = (Place::start(server(), "ws").await, Place::start(server(), "ws").await);
    let cutter = place.cutter().await;
    let client = WebSocketClient::builder().config(config()).build().unwrap();
    let (client, mut events) = ReconnectingClient::builder(client, place.url(&cutter)).start();
    let (connection, _server) = tokio::join!(client.connection(), place.accepted());
    let connection = connection.unwrap();
    assert!(matches!(next(&mut events).await, ReconnectEvent::Connected { attempt: 1 }));

    // If a connection survives the loss of its socket, this client does not count that as a loss.
    let mut sockets = connection.events();
    for resumptions in 1..=5 {
        cutter.cut(Cut::Reset);
        suspended(&mut sockets).await;
        resumed(&mut sockets).await;
        assert_eq!(cutter.accepted(), 1 + resumptions);
        assert!(client.current().is_some());
    }

    // The client now reaches another server, which does not know the connection. The client learns
    // this from its first dial, and dials again for a new connection.
    cutter.forward_to(another.server.local_addr().unwrap());
    cutter.cut(Cut::Reset);
    suspended(&mut sockets).await;
    assert!(matches!(next(&mut events).await, ReconnectEvent::Lost { .. }));
    loop {
        match next(&mut events).await {
            ReconnectEvent::Waiting { .. } => {}
            ReconnectEvent::Connected { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cutter.accepted(), 6 + 2);
    // The first dial asked to resume the old connection.
    assert!(matches!(another.refused().await, AcceptError::Connection(_)));
    another.accepted().await;
}
