//! Connections that outlive their sockets, over real TCP and TLS (SPEC.md §12).

mod kills;
mod without_tls;

use std::time::Duration;

use tokio::task::JoinHandle;
use wsmux::{
    AcceptError, Config, ConnectionEvent, ConnectionEvents, WebSocketClient,
    WebSocketClientBuilder, WebSocketConnection, WebSocketServer, WebSocketServerBuilder,
};
use wsmux_testing::{
    cutter::Cutter,
    interop::{self, within},
};

/// Settings with which connections outlive their sockets.
fn config() -> Config {
    interop::config(|config| {
        config.resume_timeout(Some(Duration::from_secs(60)));
    })
}

/// The two ends of a wsmux connection, whose sockets run through a forwarder that can cut them.
struct Ends {
    client: WebSocketConnection,
    server: WebSocketConnection,
    cutter: Cutter,
    /// Accepts further clients, and counts the clients that resume.
    accepting: JoinHandle<()>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(
    server: WebSocketServerBuilder,
    client: WebSocketClientBuilder,
    scheme: &str,
) -> Ends {
    let server = server.bind("127.0.0.1:0").await.expect("a server");
    let cutter = Cutter::start(server.local_addr().expect("an address")).await;
    let url = format!("{scheme}://localhost:{}/", cutter.address().port());
    let client = client.build().expect("a client");
    let (client, first) = tokio::join!(client.connect(&url), interop::accept(&server));
    let accepting = tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(async move {
                match connecting.await {
                    Ok(_) => panic!("a second connection"),
                    Err(AcceptError::Resumed | AcceptError::Io(_) | AcceptError::Tls(_)) => {}
                    Err(AcceptError::Connection(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
    });
    Ends { client: client.expect("a connection"), server: first, cutter, accepting }
}

/// Makes two ends that are connected without TLS.
async fn connect_plain() -> Ends {
    let server = WebSocketServer::builder().config(config());
    connect(server, WebSocketClient::builder().config(config()), "ws").await
}

async fn suspended(events: &mut ConnectionEvents) {
    assert_eq!(within("a loss", events.next()).await, Some(ConnectionEvent::Suspended));
}

async fn resumed(events: &mut ConnectionEvents) {
    match within("a resumption", events.next()).await {
        Some(ConnectionEvent::Resumed { .. }) => {}
        other => panic!("{other:?}"),
    }
}
