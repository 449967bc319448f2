//! A server that echoes. Its configuration is the default, except that the number of streams can be
//! set and resumption can be turned on.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wsmux::{Config, WebSocketConnection, WebSocketServer, WebSocketStream, Wire};

use crate::{HEAP, process};

/// How long connections wait for a new socket.
pub const RESUME_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub struct Address {
    pub url: String,
    pub socket: std::net::SocketAddr,
}

/// How many bytes the victim has allocated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Heap {
    pub now: u64,
    /// The largest amount since the victim was last asked.
    pub peak: u64,
}

impl Heap {
    fn look() -> Self {
        let heap = Self { now: HEAP.current_usage() as u64, peak: HEAP.peak_usage() as u64 };
        HEAP.reset_peak_usage();
        heap
    }
}

pub async fn run(tls: bool, streams: Option<u64>, resume: bool) -> Result<()> {
    process::reserve_files(rlimit::Resource::NOFILE.get_hard()?)?;
    let mut config = Config::default();
    if let Some(streams) = streams {
        config.max_concurrent_bidi_streams(streams);
    }
    if resume {
        config.resume_timeout(Some(RESUME_TIMEOUT));
    }
    let mut server = WebSocketServer::builder().wires([Wire::QMux, Wire::JsWs]).config(config);
    if tls {
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        server = server.certificate([identity.cert.der().clone()], identity.signing_key.into());
    }
    let server = server.bind("127.0.0.1:0").await?;
    let socket = server.local_addr()?;
    let scheme = if tls { "wss" } else { "ws" };
    process::say(&Address { url: format!("{scheme}://{socket}/"), socket })?;
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move {
                // If the handshake fails, the client reports that.
                if let Ok(connection) = incoming.await {
                    serve(connection).await;
                }
            });
        }
    });
    process::serve(|| Ok(Heap::look())).await
}

async fn serve(connection: WebSocketConnection) {
    while let Ok(stream) = connection.accept_bi().await {
        tokio::spawn(echo(stream));
    }
}

async fn echo(stream: WebSocketStream) {
    let (mut send, mut recv) = stream.into_split();
    // After an error both halves are dropped. This resets one half of the client's stream and stops
    // the other.
    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
        if send.write_chunk(chunk).await.is_err() {
            return;
        }
    }
    let _ = send.finish();
}
