//! How the cost grows with connections, streams, sizes and cores, and how to use many cores.
//!
//! If a cost grows with the number `n` of something as `n^e`, the exponent `e` depends far less on
//! the machine than the cost itself. An exponent of 0 stands for a constant cost, and an exponent
//! of 1 for a cost in proportion to `n`. The following command changes one factor at a time and
//! fits an exponent to each curve:
//!
//! ```text
//! cargo run --release -p wsmux-rivals -- scale --chart scale.svg --json scale.json
//! ```
//!
//! The figures on this page are from one run of this command, on a virtual machine with two cores
//! of an AMD EPYC. The figures are medians of three rounds. Client and server each have one core,
//! and talk over loopback without TLS. A call is a request and an answer of 64 bytes on a stream of
//! its own, and 64 calls are in progress at a time. The processor time is the time of both ends
//! together, including the time in the kernel. Other programs were using the machine now and then,
//! so exponents between -0.05 and 0.05 count as 0.
//!
//! | what | grows with | exponent | from, to |
//! |---|---|--:|---|
//! | processor time of a call | idle connections, 10 to 9,900 | 0.00 | 3.1 µs, 3.2 µs |
//! | memory of a connection, both ends | idle connections, 1,000 to 9,900 | -0.01 | 26.4 kB, 26.0 kB |
//! | processor time of a call | idle streams, 10 to 100,000 | 0.00 | 2.7 µs, 2.8 µs |
//! | memory of a stream, both ends | idle streams, 1,000 to 100,000 | 0.04 | 0.8 kB, 1.0 kB |
//! | processor time of a call | connections that share the calls, 10 to 100 | 0.62 | 4.3 µs, 18.3 µs |
//! | | the same, 100 to 9,900 | 0.13 | 18.3 µs, 32.3 µs |
//! | processor time of a GiB | the size of each write, 16 to 256 bytes | -0.47 | 2.70 s, 0.74 s |
//! | | the same, 256 bytes to 1 MiB | -0.01 | 0.74 s, 0.62 s |
//! | round trip, median | the size of a message, 1 byte to 16 KiB | 0.02 | 66 µs, 78 µs |
//! | | the same, 16 KiB to 1 MiB | 0.47 | 78 µs, 568 µs |
//! | calls per second | cores, 1 to 2, a runtime for each | 0.96 | 65,000, 127,000 |
//! | | cores, 1 to 2, one multi-thread runtime | 0.83 | 65,000, 114,000 |
//!
//! The tables below show the points of three curves that bend, and of one curve that does not bend:
//!
//! | connections | 10 | 30 | 100 | 300 | 1,000 | 3,000 | 9,900 |
//! |---|--:|--:|--:|--:|--:|--:|--:|
//! | processor time of a call beside idle connections, µs | 3.1 | 3.3 | 3.3 | 3.4 | 3.3 | 3.4 | 3.2 |
//! | processor time of a call, if the calls are spread over the connections, µs | 4.3 | 9.6 | 18.3 | 20.1 | 25.3 | 29.4 | 32.3 |
//!
//! | bytes | 16 | 64 | 256 | 1 Ki | 4 Ki | 16 Ki | 64 Ki | 256 Ki | 1 Mi |
//! |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
//! | processor time of a GiB in writes of this size, s | 2.70 | 1.16 | 0.74 | 0.65 | 0.62 | 0.64 | 0.67 | 0.64 | 0.62 |
//! | round trip of a message of this size, µs | 75 | 62 | 63 | 77 | 82 | 78 | 122 | 204 | 568 |
//!
//! # What costs nothing
//!
//! **An idle stream or connection costs memory and no time.** Nothing in the engine visits all
//! streams. A frame finds its stream in a table by its id, and only streams that can send are in
//! the queue of the scheduler. An idle connection is a task that waits for its socket or for its
//! next timer. Only its [keep-alive](crate::Config::keep_alive_interval) pings cost something, once
//! in each interval.
//!
//! **The memory** of all idle streams together is proportional to their number. The same holds for
//! idle connections. This memory does not depend on the windows, because buffers are allocated when
//! bytes arrive and freed when the bytes have been read. The figures do not include the kernel's
//! memory for the sockets. Each connection was measured right after a call, so the figure for a
//! connection includes the socket's buffers, which are freed once nothing has arrived for a
//! keep-alive interval. For the bounds of connections that are not idle, see [flow
//! control](super::flow_control#memory-of-a-connection).
//!
//! # What shares its cost
//!
//! **A message costs more than a frame.** Each message of the WebSocket needs system calls and
//! wake-ups at both ends, whatever is in it. If several streams have something to send when the
//! socket is ready, their frames share a message. So 64 calls at a time on one connection cost a
//! sixth of 64 calls on 100 connections, where each call has messages of its own. Above 100
//! connections, the cost rises slowly, because the state of a connection is no longer in the
//! processor's caches when its next call arrives. To make calls cheap, use few connections and many
//! streams.
//!
//! **A write costs more than a byte** up to some hundred bytes. Writes are collected in the
//! stream's buffer until the socket is ready, so even writes of 16 bytes are sent in large
//! messages. The cost that remains for each write is that of a lock and a copy. From 1 KiB on, the
//! size of a write hardly matters, and larger buffers in the application gain little.
//!
//! **A round trip** takes a constant time if the message has at most about 16 KiB. This is the time
//! of the system calls and wake-ups at both ends. With larger messages, copying begins to dominate,
//! and the time becomes nearly proportional to the size. From 256 KiB to 1 MiB the round trip
//! becomes 2.8 times as long.
//!
//! # A runtime for each core
//!
//! The workers of tokio's multi-thread runtime share their tasks, and a task may move to another
//! worker whenever it is woken. A connection has at least two tasks that wake each other: the
//! connection's own, and one of the application. If these two tasks run on different cores, each
//! wake-up may have to wake a core, and the connection's state moves between the caches of the
//! cores.
//!
//! Instead, a server can have a current-thread runtime on each core, each with a listener of its
//! own. The socket option `SO_REUSEPORT` lets the listeners share a port. For each new connection
//! the Linux kernel chooses one of the listeners by a hash of the addresses and ports. From then
//! on, everything about the connection happens on one thread:
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
//! A runtime for each core was compared with one multi-thread runtime. There were two cores, 64
//! connections for each core, and one call at a time on each connection. In the run above, the form
//! with a runtime for each core completed 1.11 times as many calls per second, and in four runs 1.1
//! to 1.5 times as many. Its processor time for a call was 0.7 to 1.1 times that of the
//! multi-thread runtime. In the run above, both forms made and closed 11,000 connections a second,
//! with a call on each. These ranges are wide because the clients ran on the same two cores, and
//! because other programs used these cores now and then. More than two cores were not measured. To
//! measure your machine, run
//!
//! ```text
//! cargo run --release -p wsmux-rivals -- scale --factor per-core --factor multi-thread
//! ```
//!
//! `examples/per_core.rs` is a complete server of this form. Before you use this form, you should
//! know the following:
//!
//! - **Limits count for each server.** All servers may share one
//!   [`WebSocketAcceptor`](crate::WebSocketAcceptor), and so have the same settings. But
//!   [`max_connections`](crate::WebSocketServerBuilder::max_connections) and the other limits on
//!   clients apply to each server, so divide them by the number of cores.
//! - **A renewed certificate** has to be set only once, because the TLS configuration belongs to
//!   the shared acceptor.
//! - **To shut down**, call [`shutdown`](crate::WebSocketServer::shutdown) on each server. When a
//!   listener closes, the kernel resets the connections that wait in its accept queue, unless
//!   `net.ipv4.tcp_migrate_req` is set.
//! - **Nothing is balanced later.** The kernel spreads new connections evenly, but not their work.
//!   If few connections do most of the work, one core can be busy while others are idle, and a
//!   multi-thread runtime is better. A task that computes for long delays all connections of its
//!   core.
//! - **Another process** of the same user can bind the same port with `SO_REUSEPORT`, and then
//!   receives a part of the connections. The other process does not get the error
//!   [`AddrInUse`](std::io::ErrorKind::AddrInUse).
//! - **Only Linux spreads the connections.** On FreeBSD the option that spreads them is
//!   `SO_REUSEPORT_LB`. macOS has `SO_REUSEPORT`, but does not spread connections, and Windows has
//!   no such option.
//! - **Clients** need no listeners. To use many cores, open several connections, one on each
//!   current-thread runtime.
