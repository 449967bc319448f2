//! A server of the pool, and the record of what it did.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};
use wsmux::{WebSocketConnection, WebSocketServer, WebSocketStream};

/// One attempt to get an answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) question: u64,
    pub(super) attempt: u32,
    /// Whether the server delays the answer to this call until the server drains.
    pub(super) slow: bool,
}

/// The length of a request in bytes. A request is an encoded [`Call`].
pub(super) const REQUEST: usize = 13;
/// The length of an answer in bytes. An answer is the request followed by the server's name.
pub(super) const ANSWER: usize = REQUEST + 1;

impl Call {
    pub(super) fn to_bytes(self) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        bytes[..8].copy_from_slice(&self.question.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[12] = self.slow.into();
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            question: u64::from_be_bytes(bytes[..8].try_into().unwrap()),
            attempt: u32::from_be_bytes(bytes[8..12].try_into().unwrap()),
            slow: bytes[12] != 0,
        }
    }
}

/// Records how often each call was executed, and which server executed it last. The record covers
/// all servers, before and after their restarts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    executed: Mutex<HashMap<Call, (u32, usize)>>,
    news: Notify,
}

impl Ledger {
    fn execute(&self, call: Call, server: usize) {
        let mut executed = self.executed.lock().unwrap();
        let (times, by) = executed.entry(call).or_default();
        (*times, *by) = (*times + 1, server);
        drop(executed);
        self.news.notify_waiters();
    }

    pub(super) fn executions(&self, call: Call) -> u32 {
        self.executed.lock().unwrap().get(&call).map_or(0, |&(times, _)| times)
    }

    /// Waits until a call is being executed, and returns the server that executes it.
    pub(super) async fn begun(&self, call: Call) -> usize {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(&(_, server)) = self.executed.lock().unwrap().get(&call) {
                return server;
            }
            news.await;
        }
    }
}

/// A server with a runtime of its own, which can be shut down.
pub(super) struct Server {
    runtime: Runtime,
    draining: watch::Sender<bool>,
    done: JoinHandle<()>,
}

impl Server {
    pub(super) fn start(name: usize, address: SocketAddr, ledger: &Arc<Ledger>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let draining = watch::Sender::new(false);
        let (told, ledger) = (draining.subscribe(), ledger.clone());
        let listener = std::net::TcpListener::bind(address).expect("the port");
        listener.set_nonblocking(true).expect("a socket");
        let done = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            let acceptor = WebSocketServer::builder().build().expect("an acceptor");
            serve(name, WebSocketServer::new(listener, acceptor), told, ledger).await;
        });
        Self { runtime, draining, done }
    }

    /// Accepts no more connections, and no more calls on existing connections. Answers the calls
    /// that it has received, and ends.
    pub(super) async fn drain(self) {
        self.draining.send_replace(true);
        self.done.await.expect("a server that ends well");
        self.runtime.shutdown_background();
    }

    /// Ends as a killed process does: its sockets are closed, and nothing is sent.
    pub(super) async fn kill(self) {
        self.runtime.shutdown_background();
        let _ = self.done.await;
    }
}

async fn serve(
    name: usize,
    server: WebSocketServer,
    mut draining: watch::Receiver<bool>,
    ledger: Arc<Ledger>,
) {
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            Some(incoming) = server.accept() => incoming,
            () = told(&mut draining) => break,
        };
        let (draining, ledger) = (draining.clone(), ledger.clone());
        connections.spawn(async move {
            // A proxy's check does not ask for a WebSocket, so its handshake fails.
            if let Ok(connection) = incoming.await {
                serve_connection(name, connection, draining, ledger).await;
            }
        });
    }
    drop(server);
    connections.join_all().await;
}

/// Waits until the server drains. If the server is killed, the call waits for ever.
async fn told(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|&draining| draining).await.is_err() {
        std::future::pending().await
    }
}

async fn serve_connection(
    name: usize,
    connection: WebSocketConnection,
    mut draining: watch::Receiver<bool>,
    ledger: Arc<Ledger>,
) {
    let for_calls = draining.clone();
    let calls = async {
        let mut calls = JoinSet::new();
        while let Ok(stream) = connection.accept_bi().await {
            calls.spawn(answer(name, stream, for_calls.clone(), ledger.clone()));
        }
        calls.join_all().await;
    };
    let end = async {
        tokio::select! {
            () = told(&mut draining) => {
                connection.drain();
                connection.closed().await
            }
            error = connection.closed() => error,
        }
    };
    tokio::join!(calls, end);
}

async fn answer(
    name: usize,
    stream: WebSocketStream,
    mut draining: watch::Receiver<bool>,
    ledger: Arc<Ledger>,
) -> Option<()> {
    let (mut send, mut recv) = stream.into_split();
    let request = recv.read_to_end(REQUEST).await.ok()?;
    let call = Call::from_bytes(&request);
    ledger.execute(call, name);
    if call.slow {
        told(&mut draining).await;
    }
    let mut answer = request;
    answer.push(name as u8);
    send.write_all(&answer).await.ok()?;
    send.finish().ok()
}
