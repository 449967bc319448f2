//! A relay between a page and a server. The relay stands for a network that is slow, or that stops
//! carrying data.

use std::{io, time::Duration};

use anyhow::Result;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    time::sleep,
};

/// The size of the operating system's buffers at each end, in bytes. The buffers are small, because
/// large buffers would hide that the network is slow.
const SOCKET_BUFFER: usize = 16 * 1024;

/// A slow network carries data once in each interval of this length.
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Relay {
    url: String,
    silent: watch::Sender<bool>,
}

impl Relay {
    /// Starts a network in front of the server at `url`. With a `rate` the network carries that
    /// many bytes a second in each direction. Without a `rate` it has no limit.
    pub(crate) async fn start(url: &str, rate: Option<usize>) -> Result<Self> {
        let target = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        SockRef::from(&listener).set_recv_buffer_size(SOCKET_BUFFER)?;
        let url = format!("ws://{}/", listener.local_addr()?);
        let silent = watch::Sender::new(false);
        let receiver = silent.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, silent) = (target.clone(), receiver.clone());
                tokio::spawn(async move {
                    let far = TcpStream::connect(target).await?;
                    for end in [&near, &far] {
                        end.set_nodelay(true)?;
                        SockRef::from(end).set_send_buffer_size(SOCKET_BUFFER)?;
                    }
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(
                        carry(near_in, far_out, rate, silent.clone()),
                        carry(far_in, near_out, rate, silent),
                    );
                    io::Result::Ok(())
                });
            }
        });
        Ok(Self { url, silent })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on the network carries nothing, not even the end of a connection.
    pub(crate) fn silence(&self) {
        self.silent.send_replace(true);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    rate: Option<usize>,
    mut silent: watch::Receiver<bool>,
) {
    let per_tick = rate.map(|rate| rate / (1000 / TICK.as_millis() as usize));
    let mut buf = vec![0; per_tick.unwrap_or(64 * 1024)];
    loop {
        let silence = async { drop(silent.wait_for(|silent| *silent).await) };
        let read = tokio::select! {
            biased;
            () = silence => None,
            read = from.read(&mut buf) => Some(read),
        };
        let Some(read) = read else {
            // Both sockets stay open, so the only sign of the loss at either end is silence.
            return std::future::pending().await;
        };
        let Ok(length @ 1..) = read else { break };
        if to.write_all(&buf[..length]).await.is_err() {
            break;
        }
        if per_tick.is_some() {
            sleep(TICK).await;
        }
    }
    let _ = to.shutdown().await;
}
