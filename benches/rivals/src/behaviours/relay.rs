//! A relay between client and server that can cut and delay their connection.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::Shown;
use crate::path;

/// How long a relay with a delay holds each byte: half a round trip.
const DELAY: Duration = Duration::from_millis(50);
/// A relay with a delay holds at most this many bytes in one direction.
const UNDER_WAY: usize = 256 * 1024 * 1024;
/// A relay with a delay reads at most this many bytes at once.
const READ: usize = 256 * 1024;

pub struct Relay(watch::Sender<bool>);

/// Starts a relay to the rival's server, and makes later connections go through it.
pub async fn start<R: Shown>(rival: &mut R, delayed: bool) -> Result<Relay> {
    let listener = TcpListener::bind((path::server(), 0)).await?;
    let server = rival.address();
    rival.set_address(listener.local_addr()?);
    let (sender, cut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cut = cut.clone();
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                let mut server = TcpStream::connect(server).await?;
                server.set_nodelay(true)?;
                if delayed {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(delay(from_client, to_server));
                    tokio::spawn(delay(from_server, to_client));
                    return anyhow::Ok(());
                }
                // Both sockets are dropped when this task ends.
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => (),
                    _ = cut.wait_for(|cut| *cut) => (),
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(Relay(sender))
}

impl Relay {
    /// Cuts every connection through the relay. Neither end receives a WebSocket Close.
    pub fn cut(&self) {
        self.0.send_replace(true);
    }
}

/// Passes on each byte after [`DELAY`].
async fn delay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let free = room.clone();
    tokio::spawn(async move {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
            free.add_permits(bytes.len());
        }
        to.shutdown().await
    });
    let mut buffer = vec![0; READ];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        room.acquire_many(len as u32).await?.forget();
        queue.send((Instant::now() + DELAY, Bytes::copy_from_slice(&buffer[..len])))?;
    }
}
