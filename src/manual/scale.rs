//! How the cost grows with connections, streams, sizes and cores, and how to use many cores.
//!
//! A cost that grows with a power of something has the same exponent on every machine, within
//! limits. The exponent says more about a larger load than any single figure. This command measures
//! wsmux at one factor after another, and fits an exponent to each curve:
//!
//! ```text
//! cargo run --release -p wsmux-rivals -- scale --chart scale.svg --json scale.json
//! ```
//!
//! FIGURES
//!
//! # A runtime for each core
//!
//! The threads of tokio's multi-thread runtime share their tasks, and a task may move to another
//! thread whenever it is woken. A connection is at least two tasks that wake each other: the
//! connection's driver, and the application's task. If these run on different cores, each wake-up
//! has to wake a core, and the connection's state moves between the caches of the cores.
//!
//! Instead, a server can have a current-thread runtime on each core, each with a listener of its
//! own. The listeners share a port by the socket option `SO_REUSEPORT`. For each new connection the
//! Linux kernel chooses one of them by a hash of the addresses and ports. From then on, everything
//! about the connection happens on one thread:
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{io, net::SocketAddr, thread};
//!
//! use tokio::{
//!     net::{TcpListener, TcpSocket},
//!     runtime::Builder,
//! };
//! use wsmux::WebSocketServer;
//!
//! fn listen(address: SocketAddr) -> io::Result<TcpListener> {
//!     let socket = TcpSocket::new_v4()?;
//!     socket.set_reuseaddr(true)?;
//!     socket.set_reuseport(true)?;
//!     socket.bind(address)?;
//!     socket.listen(1024)
//! }
//!
//! async fn serve(server: WebSocketServer) {
//!     while let Some(connecting) = server.accept().await {
//!         tokio::spawn(async move {
//!             let connection = connecting.await.ok()?;
//!             // Serve its streams.
//! #           let mut stream = connection.open_uni().await.ok()?;
//! #           let name = format!("{:?}", thread::current().id());
//! #           stream.write_all(name.as_bytes()).await.ok()?;
//! #           stream.finish().ok()?;
//! #           connection.closed().await;
//!             Some(())
//!         });
//!     }
//! }
//!
//! # let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
//! # let cores = 2;
//! let acceptor = WebSocketServer::builder().build()?;
//! for _ in 0..cores {
//!     let runtime = Builder::new_current_thread().enable_all().build()?;
//!     let entered = runtime.enter();
//!     let server = WebSocketServer::new(listen(address)?, acceptor.clone());
//!     drop(entered);
//! #   address = server.local_addr()?;
//!     thread::spawn(move || runtime.block_on(serve(server)));
//! }
//! # // Clients connect until each thread has served one of them.
//! # let runtime = Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! #     let client = wsmux::WebSocketClient::builder().build()?;
//! #     let mut threads = std::collections::HashSet::new();
//! #     for _ in 0..1_000 {
//! #         let connection = client.connect(&format!("ws://{address}/")).await?;
//! #         threads.insert(connection.accept_uni().await?.read_to_end(100).await?);
//! #         if threads.len() == cores {
//! #             return Ok(());
//! #         }
//! #     }
//! #     panic!("the kernel has chosen the same thread for 1,000 connections");
//! # })
//! # }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```
//!
//! `examples/per_core.rs` is a complete server of this form. What to know before using it:
//!
//! - **Limits count for each server.** All servers may share one
//!   [`WebSocketAcceptor`](crate::WebSocketAcceptor), and so have the same settings. But
//!   [`max_connections`](crate::WebSocketServerBuilder::max_connections) and the other limits on
//!   clients apply to each server, so divide them by the number of cores.
//! - **A renewed certificate** has to be set only once, because the TLS configuration belongs to
//!   the shared acceptor.
//! - **To shut down**, call [`shutdown`](crate::WebSocketServer::shutdown) on each server. When a
//!   listener closes, the kernel resets the connections that wait in its accept queue, unless
//!   `net.ipv4.tcp_migrate_req` is set. With a single listener there is only one such moment.
//! - **Nothing is balanced later.** The kernel spreads new connections evenly, but not their work.
//!   If few connections do most of the work, one core can be busy while others are idle, and a
//!   multi-thread runtime is better. A task that computes for long delays all connections of its
//!   core.
//! - **A second process** of the same user can bind the same port with `SO_REUSEPORT`, and then
//!   receives a part of the connections. It is not refused with
//!   [`AddrInUse`](std::io::ErrorKind::AddrInUse).
//! - **Only Linux spreads the connections.** On FreeBSD the option is `SO_REUSEPORT_LB`. On macOS
//!   one listener accepts them all, and Windows has no such option.
//! - **Clients** need no listeners. To use many cores, open several connections, and give each
//!   current-thread runtime its own.
