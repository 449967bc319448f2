//! Credit, send buffers, memory, priorities, and why no stream pauses another.
//!
//! # A stream's credit
//!
//! Each receiving half has a *window*: how far the peer may be ahead of the reader. What the peer may send is its
//! *credit*. At the start that is the whole window; sending uses it up, and reading renews it, in steps of a quarter
//! of the window, or of 1 MiB if that is less. A reader that stops reading thus stops its own sender, and after that costs nothing but the
//! bytes that lie there: at most one window.
//!
//! The window is at first [`Config::stream_receive_window`], the same for every stream, and
//! [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) changes that on a live connection. On the
//! js-ws wire a stream begins without credit, and its first data waits for one round trip.
//!
//! Credit is exact. A peer that sends more than it was granted breaks the protocol: the connection ends with
//! `FLOW_CONTROL_ERROR`, and nothing is dropped in silence.
//!
//! # Windows that grow
//!
//! A stream needs a window of what its path holds: bandwidth times round-trip time. That may be 100 KB or 25 MB,
//! so on the QMux wire it is measured, and the window grows to twice of what a round trip brings:
//!
//! - **The round-trip time** comes from a ping that rides along with the connection's first message, when nothing is
//!   on the way yet, and from one with each step of growth. The least time counts, and never more than it took the
//!   peer to make use of a grant: a queue on the way that the window itself has filled is no reason for a larger one,
//!   and neither is a peer that answers late. After a silence the time is measured again.
//! - **What a round trip brings** is what came and was read in it. A reader that stands still makes nothing
//!   grow, one that is slow gets twice what it takes in a round trip, and a link that is full sets the end. One
//!   burst alone says little: the round trip before has to confirm it.
//!
//! A stream that only its window holds back doubles it in each round trip. Simulated with the defaults, one stream
//! fills a gigabit a second over 200 ms within 2 s. The sender needs no setting: its send buffer holds what has not
//! gone to the socket, and what is on the way is held by TCP (whose own buffers the operating system must
//! let grow as far).
//!
//! Growth is bounded by [`Config::max_stream_receive_window`] for a stream and [`Config::window_growth_budget`] for the
//! connection. Growth is all that the budget limits: each stream always has the window that it began with. No
//! stream takes more than half of what the others have left. A share goes back when its stream ends,
//! and not before, for credit cannot be taken back. Streams that are kept for long should so not be
//! those that moved much once.
//! [`RecvStreamStats::window`](crate::RecvStreamStats::window) shows a stream's window,
//! [`ConnectionStats::window_growth`](crate::ConnectionStats::window_growth) what all have grown by.
//!
//! On the js-ws wire windows stay as they are: a peer may put all its credit in one message, so the largest message
//! follows from the window, and one of 32 MiB would hold up every other stream.
//!
//! # No pause for the whole connection
//!
//! QUIC has a second account, the credit of the connection, that all streams draw on. A few readers that stand
//! still can use it up, and then the streams of everybody else stand still too. On the QMux wire wsmux grants its
//! peer connection credit without end (2^62 - 1 bytes), so that a stream's own credit always runs out first. Memory
//! stays bounded without it: by the number of streams times their window, and the budget of growth.
//!
//! The other places where one stream could hold up the rest are closed as well. The socket is always read,
//! whether or not anybody accepts streams, reads, or can write. Bytes to be sent stay in their stream's buffer
//! until the socket can take a message, and only a stream that has both data and credit is given a turn. What
//! does stay shared is the TCP connection: a lost packet delays all streams, and so does a slow network.
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
//! A write is done when the stream's send buffer has taken the bytes, not when they have left. The buffer takes up
//! to [`Config::send_buffer`] bytes; then writes wait until half of it is free. Of the waiting
//! bytes of all streams [`ConnectionStats::send_buffered`](crate::ConnectionStats::send_buffered) tells the sum.
//! A reset empties the buffer. There is no flush: what was written leaves as soon as credit and socket allow, and
//! [`stopped`](crate::SendStream::stopped) tells when a finished stream has left.
//!
//! [`write_chunk`](crate::SendStream::write_chunk) takes a whole [`Bytes`](bytes::Bytes) at once if there is any
//! room, so with it the buffer may hold more than its limit, by less than one chunk. Keep chunks small against the
//! buffer, or the bound is the chunk's.
//!
//! # The send window
//!
//! All streams of a connection together take up to [`Config::send_window`] bytes, which is 64 MiB. A stream that is
//! finished, or whose handle is dropped after that, counts until its bytes have left: so a program that opens a stream for
//! each event, writes, finishes and forgets it waits for a peer that does not read, as it would on one stream.
//!
//! No stream holds more than half of what the others have left, so a hundred streams that send at once still have
//! their whole buffers, and later ones get less. Bytes that a stream has no credit for count against the others
//! for half of the window at most: streams whose readers stand still, however many, leave the other half to those that
//! can send. And each stream may hold 1 KiB in any case, so short messages never wait for others.
//!
//! A write that waits because the window is full goes on when its own stream has sent what it held, or gets credit; a
//! chunk of a stream that holds nothing, in the order of asking, when others have sent. A chunk is taken whole or not at
//! all, so one on a stream with credit for a part of it is taken although the rest may wait for long: where a
//! peer is not to be trusted, keep chunks small, or use `write_all`.
//!
//! # Streams of one's own
//!
//! How many streams this end may open is the peer's decision, and some peers allow 2^60; a js-ws peer allows any
//! number. Each costs up to 1 KB of state until it is freed, and one that is opened and dropped is freed only when the
//! frames that say so have left. [`Config::max_local_streams`] bounds that: 65,536 of each kind. At that limit `open_bi`
//! and `open_uni` wait as at the peer's.
//!
//! # A peer that reads nothing
//!
//! Windows and limits bound what such a peer makes this end hold, and [`Config::write_stall_timeout`] for how long: when
//! the socket has taken nothing for 60 s although there is something to send, the connection ends with
//! [`Timeout::WriteStall`](crate::Timeout::WriteStall), whatever the peer says meanwhile. A link that takes a message
//! now and then is slow and stays.
//!
//! # Memory of a connection
//!
//! [`Config::memory_bound`] computes the most that a connection holds, in bytes asked of the allocator, whatever its
//! peer does:
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
//! "Peer's" are the limits in [`Config`]; "own" are the streams that your application has open, and "largest chunk"
//! what it hands over by [`write_chunk`](crate::SendStream::write_chunk), as [`MemoryUse`](crate::MemoryUse) has them.
//! The largest message is [`Config::max_record_size`] on the QMux wire, and the window plus 10 bytes on the js-ws wire,
//! where the budget does not count. TLS comes on top. Buffers are allocated as bytes come and given back when they are
//! empty, the socket's once nothing has come for a keep-alive interval or an idle timeout (never, without either); an
//! idle connection keeps some KiB. The socket's line is for connections of a client or a server; with
//! [`from_websocket`](crate::WebSocketConnection::from_websocket) it is tungstenite's, as
//! [`WebSocketConnection::websocket_config`](crate::WebSocketConnection::websocket_config) sets it.
//!
//! The factors account for what a byte keeps alive besides itself. Received bytes are shared with their message, and a
//! message with its block, only if they are at least half of it; otherwise they are copied. So unread bytes keep
//! at most four times their own length, and mostly little more than that. What was written is copied into blocks that
//! may be a quarter larger, and a chunk may be half sent when the next one is written. A [`Bytes`](bytes::Bytes) of your
//! application's that was cut from something larger keeps all of that alive; here it counts as the larger one.
//!
//! These are upper bounds for a peer that fills everything and an application that reads nothing. **The defaults**, for
//! a server that opens no streams itself, are for few or friendly peers. **For many connections of strangers** they have
//! to be smaller:
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
//! The same server with idle clients needs some KiB for each, and its TLS sessions. A window
//! of 64 KiB still carries 10 Mbit/s per stream over 50 ms; the streams that need more can be on a connection of
//! their own, or get it by [`set_stream_receive_window`](crate::WebSocketConnection::set_stream_receive_window) once the client has
//! shown who it is. Connections whose handshake is under way come on top: see
//! [`WebSocketServer`](crate::WebSocketServer).
//!
//! # What the peer's credit does to us
//!
//! A sender obeys whatever its peer grants. Of the peer's limits on this end's streams, each has its place:
//!
//! - **Stream credit** used up: writes fill the send buffer and wait. Others go on.
//! - **Stream limit** reached: [`open_bi`](crate::WebSocketConnection::open_bi) waits, first come first served;
//!   [`try_open_bi`](crate::WebSocketConnection::try_open_bi) says `None`. The js-ws wire has no limit that a
//!   peer could know: there its stream past the limit waits here, and costs some 100 bytes
//!   ([`Config::max_waiting_streams`]); a stream that finds no room there is stopped and reset, with code 0.
//! - **Connection credit** used up: no stream can send data, whatever its own credit. This is the pause that wsmux
//!   never imposes, but a QMux peer may: with 1 MiB for the connection and 256 KiB for a stream, defaults that are
//!   in use, four streams that its application does not read are enough. Resets, ends of streams whose data has
//!   left, datagrams and pings still pass. Connection credit is spent only as bytes leave, never on
//!   bytes that wait in a buffer, so no more of it lies in stalled streams than the peer itself holds unread.
//!   The remedy is at the peer: more connection credit, or a reader for each stream.
//!   [`blocked_by_connection_credit`](crate::ConnectionStats::blocked_by_connection_credit) counts the time.
//!
//! # Priorities and turns
//!
//! Control frames go first, then datagrams, then data of the streams with the highest
//! [priority](crate::SendStream::set_priority). Priorities are strict: as long as a stream of a higher one has data
//! and credit, lower ones send nothing. Equal ones take turns of 16 KiB; a stream that is alone in its priority is not
//! cut short. A message holds frames of several streams on the QMux wire, and is at most 64 KiB long, so urgent
//! bytes wait for no more than what the socket has taken already: up to 64 KiB and one message here, and the
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
//! A priority is this end's alone: the peer is not told, and sets its own. Many different ones
//! make no sense; two or three do.
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
