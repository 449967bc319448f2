//! Credit, send buffers, memory, priorities, and why no stream pauses another.
//!
//! # A stream's credit
//!
//! Each receiving half has a *window*: how far the peer may be ahead of the reader. What the peer
//! may still send is its *credit*. At the start the credit is the whole window. Sending uses it up,
//! and reading renews it, in steps of a quarter of the window, or of 1 MiB if that is less. So a
//! reader that stops reading stops its own sender. After that it costs only the bytes that are
//! buffered: at most one window.
//!
//! At first the window is [`Config::stream_receive_window`], the same for every stream;
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) changes that on a live
//! connection. On the js-ws wire a stream begins without credit, and its first data waits for one
//! round trip.
//!
//! Credit is exact. A peer that sends more than it was granted breaks the protocol: the connection
//! ends with `FLOW_CONTROL_ERROR`, and nothing is dropped silently.
//!
//! # Windows that grow
//!
//! A stream needs a window as large as its path holds: bandwidth times round-trip time. That may be
//! 100 KB or 25 MB. On the QMux wire it is therefore measured, and the window grows to twice what
//! arrives in a round trip:
//!
//! - **The round-trip time** comes from a ping sent with the connection's first message, when the
//!   path is still empty, and from another ping with each step of growth. The smallest time counts.
//!   A second bound is the time that the peer took to use a grant: a queue that the window itself
//!   has filled is no reason for a larger window, and neither is a peer that answers late. After a
//!   silence the time is measured again.
//! - **What a round trip brings** is what arrived and was read in it. A reader that stops causes no
//!   growth, a slow reader gets twice what it takes in a round trip, and a full link sets the
//!   limit. One burst alone proves little, so the round trip before must confirm it.
//!
//! A stream that is limited only by its window doubles it in each round trip. In simulation with
//! the defaults, one stream fills a gigabit a second at 200 ms within 2 s. The sender needs no
//! setting: its send buffer holds only data that the socket has not accepted, and TCP holds the
//! data in flight (the operating system must let TCP's own buffers grow as far).
//!
//! [`Config::max_stream_receive_window`] bounds the growth of one stream, and
//! [`Config::window_growth_budget`] that of the connection. The budget limits only growth: each
//! stream always has the window that it began with. No stream takes more than half of what the
//! others have left. A stream returns its share when it ends and not before, because credit cannot
//! be taken back. So avoid keeping a stream open for long if it moved much data only once.
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
//! The other places where one stream could delay the rest are closed as well. The socket is always
//! read, even if nobody accepts streams, reads or can write. Bytes to be sent stay in their
//! stream's buffer until the socket can take a message, and only a stream that has both data and
//! credit gets a turn. The TCP connection remains shared: a lost packet delays all streams, and so
//! does a slow network.
//!
//! ```
//! # use wsmux::{Config, ConnectionInfo, Side, WebSocketConnection, Wire, socket::memory_pair};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (left, right) = memory_pair(64 * 1024);
//! # let end = |socket, side| WebSocketConnection::from_socket(
//! #     socket, side, Wire::QMux, Config::default(), ConnectionInfo::default());
//! # let (client, server) = (end(left, Side::Client), end(right, Side::Server));
//! // Ten streams that nobody reads: their windows are used up, and bytes wait in their send buffers.
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
//! there is any room, so with it the buffer may exceed its limit by less than one chunk. Keep
//! chunks small relative to the buffer; otherwise the chunk size is the bound.
//!
//! # The send window
//!
//! All streams of a connection together take up to [`Config::send_window`] bytes, which is 64 MiB
//! by default. A stream that is finished, or whose handle was dropped after that, counts until its
//! bytes have been sent. So a program that opens, writes, finishes and drops a stream for each
//! event waits for a peer that does not read, as it would on one stream.
//!
//! No stream holds more than half of what the others have left, so a hundred streams that send at
//! once still have their whole buffers, and later ones get less. Bytes for which a stream has no
//! credit count against the others for at most half of the window: stalled streams, however many,
//! leave the other half to streams that can send. Each stream may hold 1 KiB in any case, so short
//! messages never wait for others.
//!
//! A write that waits because the window is full continues when its own stream has sent what it
//! held, or gets credit. A stream that holds nothing waits in the order of asking until other
//! streams have sent. A chunk is taken whole or not at all, so one on a stream with credit for only
//! a part of it is taken although the rest may wait for long. With an untrusted peer, keep chunks
//! small, or use `write_all`.
//!
//! # Local streams
//!
//! The peer decides how many streams this end may open. Some peers allow 2^60; a js-ws peer allows
//! any number. Each costs up to 1 KB of state until it is freed, and a stream that is opened and
//! dropped is freed only after the frames that say so have been sent. [`Config::max_local_streams`]
//! bounds this: 65,536 of each kind. At that limit `open_bi` and `open_uni` wait, as they do at the
//! peer's.
//!
//! # A peer that reads nothing
//!
//! Windows and limits bound how much such a peer makes this end hold, and
//! [`Config::write_stall_timeout`] bounds how long. If the socket has accepted nothing for 60 s
//! although there is something to send, the connection ends with
//! [`Timeout::WriteStall`](crate::Timeout::WriteStall), whatever the peer sends meanwhile. A link
//! that accepts a message now and then is slow, and the connection stays open.
//!
//! # Memory of a connection
//!
//! [`Config::memory_bound`] computes the most that a connection holds, in bytes requested from the
//! allocator, whatever its peer does:
//!
//! ```text
//! receive   (peer's bidi + peer's uni + own bidi) * stream_receive_window + window_growth_budget, times 4
//!           + datagram_receive_buffer_size
//! send      the smaller of (peer's bidi + own bidi + own uni) * (send_buffer + largest chunk)
//!           and send_window + (peer's bidi + own bidi + own uni) * (1 KiB + largest chunk), times 3 / 2
//!           + datagram_send_buffer_size
//! socket    three blocks to read into, a buffer to write, and twice the largest message
//! head      the handshake's request or response
//! state     some KiB for each stream, and for the connection
//! ```
//!
//! "Peer's" are the limits in [`Config`]; "own" are the streams that your application has open, and
//! "largest chunk" is the most that it passes to one
//! [`write_chunk`](crate::SendStream::write_chunk), as in [`MemoryUse`](crate::MemoryUse). The
//! largest message is [`Config::max_record_size`] on the QMux wire, and the window plus 10 bytes on
//! the js-ws wire, where the budget does not count. TLS comes on top. Buffers are allocated as
//! bytes arrive and freed when they are empty. The socket's are freed once nothing has arrived for
//! a keep-alive interval or an idle timeout (never, without either). An idle connection keeps some
//! KiB. The socket's line is for connections of a client or a server; with
//! [`from_websocket`](crate::WebSocketConnection::from_websocket) it is tungstenite's, as
//! [`WebSocketConnection::websocket_config`](crate::WebSocketConnection::websocket_config) sets it.
//!
//! The factors account for memory that a byte keeps alive in addition to itself. Received bytes are
//! shared with their message, and a message with its block, only if they are at least half of it;
//! otherwise they are copied. So unread bytes keep at most four times their own length, and usually
//! little more than that length. Written bytes are copied into blocks that may be a quarter larger,
//! and a chunk may be half sent when the next one is written. If your application cut a
//! [`Bytes`](bytes::Bytes) from something larger, it keeps all of that alive; here it counts as the
//! larger one.
//!
//! These are upper bounds for a peer that fills everything and an application that reads nothing.
//! **The defaults**, for a server that opens no streams itself, are for few or trusted peers. **For
//! many connections of untrusted peers** they have to be smaller:
//!
//! ```
//! use wsmux::{Config, MemoryUse, Wire};
//!
//! const MIB: u64 = 1024 * 1024;
//! let application = MemoryUse::default();
//! let defaults = Config::default().memory_bound(Wire::QMux, &application);
//! assert_eq!(defaults.receive / MIB, 1_056, "four times 100 + 100 windows of 1 MiB and 64 MiB of growth");
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
//! assert_eq!(10_000 * each.total() / (1024 * MIB), 40, "GiB for 10,000 connections, and all at their worst");
//! ```
//!
//! The same server with idle clients needs some KiB for each, and its TLS sessions. A window of 64
//! KiB still carries 10 Mbit/s per stream at 50 ms. Streams that need more can have a connection of
//! their own, or get it with [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window)
//! once the client has authenticated. Connections whose handshake is in progress come on top: see
//! [`WebSocketServer`](crate::WebSocketServer).
//!
//! # What the peer's limits do to this end
//!
//! A sender obeys whatever its peer grants. The peer limits this end's streams in three ways:
//!
//! - **Stream credit** used up: writes fill the send buffer and wait. Other streams continue.
//! - **Stream limit** reached: [`open_bi`](crate::WebSocketConnection::open_bi) waits, first come
//!   first served; [`try_open_bi`](crate::WebSocketConnection::try_open_bi) returns `None`. On the
//!   js-ws wire a peer cannot know a limit. Its stream above the limit therefore waits at this end,
//!   and costs about 100 bytes ([`Config::max_waiting_streams`]). A stream that finds no room there
//!   is stopped and reset, with code 0.
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
//! priority take turns of 16 KiB; a stream that is alone in its priority is not cut short. On the
//! QMux wire a message holds frames of several streams, and is at most 64 KiB long. So urgent bytes
//! wait only for what the socket has already accepted: up to 64 KiB and one message here, and the
//! operating system's own buffer.
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
//! A priority is local: it is not sent to the peer, which sets its own. Use two or three different
//! priorities; many make no sense.
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
