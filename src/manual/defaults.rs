//! Each setting, its default, the reason for it, and when to change it.
//!
//! There are two places. [`Config`] holds the limits and times of a connection, the same type for a client and
//! a server. The builders hold what concerns the handshake: [`WebSocketClientBuilder`] and
//! [`WebSocketServerBuilder`]. Nothing is read from the environment or from a file, but for the platform's
//! root certificates.
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
//! In [`Config`] a value out of its range is not an error: it becomes the nearest one that is in the range. The
//! builders remember their first mistake, and [`build`](crate::WebSocketClientBuilder::build) or
//! [`bind`](crate::WebSocketServerBuilder::bind) returns it.
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
//! **[`stream_receive_window`]** is how far a peer may be ahead of the reader on one stream, so it bounds both the memory
//! of a stream and its speed: no stream is faster than its window per round trip. 1 MiB is a gigabit a second
//! over 8 ms, or 84 Mbit/s over 100 ms. Each stream has it from its first byte, whatever the others do; on the
//! QMux wire a window grows by itself where that is too little. Larger where streams are short and paths long;
//! smaller where connections are many. [`set_stream_receive_window`] changes it on a live connection. On the js-ws wire it
//! also bounds a peer's messages, so there it cannot grow past its first value.
//!
//! **[`max_stream_receive_window`]** and **[`window_growth_budget`]** are how far a window may grow, and how much all windows
//! of a connection may grow together. A window becomes twice what its reader takes in a round trip, so neither
//! is reached but by streams that use it: 32 MiB is a gigabit a second over 200 ms (25 MB on the way), with some to
//! spare. No stream takes more than half of what the others have left of the budget, so that one alone
//! reaches its 32 MiB, and later ones find something too; what a stream has it keeps until it ends. Larger for
//! faster or longer paths; a budget of 0 where connections are many, or where all memory is to be known by the number
//! of streams alone. [`flow_control`](super::flow_control) says how it is measured.
//!
//! **[`max_concurrent_bidi_streams`]** and **[`max_concurrent_uni_streams`]** are what the *peer* may have open;
//! what this end may open is the peer's decision. A stream counts until both its halves have ended and the
//! application has let go of them, so an application that does not accept or does not read lets in no more
//! streams. 100 is quinn's default too. Higher for many small requests in flight; 0 for a kind
//! that is not used. [`set_max_concurrent_bi_streams`] and its sibling change them on a live connection.
//!
//! **[`max_waiting_streams`]** is how many streams of the peer's past the limit may wait for a place on the js-ws wire,
//! where a peer cannot know of the limit and so cannot wait by itself. Each costs some 100 bytes, and a peer that opens
//! more is refused the rest. Lower where connections are many and their peers are not trusted.
//!
//! **[`cancelled_streams_per_second`]** is how many bidirectional streams the *peer* may open and give up before anything of them
//! was read or answered, besides a burst, and besides an allowance for the streams that it lets be served. Past that the
//! connection closes, because such a peer would keep the application as busy as it can send. Calls that were read and
//! then run into a deadline do not count, nor do unidirectional streams, which senders of media give up as stale; people
//! stay far below it. Higher or `None` between your own servers, if clients race several and take the first answer. The
//! other budgets for abuse are no settings; [`threats`](super::threats) has them all.
//!
//! **[`send_buffer`]** is what one stream takes from the application before the socket and the peer's credit do.
//! Half a window: enough to keep the socket busy while a writer is woken, which happens when half of the buffer
//! is free. Smaller where streams are many, or where what has been written must not be old when it leaves.
//!
//! **[`send_window`]** is what all streams of a connection take together, including finished streams whose bytes have
//! not left: the bound if an application opens stream after stream for a peer that does not read. 64 MiB are the whole
//! buffers of a hundred streams that send at once, and something for the next. Smaller where connections are many; larger
//! where hundreds of streams send at once and their writers should be woken less often.
//!
//! **[`max_local_streams`]** is how many streams of each kind *this end* may have open, beside the peer's limit: a peer
//! may allow 2^60, and a js-ws peer allows any number. 65,536 are 64 MiB of state at worst. Higher for a program that
//! keeps more idle streams than that; there is no upper limit.
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
//! **[`max_record_size`]** is the largest message that the peer may send on the QMux wire. 64 KiB is four turns
//! of the scheduler: more gains no throughput, and a message once begun holds up all that follows it. It also
//! bounds the datagrams that can be received. 16,382 saves memory where connections are many.
//!
//! **[`max_message_sent`]** is the largest message that this end *sends*, on either wire, whatever the peer takes.
//! Lower it for a gateway on the way that takes less; see [behind a proxy](super::behind_a_proxy). It bounds the
//! datagrams that can be sent as well. The least is QUIC's own (RFC 9000 §14.1), into which every frame but data fits.
//!
//! **[`datagram_receive_buffer_size`]** and **[`datagram_send_buffer_size`]**: when there is more, the oldest datagrams go,
//! and [`ConnectionStats`] counts them. Each counts for 128 bytes besides its own, which is what it costs. Larger only
//! where bursts matter more than freshness.
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
//!
//! **[`max_idle_timeout`]** is the silence after which a connection is given up. It is QUIC's custom, and shorter
//! than the minute after which many proxies drop a silent connection. On the QMux wire the shorter of both ends'
//! values holds; on the js-ws wire each end has its own. A value below 150 ms acts as 150 ms (RFC 9000 §10.1). `None`,
//! or zero, turns it off. A slow upload
//! is not silent: a full socket that takes bytes again restarts it, and after a ping that took long it lasts
//! three of that ping's round trips, 90 s at most with 30 s declared. Where the buffers on the way hold more than the path
//! carries in 30 s, raise it at both ends.
//!
//! **[`keep_alive_interval`]** is the silence after which a ping is sent, or a third of the idle timeout where that
//! is shorter. It keeps proxies and address translation from forgetting the connection, and finds dead peers: an
//! unanswered ping, with nothing else coming, ends the connection after the idle timeout, or after three
//! intervals where there is none. It is also what [`rtt`] is measured with, besides the first ping of a connection
//! and the few that growing windows ask for. `None` where a sleeping device must
//! not be woken; then an idle connection ends with the idle timeout, unless the peer pings. Less than 100 ms
//! becomes 100 ms.
//!
//! **[`write_stall_timeout`]** is for how long the socket may take nothing while there is something to send. The two
//! above do not catch a peer that says something now and then and reads nothing. It restarts with each
//! message that the socket takes: one of 64 KiB in 60 s is 9 kbit/s. nginx's `send_timeout` and `proxy_send_timeout` have
//! the same value for the same purpose. It is longer than the idle timeout, which is what ends a connection over a
//! network that has gone silent, or with a peer that is suspended. `None`, or zero, turns it off.
//!
//! **[`handshake_timeout`]** covers, for connections of a client or a server, everything between TCP and the first
//! stream: TLS, the upgrade, and on the QMux wire the peer's transport parameters. A server counts from the TCP
//! connection, even if nobody awaits its [`Connecting`]. With
//! [`from_websocket`](crate::WebSocketConnection::from_websocket) only the parameters are left to wait for.
//!
//! Each of these times that is beyond what a clock can hold, such as
//! [`Duration::MAX`](std::time::Duration::MAX), means "never".
//!
//! **[`close_timeout`]** is how long the end of a connection may take before the socket is dropped: the peer's answer
//! to the close, and the end of its stream after that; see [`closing`](super::closing). Longer only where round trips
//! take seconds.
//!
//! **[`connect_timeout`]** is for name resolution, TCP and the tunnel of a proxy, all addresses together. They are
//! tried as RFC 8305 has it, IPv6 and IPv4 in turn and 250 ms apart, or closer where they are many for the time there
//! is: one that swallows packets does not take the time of the next ones.
//!
//! # The handshake
//!
//! | setting | client | server |
//! |---|---|---|
//! | wire | [`Wire::QMux`] | QMux alone; [`wires`](crate::WebSocketServerBuilder::wires) |
//! | subprotocols | offers `qmux-02` | accepts `qmux-02` and `qmux-01` |
//! | application protocols | none | none |
//! | TLS | by the URL; the platform's verifier and roots | none, until it has a certificate |
//! | who may connect | | everyone; [authentication](super::authentication) |
//! | clients' certificates | shows none | asks for none |
//! | connections, handshakes, those of one address | | no limit; [`max_connections`](crate::WebSocketServerBuilder::max_connections) and others |
//!
//! **js-ws has to be asked for** on either end. It is chosen by the absence of a subprotocol, and a client that
//! offers nothing may mean neither wire.
//!
//! **An application protocol** ([`protocol`](crate::WebSocketClientBuilder::protocol)) is worth a name: two programs
//! that speak different things then fail in the handshake and not in the middle of a stream, where either end
//! [requires](crate::WebSocketClientBuilder::require_protocol) it. Otherwise the bare `qmux-02` stays acceptable.
//! Where the peer knows the application's own name alone, such as `moqt-18`, that is
//! [`bare_protocol`](crate::WebSocketClientBuilder::bare_protocol); where it knows the name of the draft before, `qmux-01`,
//! a client offers it by [`older_versions`](crate::WebSocketClientBuilder::older_versions). Both are one wire, and
//! [`protocol()`](crate::WebSocketConnection::protocol) says what was agreed on.
//!
//! **A server that trusts cookies must look at `Origin`**, by
//! [`AllowedOrigins`](crate::authorize::AllowedOrigins): a web page of any origin can open a
//! WebSocket, and the browser sends the cookies along.
//!
//! **The TCP socket** of a client has Nagle's algorithm off and the system's own buffers, and no keep-alive of TCP's:
//! the connection's pings see further. [`SocketOptions`](crate::SocketOptions) changes these. A **proxy** is used
//! where one is [set](crate::WebSocketClientBuilder::proxy), and a server is asked for by the URL's host, in TLS by
//! another [name](crate::WebSocketClientBuilder::server_name) where one is set.
//!
//! **Compression** is neither offered nor accepted, and that is no setting. With the
//! feature `qlog`, the builders' `qlog` writes a log of each connection; by default there is none, for it costs time and
//! disk, and shows who did what when. A file has at most 64 MiB, by `QlogConfig::max_size`.
//!
//! # What is not a setting
//!
//! The connection's credit (without end, see [`flow_control`](super::flow_control)), a stream's turn
//! (16 KiB), the part of a window that must be read before credit is renewed (a quarter, or 1 MiB), and the code of
//! a refused stream (0).
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
//! [`max_waiting_streams`]: crate::Config::max_waiting_streams
//! [`send_window`]: crate::Config::send_window
//! [`set_max_concurrent_bi_streams`]: crate::WebSocketConnection::set_max_concurrent_bi_streams
//! [`set_stream_receive_window`]: crate::WebSocketConnection::set_stream_receive_window
//! [`stream_receive_window`]: crate::Config::stream_receive_window
//! [`window_growth_budget`]: crate::Config::window_growth_budget
//! [`write_stall_timeout`]: crate::Config::write_stall_timeout
