//! Two connections with their drivers, locks and wakers, and a stream between them.

use bytes::Bytes;
use wsmux::{
    Config, ConnectionInfo, Side, WebSocketClient, WebSocketConnection, WebSocketServer,
    WebSocketStream, Wire, socket::memory_pair,
};

/// How many bytes [`Ends::transfer`] moves.
pub(crate) const MIB: usize = 1024 * 1024;
pub(crate) const CHUNK: usize = 64 * 1024;

/// How many bytes the pipe between the two ends holds, like the buffers of a socket.
const CAPACITY: usize = 256 * 1024;

/// The two ends of a stream. One end sends requests, and the other end answers them.
pub(crate) struct Ends {
    client: WebSocketStream,
    server: WebSocketStream,
}

impl Ends {
    async fn new(client: &WebSocketConnection, server: &WebSocketConnection) -> Self {
        let mut client = client.open_bi().await.expect("it lives");
        client.send().announce();
        let server = server.accept_bi().await.expect("it lives");
        Self { client, server }
    }

    pub(crate) async fn in_memory() -> Self {
        let connection = |socket, side| {
            let (config, info) = (Config::default(), ConnectionInfo::default());
            WebSocketConnection::from_socket(socket, side, Wire::QMux, config, info)
        };
        let (left, right) = memory_pair(CAPACITY);
        let (client, server) = (connection(left, Side::Client), connection(right, Side::Server));
        client.established().await.expect("it lives");
        Self::new(&client, &server).await
    }

    pub(crate) async fn framed() -> Self {
        let (left, right) = tokio::io::duplex(CAPACITY);
        let client = WebSocketClient::builder().build().expect("nothing is set");
        let acceptor = WebSocketServer::builder().build().expect("nothing is set");
        let (client, server) =
            tokio::join!(client.from_io("ws://here/", left), acceptor.from_io(right));
        Self::new(&client.expect("it connects"), &server.expect("it accepts")).await
    }

    pub(crate) async fn ping_pong(&mut self) {
        const BYTES: [u8; 64] = [7; 64];
        let mut buf = [0; 64];
        self.client.send().write_all(&BYTES).await.expect("it is open");
        self.server.recv().read_exact(&mut buf).await.expect("it is open");
        self.server.send().write_all(&buf).await.expect("it is open");
        self.client.recv().read_exact(&mut buf).await.expect("it is open");
    }

    pub(crate) async fn transfer(&mut self, chunk: &Bytes) {
        let Self { client, server } = self;
        let write = async {
            for _ in 0..MIB / CHUNK {
                client.send().write_chunk(chunk.clone()).await.expect("it is open");
            }
        };
        let read = async {
            let mut left = MIB;
            while left > 0 {
                let read = server.recv().read_chunk(usize::MAX).await.expect("it is open");
                left -= read.expect("more").len();
            }
        };
        tokio::join!(write, read);
    }
}
