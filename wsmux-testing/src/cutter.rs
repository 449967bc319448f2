//! A forwarder of TCP connections that cuts them, as a network or a load balancer does.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
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
    /// Both ends receive a FIN. If the connection is busy, the FIN may come in the middle of a
    /// message.
    End,
    /// The client receives an RST, and the server does not learn that anything has happened.
    Client,
    /// Nothing is forwarded any more, and neither end learns that until the next cut.
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
    /// The address that the server sees as the client's address.
    source: Mutex<IpAddr>,
    /// The number of the last cut, and the way in which it cuts.
    cut: watch::Sender<(u64, Cut)>,
    /// Whether new connections are refused.
    down: watch::Sender<bool>,
    /// How many bytes of each further connection are forwarded.
    limits: Mutex<VecDeque<u64>>,
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
            source: Mutex::new(Ipv4Addr::LOCALHOST.into()),
            cut: watch::Sender::new((0, Cut::Reset)),
            down: watch::Sender::new(false),
            limits: Mutex::default(),
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

    /// Resets the next new connection after this many bytes, in both directions together. If this
    /// is called several times, the first call applies to the next connection, the second call to
    /// the connection after it, and so on.
    pub fn limit_next(&self, bytes: u64) {
        self.shared.limits.lock().expect("no panic").push_back(bytes);
    }

    /// Forwards new connections to another server.
    pub fn forward_to(&self, server: SocketAddr) {
        *self.shared.server.lock().expect("no panic") = server;
    }

    /// Lets new connections come from another loopback address, as if the client had moved to
    /// another network.
    pub fn come_from(&self, source: Ipv4Addr) {
        *self.shared.source.lock().expect("no panic") = source.into();
    }

    /// Returns how many connections were accepted, including connections that were reset at once.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were forwarded, in both directions together.
    pub fn total(&self) -> u64 {
        *self.shared.forwarded.borrow()
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
    let mut before = cut.borrow_and_update().0;
    let limit = shared.limits.lock().expect("no panic").pop_front();
    let budget = Budget(AtomicU64::new(limit.unwrap_or(u64::MAX)));
    let source = *shared.source.lock().expect("no panic");
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let server = socket.connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut client, mut server) = (client.into_split(), server.into_split());
    let mut how = {
        let ends = async {
            tokio::try_join!(
                copy(&mut client.0, &mut server.1, &budget, &shared),
                copy(&mut server.0, &mut client.1, &budget, &shared)
            )
        };
        tokio::select! {
            ended = ends => match ended {
                Ok(_) => return Ok(()),
                Err(Exhausted) => Cut::Reset,
            },
            cut = cut.wait_for(|cut| cut.0 > before) => cut.map_or(Cut::Reset, |cut| {
                before = cut.0;
                cut.1
            }),
        }
    };
    loop {
        match how {
            Cut::End => return Ok(()),
            Cut::Reset => {
                reset(client.0.as_ref());
                reset(server.0.as_ref());
                return Ok(());
            }
            Cut::Client => {
                reset(client.0.as_ref());
                drop(client);
                discard(&mut server.0).await;
                return Ok(());
            }
            Cut::Silence => {}
        }
        // Both connections stay open until both ends have closed them, or until the next cut.
        let silence = async {
            tokio::join!(discard(&mut client.0), discard(&mut server.0));
        };
        how = tokio::select! {
            () = silence => return Ok(()),
            cut = cut.wait_for(|cut| cut.0 > before) => cut.map_or(Cut::Reset, |cut| {
                before = cut.0;
                cut.1
            }),
        };
    }
}

/// How many more bytes of a connection are forwarded.
struct Budget(AtomicU64);

/// The error of [`copy`] when no more bytes of the connection may be forwarded.
struct Exhausted;

impl Budget {
    /// Returns how many of the `wanted` bytes may be forwarded.
    fn take(&self, wanted: u64) -> u64 {
        let take = |left: u64| Some(left.saturating_sub(wanted));
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, take).map_or(0, |left| left.min(wanted))
    }
}

async fn copy(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    budget: &Budget,
    shared: &Shared,
) -> Result<(), Exhausted> {
    let mut buf = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buf).await {
        let taken = budget.take(len as u64) as usize;
        if to.write_all(&buf[..taken]).await.is_err() {
            break;
        }
        shared.forwarded.send_modify(|count| *count += taken as u64);
        if taken < len {
            return Err(Exhausted);
        }
    }
    let _ = to.shutdown().await;
    Ok(())
}

async fn discard(from: &mut OwnedReadHalf) {
    let _ = tokio::io::copy(from, &mut tokio::io::sink()).await;
}

/// Makes the kernel send an RST when the stream is dropped.
#[expect(deprecated, reason = "only a linger time of more than zero blocks the thread")]
fn reset(stream: &TcpStream) {
    let _ = stream.set_linger(Some(Duration::ZERO));
}
