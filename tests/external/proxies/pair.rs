//! A client and a server of ours with a proxy between them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream};

use super::{
    UnderWay,
    interop::{accept, within},
    proxy::{Kind, Proxy, Settings},
};

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client_end: WebSocketConnection,
    pub(crate) server_end: WebSocketConnection,
    pub(crate) proxy: Proxy,
    server: WebSocketServer,
}

impl Pair {
    pub(crate) async fn new(kind: Kind, settings: &Settings, config: Config) -> Self {
        let server = WebSocketServer::builder().config(config.clone());
        let server = server.bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let proxy = Proxy::start(kind, settings, &[address]).await;
        let (client_end, server_end) = tokio::join!(connect(&proxy, config), accept(&server));
        Self { client_end, server_end, proxy, server }
    }

    /// Opens a second connection, with default settings.
    pub(crate) async fn connect_again(&self) -> (WebSocketConnection, WebSocketConnection) {
        tokio::join!(connect(&self.proxy, Config::default()), accept(&self.server))
    }

    pub(crate) fn ends(&self) -> [&WebSocketConnection; 2] {
        [&self.client_end, &self.server_end]
    }

    /// Opens a stream on which both ends have received a byte and still wait for more.
    pub(crate) async fn stream_under_way(&self) -> (UnderWay, UnderWay) {
        let mut ours = self.client_end.open_bi().await.expect("a stream");
        ours.write_all(b"?").await.expect("a byte sent");
        let mut theirs = within("accepting", self.server_end.accept_bi()).await.expect("a stream");
        within("a byte", theirs.read_u8()).await.expect("a byte");
        theirs.write_all(b"!").await.expect("a byte sent");
        within("a byte", ours.read_u8()).await.expect("a byte");
        (
            UnderWay { connection: self.client_end.clone(), stream: ours },
            UnderWay { connection: self.server_end.clone(), stream: theirs },
        )
    }
}

/// Connects through the proxy, and trusts its certificate.
pub(crate) async fn connect(proxy: &Proxy, config: Config) -> WebSocketConnection {
    let client = WebSocketClient::builder()
        .config(config)
        .trust_self_signed(proxy.certificate().chain[0].clone())
        .build()
        .expect("a client");
    within("connecting", client.connect(&proxy.url())).await.expect("a connection")
}

/// Sends a byte and receives its echo.
pub(crate) async fn exchange(stream: &mut WebSocketStream) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    match within("an echo", stream.read_u8()).await? {
        b'x' => Ok(()),
        other => panic!("not an echo, but {other}"),
    }
}

/// Waits for `wait`, and returns the longest time in which nothing in this process ran.
pub(crate) async fn longest_standstill(wait: Duration) -> Duration {
    let start = Instant::now();
    let (mut last, mut worst) = (start, Duration::ZERO);
    while last - start < wait {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = Instant::now();
        worst = worst.max(now - last);
        last = now;
    }
    worst
}
