//! Credit, send buffers, memory, priorities, and why no stream pauses another.
//!
//! # A stream's credit
//!
//! Each receiving half has a *window*: how far the peer may be ahead of the reader. The bytes that
//! the peer may still send are its *credit*. At the start the credit is the whole window. Sending
//! uses it up, and reading renews it, in steps of a quarter of the window, or of 1 MiB if that is
//! less. So a reader that stops reading stops its own sender. After that it costs only the bytes
//! that are buffered: at most one window.
//!
//! Every stream starts with the window [`Config::stream_receive_window`];
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) changes it
//! on a live connection. On the js-ws wire a stream begins without credit, and its first data waits
//! for one round trip.
//!
//! Credit is exact. A peer that sends more than it was granted breaks the protocol: the connection
//! ends with `FLOW_CONTROL_ERROR`, and nothing is dropped silently.
//!
//! # Windows that grow
//!
//! A stream needs a window as large as the data that its path holds: bandwidth times round-trip
//! time. That may be 100 KB or 25 MB. On the QMux wire wsmux therefore measures the path, and the
//! window grows to twice what arrives in a round trip:
//!
//! - **The round-trip time** comes from a ping sent with the connection's first message, when the
//!   path is still empty, and from another ping with each step of growth. The smallest time counts.
//!   The time that the peer took to use a grant is a second bound. Therefore neither a queue that
//!   the window itself has filled nor a peer that answers late makes the window larger. After a
//!   silence the time is measured again.
//! - **The amount per round trip** is what arrived and was read in it. A reader that stops causes
//!   no growth, a slow reader gets twice what it takes in a round trip, and a full link sets the
//!   limit. One burst alone proves little, so the previous round trip must confirm it.
//!
//! A stream that is limited only by its window doubles it in each round trip. In simulation with
//! the defaults, one stream fills a gigabit a second at 200 ms within 2 s. The sender needs no
//! setting: its send buffer holds only data that the socket has not accepted, and TCP holds the
//! data in flight (the operating system must let TCP's own buffers grow as far).
//!
//! [`Config::max_stream_receive_window`] bounds the growth of one stream, and
//! [`Config::window_growth_budget`] that of the connection. The budget limits only growth: each
//! stream always keeps the window that it started with. No stream takes more than half of the
//! budget that is left. A stream returns its share when it ends and not before, because credit
//! cannot be taken back. So avoid keeping a stream open for long if it moved much data only once.
//! [`RecvStreamStats::window`](crate::RecvStreamStats::window) is a stream's window,
//! [`ConnectionStats::window_growth`](crate::ConnectionStats::window_growth) the growth of all.
//!
//! On the js-ws wire windows do not grow. A peer may put all its credit in one message, so the
//! largest message follows from the window, and a message of 32 MiB would delay every other stream.
//!
//! # No pause for the whole connection
//!
//! QUIC has a second level of flow control, connection credit, which all streams share. A few
//! stalled readers can use it up, and then every other stream stops too. On the QMux wire wsmux
//! grants its peer unlimited connection credit (2^62 - 1 bytes), so a stream's own credit always
//! runs out first. Memory is bounded without it: by the number of streams times their window, and
//! by the growth budget.
//!
//! No other part of wsmux lets one stream delay the rest. The socket is always read, even if the
//! application neither accepts streams nor reads, and even if nothing can be written. Bytes to be
//! sent stay in their stream's buffer until the socket can take a message, and only a stream that
//! has both data and credit gets a turn. The TCP connection remains shared: a lost packet delays
//! all streams, and so does a slow network.
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! // Nobody reads these ten streams. Their windows are used up, and bytes wait to be sent.
//! let mut stalled = Vec::new();
//! for _ in 0..10 {
//!     let mut send = client.open_uni().await?;
//!     send.write_all(&vec![0; 1024 * 1024 + 256 * 1024]).await?;
//!     stalled.push(send);
//! }
//! // Another one passes them all.
//! let mut send = client.open_bi().await?.into_split().0;
//! send.write_all(b"still moving").await?;
//! send.finish()?;
//! let mut recv = server.accept_bi().await?.into_split().1;
//! assert_eq!(recv.read_to_end(64).await?, b"still moving");
//! # Ok(())
//! # }
//! ```
//!
//! # Send buffers
//!
//! A write completes when the stream's send buffer has taken the bytes, not when they have been
//! sent. The buffer takes up to [`Config::send_buffer`] bytes; then writes wait until half of it is
//! free. [`ConnectionStats::send_buffered`](crate::ConnectionStats::send_buffered) is the number of
//! buffered bytes of all streams. A reset empties the buffer. There is no flush: written bytes are
//! sent as soon as credit and socket allow, and [`stopped`](crate::SendStream::stopped) reports
//! when a finished stream has been sent.
//!
//! [`write_chunk`](crate::SendStream::write_chunk) takes a whole [`Bytes`](bytes::Bytes) at once if
//! there is any room. With it the buffer may exceed its limit by less than one chunk. Keep chunks
//! small relative to the buffer; otherwise the chunk size is the bound.
//!
//! # The send window
//!
//! All streams of a connection together take up to [`Config::send_window`] bytes, which is 64 MiB
//! by default. A finished stream counts until its bytes have been sent, even if its handle was
//! dropped. So a program that opens, writes, finishes and drops a stream for each event waits for a
//! peer that does not read, as it would on one stream.
//!
//! No stream holds more than half of the send window that is left. A hundred streams that send at
//! once still have their whole buffers, and later ones get less. Bytes for which a stream has no
//! credit use at most half of the window, however many streams are stalled; the other half remains
//! for streams that can send. Each stream may hold 1 KiB in any case, so short messages never wait
//! for other streams.
//!
//! A write that waits because the window is full continues when its own stream has sent some of its
//! bytes, or gets credit. A stream that holds no bytes waits in line until other streams have sent.
//! A chunk is taken whole or not at all: if a stream has credit for only a part of it, the whole
//! chunk is taken, and the rest may wait for long. With an untrusted peer, keep chunks small, or
//! use `write_all`.
//!
//! # Local streams
//!
//! The peer decides how many streams this end may open. Some peers allow 2^60; a js-ws peer allows
//! any number. Each stream costs up to 1 KB of state until it is freed. A stream that is opened and
//! dropped is freed only after its reset or its end has been sent. [`Config::max_local_streams`]
//! bounds this: 65,536 of each kind. At that limit `open_bi` and `open_uni` wait, as they do at the
//! peer's limit.
//!
//! # A peer that reads nothing
//!
//! Windows and limits bound how much such a peer makes this end hold, and
//! [`Config::write_stall_timeout`] bounds how long. If the socket has accepted nothing for 60 s
//! although there is something to send, the connection ends with
//! [`Timeout::WriteStall`](crate::Timeout::WriteStall), even if the peer keeps sending. A link that
//! accepts a message now and then is only slow, and the connection stays open.
//!
//! # Memory of a connection
//!
//! [`Config::memory_bound`] computes the most that a peer can make a connection hold, in bytes
//! requested from the allocator:
//!
//! ```text
//! receive   (peer's bidi + peer's uni + own bidi) * stream_receive_window
//!           + window_growth_budget, times 4
//!           + datagram_receive_buffer_size
//! send      the smaller of (peer's bidi + own bidi + own uni) * (send_buffer + largest chunk)
//!           and send_window + (peer's bidi + own bidi + own uni) * (1 KiB + largest chunk),
//!           times 3 / 2
//!           + datagram_send_buffer_size
//! socket    three blocks to read into, a buffer to write, and twice the largest message
//! head      the handshake's request or response
//! state     some KiB for each stream, and for the connection
//! ```
//!
//! "Peer's" are the limits in [`Config`]. "Own" are the streams that your application has open.
//! "Largest chunk" is the longest chunk that it passes to
//! [`write_chunk`](crate::SendStream::write_chunk), as in [`MemoryUse`](crate::MemoryUse). The
//! largest message is [`Config::max_record_size`] on the QMux wire. On the js-ws wire it is the
//! window plus 10 bytes, and the budget does not count.
//!
//! TLS comes on top. Buffers are allocated as bytes arrive and freed when they are empty. The
//! socket's buffers are freed once nothing has arrived for a keep-alive interval or an idle timeout
//! (never, without either). An idle connection keeps some KiB. The socket's line is for connections
//! of a client or a server. With [`from_websocket`](crate::WebSocketConnection::from_websocket)
//! tungstenite's buffers apply, as
//! [`WebSocketConnection::websocket_config`](crate::WebSocketConnection::websocket_config) sets
//! them.
//!
//! The factors cover memory that a byte keeps allocated in addition to itself. A received message
//! shares the block that it was read into only if it is at least half of that block, and a piece of
//! a message shares the message under the same condition. Anything smaller is copied. So unread
//! bytes keep at most four times their own length, and usually little more than that length.
//! Written bytes are copied into blocks that may be a quarter larger, and a chunk may be half sent
//! when the next one is written. If your application cuts a [`Bytes`](bytes::Bytes) from something
//! larger, the larger one stays allocated and counts here.
//!
//! These are upper bounds for a peer that fills every buffer and an application that reads nothing.
//! **The defaults** suit few or trusted peers; the figures are for a server that opens no streams
//! itself. **For many connections of untrusted peers** the limits have to be smaller:
//!
//! ```
//! use wsmux::{Config, MemoryUse, Wire};
//!
//! const MIB: u64 = 1024 * 1024;
//! let application = MemoryUse::default();
//! let defaults = Config::default().memory_bound(Wire::QMux, &application);
//! assert_eq!(defaults.receive / MIB, 1_056, "four times 200 windows of 1 MiB plus 64 MiB");
//! assert_eq!(defaults.send / MIB, 75, "one and a half times 100 buffers of 512 KiB");
//! assert_eq!(defaults.total() / MIB, 1_133);
//!
//! let mut config = Config::default();
//! config
//!     .stream_receive_window(64 * 1024)
//!     .window_growth_budget(0)
//!     .send_buffer(64 * 1024)
//!     .max_concurrent_bidi_streams(8)
//!     .max_concurrent_uni_streams(0)
//!     .datagram_receive_buffer_size(0)
//!     .datagram_send_buffer_size(0)
//!     .max_record_size(16_382);
//! let each = config.memory_bound(Wire::QMux, &application);
//! assert_eq!(each.receive / MIB, 2, "four times eight windows");
//! assert_eq!(each.total() / MIB, 4);
//! assert_eq!(10_000 * each.total() / (1024 * MIB), 40, "GiB for 10,000 connections at worst");
//! ```
//!
//! The same server with idle clients needs some KiB for each, and its TLS sessions. A window of 64
//! KiB still carries 10 Mbit/s per stream at 50 ms. If streams need more, give them a connection of
//! their own, or raise their window with
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) once the
//! client has authenticated. Connections whose handshake is in progress come on top: see
//! [`WebSocketServer`](crate::WebSocketServer).
//!
//! # What the peer's limits do to this end
//!
//! The peer's limits stop this end's streams in three ways:
//!
//! - **Stream credit** used up: writes fill the send buffer and wait. Other streams continue.
//! - **Stream limit** reached: [`open_bi`](crate::WebSocketConnection::open_bi) waits, first come
//!   first served; [`try_open_bi`](crate::WebSocketConnection::try_open_bi) returns `None`. On the
//!   js-ws wire a peer cannot know our limit. Its streams above the limit therefore wait at this
//!   end, and cost about 100 bytes each ([`Config::max_waiting_streams`]). When no more may wait,
//!   the next stream is stopped and reset, with code 0.
//! - **Connection credit** used up: no stream can send data, whatever its own credit. wsmux never
//!   causes this, but a QMux peer may: with 1 MiB for the connection and 256 KiB for a stream,
//!   defaults that are in use, four streams that its application does not read are enough. Resets,
//!   ends of streams whose data has been sent, datagrams and pings still pass. Connection credit is
//!   spent only as bytes are sent, never on bytes that wait in a buffer, so stalled streams hold no
//!   more of it than the peer itself holds unread. The remedy is at the peer: more connection
//!   credit, or a reader for each stream.
//!   [`blocked_by_connection_credit`](crate::ConnectionStats::blocked_by_connection_credit) counts
//!   the time.
//!
//! # Priorities and turns
//!
//! Control frames go first, then datagrams, then data of the streams with the highest
//! [priority](crate::SendStream::set_priority). Priorities are strict: as long as a stream of a
//! higher priority has data and credit, streams of lower priority send nothing. Streams of equal
//! priority take turns of 16 KiB; a stream that is alone in its priority has no such limit. On the
//! QMux wire a message holds frames of several streams, and is at most 64 KiB long. So urgent bytes
//! wait only for the bytes that the socket has already accepted: up to 64 KiB and one message in
//! wsmux, and the operating system's own buffer.
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, _right) = memory_pair(64 * 1024);
//! # let connection = WebSocketConnection::from_socket(
//! #     left, Side::Client, Wire::JsWs, Config::default(), ConnectionInfo::default());
//! let mut control = connection.open_bi().await?;
//! control.send().set_priority(1)?;
//! let mut bulk = connection.open_bi().await?;
//! bulk.send().set_priority(-1)?;
//! assert_eq!(connection.open_bi().await?.send().priority()?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! A priority is local: it is not sent to the peer, which sets its own. Two or three different
//! priorities are enough.
//!
//! [`Config`]: crate::Config
//! [`Config::memory_bound`]: crate::Config::memory_bound
//! [`Config::max_record_size`]: crate::Config::max_record_size
//! [`Config::max_stream_receive_window`]: crate::Config::max_stream_receive_window
//! [`Config::max_local_streams`]: crate::Config::max_local_streams
//! [`Config::max_waiting_streams`]: crate::Config::max_waiting_streams
//! [`Config::send_buffer`]: crate::Config::send_buffer
//! [`Config::send_window`]: crate::Config::send_window
//! [`Config::stream_receive_window`]: crate::Config::stream_receive_window
//! [`Config::window_growth_budget`]: crate::Config::window_growth_budget
//! [`Config::write_stall_timeout`]: crate::Config::write_stall_timeout
