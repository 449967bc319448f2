//! A relay between client and server that can cut their connection.

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::Shown;
use crate::path;

pub struct Relay(watch::Sender<bool>);

/// Starts a relay to the rival's server, and makes later connections go through it.
pub async fn start<R: Shown>(rival: &mut R) -> Result<Relay> {
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
                // Both sockets are dropped when this ends.
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
    /// Cuts every connection through the relay, without a Close of the WebSocket.
    pub fn cut(&self) {
        self.0.send_replace(true);
    }
}
