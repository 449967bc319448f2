//! A forwarder of TCP connections that cuts them, as a network or a load balancer does.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// How a TCP connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends receive an RST.
    Reset,
    /// Both ends receive a FIN. Unless the connection is idle, the FIN comes in the middle of a
    /// message.
    End,
    /// Nothing is forwarded any more, and neither end learns that.
    Silence,
}

/// Forwards TCP connections to a server.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    /// The number of the last cut, and the way in which it cuts.
    cut: watch::Sender<(u64, Cut)>,
    /// Whether new connections are refused.
    down: watch::Sender<bool>,
    accepted: AtomicU64,
    forwarded: watch::Sender<u64>,
}

impl Cutter {
    /// Starts to forward to this server, from a port of its own on loopback.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            cut: watch::Sender::new((0, Cut::Reset)),
            down: watch::Sender::new(false),
            accepted: AtomicU64::new(0),
            forwarded: watch::Sender::new(0),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections that are open.
    pub fn cut(&self, how: Cut) {
        self.shared.cut.send_modify(|cut| *cut = (cut.0 + 1, how));
    }

    /// Resets each new connection at once, until this is called with `false`.
    pub fn set_down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Forwards new connections to another server.
    pub fn forward_to(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("no panic") = server;
    }

    /// Returns how many connections were accepted, including the connections that were reset at
    /// once.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Waits until this many more bytes were forwarded, in both directions together.
    pub async fn forwarded(&self, bytes: u64) {
        let mut forwarded = self.shared.forwarded.subscribe();
        let end = *forwarded.borrow() + bytes;
        forwarded.wait_for(|count| *count >= end).await.expect("the sender lives");
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        if *shared.down.borrow() {
            reset(&client);
            continue;
        }
        let server = *shared.server.lock().expect("no panic");
        tokio::spawn(forward(client, server, shared.clone()));
    }
}

async fn forward(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) -> io::Result<()> {
    let mut cut = shared.cut.subscribe();
    let before = cut.borrow_and_update().0;
    let server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut client, mut server) = (client.into_split(), server.into_split());
    let how = {
        let both = async {
            tokio::join!(
                copy(&mut client.0, &mut server.1, &shared),
                copy(&mut server.0, &mut client.1, &shared)
            );
        };
        tokio::select! {
            () = both => return Ok(()),
            cut = cut.wait_for(|cut| cut.0 > before) => cut.map_or(Cut::Reset, |cut| cut.1),
        }
    };
    match how {
        Cut::End => {}
        Cut::Reset => {
            reset(client.0.as_ref());
            reset(server.0.as_ref());
        }
        // The connections stay open until both ends have closed them.
        Cut::Silence => {
            tokio::join!(discard(&mut client.0), discard(&mut server.0));
        }
    }
    Ok(())
}

async fn copy(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, shared: &Shared) {
    let mut buf = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buf).await {
        if to.write_all(&buf[..len]).await.is_err() {
            break;
        }
        shared.forwarded.send_modify(|count| *count += len as u64);
    }
    let _ = to.shutdown().await;
}

async fn discard(from: &mut OwnedReadHalf) {
    let _ = tokio::io::copy(from, &mut tokio::io::sink()).await;
}

/// Makes the kernel send an RST when the stream is dropped.
#[expect(deprecated, reason = "only a linger time of more than zero blocks the thread")]
fn reset(stream: &TcpStream) {
    let _ = stream.set_linger(Some(std::time::Duration::ZERO));
}
