//! Credit, send buffers, memory, priorities, and why no stream pauses another.
//!
//! # A stream's credit
//!
//! Each receiving half has a *window*: the number of bytes that the peer may send before the
//! application has read any of them. The number of bytes that the peer may still send is its
//! *credit*. At the start the credit is the whole window. The credit shrinks as the peer sends, and
//! is renewed as the application reads. The credit is renewed in steps of a quarter of the window,
//! but of at most 1 MiB. So when a reader stops reading a stream, only the sender of the same
//! stream has to stop. A stream that is not read costs only the bytes that are buffered for it,
//! which are at most one window.
//!
//! Every stream starts with the window [`Config::stream_receive_window`];
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) changes it
//! on a live connection. On the js-ws wire a stream begins without credit, so its first data is
//! sent one round trip after it was opened.
//!
//! Credit is enforced to the byte. A peer that sends more than its credit violates the protocol.
//! The connection then ends with `FLOW_CONTROL_ERROR`, and no data is dropped silently.
//!
//! # Windows that grow
//!
//! To use the whole bandwidth of its path, a stream needs a window as large as the data in flight
//! on the path. The amount of this data is the bandwidth times the round-trip time. On one path it
//! is 100 KB, on another 25 MB. On the QMux wire wsmux therefore measures the path, and a window
//! grows to twice the data that arrives in one round trip:
//!
//! - **The round-trip time** comes from a ping sent with the connection's first message, when the
//!   path is still empty, and from another ping with each step of growth. Each of these times is an
//!   upper bound on the round-trip time of the path. The time from a grant of credit until the data
//!   that uses this credit arrives is also an upper bound. wsmux uses the smallest of all these
//!   times. A full queue on the path and a late answer to a ping only make a measured time longer.
//!   The smallest time is not affected, so the window does not grow because of them. After a
//!   silence the round-trip time is measured again.
//! - **The amount per round trip** is the number of bytes that arrived during the round trip and
//!   were read. If a reader has stopped, its window does not grow. If a reader is slow, its window
//!   grows to twice the data that it reads in a round trip. If a reader is fast, its window grows
//!   to twice the data that the link carries in a round trip. A single burst does not show how fast
//!   the reader or the link is. So a window grows only if the previous round trip carried about as
//!   much data as the present round trip.
//!
//! If nothing but the window limits a stream, its window doubles in each round trip. In simulation
//! with the defaults, one stream fills a path of 1 Gbit/s with a round-trip time of 200 ms within 2
//! s. The sender needs no setting, because its send buffer holds only data that the socket has not
//! accepted yet. Data in flight is in TCP's own buffers. The operating system must let these
//! buffers grow to the same size as the window.
//!
//! [`Config::max_stream_receive_window`] bounds the window of one stream, and
//! [`Config::window_growth_budget`] bounds how much all windows of the connection grow together.
//! The budget limits only growth, so each stream always keeps the window that it started with. A
//! stream takes at most half of the part of the budget that the other streams do not use. A stream
//! keeps its share until it ends, because credit cannot be taken back. So do not keep a stream open
//! for long if it carried much data only once.
//! [`RecvStreamStats::window`](crate::RecvStreamStats::window) is the current window of a stream,
//! and [`ConnectionStats::window_growth`](crate::ConnectionStats::window_growth) the growth of all
//! windows together.
//!
//! On the js-ws wire windows do not grow. A peer may put all its credit in one message, so a window
//! of 32 MiB would permit a message of 32 MiB, which would delay every other stream.
//!
//! # No pause for the whole connection
//!
//! QUIC has a second level of flow control, connection credit, which all streams share. A few
//! stalled readers can use up the connection credit, and then every other stream stops too. On the
//! QMux wire wsmux grants its peer unlimited connection credit (2^62 - 1 bytes), so a stream's own
//! credit always runs out first. Memory is bounded without connection credit. The number of streams
//! times their window and the growth budget bound it.
//!
//! Nothing else in wsmux lets one stream delay the others. The socket is always read, even if the
//! application neither accepts streams nor reads, and even if nothing can be written. Bytes to be
//! sent stay in their stream's buffer until the socket can take a message, and only streams that
//! have both data and credit take turns in sending. The TCP connection remains shared, so a lost
//! packet or a slow network delays all streams.
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
//! // Another stream overtakes all of them.
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
//! sent. The buffer takes up to [`Config::send_buffer`] bytes. Once it is full, writes wait until
//! half of it is free. [`ConnectionStats::send_buffered`](crate::ConnectionStats::send_buffered) is
//! the number of buffered bytes of all streams. A reset discards the buffered bytes. There is no
//! need to flush, because written bytes are sent as soon as the credit and the socket allow it.
//! [`stopped`](crate::SendStream::stopped) returns when all bytes of a finished stream have been
//! sent.
//!
//! [`write_chunk`](crate::SendStream::write_chunk) takes a whole [`Bytes`](bytes::Bytes) at once if
//! there is any room in the buffer. The buffer may then exceed its limit by less than one chunk.
//! Keep chunks small relative to the buffer, because otherwise their size determines the memory.
//!
//! # The send window
//!
//! The send buffers of all streams of a connection together take up to [`Config::send_window`]
//! bytes, which is 64 MiB by default. The bytes of a finished stream count until they have been
//! sent, even if its handle was dropped. So if a program opens, writes, finishes and drops a stream
//! for each event, and the peer does not read, the program's writes wait once the send window is
//! full. If the program wrote all events to a single stream, its writes would have to wait as well.
//!
//! A stream uses at most half of the part of the send window that the other streams do not use.
//! With the defaults, a hundred streams that send at once can each fill their whole buffer. Streams
//! that start later get less. Bytes that wait for their stream's credit use at most half of the
//! send window, however many streams are stalled. The other half remains for streams that can send.
//! Each stream may hold 1 KiB even if the window is full, so short messages never wait for other
//! streams.
//!
//! A write that waits because the window is full continues when its own stream has sent some of its
//! bytes, or gets credit. A stream that has no bytes in its buffer waits in a queue until other
//! streams have sent some of their bytes. A chunk is taken as a whole or not at all. So if a stream
//! has credit for only a part of a chunk, the buffer still takes the whole chunk. The part without
//! credit may then stay in memory for a long time. With an untrusted peer, keep chunks small, or
//! use `write_all`.
//!
//! # Local streams
//!
//! The peer limits how many streams this end may open. Some peers allow 2^60, and a js-ws peer has
//! no limit. Each stream costs up to 1 KB of state until it is freed, and a stream that is opened
//! and dropped is freed only after its reset or its end has been sent. So this end has a limit of
//! its own, [`Config::max_local_streams`]: 65,536 streams of each kind. At that limit `open_bi` and
//! `open_uni` wait, as they do at the peer's limit.
//!
//! # A peer that reads nothing
//!
//! If a peer reads nothing, this end has to keep the data that it cannot send. Windows and limits
//! bound the amount of this data. [`Config::write_stall_timeout`] bounds the time for which it is
//! kept. If the socket has accepted nothing for 60 s although there is something to send, the
//! connection ends with [`Timeout::WriteStall`](crate::Timeout::WriteStall), even if the peer keeps
//! sending. If the socket accepts a message now and then, the link is only slow, and the connection
//! stays open.
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
//! In the formula, "peer's" stands for the limits on the peer's streams in [`Config`], and "own"
//! for the number of streams that your application has open. "Largest chunk" is the longest chunk
//! that your application passes to [`write_chunk`](crate::SendStream::write_chunk), as in
//! [`MemoryUse`](crate::MemoryUse). The largest message is [`Config::max_record_size`] on the QMux
//! wire. On the js-ws wire the largest message is the window plus 10 bytes, and
//! `window_growth_budget` counts as 0.
//!
//! TLS needs memory in addition to this bound. Buffers are allocated as bytes arrive and freed when
//! they are empty. The socket's buffers are freed once nothing has arrived for a keep-alive
//! interval or an idle timeout. If both settings are turned off, the socket's buffers are never
//! freed. An idle connection keeps some KiB. The line "socket" in the formula applies to
//! connections of a client or a server. With
//! [`from_websocket`](crate::WebSocketConnection::from_websocket) the buffers are tungstenite's,
//! and [`WebSocketConnection::websocket_config`](crate::WebSocketConnection::websocket_config) sets
//! their sizes.
//!
//! The factors 4 and 3 / 2 account for memory that stays allocated in addition to the bytes
//! themselves. A received message is not copied if it fills at least half of the block that it was
//! read into. Such a message keeps the whole block allocated. In the same way, the data of a stream
//! is not copied if it is at least half of its message. Such data keeps the whole message
//! allocated. Anything smaller is copied. So unread bytes keep at most four times their own length
//! allocated, and usually little more than their length. Bytes passed to `write` are copied into
//! blocks that are at most a quarter larger than the bytes in them. A chunk that has been sent in
//! part stays allocated as a whole. If less than half of the chunk is left when the application
//! writes more, the rest is copied, and the chunk is freed. Together these rules keep the
//! allocation within one and a half times the bytes that the buffers may hold. If your application
//! cuts a [`Bytes`](bytes::Bytes) from a larger `Bytes`, the larger `Bytes` stays allocated and
//! counts.
//!
//! The formula gives the worst case: the peer fills every buffer and the application reads nothing.
//! **The defaults** suit a few peers, or trusted peers. **For many connections of untrusted peers**
//! the limits have to be smaller. The figures below are for a server that opens no streams itself:
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
//! If all clients of this server are idle, the server needs some KiB for each client, and the
//! memory of the clients' TLS sessions. A window of 64 KiB still carries 10 Mbit/s per stream at a
//! round-trip time of 50 ms. If some streams need more, give them a connection of their own, or
//! raise their window with
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) once the
//! client has authenticated. Connections whose handshake is in progress need additional memory: see
//! [`WebSocketServer`](crate::WebSocketServer).
//!
//! # What the peer's limits do to this end
//!
//! This end's streams may have to wait for the peer in three ways:
//!
//! - **A stream's credit** is used up: writes to the stream fill its send buffer and then wait.
//!   Other streams continue.
//! - **The stream limit** is reached: [`open_bi`](crate::WebSocketConnection::open_bi) waits, and
//!   waiting calls are served in the order in which they were made;
//!   [`try_open_bi`](crate::WebSocketConnection::try_open_bi) returns `None`. In the other
//!   direction, a js-ws peer cannot know our limit. The js-ws peer's streams above the limit
//!   therefore wait at this end, and cost about 100 bytes each. When as many streams wait as
//!   [`Config::max_waiting_streams`] allows, the next stream is refused, which means that it is
//!   stopped and reset with code 0.
//! - **The connection's credit** is used up: no stream can send data, whatever its own credit. A
//!   wsmux peer never causes this, but another QMux peer may. With 1 MiB for the connection and 256
//!   KiB for a stream, which are the defaults of some implementations, four streams that the peer's
//!   application does not read use up the connection's credit. Resets, datagrams, pings, and the
//!   ends of streams whose data has been sent, are still sent. Bytes use up connection credit only
//!   when they are sent, not while they wait in a buffer. So stalled streams use connection credit
//!   only for the bytes that the peer has received but not read. Only the peer can end this wait,
//!   by granting more connection credit or by reading every stream.
//!   [`blocked_by_connection_credit`](crate::ConnectionStats::blocked_by_connection_credit)
//!   measures how long this end was blocked in this way.
//!
//! # Priorities and turns
//!
//! Control frames are sent first, then datagrams, and then the data of the streams with the highest
//! [priority](crate::SendStream::set_priority). Priorities are strict: as long as a stream of a
//! higher priority has data and credit, streams of lower priority send nothing. Streams of equal
//! priority take turns of 16 KiB; if only one stream of a priority has data, its turns have no
//! limit. On the QMux wire a message may contain frames of several streams, and is at most 64 KiB
//! long. So urgent bytes wait only for bytes that have already left their streams. wsmux holds at
//! most 64 KiB plus one message of those bytes, and the operating system's buffer holds the others.
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
//! A priority applies only to what this end sends. A priority is not sent to the peer, which sets
//! priorities of its own. Two or three different priorities are usually enough.
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
