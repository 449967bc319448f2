//! A rolling restart of three servers with [`WebSocketServer::shutdown`]. The clients are
//! [`ReconnectingClient`]s, which receive the notice that a server goes away. So no call fails, and
//! no call is made twice. Clients and servers keep a log of all calls, and the logs must be equal.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use wsmux::{ReconnectingClient, WebSocketClient, WebSocketServer, WebSocketStream};

use super::super::{interop::within, proxy::*};
use super::Notice;

const CLIENTS: usize = 4;
/// How many tasks share a client. Each task has one call in progress at a time.
const CALLERS: usize = 16;
const SERVERS: usize = 3;
/// How often each server is restarted.
const ROUNDS: usize = 2;
/// How many calls must be answered before each restart, so that the restart happens under load.
const CALLS_BETWEEN: u64 = 500;

/// What the servers have done, before and after their restarts.
#[derive(Debug, Default)]
struct Log {
    /// Each execution of a call: the call's id and the server.
    calls: Mutex<Vec<(u64, usize)>>,
    connections: AtomicU64,
}

struct Server {
    server: Arc<WebSocketServer>,
    accepting: JoinHandle<()>,
}

impl Server {
    async fn start(name: usize, address: SocketAddr, log: &Arc<Log>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port");
        let acceptor = WebSocketServer::builder().build().expect("an acceptor");
        let server = Arc::new(WebSocketServer::new(listener, acceptor));
        let (accepts, log) = (server.clone(), log.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(incoming) = accepts.accept().await {
                let log = log.clone();
                connections.spawn(async move {
                    // A proxy's check does not ask for a WebSocket, so its handshake fails.
                    let Ok(connection) = incoming.await else { return };
                    log.connections.fetch_add(1, Ordering::Relaxed);
                    let mut calls = JoinSet::new();
                    while let Ok(stream) = connection.accept_bi().await {
                        calls.spawn(answer(name, stream, log.clone()));
                    }
                    calls.join_all().await;
                });
            }
            connections.join_all().await;
        });
        Self { server, accepting }
    }

    async fn shut_down(self) {
        let report = self.server.shutdown(Duration::from_secs(30), 1u32.into(), b"late").await;
        assert_eq!(report.closed, 0, "{report:?}");
        self.accepting.await.expect("a server that ends well");
    }
}

async fn answer(name: usize, stream: WebSocketStream, log: Arc<Log>) {
    let (mut send, mut recv) = stream.into_split();
    let request = recv.read_to_end(8).await.expect("a request");
    let id = u64::from_be_bytes(request[..].try_into().expect("an id"));
    log.calls.lock().unwrap().push((id, name));
    // Some calls take longer than others.
    sleep(Duration::from_millis(id % 40)).await;
    send.write_all(&request).await.expect("a client that waits");
    send.finish().expect("a stream that can be finished");
}

async fn call(client: &ReconnectingClient, id: u64) -> Result<(), String> {
    let stream = client.open_bi().await.map_err(|error| error.to_string())?;
    let (mut send, mut recv) = stream.into_split();
    // Some streams are used long after they were opened, possibly after the notice.
    sleep(Duration::from_millis(id % 7 * 10)).await;
    send.write_all(&id.to_be_bytes()).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    let answer = recv.read_to_end(8).await.map_err(|error| error.to_string())?;
    assert_eq!(answer, id.to_be_bytes(), "each answer is to its request");
    Ok(())
}

/// The calls that a task has made. Each call has its id, and its error if it failed.
type Made = Vec<(u64, Option<String>)>;

/// The state that all clients share.
#[derive(Debug)]
struct Callers {
    next_id: AtomicU64,
    answered: watch::Sender<u64>,
    stop: AtomicBool,
}

impl Callers {
    /// Starts all clients. Returns the tasks that make the calls.
    fn start(proxy: &Proxy) -> (Arc<Self>, JoinSet<Made>) {
        let shared = Arc::new(Self {
            next_id: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let dialer = WebSocketClient::builder().build().expect("a client");
            let builder = ReconnectingClient::builder(dialer, proxy.url());
            let (client, _) = builder.initial_delay(Duration::from_millis(50)).start();
            for _ in 0..CALLERS {
                tasks.spawn(shared.clone().run(client.clone()));
            }
        }
        (shared, tasks)
    }

    async fn run(self: Arc<Self>, client: ReconnectingClient) -> Made {
        let mut log = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let failure = within("an answer or an error", call(&client, id)).await.err();
            if failure.is_none() {
                self.answered.send_modify(|answered| *answered += 1);
            }
            log.push((id, failure));
        }
        log
    }

