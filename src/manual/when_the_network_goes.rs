//! Connections that outlive their sockets: what survives, for how long, and what to set at a
//! balancer.
//!
//! A WebSocket ends with its TCP connection. A phone changes from Wi-Fi to mobile, a laptop sleeps,
//! a proxy is reloaded, and each time all streams would be lost. If both ends set
//! [`resume_timeout`], the loss of the socket only *suspends* the connection. The client dials
//! again, both ends send again what the other has not received, and the connection goes on. A call
//! sees a pause. It sees no error and no gap, and nothing arrives twice.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use wsmux::{AcceptError, Config, ConnectionEvent, WebSocketClient, WebSocketServer};
//!
//! let mut config = Config::default();
//! config.resume_timeout(Some(Duration::from_secs(60)));
//!
//! let server = WebSocketServer::builder().config(config.clone()).bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", server.local_addr()?);
//! tokio::spawn(async move {
//!     // The server goes on accepting, because a client that comes back needs a new socket.
//!     while let Some(connecting) = server.accept().await {
//!         tokio::spawn(async move {
//!             match connecting.await {
//!                 Ok(connection) => drop(connection.closed().await),
//!                 Err(AcceptError::Resumed) => {} // an earlier connection goes on
//!                 Err(error) => eprintln!("no connection: {error}"),
//!             }
//!         });
//!     }
//! });
//!
//! let client = WebSocketClient::builder().config(config).build()?;
//! let connection = client.connect(&url).await?;
//! let mut events = connection.events();
//! tokio::spawn(async move {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             ConnectionEvent::Suspended => println!("the network is gone"),
//!             ConnectionEvent::Resumed { gap, .. } => println!("it is back after {gap:?}"),
//!             _ => {}
//!         }
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! For resumption, the server's application only has to keep accepting clients and awaiting their
//! handshakes. A client that comes back does not make a new connection. The future of its handshake
//! ends with [`AcceptError::Resumed`], and the earlier connection gets the socket. This error does
//! not report a failure.
//!
//! Without TLS, only connections to loopback addresses can be resumed, unless the client asks for
//! more (see [Security](#security)).
//!
//! Resumption works between two ends of wsmux on the QMux wire: native clients, clients over
//! HTTP/2, and web pages. Any other peer ignores the offer, and its connections end with their
//! sockets. If the application has opened the socket itself, the connection also ends with its
//! socket.
//!
//! # What survives, and what does not
//!
//! | | |
//! |---|---|
//! | streams, their bytes, ends and resets | yes, exactly once and in order |
//! | calls, reads and writes that wait | yes, they go on waiting |
//! | limits and priorities that were set on the live connection | yes |
//! | datagrams | yes, and none arrives twice; but full queues drop datagrams, as at any time |
//! | [`info`], [`remote_address`], the request and its headers | yes: those of the first socket |
//! | what a hook attached with [`data`] | yes: the data of the first handshake |
//! | a connection whose socket is lost in the first round trip after the upgrade | no: the server does not have the client's offer yet |
//! | a connection whose server process ends, or is restarted | no: the connection ends when the client comes back |
//! | a connection whose client process ends, or whose page is closed or reloaded | no |
//! | a connection whose new socket reaches another server | no: that server refuses, and the connection ends at once |
//!
//! When a connection cannot go on, it ends as it would have ended without resumption. All handles
//! report the error that suspended the connection, for example [`ConnectionError::SocketLost`]. So
//! an application that uses resumption needs no new error handling.
//!
//! Writes continue while the connection is suspended, until the stream's [`send_buffer`] is full.
//! Then writes wait. A call that must not wait needs a timeout of its own. On a slow network it
//! needs that timeout, too.
//!
//! # For how long
//!
//! A suspended connection ends after [`resume_timeout`]. Each end sends its timeout to the other
//! end, and both ends use the shorter timeout. If a new socket is lost before anything new has
//! arrived on it, the timeout does not start again (R-17).
//!
//! An end notices at once that its socket is lost if the system or a proxy reports the loss. If the
//! network only stops answering, an end notices the silence. If a ping is unanswered for two thirds
//! of the [idle timeout], the connection is suspended, and the client dials (R-24). With the
//! defaults this happens after 20 s. Set a shorter idle timeout and [`keep_alive_interval`] if a
//! phone should come back sooner. The connection ends when the idle timeout or `resume_timeout`,
//! whichever is longer, has passed since the silence began (R-25). So with a `resume_timeout` of at
//! most 30 s, a server that is gone for good is reported as early as without resumption.
//!
//! The client dials at once after a loss. If that dial fails, the client waits for a random time,
//! whose maximum is 250 ms at first and doubles up to 4 s. In a browser the client also dials when
//! the page learns that the network is back. A response with a status that is not [retryable], for
//! example 401, ends the connection.
//!
//! For the application, [`close`] and the drop of the last handle end a suspended connection at
//! once. If the server has closed, the client learns of the close when it comes back. If the client
//! has closed, the client dials only if some of its last bytes may be missing at the server.
//! Otherwise the server notices the end after [`resume_timeout`].
//!
//! # Memory
//!
//! To be able to send again, each end keeps what it has sent until the peer acknowledges it:
//!
//! - [`replay_budget`] limits how much one connection keeps. Sending pauses when the budget is used
//!   up. With the default of 32 MiB, a connection can send about 24 MiB in each round trip, which
//!   is 2 Gbit/s at 100 ms. A connection on a short path keeps far less, because the peer
//!   acknowledges after 512 KiB, or after a second.
//! - [`memory_bound`] includes the budget, as `replay`.
//! - A server limits the connections that have no socket. There are at most
//!   [`max_suspended_connections`], 10,000 by default, and they keep at most
//!   [`max_suspended_bytes`] to send again, 256 MiB by default. If there are more connections, the
//!   connection that has waited longest ends. If they keep more bytes, the connection that keeps
//!   the most ends. These bytes do not include what the streams of the connections have buffered.
//!
//! On a server with many connections, set a smaller `replay_budget`: 1 MiB is enough for 80 Mbit/s
//! at 75 ms.
//!
//! # Behind a balancer
//!
//! The connection lives in the memory of one server, so each new socket has to reach the same
//! server. A client keeps the cookies that the response to its upgrade has set, and sends them with
//! each later upgrade. So a balancer that chooses the server by a cookie works without further
//! settings. The client keeps these cookies for this connection only. A web page leaves the cookies
//! to the browser, so a page of another site needs a cookie with `SameSite=None`.
//!
//! This is HAProxy's backend. The rest of the configuration is that of
//! [`behind_a_proxy`](super::behind_a_proxy):
//!
//! ```text
#![doc = include_str!("when_the_network_goes/haproxy.cfg")]
//! ```
//!
//! `cookie node insert` names the server in a cookie, and `indirect` removes the cookie from what
//! the server sees. `secure` is for pages, and the front has to use TLS anyway. If a server is down,
//! `option redispatch` gives its clients to another one. That server refuses, and their connections
//! end at once.
//!
//! nginx needs no module for it. The first request gets a random cookie, and the hash of the cookie
//! chooses the server. `always` is needed, because nginx adds no header to a response with status
//! 101 otherwise:
//!
//! ```nginx
#![doc = include_str!("when_the_network_goes/nginx.conf")]
//! ```
//!
//! | what happens | with the configurations above |
//! |---|---|
//! | the TCP connection of the client is cut | survives |
//! | the proxy is reloaded, and ends its old worker (`hard-stop-after`, `worker_shutdown_timeout`) | survives |
//! | the proxy is killed and started again | survives |
//! | the proxy's timeout for silent tunnels expires | survives; but use [`keep_alive_interval`] |
//! | the server is restarted | ends when the client comes back |
//! | servers are added or removed | survives behind HAProxy; nginx's hash moves some of the clients, whose connections end when they come back |
//!
//! **What does not work.** Without a cookie, `leastconn`, `roundrobin` and nginx's default give the
//! new socket to any server. With `balance source` or `ip_hash`, the client reaches its server as
//! long as its address stays the same. When its network changes, and so its address, the connection
//! ends. The same is true for balancers of TCP that choose by address. The tests show both as the
//! failures that they are. With only one server nothing has to be set.
//!
//! # Together with `ReconnectingClient`
//!
//! [`ReconnectingClient`] dials again when a connection has *ended*. Resumption comes before that:
//! while the connection is suspended, [`connection`] still returns it, and no
//! [`ReconnectEvent::Lost`] is reported. If it cannot be resumed, the loss is reported, and the
//! client dials as [`reconnecting`](super::reconnecting) describes. So use both: resumption for the
//! network, and the `ReconnectingClient` for servers that are restarted. A `resume_timeout` of about
//! a minute is enough for both.
//!
//! # What can be seen
//!
//! - [`events`] reports [`Suspended`] and [`Resumed`], for example to show a user that the network
//!   is gone. [`session_state`] returns the current state. After the handshake it is
//!   [`Live`] if both ends have turned resumption on, and [`Fixed`] if not.
//! - [`session_stats`] counts resumptions, and messages and bytes that were sent again. It has the
//!   longest gap, and the bytes that are kept now.
//! - With the feature `tracing` there are events, see [`observability`](super::observability), and
//!   with the feature `qlog` the log shows each loss and each new socket.
//!
//! # Security
//!
//! - Who comes back has to prove that it knows the connection's secret, which the server has sent
//!   in the first handshake. The proof is an HMAC, and each proof is valid once. SPEC.md §12 has the
//!   rules, and [`threats`](super::threats) the attacks and their tests.
//! - The secret crosses the network once, so it needs TLS. Without TLS, only connections to loopback
//!   addresses are resumed. [`resume_without_tls`] permits more for networks that are trusted.
//! - The server checks a client that comes back as it checks a new one: TLS, the client's
//!   certificate, and the [`authorize`](crate::authorize) hook. The result must be the same
//!   identity: the same certificates, the same [`User`](crate::authorize::User), and the same
//!   [`identity`] that the hook has named. Otherwise the request is refused, and the connection
//!   waits on for its client. A token that has expired must be replaced at the client, because each
//!   new socket is dialled with the headers of the client's builder.
//!
//! # Why it is off by default
//!
//! Its cost in processor time is not the reason. With both ends on and no loss, bulk transfers, 64
//! concurrent calls and ping-pong take at most 1 % more processor time than with resumption off. The
//! reasons are others. Resumption costs memory at both ends, as described above. A server keeps
//! connections whose clients are gone, until their timeout ends. Behind a balancer it needs
//! stickiness. An application should know of all three before it turns resumption on.
//!
//! [`AcceptError::Resumed`]: crate::AcceptError::Resumed
//! [`ConnectionError::SocketLost`]: crate::ConnectionError::SocketLost
//! [`Fixed`]: crate::SessionState::Fixed
//! [`Live`]: crate::SessionState::Live
//! [`ReconnectEvent::Lost`]: crate::ReconnectEvent::Lost
//! [`ReconnectingClient`]: crate::ReconnectingClient
//! [`Resumed`]: crate::ConnectionEvent::Resumed
//! [`Suspended`]: crate::ConnectionEvent::Suspended
//! [`close`]: crate::WebSocketConnection::close
//! [`connection`]: crate::ReconnectingClient::connection
//! [`data`]: crate::authorize::Accept::data
//! [`events`]: crate::WebSocketConnection::events
//! [`identity`]: crate::authorize::Accept::identity
//! [`info`]: crate::WebSocketConnection::info
//! [`keep_alive_interval`]: crate::Config::keep_alive_interval
//! [`max_suspended_bytes`]: crate::WebSocketServerBuilder::max_suspended_bytes
//! [`max_suspended_connections`]: crate::WebSocketServerBuilder::max_suspended_connections
//! [`memory_bound`]: crate::Config::memory_bound
//! [`remote_address`]: crate::WebSocketConnection::remote_address
//! [`replay_budget`]: crate::Config::replay_budget
//! [`resume_timeout`]: crate::Config::resume_timeout
//! [`resume_without_tls`]: crate::WebSocketClientBuilder::resume_without_tls
//! [`send_buffer`]: crate::Config::send_buffer
//! [`session_state`]: crate::WebSocketConnection::session_state
//! [`session_stats`]: crate::WebSocketConnection::session_stats
//! [idle timeout]: crate::Config::max_idle_timeout
//! [retryable]: crate::ConnectError::is_retryable
