//! nginx, HAProxy and other load balancers in front of a server: how to configure them, how to take
//! a node out of service, and what survives.
//!
//! A wsmux connection is one WebSocket over HTTP/1.1. A proxy that supports WebSockets forwards it;
//! nginx and HAProxy neither inspect nor split its messages.
//! 1,000 streams at once and 256 MiB through each, in plain text and with TLS terminated at the
//! proxy. They kill and reload the proxy, and restart the servers behind it while calls are in
//! progress.
//!
//! # nginx
//!
//! ```nginx
#![doc = include_str!("behind_a_proxy/nginx.conf")]
//! ```
//!
//! `proxy_http_version` and the two headers after it make the upgrade work; without them the client
//! gets a 4xx status and [`ConnectError::Refused`]. `proxy_buffering` has no effect, because it
//! ends with the upgrade.
//!
//! # HAProxy
//!
//! ```text
#![doc = include_str!("behind_a_proxy/haproxy.cfg")]
//! ```
//!
//! The health check is a plain HTTP request without an upgrade, so a healthy server answers 426.
//! The check has to name HTTP/1.1 and a host: the default of HTTP/1.0 is answered with 505. Each
//! check appears at [`WebSocketServer::accept`] as a connection whose handshake fails; that is
//! expected. `option redispatch 1` sends a client to another server at once if its first server has
//! just closed its port.
//!
//! # Timeouts
//!
//! A proxy closes a silent tunnel: nginx after `proxy_read_timeout` (60 s by default), HAProxy
//! after `timeout tunnel`, or after the client's and the server's timeouts if that is not set.
//! [`keep_alive_interval`] must be shorter. Its default of 10 s is shorter, and each end pings on
//! its own, so an idle connection stays open. If keep-alive is off on both ends, the proxy's
//! timeout ends the connection, and that looks like a network failure:
//!
//! | what happens to the proxy | both ends get | when |
//! |---|---|---|
//! | killed, or its machine restarted | [`ConnectionError::SocketLost`] | at once |
//! | reloaded | [`ConnectionError::SocketLost`] | when the old worker ends |
//! | its timeout expires | [`ConnectionError::SocketLost`] | at once |
//! | hangs, or the path is gone | [`ConnectionError::TimedOut`] | after [`max_idle_timeout`] |
//!
//! The streams report the same, as [`ReadError::ConnectionLost`] and
//! [`WriteError::ConnectionLost`]; no stream looks complete.
//!
//! **A reload** keeps the old worker as long as it has connections, possibly for days. nginx's
//! `worker_shutdown_timeout` and HAProxy's `hard-stop-after` bound that, but then connections end
//! as in the first row. Draining, described below, is better.
//!
//! # Buffers
//!
//! A proxy adds buffers to the path: its own (`proxy_buffer_size`, `tune.bufsize`), and those of
//! the sockets on both of its sides. It reads no faster than the other side accepts, so flow
//! control works end to end across it. A stream whose reader has stopped fills at most its window
//! of these buffers, and other streams overtake it. [`rtt`] measures end to end, [`socket_rtt`]
//! only as far as the proxy.
//!
//! **Gateways that limit messages.** nginx and HAProxy do not inspect messages. A gateway that does
//! may limit a message to 32 KiB or 128 KiB, and close with 1009 on a longer one. The connection
//! then ends with [`ConnectionError::ConnectionClosed`], with `WebSocket close 1009` in its reason.
//! wsmux sends up to 64 KiB in a message: set [`max_message_sent`] on both ends to what the gateway
//! accepts, and [`max_record_size`] for peers that are not wsmux. On js-ws a peer may put all its
//! credit in one message, so there [`stream_receive_window`] is the setting to lower.
//!
//! # Who the client is
//!
//! [`remote_address`] is the proxy's. The client's address is in a header, and only the last
//! element of that header was written by the proxy. Elements before it, in the same line or in
//! earlier lines, may be the client's invention.
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
//! With several proxies in a row, count that many elements from the end. The header proves nothing
//! if a client can reach the server without the proxy.
//!
//! HAProxy's PROXY header (`send-proxy`) comes before the request, and includes the port. wsmux
//! does not read it: accept the TCP stream yourself, read exactly the header, and pass the stream
//! to [`WebSocketAcceptor::from_io`]. Such a connection has no address.
//!
//! **TLS that ends at the proxy** leaves [`peer_certificates`] empty. The proxy can copy fields of
//! a client's certificate into headers; trust those only under the same conditions. To check
//! certificates yourself, let the proxy pass TLS through (`mode tcp`, nginx's `stream`).
//!
//! # Scaling out
//!
//! A load balancer has little to do. All streams of a connection go to one server, because they
//! share one TCP connection, so no sticky sessions and no shared state are needed. It balances
//! connections and not calls. Let it count open connections (`leastconn`, `least_conn`), and let a
//! client with much work open several. Connections live long, so a new node stays empty until old
//! connections end: give each connection a lifetime of some minutes or hours, with random
//! variation, after which the server calls [`drain`].
//!
//! # Draining a node
//!
//! 1. Stop new connections at the balancer: `set server wsmux/a state drain` in HAProxy's runtime
//!    API. Without it, the next step has the same effect, because the balancer skips a port that
//!    refuses connections.
//! 2. Call [`WebSocketServer::shutdown`] with a deadline. The port is free at once, and handshakes
//!    end with 503. Streams that the client opened before continue until they end; later ones are
//!    refused. A connection is closed with code 0 after its last stream has ended, or at the
//!    deadline with the code that `shutdown` was given.
//! 3. When it returns, the process may exit.
//!
//! To let handshakes in progress finish instead, call [`WebSocketServer::close`], and then
//! [`drain_timeout`] on each connection, including those that the handshakes produce. The
//! process can end after every [`closed`] has returned.
//!
//! A client notices the drain when a stream is refused or the connection closes. It then opens a
//! new connection for new calls, which the balancer gives to another node. It keeps a handle of the
//! old connection, for example a stream, until the calls there have ended.
//!
//! # What survives
//!
//! Nothing moves from one connection to another: streams, datagrams, and the server's state for a
//! connection end with it. A call that has its own stream ends in one of these ways:
//!
//! | the client got | was the call executed? | call again? |
//! |---|---|---|
//! | the answer and its end | once | |
//! | no connection, or [`OpenError`] | no | yes |
//! | [`ReadError::Reset`] or [`WriteError::Stopped`], code 0 | no, if it was refused | yes |
//! | a code of the application's own | as that code says | |
//! | [`ReadError::ConnectionLost`], [`WriteError::ConnectionLost`] | perhaps | only if it may be executed twice |
//!
//! Code 0 does not always mean that a stream was refused. A half that is dropped unfinished also
//! sends code 0, for example because its handler panicked. Where the difference matters, let the
//! server's handlers reset with a code of their own on every exit path; then 0 means that the
//! stream was refused.
//!
//! A drain without a deadline loses no executed call: if a call fails at the client, the server
//! never saw it. The tests verify this with calls in progress while two servers restart in turn.
//! Each call that was answered was executed once, and no failed call was executed. When a server is
//! killed, its calls in progress are lost. Each of them reports an error, and the server may have
//! executed some of them.
//!
//! [`ConnectError::Refused`]: crate::ConnectError::Refused
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
