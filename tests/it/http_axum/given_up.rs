//! Callers of `connect` give up before the server has answered. The TCP connection that several
//! calls share may be dead, or only slow.

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use wsmux::{Http2Client, WebSocketConnection};

use super::server::{Kind, Server, exchange, within};

/// The path to a server, which can go dead without notice.
struct Path {
    address: SocketAddr,
    /// How many TCP connections there have been so far.
    count: Arc<AtomicUsize>,
    relays: tokio::sync::mpsc::UnboundedReceiver<Relay>,
    accepting: JoinHandle<()>,
}

/// The path of one TCP connection.
struct Relay {
    /// Keeps the sockets open after the task has ended.
    _sockets: [std::net::TcpStream; 2],
    task: JoinHandle<()>,
}

impl Relay {
    /// Stops passing data. Neither end notices that.
    async fn goes_dead(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Path {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (made, relays) = tokio::sync::mpsc::unbounded_channel();
        let counted = count.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let near = listener.accept().await.unwrap().0.into_std().unwrap();
                let far = TcpStream::connect(server).await.unwrap().into_std().unwrap();
                let sockets = [near.try_clone().unwrap(), far.try_clone().unwrap()];
                let mut near = TcpStream::from_std(near).unwrap();
                let mut far = TcpStream::from_std(far).unwrap();
                let task = tokio::spawn(async move {
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = made.send(Relay { _sockets: sockets, task });
            }
        });
        Self { address, count, relays, accepting }
    }

    fn url(&self) -> String {
        format!("ws://{}/mux", self.address)
    }

    fn connections(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn start() -> (Server, Path, Http2Client, WebSocketConnection) {
    let server = Server::start(Kind::PLAIN).await;
    let path = Path::to(server.address).await;
    let client = Http2Client::with_prior_knowledge(server.client().build().unwrap());
    let first = within("connecting", client.connect(&path.url())).await.unwrap();
    exchange(&first, 1000).await;
    (server, path, client, first)
}

/// Starts to connect, and gives up after one poll.
fn gives_up(connecting: impl Future) {
    let polled = pin!(connecting).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

#[tokio::test]
async fn a_dead_session_is_left_though_every_caller_gives_up_early() {
    let (_server, mut path, client, _first) = start().await;
    let mut relay = path.relays.recv().await.unwrap();
    relay.goes_dead().await;
    for _ in 0..3 {
        gives_up(client.connect(&path.url()));
    }
    // This call succeeds only if it abandons the dead TCP connection within the handshake timeout.
    let connection = within("connecting", client.connect(&path.url())).await.unwrap();
    exchange(&connection, 1000).await;
    // The three callers that gave up may have dialled as well.
    assert!((2..=4).contains(&path.connections()), "{}", path.connections());
}

#[tokio::test]
async fn a_session_that_answers_is_shared_again_after_a_caller_gave_up() {
    let (_server, path, client, first) = start().await;
    gives_up(client.connect(&path.url()));
    let shares = async {
        loop {
            let before = path.connections();
            // During this exchange the answer to a PING can arrive, so the test needs no clock.
            exchange(&first, 1000).await;
            let connection = client.connect(&path.url()).await.unwrap();
            let closed = connection.closed();
            connection.close(0u32.into(), b"");
            closed.await;
            if path.connections() == before {
                break;
            }
        }
    };
    within("an answer to the PING", shares).await;
    exchange(&first, 1000).await;
}
