//! The server announces that it goes away.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::{JoinHandle, JoinSet};
use wsmux::{
    ConnectError, ConnectionError, OpenError, ReconnectError, ReconnectEvent, ReconnectEvents,
    ReconnectingClient, WebSocketClient, WebSocketServer, WebSocketStream,
};
use wsmux_testing::server::within;

use super::{Connects, connected, lost, next, refused, waiting, world};

async fn peer_draining(events: &mut ReconnectEvents) {
    let event = next(events).await;
    assert!(matches!(event, ReconnectEvent::PeerDraining), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_used_until_the_next_one_is_there() {
    let (builder, mut servers) = world([Connects, Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let server = servers.recv().await.unwrap();
    let first = client.connection().await.unwrap();
    // The client has opened this stream, but the server does not know of it yet.
    let mut early = first.open_uni().await.unwrap();
    server.drain();
    peer_draining(&mut events).await;
    assert!(first.is_peer_draining() && client.current().is_some());
    let mut late = client.open_uni().await.unwrap();
    late.write_all(b"late").await.unwrap();
    late.finish().unwrap();
    let mut early_recv = server.accept_uni().await.unwrap();
    assert_eq!(server.accept_uni().await.unwrap().read_to_end(10).await.unwrap(), b"late");

    waiting(&mut events, 1).await;
    connected(&mut events, 1).await;
    assert!(matches!(first.open_bi().await, Err(OpenError::Draining)));
    let mut stream = client.open_uni().await.unwrap();
    stream.finish().unwrap();
    let second_server = servers.recv().await.unwrap();
    second_server.accept_uni().await.unwrap();
    // The application has not used the early stream yet, but can still do so. The old connection
    // waits for the end of this stream.
    early.write_all(b"early").await.unwrap();
    assert!(first.close_reason().is_none());
    early.finish().unwrap();
    assert_eq!(early_recv.read_to_end(10).await.unwrap(), b"early");
    lost(&mut events).await;
    assert!(client.current().is_some());
}

/// No other server can be reached. The client stops using the old connection in time, so no stream
/// is refused. Callers wait.
#[tokio::test(start_paused = true)]
async fn callers_wait_if_there_is_no_other_server() {
    let (builder, mut servers) = world([Connects]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let server = servers.recv().await.unwrap();
    server.drain();
    peer_draining(&mut events).await;
    let since = tokio::time::Instant::now();
    let mut opened = 0;
    while let Ok(Ok(mut stream)) =
        tokio::time::timeout(Duration::from_secs(10), client.open_uni()).await
    {
        stream.finish().unwrap();
        opened += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((29..=31).contains(&opened), "{opened} streams");
    assert!(since.elapsed() >= Duration::from_secs(13));
    for _ in 0..opened {
        server.accept_uni().await.unwrap();
    }
    assert!(matches!(within(server.closed()).await, ConnectionError::LocallyClosed));
    assert_eq!(server.stats().streams_refused, 0);
}

/// After the last attempt has failed, the streams of the old connection go on.
#[tokio::test(start_paused = true)]
async fn what_the_peer_drains_is_kept_even_after_giving_up() {
    let (builder, mut servers) = world([Connects, refused(401)]);
    let (client, mut events) = builder.start();
    connected(&mut events, 1).await;
    let server = servers.recv().await.unwrap();
    let stream = client.open_bi().await.unwrap();
    let (mut send, mut answer) = stream.into_split();
    send.write_all(b"request").await.unwrap();
    server.drain();
    while !matches!(next(&mut events).await, ReconnectEvent::GaveUp { .. }) {}
    assert!(matches!(client.open_bi().await, Err(ReconnectError::Connect(_))));
    send.finish().unwrap();
    let (mut reply, mut request) = server.accept_bi().await.unwrap().into_split();
    assert_eq!(request.read_to_end(10).await.unwrap(), b"request");
    reply.write_all(b"answer").await.unwrap();
    reply.finish().unwrap();
    assert_eq!(answer.read_to_end(10).await.unwrap(), b"answer");
    assert!(matches!(within(server.closed()).await, ConnectionError::LocallyClosed));
}

const CLIENTS: usize = 4;
const CALLERS: usize = 16;
const SERVERS: usize = 3;
const ROUNDS: usize = 2;

/// How often each call was executed.
type Ledger = Arc<Mutex<HashMap<u64, u64>>>;

struct Node {
    server: Arc<WebSocketServer>,
    url: String,
    accepting: JoinHandle<()>,
}

impl Node {
    async fn start(ledger: &Ledger) -> Self {
        let server = Arc::new(WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap());
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let (accepts, ledger) = (server.clone(), ledger.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(connecting) = accepts.accept().await {
                let ledger = ledger.clone();
                connections.spawn(async move {
                    let Ok(connection) = connecting.await else { return };
                    let mut calls = JoinSet::new();
                    while let Ok(stream) = connection.accept_bi().await {
                        calls.spawn(serve(stream, ledger.clone()));
                    }
                    calls.join_all().await;
                });
            }
            connections.join_all().await;
        });
        Self { server, url, accepting }
    }

    async fn restart(&mut self, ledger: &Ledger) {
        let report = self.server.shutdown(Duration::from_secs(30), 1u32.into(), b"late").await;
        assert_eq!(report.closed, 0, "{report:?}");
        (&mut self.accepting).await.unwrap();
        *self = Self::start(ledger).await;
    }
}

async fn serve(stream: WebSocketStream, ledger: Ledger) {
    let (mut send, mut recv) = stream.into_split();
    let request = recv.read_to_end(8).await.unwrap();
    let id = u64::from_be_bytes(request[..].try_into().unwrap());
    *ledger.lock().unwrap().entry(id).or_default() += 1;
    // Some calls take longer than others.
    tokio::time::sleep(Duration::from_millis(id % 40)).await;
    send.write_all(&request).await.unwrap();
    send.finish().unwrap();
}

async fn call(client: &ReconnectingClient, id: u64) -> Result<(), String> {
    let stream = client.open_bi().await.map_err(|error| error.to_string())?;
    let (mut send, mut recv) = stream.into_split();
    // During this pause other calls may overtake this call. So some streams are used long after
    // they were opened.
    tokio::time::sleep(Duration::from_millis(id % 7 * 10)).await;
    send.write_all(&id.to_be_bytes()).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    let answer = recv.read_to_end(8).await.map_err(|error| error.to_string())?;
    assert_eq!(answer, id.to_be_bytes());
    Ok(())
}

/// Tries the servers one after another until one answers. Like a load balancer, each call begins
/// with another server.
async fn dial(
    client: WebSocketClient,
    urls: Arc<Mutex<Vec<String>>>,
    first: u64,
) -> Result<wsmux::WebSocketConnection, ConnectError> {
    let urls = urls.lock().unwrap().clone();
    let mut last = None;
    for nth in 0..urls.len() {
        match client.connect(&urls[(first as usize + nth) % urls.len()]).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_all_servers_fails_no_call() {
    let ledger = Ledger::default();
    let mut nodes = Vec::new();
    for _ in 0..SERVERS {
        nodes.push(Node::start(&ledger).await);
    }
    let urls_of = |nodes: &[Node]| nodes.iter().map(|node| node.url.clone()).collect::<Vec<_>>();
    let urls = Arc::new(Mutex::new(urls_of(&nodes)));
    let (next_id, dials) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stops = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..CLIENTS {
        let dialer = WebSocketClient::builder().build().unwrap();
        let (urls, dials) = (urls.clone(), dials.clone());
        let builder = ReconnectingClient::with_dialer(move || {
            dial(dialer.clone(), urls.clone(), dials.fetch_add(1, Ordering::Relaxed))
        });
        let (client, _) = builder.initial_delay(Duration::from_millis(50)).start();
        for _ in 0..CALLERS {
            let (client, next_id, stops) = (client.clone(), next_id.clone(), stops.clone());
            callers.spawn(async move {
                let mut failures = Vec::new();
                while !stops.load(Ordering::Relaxed) {
                    let id = next_id.fetch_add(1, Ordering::Relaxed);
                    failures.extend(call(&client, id).await.err());
                }
                failures
            });
        }
    }
    for nth in 0..ROUNDS * SERVERS {
        // Each restart happens under load.
        let goal = next_id.load(Ordering::Relaxed) + 500;
        within(async {
            while next_id.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        within(nodes[nth % SERVERS].restart(&ledger)).await;
        *urls.lock().unwrap() = urls_of(&nodes);
    }
    stops.store(true, Ordering::Relaxed);
    let failures: Vec<_> = within(callers.join_all()).await.into_iter().flatten().collect();
    let calls = next_id.load(Ordering::Relaxed);
    assert_eq!(failures, [""; 0], "of {calls} calls");
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.len() as u64, calls);
    assert!(ledger.values().all(|&count| count == 1), "a call was executed twice");
    assert!(dials.load(Ordering::Relaxed) > CLIENTS as u64, "nobody had to dial again");
}
