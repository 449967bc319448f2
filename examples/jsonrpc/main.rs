//! JSON-RPC 2.0 with a stream for each call. A slow call does not delay the others, an answer needs
//! no id, an abandoned call is cancelled, and the server pushes notifications on a stream of its
//! own.
//!
//!     cargo run --example jsonrpc -- server 127.0.0.1:4480
//!     cargo run --example jsonrpc -- client ws://127.0.0.1:4480/

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::{error::Error, time::Duration};

use clap::Parser;
use serde_json::json;
use tokio::time::timeout;

/// The name of the application protocol. A server with another protocol refuses this client.
const PROTOCOL: &str = "jsonrpc";

/// Requests, answers and notifications are at most this long.
const MAX_MESSAGE: usize = 1024 * 1024;

#[derive(Debug, Parser)]
enum Args {
    /// Serves `sum`, `sleep` and `subscribe`
    Server { address: String },
    /// Calls all three
    Client { url: String },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match Args::parse() {
        Args::Server { address } => {
            let server = wsmux::WebSocketServer::builder().protocol(PROTOCOL).bind(address).await?;
            println!("ws://{}/", server.local_addr()?);
            server::serve(server).await;
        }
        Args::Client { url } => {
            let client = wsmux::WebSocketClient::builder().protocol(PROTOCOL).build()?;
            let client = client::Client::new(client.connect(&url).await?);
            println!("sum: {}", client.call("sum", json!([1, 2, 3])).await?);
            let hasty = client.call("sleep", json!({ "milliseconds": 60_000 }));
            if timeout(Duration::from_millis(100), hasty).await.is_err() {
                println!("sleep: cancelled");
            }
            println!("subscribe: {}", client.call("subscribe", json!({ "count": 3 })).await?);
            let mut notifications = client.notifications().await?;
            while let Some(notification) = notifications.next().await? {
                println!("{notification}");
            }
        }
    }
    Ok(())
}
