//! The network between the page and a server: a TCP relay that can pause, lose its connections,
//! and be cut.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Runs,
    Stands,
    Cut,
}

/// A relay, whose connections end when it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
    /// How often [`lose`](Self::lose) was called.
    losses: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let network = Arc::new(watch::Sender::new(Network::Runs));
        let mut tasks = JoinSet::new();
        let seen = network.subscribe();
        let losses = watch::Sender::new(0);
        let lost = losses.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((page, _)) = listener.accept().await {
                connections.spawn(carry(page, server, seen.clone(), lost.subscribe()));
            }
        });
        Ok(Self { address, network, losses, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stand(&self) {
        self.network.send_replace(Network::Stands);
    }

    pub(crate) fn run(&self) {
        self.network.send_replace(Network::Runs);
    }

    /// Ends all connections. Each new connection is ended at once until [`run`](Self::run) is
    /// called.
    pub(crate) fn cut(&self) {
        self.network.send_replace(Network::Cut);
    }

    /// Ends the connections that exist now.
    pub(crate) fn lose(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }
}

async fn carry(
    page: TcpStream,
    server: SocketAddr,
    mut network: watch::Receiver<Network>,
    mut losses: watch::Receiver<u64>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    for tcp in [&page, &server] {
        let _ = tcp.set_nodelay(true);
    }
    let (page_reads, page_writes) = page.into_split();
    let (server_reads, server_writes) = server.into_split();
    let there = pump(page_reads, server_writes, network.clone());
    let back = pump(server_reads, page_writes, network.clone());
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = network.wait_for(|network| *network == Network::Cut) => {}
        _ = losses.changed() => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let _ = network.wait_for(|network| *network == Network::Runs).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
