//! nginx, HAProxy and other balancers before a server; how to take a node out of service, and what survives it.
//!
//! A wsmux connection is one WebSocket over HTTP/1.1: a proxy that passes WebSockets passes it, and neither
//! looks into its messages nor cuts them. The configurations below are those of the tests, which run 1,000 streams
//! at once and 256 MiB through each, plain and with TLS ended at the proxy, kill and reload the proxy, and restart
//! servers behind it under calls.
//!
//! # nginx
//!
//! ```nginx
#![doc = include_str!("behind_a_proxy/nginx.conf")]
//! ```
//!
//! `proxy_http_version` and the two headers after it make the upgrade pass; without them the client gets a 4xx and
//! [`ConnectError::Refused`]. `proxy_buffering` has no part in it, for it ends with the upgrade.
//!
//! # HAProxy
//!
//! ```text
#![doc = include_str!("behind_a_proxy/haproxy.cfg")]
//! ```
//!
//! The check is a request that asks for no WebSocket, so 426 is the answer of a healthy server. It has to name HTTP/1.1
//! and a host: the check's default of HTTP/1.0 is answered with 505. Each check is a connection that
//! [`WebSocketServer::accept`] gives and whose handshake fails; that is no reason for an alarm.
//! `option redispatch 1` lets a client whose server has just closed its port go to another at once.
//!
//! # Timeouts
//!
//! A tunnel that is silent is cut: by nginx after `proxy_read_timeout` (60 s where it is not set), by HAProxy after
//! `timeout tunnel`, or after the client's and the server's where that is not set. [`keep_alive_interval`] must be
//! shorter. Its default of 10 s is, and each end pings on its own, so an idle connection lives. Where keep-alive is off on
//! both ends, the proxy's timeout is the connection's, and looks like a network that failed:
//!
//! | what happens to the proxy | both ends get | when |
//! |---|---|---|
//! | killed, or its machine restarted | [`ConnectionError::Reset`] | at once |
//! | reloaded | [`ConnectionError::Reset`] | when the old worker ends |
//! | its timeout strikes | [`ConnectionError::Reset`] | at once |
//! | stands still, or the path is gone | [`ConnectionError::TimedOut`] | after [`max_idle_timeout`] |
//!
//! The streams' errors say the same, as [`ReadError::ConnectionLost`] and [`WriteError::ConnectionLost`]; no stream looks
//! as if it were complete.
//!
//! **A reload** keeps the old worker as long as it has connections, which may be for days. nginx's
//! `worker_shutdown_timeout` and HAProxy's `hard-stop-after` end that, at the price of the first row: better to
//! drain, as below.
//!
//! # Buffers
//!
//! A proxy adds memory on the way: its own (`proxy_buffer_size`, `tune.bufsize`), and the sockets' on both of its sides. It
//! reads no faster than the other side takes, so credit, which ends call to end, does the rest: a stream
//! whose reader has stopped has its window on the way at most, and the others pass it.
//! [`rtt`] is measured from end to end, [`socket_rtt`] only as far as the proxy.
//!
//! **Gateways that limit messages.** nginx and HAProxy do not look into messages. A gateway that does may limit one to
//! 32 KiB, or 128 KiB, and close with 1009 on a longer one: the connection ends with
//! [`ConnectionError::ConnectionClosed`], and `WebSocket close 1009` in its reason. wsmux sends up to 64 KiB in a
//! message: set [`max_message_sent`] on both ends to what the gateway takes, and [`max_record_size`] for peers that
//! are not wsmux. On js-ws a peer may put all its credit in one message, so there it is the [`stream_window`].
//!
//! # Who the client is
//!
//! [`remote_address`] is the proxy's. The client's is in a header, of which only the last element is the proxy's own
//! word: what stands before it, in the same line or in lines before, may be the client's invention.
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
//! With several proxies in a row it is the last but so many. The header is worth nothing where a client can reach
//! the server without the proxy.
//!
//! HAProxy's PROXY header (`send-proxy`) comes before the request, and has the port too. wsmux does not read it: take
//! the TCP stream yourself, read the header and not a byte more, and give the rest to [`WebSocketAcceptor::from_io`].
//! Such a connection knows no address of its own.
//!
//! **TLS that ends at the proxy** leaves [`peer_certificates`] empty. What the proxy found in a client's certificate it can
//! put into headers, with the same care; to judge certificates yourself, let the proxy pass TLS through
//! (`mode tcp`, nginx's `stream`).
//!
//! # Scaling out
//!
//! A balancer has to do little. All streams of a connection go to one server, because they share one TCP
//! connection: no sticky sessions, no shared state for the streams' sake. It balances connections, not calls, so
//! it should count those that are open (`leastconn`, `least_conn`), and a client with much to do should open
//! several. Connections live long, so a new node stays empty until old connections end: give
//! them a life of some minutes or hours, each its own by some chance, after which the server calls [`shutdown`].
//!
//! # Draining a node
//!
//! 1. The balancer sends no new connections: `set server wsmux/a state drain` to HAProxy's runtime API. Without a word to it the
//!    next step does the same, because a port that refuses is passed over.
//! 2. [`WebSocketServer::shutdown`] with a deadline: the port is free at once, handshakes end with 503. Streams that
//!    the client opened before go on to their ends; later ones are refused. When the last has ended the connection is
//!    closed with code 0, and at the deadline with the code that it was given.
//! 3. Once it returns, the process can end.
//!
//! A handshake that is under way may well be finished instead, by [`WebSocketServer::close`], and [`shutdown_timeout`]
//! on each connection, also on those that come of it; the process can end once every [`closed`] is done.
//!
//! A client sees the drain when a stream is refused, or when the connection closes. Then it makes a new connection, which
//! the balancer gives to another node, for what is new, and keeps a handle on the old one, a stream's for example, for as
//! long as calls are under way there.
//!
//! # What survives
//!
//! Nothing moves from one connection to another: streams, datagrams, and what the server keeps for a connection end with
//! it. A call that has its stream to itself ends in one of these ways:
//!
//! | the client got | the server has executed it | call again? |
//! |---|---|---|
//! | the answer and its end | once | |
//! | no connection, or [`OpenError`] | no | yes |
//! | [`ReadError::Reset`] or [`WriteError::Stopped`], code 0 | no, if it was refused | yes |
//! | an answer of the application's own code | as that code says | |
//! | [`ReadError::ConnectionLost`], [`WriteError::ConnectionLost`] | perhaps | only what may be executed twice |
//!
//! A refusal has the code 0, which is also the code of a half that is dropped unfinished, by a handler that panics for example.
//! So where it matters, a server's handlers reset with a code of their own on every way out, and 0 means refused.
//!
//! A drain without a deadline loses nothing: what the client finds lost with the connection then was never seen by the
//! server. The tests count it, with calls under way and two servers restarted in turn: each call
//! that was answered was executed once, and none that failed was executed at all. Of a server that is killed,
//! the calls under way are lost, each says so, and some of them had been executed.
//!
//! [`ConnectError::Refused`]: crate::ConnectError::Refused
//! [`ConnectionError::ConnectionClosed`]: crate::ConnectionError::ConnectionClosed
//! [`ConnectionError::Reset`]: crate::ConnectionError::Reset
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
//! [`shutdown`]: crate::WebSocketConnection::shutdown
//! [`stream_window`]: crate::Config::stream_window
//! [`shutdown_timeout`]: crate::WebSocketConnection::shutdown_timeout
//! [`socket_rtt`]: crate::WebSocketConnection::socket_rtt
