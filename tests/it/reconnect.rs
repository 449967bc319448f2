//! A client that dials again: when, how often, what it says of the loss, and that it stops when it is told.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use wsmux::{
    Config, ConnectError, ConnectionError, ConnectionInfo, DriverLost, ReadError, ReadToEndError,
    ReconnectError, ReconnectEvent, ReconnectEvents, ReconnectingClient, ReconnectingClientBuilder,
    Side, SocketError, WebSocketClient, WebSocketConnection, WebSocketServer, Wire,
    http::{HeaderMap, StatusCode},
    rustls,
    socket::{Incoming, MemorySocket, Outgoing, Socket, memory_pair},
};

/// Room for a machine that others use too.
const BOUND: Duration = Duration::from_secs(60);

const INITIAL: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);

/// From then on a connection is a success.
const LASTING: Duration = Duration::from_secs(30);

// ---- a world without a network, in virtual time ----

/// What comes of an attempt.
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

/// The servers' ends of the connections that were made.
type Servers = mpsc::UnboundedReceiver<WebSocketConnection>;

/// Attempts come out like this, and when there are no more of these, each hangs.
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
    // In virtual time a day is as short as a second.
    timeout(Duration::from_secs(86_400), events.next()).await.unwrap().expect("an event")
}

/// The pause before the next attempt, which must be this one.
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

