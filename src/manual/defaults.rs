//! Each setting, its default, the reason for it, and when to change it.
//!
//! There are settings in two places. [`Config`] holds the limits and timeouts of a connection, and
//! is the same type for clients and servers. The builders, [`WebSocketClientBuilder`] and
//! [`WebSocketServerBuilder`], hold the settings of the handshake. Nothing is read from the
//! environment or from a file, except the platform's root certificates.
//!
//! ```
//! use std::time::Duration;
//! use wsmux::{Config, WebSocketServer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config
//!     .stream_receive_window(256 * 1024)
//!     .max_concurrent_uni_streams(0)
//!     .max_idle_timeout(Some(Duration::from_secs(60)));
//! let server = WebSocketServer::builder().config(config).bind("127.0.0.1:0").await?;
//! # Ok(())
//! # }
//! ```
//!
//! In [`Config`] a value out of range is not an error, but is clamped to the nearest value in the
//! range. A builder remembers its first invalid setting, and
//! [`build`](crate::WebSocketClientBuilder::build) or [`bind`](crate::WebSocketServerBuilder::bind)
//! returns it.
//!
//! # Streams and memory
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`stream_receive_window`] | 1 MiB | 1 to 2^32 - 1 |
//! | [`max_stream_receive_window`] | 32 MiB | 0 to 2^32 - 1 |
//! | [`window_growth_budget`] | 64 MiB | 0 and above; 0: no window grows |
//! | [`max_concurrent_bidi_streams`] | 100 | 0 to 2^32 |
//! | [`max_concurrent_uni_streams`] | 100 | 0 to 2^32 |
//! | [`max_waiting_streams`] | 10,000 | 0 to 2^32 |
//! | [`cancelled_streams_per_second`] | 100 | 0 and above, or `None` |
//! | [`send_buffer`] | 512 KiB | 1 and above |
//! | [`send_window`] | 64 MiB | 16 KiB and above |
//! | [`max_local_streams`] | 65,536 | 1 and above |
//!
//! **[`stream_receive_window`]** is how many bytes the peer may send on one stream before the
//! application has read any of them. This window bounds the memory of a stream. It also bounds the
//! stream's speed, because a stream carries at most one window per round trip. 1 MiB allows a
//! gigabit a second at a round-trip time of 8 ms, or 84 Mbit/s at 100 ms. Each stream has this
//! window from its first byte, no matter how many streams there are. On the QMux wire a window
//! grows by itself if it is too small for the path. Set a larger window for short streams over long
//! paths, because such streams end before their windows have grown. Set a smaller window for many
//! connections. [`set_stream_receive_window`] changes the window on a live connection. On the js-ws
//! wire the window also bounds the size of the peer's messages, so on a live connection the window
//! cannot be raised above its first value.
//!
//! **[`max_stream_receive_window`]** bounds how far one window may grow, and
//! **[`window_growth_budget`]** bounds how much all windows of a connection may grow together. A
//! window grows to twice what its reader reads in a round trip, so only streams that need the
//! growth reach either bound. A window of 32 MiB is enough for 1 Gbit/s at a round-trip time of 200
//! ms, which needs 25 MB in flight. No stream takes more than half of the budget that is left. So a
//! single stream can reach 32 MiB, and later streams still get a part of the budget. A stream keeps
//! its share of the budget until the stream ends. Use larger values for faster or longer paths. Use
//! a budget of 0 for many connections, or if all memory should depend only on the number of
//! streams. [`flow_control`](super::flow_control) says how the path is measured.
//!
//! **[`max_concurrent_bidi_streams`]** and **[`max_concurrent_uni_streams`]** limit how many
//! streams the *peer* may have open. The peer's own limits apply to the streams that this end
//! opens. A stream counts until both its halves have ended and the application has dropped its
//! handles. So as long as the application does not accept or read its streams, the peer cannot open
//! more. 100 is quinn's default too. Raise a limit if many small requests are in flight at once.
//! Set the limit to 0 for a kind of stream that is not used. [`set_max_concurrent_bi_streams`] and
//! `set_max_concurrent_uni_streams` change these limits on a live connection.
//!
//! **[`max_waiting_streams`]** is how many of the peer's streams above the limit may wait on the
//! js-ws wire. On that wire a peer cannot know the limit, so it opens streams without waiting. Each
//! waiting stream costs about 100 bytes; streams beyond this number are refused. Lower this number
//! if there are many connections of untrusted peers.
//!
//! **[`cancelled_streams_per_second`]** is how many bidirectional streams the *peer* may open and
//! cancel before any of their bytes were read or answered. In addition the peer has a burst, which
//! it may use once, and an allowance, which grows with each stream that is served. When the peer
//! has used up the rate, the burst and the allowance, the connection closes. Otherwise a peer that
//! cancels all its streams could keep the application busy at no cost to itself. A call that the
//! peer cancels at the call's deadline does not count if the application has already read a part of
//! it. Unidirectional streams do not count either, because media senders abandon stale ones. A web
//! page that a person operates stays far below this rate. A client may send each request to several
//! servers and use only the first answer. If your own servers have such clients, raise the rate, or
//! set `None`. The other budgets against abuse are not settings; [`threats`](super::threats) lists
//! them all.
//!
//! **[`send_buffer`]** is how many unsent bytes one stream takes from the application. Bytes are
//! unsent while they wait for the peer's credit or for the socket. The default is half a window. A
//! waiting writer is woken when half of the buffer is free, so that the other half keeps the socket
//! busy until the writer has written more. Use a smaller buffer for many streams, or if data must
//! not be stale when it is sent.
//!
//! **[`send_window`]** is how many unsent bytes all streams of a connection together take from the
//! application. The unsent bytes of finished streams count, too. So the memory stays bounded even
//! if an application opens stream after stream for a peer that does not read. 64 MiB hold the full
//! buffers of a hundred streams that send at once, and leave some room for later streams. Set a
//! smaller window for many connections, and a larger one if hundreds of streams send at once and
//! their writers should be woken less often.
//!
//! **[`max_local_streams`]** is how many streams of each kind *this end* may have open. This limit
//! applies in addition to the peer's limit, because a peer may allow 2^60 streams and a js-ws peer
//! allows any number. The default is 65,536 streams, whose state takes at most 64 MiB. Raise the
//! limit if your program keeps more streams open; there is no upper limit.
//!
//! [`flow_control`](super::flow_control) has the formula for the memory of a connection.
//!
//! # Messages and datagrams
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_record_size`] | 64 KiB | 16,382 to 2^30 |
//! | [`max_message_sent`] | 64 KiB | 1,200 to 65,536 |
//! | [`datagram_receive_buffer_size`] | 256 KiB | 0 and above; 0 refuses datagrams |
//! | [`datagram_send_buffer_size`] | 256 KiB | 0 and above |
//!
//! **[`max_record_size`]** is the largest message that the peer may send on the QMux wire. A wsmux
//! peer sends about 16 KiB of one stream before it continues with the next stream, so a message of
//! 64 KiB can contain the data of four streams. Larger messages bring no more throughput, and
//! everything else waits longer until such a message is complete. The setting also bounds the size
//! of the datagrams that can be received. Use the minimum, 16,382, to save memory if there are many
//! connections.
//!
//! **[`max_message_sent`]** is the largest message that this end *sends*, on either wire, even if
//! the peer accepts larger ones. Lower it for a gateway on the path that accepts less; see [behind
//! a proxy](super::behind_a_proxy). On TCP, a message is at most 65,404 bytes, and under TLS 88
//! bytes less, so that the message and its headers together fit into one packet of the largest
//! size. The setting also bounds the size of the datagrams that can be sent. The minimum is that of
//! QUIC (RFC 9000 §14.1). Every frame that carries no data fits into a message of this minimum
//! size.
//!
//! **[`datagram_receive_buffer_size`]** and **[`datagram_send_buffer_size`]** are the sizes of the
//! two queues of datagrams. When a queue is full, its oldest datagrams are dropped, and
//! [`ConnectionStats`] counts them. Each datagram counts as its length plus 128 bytes of overhead.
//! Make the buffers larger only if keeping all datagrams of a burst matters more to you than their
//! age.
//!
//! # Times
//!
//! | setting | default |
//! |---|---|
//! | [`max_idle_timeout`] | 30 s |
//! | [`keep_alive_interval`] | 10 s |
//! | [`write_stall_timeout`] | 60 s |
//! | [`handshake_timeout`] | 10 s |
//! | [`close_timeout`] | 3 s |
//! | [`connect_timeout`] of a client | 10 s |
//! | [`resume_timeout`] | none: resumption is off |
//!
//! **[`max_idle_timeout`]** is how long a connection may be silent before it times out. 30 s is
//! customary for QUIC, and shorter than the minute after which many proxies drop a silent
//! connection. On the QMux wire both ends use the smaller of their two values; on the js-ws wire
//! each end uses its own value. A value below 150 ms acts as 150 ms (RFC 9000 §10.1). `None`, or
//! zero, turns this timeout off.
//!
//! A slow upload does not count as silence: whenever a full socket accepts bytes again, the timeout
//! restarts. The answer to a ping may take long because data is queued on the path. Then the
//! timeout is raised to three times that ping's round trip, but to at most three times the set
//! value (90 s by default). If the path's buffers can hold more data than the path carries in 30 s,
//! raise the timeout at both ends.
//!
//! **[`keep_alive_interval`]** is how long the peer may be silent before a ping is sent. If a third
//! of the idle timeout is shorter than this setting, a ping is sent after that third. Pings keep
//! proxies and address translators from dropping the connection, and they detect dead peers. If a
//! ping is unanswered and nothing else arrives, the connection ends after the idle timeout, or
//! after three intervals if there is no idle timeout. Pings also measure [`rtt`]. The first ping of
//! a connection, and the few pings that are sent when windows grow, measure it as well. These two
//! kinds of pings do not depend on this setting. Use `None` if a sleeping device must not be woken;
//! an idle connection then ends after the idle timeout, unless the peer pings. A value below 100 ms
//! acts as 100 ms.
//!
//! **[`write_stall_timeout`]** is how long the socket may accept nothing while there is something
//! to send. This timeout ends a connection whose peer sends something now and then but reads
//! nothing. The idle timeout and the keep-alive interval do not detect such a peer. The timeout
//! restarts with each message that the socket accepts, so a link that carries one message of 64 KiB
//! in 60 s (9 kbit/s) is fast enough. nginx's `send_timeout` and `proxy_send_timeout` have the same
//! value for the same purpose. The default is longer than the idle timeout, so a dead network or a
//! suspended peer is reported as an idle timeout. `None`, or zero, turns this timeout off.
//!
//! **[`handshake_timeout`]** bounds the time from the TCP connection until streams can be opened,
//! for connections of a client or a server. This includes TLS, the upgrade, and on the QMux wire
//! the peer's transport parameters. On a server the time starts when the server has accepted the
//! TCP connection, even if nobody awaits the [`Connecting`]. With
//! [`from_websocket`](crate::WebSocketConnection::from_websocket) the timeout covers only the wait
//! for the peer's transport parameters.
//!
//! For each timeout above, a value that is too long for the clock, such as
//! [`Duration::MAX`](std::time::Duration::MAX), means "never".
//!
//! **[`close_timeout`]** is how long the end of a connection may take before the socket is dropped.
//! This time covers the peer's answer to the close, and the end of the peer's byte stream; see
//! [`closing`](super::closing). Raise it only if round trips take seconds.
//!
//! **[`connect_timeout`]** covers name resolution, TCP and the tunnel of a proxy, for all addresses
//! together. The client tries addresses as in RFC 8305: it alternates between IPv6 and IPv4 and
//! starts an attempt every 250 ms, or more often if there are many addresses. So an address that
//! does not answer does not use up the time for the others.
//!
//! **[`resume_timeout`]** is how long a connection may be without a socket. Set it at both ends to
//! let connections outlive their sockets; [`when_the_network_goes`](super::when_the_network_goes)
//! says what is needed for that. Resumption is off by default, because it costs memory at both
//! ends, lets a server keep connections whose clients are gone, and needs stickiness behind a
//! balancer. A minute is long enough for a change of the network or the restart of a proxy. The
//! following settings bound the memory:
//!
//! | setting | default | bounds |
//! |---|---|---|
//! | [`replay_budget`] | 32 MiB | the bytes that one connection has sent and the peer has not acknowledged; 64 KiB to 2^32 |
//! | [`max_suspended_connections`] of a server | 10,000 | the connections without a socket |
//! | [`max_suspended_bytes`] of a server | 256 MiB | the bytes that all connections without a socket together keep to send them again |
//!
//! Sending pauses when the **[`replay_budget`]** is used up, so the budget also limits the speed,
//! to about three quarters of the budget in each round trip. 32 MiB allow 2 Gbit/s at 100 ms. Use
//! less for many connections. Above **[`max_suspended_connections`]**, the connection that has
//! waited longest ends. Above **[`max_suspended_bytes`]**, the connection that keeps the most bytes
//! ends. When a proxy restarts, all its clients come back within seconds. So a server should permit
//! at least as many connections without a socket as a proxy has clients.
//!
//! # The handshake
//!
//! | setting | client | server |
//! |---|---|---|
//! | wire | [`Wire::QMux`] | QMux only; [`wires`](crate::WebSocketServerBuilder::wires) |
//! | subprotocols | offers `qmux-02` | accepts `qmux-02` and `qmux-01` |
//! | application protocols | none | none |
//! | TLS | by the URL; the platform's verifier and roots | none, until a certificate is set |
//! | who may connect | | everyone; [authentication](super::authentication) |
//! | client certificates | presents none | requests none |
//! | connections and handshakes, in all and for one address | | no limit; [`max_connections`](crate::WebSocketServerBuilder::max_connections) and others |
//!
//! **js-ws has to be configured** on both ends. A server that permits js-ws selects it when the
//! client offers no subprotocol. But such a client might not speak js-ws at all, so no server
//! permits js-ws by default.
//!
//! **An application protocol** ([`protocol`](crate::WebSocketClientBuilder::protocol)) should have
//! a name, which is negotiated together with the wire. If either end
//! [requires](crate::WebSocketClientBuilder::require_protocol) it, a connection between programs
//! that speak different protocols fails in the handshake and not in the middle of a stream. If
//! neither end requires it, the two ends can also agree on `qmux-02` without an application
//! protocol. If the peer knows only the application's own name, such as `moqt-18`, use
//! [`bare_protocol`](crate::WebSocketClientBuilder::bare_protocol). If the server knows only the
//! name of the previous draft, `qmux-01`, the client can offer that name with
//! [`older_versions`](crate::WebSocketClientBuilder::older_versions). All of these names stand for
//! the QMux wire, and [`protocol()`](crate::WebSocketConnection::protocol) returns the application
//! protocol that was negotiated.
//!
//! **A server that trusts cookies must check `Origin`**, with
//! [`AllowedOrigins`](crate::authorize::AllowedOrigins): a web page of any origin can open a
//! WebSocket to the server, and the browser sends the server's cookies with it.
//!
//! **The TCP socket** of a client has Nagle's algorithm off, the system's own buffer sizes, and no
//! TCP keep-alive, because the connection's pings also cover the path beyond a proxy.
//! [`SocketOptions`](crate::SocketOptions) changes these options. A client uses a **proxy** if one
//! is [set](crate::WebSocketClientBuilder::proxy). The client names the URL's host to the server in
//! the `Host` header and in TLS; for TLS, another
//! [name](crate::WebSocketClientBuilder::server_name) can be set.
//!
//! **Compression** is neither offered nor accepted, and is not a setting. With the feature `qlog`,
//! the builders' `qlog` writes a log of each connection. No log is written by default, because a
//! log costs time and disk space, and because it records who sent how much, and at what time.
//! `QlogConfig::max_size` bounds the size of each log; the default is 64 MiB.
//!
//! # What is not a setting
//!
//! The following values are fixed: connection credit (unlimited, see
//! [`flow_control`](super::flow_control)), the bytes that a stream sends in its turn (16 KiB), the
//! part of a window that must be read before the peer gets new credit (a quarter, or 1 MiB if that
//! is less), and the code with which streams are refused (0).
//!
//! [`Config`]: crate::Config
//! [`Connecting`]: crate::Connecting
//! [`ConnectionStats`]: crate::ConnectionStats
//! [`WebSocketClientBuilder`]: crate::WebSocketClientBuilder
//! [`WebSocketServerBuilder`]: crate::WebSocketServerBuilder
//! [`Wire::QMux`]: crate::Wire::QMux
//! [`cancelled_streams_per_second`]: crate::Config::cancelled_streams_per_second
//! [`close_timeout`]: crate::Config::close_timeout
//! [`connect_timeout`]: crate::WebSocketClientBuilder::connect_timeout
//! [`datagram_receive_buffer_size`]: crate::Config::datagram_receive_buffer_size
//! [`datagram_send_buffer_size`]: crate::Config::datagram_send_buffer_size
//! [`handshake_timeout`]: crate::Config::handshake_timeout
//! [`keep_alive_interval`]: crate::Config::keep_alive_interval
//! [`max_concurrent_bidi_streams`]: crate::Config::max_concurrent_bidi_streams
//! [`max_concurrent_uni_streams`]: crate::Config::max_concurrent_uni_streams
//! [`max_idle_timeout`]: crate::Config::max_idle_timeout
//! [`max_local_streams`]: crate::Config::max_local_streams
//! [`max_message_sent`]: crate::Config::max_message_sent
//! [`max_record_size`]: crate::Config::max_record_size
//! [`max_stream_receive_window`]: crate::Config::max_stream_receive_window
//! [`rtt`]: crate::WebSocketConnection::rtt
//! [`send_buffer`]: crate::Config::send_buffer
//! [`max_suspended_bytes`]: crate::WebSocketServerBuilder::max_suspended_bytes
//! [`max_suspended_connections`]: crate::WebSocketServerBuilder::max_suspended_connections
//! [`replay_budget`]: crate::Config::replay_budget
//! [`resume_timeout`]: crate::Config::resume_timeout
//! [`max_waiting_streams`]: crate::Config::max_waiting_streams
//! [`send_window`]: crate::Config::send_window
//! [`set_max_concurrent_bi_streams`]: crate::WebSocketConnection::set_max_concurrent_bi_streams
//! [`set_stream_receive_window`]: crate::WebSocketConnection::set_stream_receive_window
//! [`stream_receive_window`]: crate::Config::stream_receive_window
//! [`window_growth_budget`]: crate::Config::window_growth_budget
//! [`write_stall_timeout`]: crate::Config::write_stall_timeout
