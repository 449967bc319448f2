//! An echo server with a runtime for each core. Each runtime has one thread and a listener of its
//! own. All listeners share one port (`SO_REUSEPORT`), and the kernel chooses the listener of each
//! new connection. So a connection stays on one thread, and no task moves between cores.
//!
//!     cargo run --release --example per_core -- 127.0.0.1:4433
//!
//! The manual's chapter on how the cost grows says when a runtime for each core helps. Only Linux
//! spreads the connections, so on any other system there is a single runtime.

use std::{error::Error, io, net::SocketAddr, thread};

use tokio::{
    io::copy,
    net::{TcpListener, TcpSocket},
    runtime::Builder,
};
use wsmux::{WebSocketConnection, WebSocketServer};

/// How many clients may wait in the accept queue of each listener.
const BACKLOG: u32 = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut address = address.parse()?;
    let cores = if cfg!(target_os = "linux") { thread::available_parallelism()?.get() } else { 1 };
    // All servers share these settings, but each server applies the limits to its own clients.
    let acceptor = WebSocketServer::builder().build()?;
    let mut threads = Vec::new();
    for _ in 0..cores {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // The listener belongs to the runtime in whose context it is made.
        let entered = runtime.enter();
        let server = WebSocketServer::new(listen(address)?, acceptor.clone());
        drop(entered);
        // If the port was 0, the other listeners need the port that the system has chosen.
        address = server.local_addr()?;
        threads.push(thread::spawn(move || runtime.block_on(serve(server))));
    }
    println!("ws://{address}/ with a runtime for each of {cores} cores");
    for thread in threads {
        thread.join().map_err(|_| "a server's thread has panicked")?;
    }
    Ok(())
}

/// Listens on an address that other listeners of the same user may share.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // This option lets a server restart at once. On Windows it has another meaning.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(server: WebSocketServer) {
    while let Some(connecting) = server.accept().await {
        tokio::spawn(async move {
            match connecting.await {
                Ok(connection) => echo(connection).await,
                Err(error) => eprintln!("handshake: {error}"),
            }
        });
    }
}

async fn echo(connection: WebSocketConnection) {
    while let Ok(stream) = connection.accept_bi().await {
        tokio::spawn(async move {
            let (mut send, mut recv) = stream.into_split();
            // If the copy fails, dropping the halves resets and stops the stream.
            if copy(&mut recv, &mut send).await.is_ok() {
                let _ = send.finish();
            }
        });
    }
}
