//! The server's end of the workloads. The first byte of each stream is a command to the server.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::task::JoinHandle;
use wsmux::{RecvStream, SendStream, WebSocketClient, WebSocketConnection, WebSocketServer, Wire};

use super::Args;
use crate::Failure;

/// Count the received bytes, and report the count at the end.
pub(super) const COUNT: u8 = b'c';
/// Echo bytes as they arrive.
pub(super) const ECHO: u8 = b'e';
/// Read a request to its end, and answer with the same bytes.
pub(super) const ANSWER: u8 = b'a';
/// Read a number from the next eight bytes, and send that many bytes.
pub(super) const SOURCE: u8 = b's';
/// Never read.
pub(super) const STALL: u8 = b't';

/// The content of bulk streams.
pub(super) static CHUNK: [u8; 64 * 1024] = [0x5a; 64 * 1024];

pub(super) struct Server {
    pub(super) url: String,
    pub(super) task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(args: &Args, address: SocketAddr) -> Result<Self, Failure> {
        let mut builder =
            WebSocketServer::builder().config(args.config()).wires([Wire::QMux, Wire::JsWs]);
        if !args.plain {
            let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            builder =
                builder.certificate([certified.cert.der().clone()], certified.signing_key.into());
        }
        let server = builder.bind(address).await?;
        let scheme = if args.plain { "ws" } else { "wss" };
        let url = format!("{scheme}://{}/", server.local_addr()?);
        let task = tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(async move {
                    match incoming.await {
                        Ok(connection) => serve(connection).await,
                        Err(error) => eprintln!("handshake: {error}"),
                    }
                });
            }
        });
        Ok(Self { url, task })
    }
}

async fn serve(connection: WebSocketConnection) {
    while let Ok(stream) = connection.accept_bi().await {
        let (send, recv) = stream.into_split();
        tokio::spawn(async move {
            // Errors are ignored, because the client reports a stream that is reset or lost.
            let _ = serve_stream(send, recv).await;
        });
    }
}

async fn serve_stream(mut send: SendStream, mut recv: RecvStream) -> Result<(), Failure> {
    let mut command = [0];
    recv.read_exact(&mut command).await?;
    match command[0] {
        COUNT => {
            let mut count = 0;
            while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
                count += chunk.len() as u64;
            }
            send.write_all(&count.to_be_bytes()).await?;
        }
        ECHO => {
            while let Some(chunk) = recv.read_chunk(usize::MAX).await? {
                send.write_chunk(chunk).await?;
            }
        }
        ANSWER => {
            let request = recv.read_to_end(CHUNK.len()).await?;
            send.write_all(&request).await?;
        }
        SOURCE => {
            let mut count = [0; 8];
            recv.read_exact(&mut count).await?;
            write_bulk(&mut send, u64::from_be_bytes(count)).await?;
        }
        STALL => {
            // Keeps the stream without reading it until the client drops it.
            let _ = send.stopped().await;
        }
        other => return Err(format!("unknown command {other}").into()),
    }
    send.finish()?;
    Ok(())
}

/// Writes `bytes` bytes in chunks of 64 KiB.
pub(super) async fn write_bulk(send: &mut SendStream, bytes: u64) -> Result<(), wsmux::WriteError> {
    let chunk = Bytes::from_static(&CHUNK);
    let mut left = bytes;
    while left > 0 {
        let len = left.min(chunk.len() as u64);
        send.write_chunk(chunk.slice(..len as usize)).await?;
        left -= len;
    }
    Ok(())
}

pub(super) async fn connect(args: &Args, url: &str) -> Result<WebSocketConnection, Failure> {
    let client = WebSocketClient::builder().config(args.config()).wire(args.wire.into());
    // Any certificate is accepted, because the server's certificate was generated at startup and
    // nothing secret is sent.
    Ok(client.danger_accept_any_certificate().build()?.connect(url).await?)
}