#[tokio::test(start_paused = true)]
async fn a_loss_says_what_was_in_flight_and_the_next_connection_works() {
    let mut config = Config::default();
    config.stream_receive_window(1000).window_growth_budget(0);
    let (builder, mut servers) = world_with(config, [Connects, Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let connection = client.connection().await.unwrap();
    let server = servers.recv().await.unwrap();

    // A call that was answered, and whose answer nobody has read yet.
    let answered = connection.open_bi().await.unwrap();
    let (mut send, mut answer) = answered.into_split();
    send.write_all(b"call").await.unwrap();
    send.finish().unwrap();
    let (mut send, mut recv) = server.accept_bi().await.unwrap().into_split();
    recv.read_to_end(10).await.unwrap();
    send.write_all(b"answer").await.unwrap();
    send.finish().unwrap();
    send.stopped().await.unwrap();
    // One that was not.
    let (mut send, mut unanswered) = connection.open_bi().await.unwrap().into_split();
    let unanswered_id = send.id();
    send.write_all(b"call").await.unwrap();
    send.finish().unwrap();
    let (_held, mut recv) = server.accept_bi().await.unwrap().into_split();
    recv.read_to_end(10).await.unwrap();
    // One way, sent to its end.
    let mut done = connection.open_uni().await.unwrap();
    done.finish().unwrap();
    done.stopped().await.unwrap();
    // One way, more than the peer takes.
    let mut stuck = connection.open_uni().await.unwrap();
    stuck.write_all(&[0; 5000]).await.unwrap();
    // Given up by this end.
    let mut given_up = connection.open_uni().await.unwrap();
    given_up.write_all(b"x").await.unwrap();
    given_up.reset(9u32.into()).unwrap();
    // The server's, which nobody here has accepted.
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

    // Each handle tells for itself.
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

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_a_limit_and_are_kept() {
    let (builder, _servers) = world((0..12).map(|_| unreachable()).chain([Connects]));
    let (client, mut events) = builder.start();
    assert!(client.current().is_none());
    for attempt in 1..=12 {
        let start = Instant::now();
        assert!(matches!(failed(&mut events, attempt).await, ConnectError::Connect(_)));
        assert!(start.elapsed() <= Duration::from_millis(2), "{:?}", start.elapsed());
        let delay = waiting(&mut events, attempt + 1).await;
        let longest = MAX.min(INITIAL * (1 << (attempt - 1)));
        assert!(delay <= longest, "{delay:?} before attempt {}", attempt + 1);
        tokio::time::sleep(delay).await;
    }
    connected(&mut events, 13).await;
    assert!(client.current().is_some());
}

fn refused_with(status: u16, headers: &[(&'static str, &str)]) -> ConnectError {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    ConnectError::Refused { status, headers: map.into(), body: String::new() }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_time_gets_it_and_up_to_an_hour() {
    for (value, least) in [
        ("120", 120),
        ("0", 0),
        ("3601", 3600),
        ("99999999999999999999999999", 3600),
        ("soon", 0),
        ("-1", 0),
        ("Thu, 26 Nov 2026 10:02:00 GMT", 60),
        ("Thu, 26 Nov 2026 10:00:00 GMT", 0),
        ("Thu, 26 Nov 2099 10:00:00 GMT", 3600),
    ] {
        let date = ("date", "Thu, 26 Nov 2026 10:01:00 GMT");
        let refused = || refused_with(503, &[("retry-after", value), date]);
        let by_proxy = ConnectError::Proxy(Arc::new(refused()));
        assert_eq!(by_proxy.retry_after(), refused().retry_after());
        let (builder, _servers) = world([Fails(refused()), Fails(by_proxy), Connects]);
        let (_client, mut events) = builder.start();
        for attempt in 1..=2 {
            failed(&mut events, attempt).await;
            let delay = waiting(&mut events, attempt + 1).await;
            let least = Duration::from_secs(least);
            let longest = least + INITIAL * attempt;
            assert!((least..=longest).contains(&delay), "{value}: {delay:?}");
        }
        connected(&mut events, 3).await;
    }
    // Without a word of it, and after another error, it is as ever.
    assert_eq!(refused_with(503, &[]).retry_after(), None);
    assert_eq!(ConnectError::HandshakeTimeout.retry_after(), None);
}

#[tokio::test(start_paused = true)]
async fn clients_of_one_server_do_not_come_back_together() {
    let (mut early, mut late) = (0, 0);
    for _ in 0..64 {
        let (builder, _servers) = world([unreachable()]);
        let (_client, mut events) = builder.start();
        failed(&mut events, 1).await;
        let delay = waiting(&mut events, 2).await;
        *(if delay < INITIAL / 2 { &mut early } else { &mut late }) += 1;
    }
    // Chance would have it otherwise once in 2^63 runs.
    assert!(early > 0 && late > 0, "{early} early, {late} late");
}

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_is_is_not_tried_again() {
    let rejected = ConnectError::Rejected(wsmux::VerifyServerError::from("no").into());
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
    let (_client, mut events) = builder.max_attempts(3).start();
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
    // With the first pause's limit it would never be; with the doubling, but once in 2^50 runs.
    assert!(longest > INITIAL, "{longest:?}");
    // After one that lasts the pauses are short again.
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
    // Whatever the pauses are.
    let (client, mut events) = builder.max_delay(Duration::ZERO).max_attempts(3).start();
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
    let (client, mut events) = builder.max_attempts(1).start();
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
    // At once, though the client's task has not heard of it.
    assert!(client.current().is_none());
    let second = client.connection().await.unwrap();
    let mut stream = second.open_uni().await.unwrap();
    stream.finish().unwrap();
    let second_server = servers.recv().await.unwrap();
    second_server.accept_uni().await.unwrap();
    draining(&mut events).await;
    waiting(&mut events, 1).await;
    connected(&mut events, 1).await;

    // What was open on the first goes on to its end.
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
    // More than the server takes before it reads, and nobody here has a handle any more.
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
    // At once, though who dials has not heard of it.
    assert!(client.current().is_none());
    assert!(client.connection().await.unwrap().close_reason().is_none());
    assert!(matches!(lost(&mut events).await, ConnectionError::LocallyClosed));
    servers.recv().await.unwrap();
    servers.recv().await.unwrap();
}

/// Panics on a WebSocket ping, which wsmux does not send on the QMux wire.
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
    // The same for those who listen.
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
    // 100 failures, 100 pauses, and the connection, of which 64 are kept.
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
    // While there is a connection, while it waits, and while it dials.
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
            // Virtual time goes on for ever where pings do.
            let end = timeout(Duration::from_secs(600), server.closed()).await.unwrap();
            assert!(matches!(end, ConnectionError::ApplicationClosed(_)), "{end:?}");
        }
        rest().await;
        assert_eq!(tasks(), before, "a task is left");
        // The dialer is gone with what it holds.
        assert!(servers.recv().await.is_none());
        while events.next().await.is_some() {}
    }
    // Somebody else's handle of the connection goes on.
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

// ---- over TCP ----

/// Serves all who come, until it is dropped.
struct Server(tokio::task::JoinHandle<()>);

impl Server {
    async fn start(address: &str) -> (Self, String) {
        let server = WebSocketServer::builder().bind(address).await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Some(connecting) = server.accept().await {
                connections.spawn(async move {
                    let Ok(connection) = connecting.await else { return };
                    while let Ok(stream) = connection.accept_bi().await {
                        let (mut send, mut recv) = stream.into_split();
                        let Ok(request) = recv.read_to_end(100).await else { continue };
                        let _ = send.write_all(&request).await;
                        let _ = send.finish();
                    }
                });
            }
        });
        (Self(task), address)
    }

    async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

async fn echo(client: &ReconnectingClient) {
    let connection = timeout(BOUND, client.connection()).await.unwrap().unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap().into_split();
    send.write_all(b"echo").await.unwrap();
    send.finish().unwrap();
    assert_eq!(timeout(BOUND, recv.read_to_end(100)).await.unwrap().unwrap(), b"echo");
}

#[tokio::test]
async fn a_server_that_restarts_has_its_client_back() {
    let (server, address) = Server::start("127.0.0.1:0").await;
    let dialer = WebSocketClient::builder().build().unwrap();
    let builder = ReconnectingClient::builder(dialer, format!("ws://{address}/"));
    let (client, mut events) = builder.initial_delay(Duration::from_millis(20)).start();
    echo(&client).await;
    connected(&mut events, 1).await;
    server.stop().await;
    lost(&mut events).await;
    // It is down for as long as it takes to be found down.
    loop {
        match next(&mut events).await {
            ReconnectEvent::Failed { error: ConnectError::Connect(_), .. } => break,
            ReconnectEvent::Waiting { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let (_server, again) = Server::start(&address).await;
    assert_eq!(again, address);
    echo(&client).await;
}

#[tokio::test]
async fn a_login_or_a_certificate_that_is_refused_is_final() {
    let server = WebSocketServer::builder()
        .authorize(|_| Err(StatusCode::UNAUTHORIZED))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(connecting);
        }
    });
    let client = WebSocketClient::builder().build().unwrap();
    let (_client, mut events) = ReconnectingClient::builder(client, url).start();
    assert!(matches!(failed(&mut events, 1).await, ConnectError::Refused { .. }));
    gave_up(&mut events).await;

    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.der().clone()).unwrap();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots.clone()),
            provider.clone(),
        );
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.der().clone()], key())
            .unwrap();
        let server = WebSocketServer::builder().tls_config(config.into());
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", server.local_addr().unwrap());
        tokio::spawn(async move {
            while let Some(connecting) = server.accept().await {
                tokio::spawn(connecting);
            }
        });
        // The server's certificate, which the client does not know; and the client's, which is none.
        for builder in [
            WebSocketClient::builder(),
            WebSocketClient::builder().trust_self_signed(own.der().clone()),
        ] {
            let client = builder.build().unwrap();
            let (_client, mut events) = ReconnectingClient::builder(client, &*url).start();
            let error = failed(&mut events, 1).await;
            let is_tls = matches!(error, ConnectError::Tls(_) | ConnectError::Io(_));
            assert!(is_tls, "{error:?}");
            gave_up(&mut events).await;
        }
    }
}