    /// Waits for `count` further answers.
    async fn answered(&self, count: u64) {
        let mut answered = self.answered.subscribe();
        let goal = *answered.borrow() + count;
        let waiting = answered.wait_for(|&answered| answered >= goal);
        within("answers", waiting).await.expect("clients that live");
    }
}

/// Waits until HAProxy knows that all servers are up.
async fn all_are_up(proxy: &Proxy) {
    let up = async {
        // HAProxy also reports the backend as up, besides the servers.
        while proxy.tell("show stat").await.matches(",UP,").count() < SERVERS + 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    within("the servers' return", up).await;
}

async fn a_rolling_restart(notice: Notice) {
    let began = Instant::now();
    let log = Arc::new(Log::default());
    let ports = [(); SERVERS].map(|()| Port::reserve());
    let addresses = ports.each_ref().map(Port::address);
    let mut servers = Vec::new();
    for (name, address) in addresses.into_iter().enumerate() {
        servers.push(Some(Server::start(name, address, &log).await));
    }
    let settings = Settings { checks: notice == Notice::Port, ..Settings::default() };
    let proxy = Proxy::start(Kind::HaProxy, &settings, &addresses).await;
    let (callers, tasks) = Callers::start(&proxy);

    for name in (0..SERVERS).cycle().take(ROUNDS * SERVERS) {
        callers.answered(CALLS_BETWEEN).await;
        let in_haproxy = format!("wsmux/{}", ["a", "b", "c"][name]);
        if notice == Notice::Command {
            proxy.tell(&format!("set server {in_haproxy} state drain")).await;
        }
        let server = servers[name].take().expect("a server");
        within("the shutdown", server.shut_down()).await;
        servers[name] = Some(Server::start(name, addresses[name], &log).await);
        match notice {
            Notice::Command => {
                proxy.tell(&format!("set server {in_haproxy} state ready")).await;
            }
            // Like an operator, the test waits until the restarted server is back before it
            // restarts the next server.
            Notice::Port => all_are_up(&proxy).await,
        }
    }
    callers.answered(CALLS_BETWEEN).await;
    callers.stop.store(true, Ordering::Relaxed);
    let made: Vec<_> =
        within("the last answers", tasks.join_all()).await.into_iter().flatten().collect();
    for server in servers.into_iter().flatten() {
        within("the shutdown", server.shut_down()).await;
    }

    let failed: Vec<_> = made.iter().filter(|(_, failure)| failure.is_some()).collect();
    let mut executed = BTreeMap::<u64, Vec<usize>>::new();
    for &(id, name) in &*log.calls.lock().unwrap() {
        executed.entry(id).or_default().push(name);
    }
    let repeated: Vec<_> = executed.iter().filter(|(_, by)| by.len() > 1).collect();
    let connections = log.connections.load(Ordering::Relaxed);
    println!(
        "{} calls on {connections} connections, {} failed, {} executed twice, {:.1?}",
        made.len(),
        failed.len(),
        repeated.len(),
        began.elapsed(),
    );
    assert!(failed.is_empty(), "of {} calls: {failed:?}", made.len());
    assert!(repeated.is_empty(), "calls and the servers that executed them: {repeated:?}");
    let mut made: Vec<_> = made.into_iter().map(|(id, _)| id).collect();
    made.sort_unstable();
    assert!(executed.into_keys().eq(made), "the servers and the clients log the same calls");
    // Whichever server a client is connected to, that server is restarted in each round.
    assert!(connections >= (CLIENTS * (1 + ROUNDS)) as u64, "{connections} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_or_is_repeated_when_haproxy_is_told_of_it() {
    a_rolling_restart(Notice::Command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_or_is_repeated_when_haproxy_checks_the_servers() {
    a_rolling_restart(Notice::Port).await;
}
