//! What the handles of a lost connection report, and how they end.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use wsmux::{
    Config, ConnectionError, ConnectionInfo, DriverLost, ReadError, ReadToEndError, ReconnectError,
    ReconnectEvent, ReconnectingClient, Side, SocketError, WebSocketConnection, Wire,
    socket::{Incoming, MemorySocket, Outgoing, Socket, memory_pair},
};

use super::{Connects, INITIAL, connected, lost, next, unreachable, waiting, world, world_with};

#[tokio::test(start_paused = true)]
async fn a_loss_says_what_was_in_flight_and_the_next_connection_works() {
    let mut config = Config::default();
    config.stream_receive_window(1000).window_growth_budget(0);
    let (builder, mut servers) = world_with(config, [Connects, Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let connection = client.connection().await.unwrap();
    let server = servers.recv().await.unwrap();

    // The server has answered this call, but nobody has read the answer yet.
    let answered = connection.open_bi().await.unwrap();
    let (mut send, mut answer) = answered.into_split();
    send.write_all(b"call").await.unwrap();
    send.finish().unwrap();
    let (mut send, mut recv) = server.accept_bi().await.unwrap().into_split();
    recv.read_to_end(10).await.unwrap();
    send.write_all(b"answer").await.unwrap();
    send.finish().unwrap();
    send.stopped().await.unwrap();
    // The server has not answered this call.
    let (mut send, mut unanswered) = connection.open_bi().await.unwrap().into_split();
    let unanswered_id = send.id();
    send.write_all(b"call").await.unwrap();
    send.finish().unwrap();
    let (_held, mut recv) = server.accept_bi().await.unwrap().into_split();
    recv.read_to_end(10).await.unwrap();
    // A unidirectional stream that was sent to its end.
    let mut done = connection.open_uni().await.unwrap();
    done.finish().unwrap();
    done.stopped().await.unwrap();
    // A unidirectional stream with more data than the peer accepts.
    let mut stuck = connection.open_uni().await.unwrap();
    stuck.write_all(&[0; 5000]).await.unwrap();
    // A unidirectional stream that this end resets.
    let mut given_up = connection.open_uni().await.unwrap();
    given_up.write_all(b"x").await.unwrap();
    given_up.reset(9u32.into()).unwrap();
    // A stream that the server has opened and that has not been accepted here.
    let mut push = server.open_uni().await.unwrap();
    push.write_all(b"push").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;

    server.close(7u32.into(), b"restart");
    let (error, in_flight) = match next(&mut events).await {
        ReconnectEvent::Lost { error, in_flight } => (error, in_flight),
        other => panic!("{other:?}"),
    };
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error:?}") };
    assert_eq!(close.reason, Bytes::from_static(b"restart"));
    let mut expected = [unanswered_id, stuck.id(), push.id()];
    expected.sort_unstable();
    assert_eq!(in_flight.streams, expected);
    assert_eq!(in_flight.unsent_bytes, 4000);
    assert_eq!((in_flight.opened_by(Side::Client), in_flight.opened_by(Side::Server)), (2, 1));
    assert_eq!(connection.in_flight(), in_flight);

    // Each handle reports its own stream's end.
    assert_eq!(answer.read_to_end(10).await.unwrap(), b"answer");
    let cut = unanswered.read_to_end(10).await.unwrap_err();
    assert!(matches!(cut, ReadToEndError::Read(ReadError::ConnectionLost(_))), "{cut:?}");

    assert!(waiting(&mut events, 2).await <= INITIAL);
    connected(&mut events, 2).await;
    let connection = client.connection().await.unwrap();
    assert_eq!(connection.in_flight().streams, []);
    let server = servers.recv().await.unwrap();
    connection.open_uni().await.unwrap().finish().unwrap();
    server.accept_uni().await.unwrap();
}

/// A socket that panics when it receives a WebSocket ping.
struct Panics(MemorySocket);

impl Socket for Panics {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        let came = self.0.poll_recv(cx);
        assert!(!matches!(came, Poll::Ready(Ok(Incoming::Ping))), "a bug of the socket");
        came
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.0.poll_ready(cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        self.0.start_send(item)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.0.poll_flush(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_driver_panicked_is_replaced() {
    let (tell, mut far_ends) = mpsc::unbounded_channel();
    let dial = move || {
        let (left, right) = memory_pair(256 * 1024);
        let _ = tell.send(right);
        let (config, info) = (Config::default(), ConnectionInfo::default());
        let (side, wire) = (Side::Client, Wire::JsWs);
        let client = WebSocketConnection::from_socket(Panics(left), side, wire, config, info);
        std::future::ready(Ok(client))
    };
    let (client, mut events) = ReconnectingClient::with_dialer(dial).start();
    for attempt in 1..=2 {
        connected(&mut events, attempt).await;
        let mut far = far_ends.recv().await.unwrap();
        std::future::poll_fn(|cx| far.poll_ready(cx)).await.unwrap();
        far.start_send(Outgoing::Ping([0; 8])).unwrap();
        std::future::poll_fn(|cx| far.poll_flush(cx)).await.unwrap();
        let error = lost(&mut events).await;
        assert!(matches!(error, ConnectionError::DriverLost(DriverLost::Panicked)), "{error}");
        waiting(&mut events, attempt + 1).await;
    }
    assert!(client.connection().await.unwrap().close_reason().is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_loses_nothing() {
    let (builder, _servers) = world([unreachable(), unreachable(), unreachable(), Connects]);
    let (client, mut events) = builder.start();
    let mut given_up = 0;
    let connection = loop {
        match timeout(Duration::from_millis(1), client.connection()).await {
            Ok(connection) => break connection.unwrap(),
            Err(_) => given_up += 1,
        }
    };
    assert!(given_up > 0);
    connection.open_bi().await.unwrap();
    // Dropping the future of `next` does not lose an event either.
    let mut heard = Vec::new();
    while heard.len() < 7 {
        if let Ok(event) = timeout(Duration::ZERO, events.next()).await {
            heard.push(event.unwrap());
        }
    }
    let last = heard.last().unwrap();
    assert!(matches!(last, ReconnectEvent::Connected { attempt: 4 }), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_is_told_how_much_it_missed() {
    let (builder, _servers) = world((0..100).map(|_| unreachable()).chain([Connects]));
    let (client, mut events) = builder.start();
    client.connection().await.unwrap();
    // There were 100 failures, 100 pauses and one connection, and 64 events are kept.
    match next(&mut events).await {
        ReconnectEvent::Missed { count } => assert_eq!(count, 137),
        other => panic!("{other:?}"),
    }
    for _ in 0..63 {
        next(&mut events).await;
    }
    connected(&mut events, 101).await;
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn dropping_it_stops_everything() {
    let rest = || tokio::time::sleep(Duration::from_secs(10));
    let before = tasks();
    // The client is dropped while it is connected, while it waits, and while it dials.
    for script in [vec![Connects], vec![unreachable(), unreachable()], vec![]] {
        let connects = matches!(script.first(), Some(Connects));
        let (builder, mut servers) = world(script);
        let builder = builder.initial_delay(Duration::from_secs(86_400));
        let (client, mut events) = builder.max_delay(Duration::from_secs(86_400)).start();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(tasks() > before);
        let clone = client.clone();
        drop(client);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(tasks() > before);
        drop(clone);
        if connects {
            let server = servers.recv().await.unwrap();
            // Because of the pings, the virtual clock advances for ever. So this wait needs a
            // timeout.
            let end = timeout(Duration::from_secs(600), server.closed()).await.unwrap();
            assert!(matches!(end, ConnectionError::ApplicationClosed(_)), "{end:?}");
        }
        rest().await;
        assert_eq!(tasks(), before, "a task is left");
        // The dialler and all that it holds have been dropped.
        assert!(servers.recv().await.is_none());
        while events.next().await.is_some() {}
    }
    // If the application holds a handle of the connection, that handle still works.
    let (builder, mut servers) = world([Connects]);
    let (client, _events) = builder.start();
    let connection = client.connection().await.unwrap();
    drop(client);
    rest().await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.finish().unwrap();
    let server = servers.recv().await.unwrap();
    assert_eq!(server.accept_uni().await.unwrap().read_to_end(1).await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn a_dialer_that_panics_leaves_nobody_waiting() {
    let (client, mut events) =
        ReconnectingClient::with_dialer(|| async { panic!("on purpose") }).start();
    assert!(matches!(client.connection().await, Err(ReconnectError::Stopped)));
    assert!(events.next().await.is_none());
}
