//! How a server treats clients that break the rules: it sends the right answer, reports the right
//! error, and serves the next client.

mod limits;
mod requests;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use wsmux::{
    AcceptError, Config, WebSocketClient, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder,
};

/// A request that the server accepts.
const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: qmux-02\r\n\r\n";

/// A server that accepts all clients.
struct Server {
    address: SocketAddr,
    outcomes: mpsc::UnboundedReceiver<Result<WebSocketConnection, AcceptError>>,
}

impl Server {
    async fn new(builder: WebSocketServerBuilder) -> Self {
        let server = Arc::new(builder.bind("127.0.0.1:0").await.unwrap());
        let address = server.local_addr().unwrap();
        let (tell, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(connecting) = server.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(connecting.await);
                });
            }
        });
        Self { address, outcomes }
    }

    async fn strict() -> Self {
        let mut config = Config::default();
        config.handshake_timeout(Duration::from_millis(500));
        Self::new(WebSocketServer::builder().config(config)).await
    }

    async fn outcome(&mut self) -> Result<WebSocketConnection, AcceptError> {
        timeout(Duration::from_secs(5), self.outcomes.recv()).await.unwrap().unwrap()
    }

    /// Returns the status of the refusal that the server reports.
    async fn refusal(&mut self) -> u16 {
        match self.outcome().await.unwrap_err() {
            AcceptError::Refused { status, .. } => status.as_u16(),
            other => panic!("{other:?}"),
        }
    }

    /// Asserts that the next client is served, whatever happened before.
    async fn still_serves(&mut self) {
        let client = WebSocketClient::builder().build().unwrap();
        let client = client.connect(&format!("ws://{}", self.address)).await.unwrap();
        let server = self.outcome().await.unwrap();
        let mut stream = client.open_bi().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(server.accept_bi().await.unwrap().read_u8().await.unwrap(), b'x');
    }

    /// Sends these bytes, and returns all that comes back.
    async fn answer_to(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        answer(&mut stream).await
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(answer)
}
