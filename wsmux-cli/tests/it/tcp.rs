//! TCP servers that serve as targets, and a relay in the middle.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::support::within;

pub async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Starts a server that echoes bytes as they arrive.
pub async fn echo_server() -> String {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// Starts a server that sends a greeting first. After the end of its input it answers with
/// everything that it received.
pub async fn answers_after_fin() -> String {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.write_all(b"hello").await?;
                let mut all = Vec::new();
                tcp.read_to_end(&mut all).await?;
                tcp.write_all(&all).await
            });
        }
    });
    address
}

/// Sends these bytes, and checks that they are echoed.
pub async fn echoes(tcp: &mut TcpStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    within(async {
        tcp.write_all(bytes).await.unwrap();
        tcp.read_exact(&mut back).await.unwrap();
    })
    .await;
    assert!(back == bytes, "other bytes came back");
}

/// A relay between a near end and its far end.
pub struct Middle {
    pub address: SocketAddr,
    connections: mpsc::UnboundedReceiver<AbortHandle>,
}

impl Middle {
    pub async fn new(url: &str) -> Self {
        let far = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
        let (listener, address) = listener().await;
        let (tell, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let far = far.clone();
                let relay = relays.spawn(async move {
                    let mut far = TcpStream::connect(far).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
                let _ = tell.send(relay);
            }
        });
        Self { address: address.parse().unwrap(), connections }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// Returns the number of connections since the previous call.
    pub fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.connections.try_recv().ok()).count()
    }

    /// Cuts the oldest connection that no call of `count` or `next` has returned yet.
    pub async fn cut(&mut self) {
        within(self.connections.recv()).await.unwrap().abort();
    }

    /// Waits for another connection.
    pub async fn next(&mut self) {
        within(self.connections.recv()).await.unwrap();
    }
}
