//! Stands in for the network in front of the server. It can cut connections as a real network does.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Cuts the connections of a network.
#[derive(Debug, Clone, Default)]
pub struct Cutter(watch::Sender<()>);

impl Cutter {
    /// Ends all connections that exist now. Neither end of a WebSocket receives a Close.
    pub fn cut(&self) {
        self.0.send_replace(());
    }
}

/// Forwards connections to the server. Runs until its future is dropped.
pub(crate) async fn forward(
    listener: TcpListener,
    server: SocketAddr,
    cutter: Cutter,
) -> io::Error {
    loop {
        let mut client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => return error,
        };
        let mut cut = cutter.0.subscribe();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            for tcp in [&client, &server] {
                tcp.set_nodelay(true)?;
            }
            tokio::select! {
                ended = copy_bidirectional(&mut client, &mut server) => ended.map(drop),
                _ = cut.changed() => Ok(()),
            }
        });
    }
}
