//! nginx, HAProxy and other load balancers in front of a server: how to configure them, how to take
//! a node out of service, and which calls survive a failure.
//!
//! A wsmux connection is one WebSocket over HTTP/1.1. A proxy that supports WebSockets forwards it.
//! nginx and HAProxy neither inspect nor split the messages. The tests run both proxies with the
//! configurations below. They send 1,000 streams at once and 256 MiB through each proxy, both in
//! plain text and with TLS that ends at the proxy. The tests also kill and reload the proxy, and
//! restart the servers behind it while calls are in progress.
//!
//! # nginx
//!
//! ```nginx
#![doc = include_str!("behind_a_proxy/nginx.conf")]
//! ```
//!
//! `proxy_http_version` and the two headers after it make the upgrade work. Without these three
//! lines the client gets a 4xx status and [`ConnectError::Refused`]. `proxy_buffering` has no
//! effect, because nginx stops buffering once the connection is upgraded.
//!
//! # HAProxy
//!
//! ```text
#![doc = include_str!("behind_a_proxy/haproxy.cfg")]
//! ```
//!
//! The health check is a plain HTTP request without an upgrade, so a healthy server answers 426.
//! The check has to name HTTP/1.1 and a host. By default HAProxy checks with HTTP/1.0, which the
//! server answers with 505. [`WebSocketServer::accept`] returns each check as a connection whose
//! handshake then fails, as expected. `option redispatch 1` sends a client to another server at
//! once if its first server has just closed its port.
//!
//! # Timeouts
//!
//! A proxy closes a tunnel that is silent for too long: nginx after `proxy_read_timeout` (60 s by
//! default), and HAProxy after `timeout tunnel`. If `timeout tunnel` is not set, `timeout client`
//! and `timeout server` count. [`keep_alive_interval`], which is 10 s by default, must be shorter
//! than these timeouts. Each end sends pings of its own, so an idle connection stays open. If
//! keep-alive is off on both ends, the proxy's timeout ends the connection, and this end looks like
//! a network failure:
//!
//! | what happens to the proxy | both ends get | when |
//! |---|---|---|
//! | killed, or its machine restarted | [`ConnectionError::SocketLost`] | at once |
//! | reloaded | [`ConnectionError::SocketLost`] | when the old worker ends |
//! | its timeout expires | [`ConnectionError::SocketLost`] | at once |
//! | hangs, or the path is gone | [`ConnectionError::TimedOut`] | after [`max_idle_timeout`] |
//!
//! With resumption these are pauses instead, except the last row of a network that stays away. See
//! [`when_the_network_goes`](super::when_the_network_goes).
//!
//! The streams report the same error inside [`ReadError::ConnectionLost`] and
//! [`WriteError::ConnectionLost`]; none of them looks complete.
//!
//! **After a reload** the old worker keeps running as long as it has connections, possibly for
//! days. nginx's `worker_shutdown_timeout` and HAProxy's `hard-stop-after` bound that time, but
//! when that time is over, the remaining connections end as in the first row. Draining, described
//! below, is better.
//!
//! # Buffers
//!
//! A proxy adds buffers to the path: its own (`proxy_buffer_size`, `tune.bufsize`), and those of
//! the sockets on both of its sides. It reads no faster than the other side accepts, so flow
//! control works end to end across it. A stream whose reader has stopped fills at most one window's
//! worth of these buffers, and the other streams continue. [`rtt`] is the round-trip time to the
//! peer, and [`socket_rtt`] only that to the proxy.
//!
//! **Gateways that limit messages.** nginx and HAProxy do not inspect messages. A gateway that does
//! inspect them may limit a message to 32 KiB or 128 KiB, and close the connection with 1009 when a
//! message is longer. The connection then ends with [`ConnectionError::ConnectionClosed`], whose
//! reason contains `WebSocket close 1009`. wsmux sends messages of up to 64 KiB. Set
//! [`max_message_sent`] on both ends to what the gateway accepts. If the peer is not wsmux, set
//! [`max_record_size`], which limits what the peer sends. On the js-ws wire a peer may put all its
//! credit in one message, so lower [`stream_receive_window`] there.
//!
//! # Who the client is
//!
//! [`remote_address`] is the proxy's. The client's address is in a header, and only the last
//! element of that header was written by the proxy. The client may have invented all elements
//! before it, whether they are in the same header line or in earlier ones.
//!
//! ```
//! use std::net::IpAddr;
//! use wsmux::WebSocketConnection;
//!
//! fn client_address(connection: &WebSocketConnection) -> Option<IpAddr> {
//!     let headers = connection.info().request()?.headers();
//!     let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
//!     last.rsplit(',').next()?.trim().parse().ok()
//! }
//! ```
//!
//! With several proxies in a row, count from the end of the header: each proxy adds one element.
//! The header proves nothing if a client can reach the server without the proxy.
//!
//! HAProxy's PROXY header (`send-proxy`) comes before the request, and contains the client's
//! address and port. wsmux does not parse it. To use it, accept the TCP stream yourself, read the
//! header and not one byte more, and pass the stream to [`WebSocketAcceptor::from_io`]. The
//! [`remote_address`] of such a connection is `None`.
//!
//! **TLS that ends at the proxy** leaves [`peer_certificates`] empty. The proxy can copy fields of
//! a client's certificate into headers. Trust these headers only if clients cannot reach the server
//! without the proxy. To check certificates yourself, let the proxy forward TLS unread (HAProxy's
//! `mode tcp`, nginx's `stream`).
//!
//! # Scaling out
//!
//! A load balancer has little to do. All streams of a connection share one TCP connection and so go
//! to one server; neither sticky sessions nor shared state are needed, except for
//! [resumption](super::when_the_network_goes). But the balancer distributes
//! connections, not calls. Let it count open connections (`leastconn`, `least_conn`), and let a
//! client with much work open several. Connections live long, so a new node stays empty until old
//! connections end. To avoid that, give each connection a lifetime of some minutes or hours, varied
//! at random, and let the server call [`drain`] when that time is over.
//!
//! # Draining a node
//!
//! 1. Stop new connections at the balancer: `set server wsmux/a state drain` in HAProxy's runtime
//!    API. If you skip this step, the next one has the same effect, because the balancer skips a
//!    port that refuses connections.
//! 2. Call [`WebSocketServer::shutdown`] with a deadline. The port is closed at once, and
//!    handshakes in progress are answered with 503. Streams that the client has already opened
//!    continue until they end. A wsmux client on the QMux wire receives a notice of the drain, and its streams
//!    are accepted until it knows. Streams that any other client opens later are refused. A connection is closed with
//!    code 0 after its last stream has ended, or at the deadline with the code that `shutdown` was
//!    given.
//! 3. When it returns, the process may exit.
//!
//! To let handshakes in progress finish instead, call [`WebSocketServer::close`], and then
//! [`drain_timeout`] on each connection, including those that the handshakes produce. The
//! process can end after every [`closed`] has returned.
//!
//! A [`ReconnectingClient`] learns of the drain at once, and none of its calls fails. Another wsmux
//! client gets [`ConnectionEvent::PeerDraining`] and [`OpenError::Draining`]. A client that is not
//! wsmux notices the drain when a stream is refused or the connection closes. It then opens a new
//! connection for new calls. The balancer gives the new connection to another node. The client
//! keeps a handle of the old connection, for example a stream, until its calls on the old
//! connection have ended.
//!
//! # What survives
//!
//! This section is about connections that have ended. Nothing moves from one connection to another: streams, datagrams, and the server's state for a
//! connection end with it. A call that has its own stream ends in one of these ways:
//!
//! | the client got | was the call executed? | call again? |
//! |---|---|---|
//! | the answer and its end | once | |
//! | no connection, or [`OpenError`] | no | yes |
//! | [`ReadError::Reset`] or [`WriteError::Stopped`], code 0 | no, if it was refused | yes |
//! | any other application error code | as that code says | |
//! | [`ReadError::ConnectionLost`], [`WriteError::ConnectionLost`] | perhaps | only if it may be executed twice |
//!
//! Code 0 does not always mean that a stream was refused. A half that is dropped unfinished also
//! sends code 0, for example because its handler panicked. If you need to tell these cases apart,
//! let the server's handlers reset with another code on every exit path, so that code 0 always
//! means that the stream was refused.
//!
//! After a drain without a deadline, no call that was executed fails at the client: if a call fails
//! there, the server's application never saw it. The tests verify this with calls in progress while
//! two servers restart in turn. Each call that was answered was executed once, and no failed call
//! was executed. When a server is killed, its calls in progress are lost. Each of them reports an
//! error, and the server may have executed some of them.
//!
//! [`ConnectError::Refused`]: crate::ConnectError::Refused
//! [`ConnectionEvent::PeerDraining`]: crate::ConnectionEvent::PeerDraining
//! [`ReconnectingClient`]: crate::ReconnectingClient
//! [`OpenError::Draining`]: crate::OpenError::Draining
//! [`ConnectionError::ConnectionClosed`]: crate::ConnectionError::ConnectionClosed
//! [`ConnectionError::SocketLost`]: crate::ConnectionError::SocketLost
//! [`ConnectionError::TimedOut`]: crate::ConnectionError::TimedOut
//! [`OpenError`]: crate::OpenError
//! [`ReadError::ConnectionLost`]: crate::ReadError::ConnectionLost
//! [`ReadError::Reset`]: crate::ReadError::Reset
//! [`WebSocketAcceptor::from_io`]: crate::WebSocketAcceptor::from_io
//! [`WebSocketServer::accept`]: crate::WebSocketServer::accept
//! [`WebSocketServer::close`]: crate::WebSocketServer::close
//! [`WebSocketServer::shutdown`]: crate::WebSocketServer::shutdown
//! [`WriteError::ConnectionLost`]: crate::WriteError::ConnectionLost
//! [`WriteError::Stopped`]: crate::WriteError::Stopped
//! [`closed`]: crate::WebSocketConnection::closed
//! [`keep_alive_interval`]: crate::Config::keep_alive_interval
//! [`max_idle_timeout`]: crate::Config::max_idle_timeout
//! [`max_message_sent`]: crate::Config::max_message_sent
//! [`max_record_size`]: crate::Config::max_record_size
//! [`peer_certificates`]: crate::WebSocketConnection::peer_certificates
//! [`remote_address`]: crate::WebSocketConnection::remote_address
//! [`rtt`]: crate::WebSocketConnection::rtt
//! [`drain`]: crate::WebSocketConnection::drain
//! [`stream_receive_window`]: crate::Config::stream_receive_window
//! [`drain_timeout`]: crate::WebSocketConnection::drain_timeout
//! [`socket_rtt`]: crate::WebSocketConnection::socket_rtt
