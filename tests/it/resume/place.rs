//! A server, and clients whose sockets run through forwarders that can cut them.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};
use wsmux::{
    AcceptError, ConnectError, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder,
};
use wsmux_testing::{cutter::Cutter, interop::within, server::Outcome};

/// A server that accepts every client.
pub(super) struct Place {
    pub(super) server: Arc<WebSocketServer>,
    scheme: &'static str,
    outcomes: Mutex<mpsc::UnboundedReceiver<Outcome>>,
    accepting: JoinHandle<()>,
}

impl Place {
    pub(super) async fn start(server: WebSocketServerBuilder, scheme: &'static str) -> Arc<Self> {
        let server = Arc::new(server.bind("127.0.0.1:0").await.expect("a server"));
        let (sender, outcomes) = mpsc::unbounded_channel();
        let accepting = tokio::spawn({
            let server = server.clone();
            async move {
                while let Some(connecting) = server.accept().await {
                    let sender = sender.clone();
                    tokio::spawn(async move { sender.send(connecting.await) });
                }
            }
        });
        Arc::new(Self { server, scheme, outcomes: outcomes.into(), accepting })
    }

    /// Starts a forwarder to the server.
    pub(super) async fn cutter(&self) -> Cutter {
        Cutter::start(self.server.local_addr().expect("an address")).await
    }

    /// Returns the URL of the server, through this forwarder.
    pub(super) fn url(&self, cutter: &Cutter) -> String {
        format!("{}://localhost:{}/", self.scheme, cutter.address().port())
    }

    pub(super) async fn connect(self: &Arc<Self>, client: WebSocketClientBuilder) -> Ends {
        let cutter = self.cutter().await;
        let (client, server) = self.connect_through(&cutter, client).await;
        Ends { client, server, cutter, place: self.clone() }
    }

    /// Connects a client through this forwarder, and returns both ends.
    pub(super) async fn connect_through(
        &self,
        cutter: &Cutter,
        client: WebSocketClientBuilder,
    ) -> (WebSocketConnection, WebSocketConnection) {
        let (client, server) = tokio::join!(self.dial(cutter, client), self.accepted());
        (client.expect("a connection"), server)
    }

    /// Connects a client, whose other end is returned by [`accepted`](Self::accepted).
    pub(super) async fn dial(
        &self,
        cutter: &Cutter,
        client: WebSocketClientBuilder,
    ) -> Result<WebSocketConnection, ConnectError> {
        let client = client.build().expect("a client");
        within("connecting", client.connect(&self.url(cutter))).await
    }

    /// Returns the next connection that is accepted.
    pub(super) async fn accepted(&self) -> WebSocketConnection {
        loop {
            if let Ok(connection) = self.outcome().await {
                return connection;
            }
        }
    }

    /// Returns the error for the next client that gets no connection. Skips clients that resume a
    /// connection.
    pub(super) async fn refused(&self) -> AcceptError {
        loop {
            match self.outcome().await {
                Ok(_) => panic!("a connection"),
                Err(AcceptError::Resumed) => {}
                Err(error) => return error,
            }
        }
    }

    async fn outcome(&self) -> Outcome {
        let outcome = async { self.outcomes.lock().await.recv().await };
        within("a client", outcome).await.expect("the server lives")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The two ends of a wsmux connection, and the forwarder between them.
pub(super) struct Ends {
    pub(super) client: WebSocketConnection,
    pub(super) server: WebSocketConnection,
    pub(super) cutter: Cutter,
    pub(super) place: Arc<Place>,
}

impl Ends {
    /// Sends some bytes in each direction.
    pub(super) async fn talk(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let talk = async {
                let mut send = from.open_uni().await.expect("a stream");
                send.write_all(b"words").await.expect("a stream that takes them");
                send.finish().expect("a stream that can be finished");
                let mut recv = to.accept_uni().await.expect("a stream");
                assert_eq!(recv.read_to_end(16).await.expect("a clean end"), b"words");
            };
            within("talking", talk).await;
        }
    }
}
