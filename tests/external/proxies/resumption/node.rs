//! A server of the farm, and counters of its clients' requests.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::runtime::{Builder, Runtime};
use wsmux::{AcceptError, Config, WebSocketServer};

use super::super::interop::Echo;

/// A server with a runtime of its own. Dropping the server is like killing a process. The server's
/// sockets are closed, and nothing is sent.
pub(super) struct Node {
    runtime: Option<Runtime>,
    counts: Arc<Counts>,
}

/// How many clients a server has seen since it was started.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicU64,
    resumed: AtomicU64,
    refused: AtomicU64,
}

impl Node {
    pub(super) fn start(address: SocketAddr, config: &Config) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).expect("the port");
        listener.set_nonblocking(true).expect("a socket");
        // Every answer sets a cookie that belongs to the application, not to the proxy.
        let acceptor = WebSocketServer::builder()
            .config(config.clone())
            .header("Set-Cookie", "application=any")
            .build()
            .expect("an acceptor");
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            let server = WebSocketServer::new(listener, acceptor);
            while let Some(incoming) = server.accept().await {
                let counts = counted.clone();
                tokio::spawn(async move {
                    let count = match incoming.await {
                        Ok(connection) => {
                            counts.connected.fetch_add(1, Ordering::Relaxed);
                            let _echo = Echo::start(&connection);
                            connection.closed().await;
                            return;
                        }
                        Err(AcceptError::Resumed) => &counts.resumed,
                        Err(AcceptError::Connection(_)) => &counts.refused,
                        Err(_) => return,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { runtime: Some(runtime), counts }
    }

    /// Returns how many connections have begun here.
    pub(super) fn connected(&self) -> u64 {
        self.counts.connected.load(Ordering::Relaxed)
    }

    /// Returns how many new sockets the server has given to its connections.
    pub(super) fn resumed(&self) -> u64 {
        self.counts.resumed.load(Ordering::Relaxed)
    }

    /// Returns how many handshakes have ended without a connection. These tests use neither TLS nor
    /// a check of clients. So each of these handshakes is a request to resume a session that this
    /// server does not have.
    pub(super) fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
