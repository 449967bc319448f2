//! The formula for a connection's memory (SPEC §10, C-53), computed.

use crate::{Config, Wire};

const KIB: u64 = 1024;

/// What unread bytes may keep alive besides themselves: a chunk is shared only where it is at least half of its
/// message, and a message only where it is at least half of the block that it was read into.
const RECEIVE_FACTOR: u64 = 4;

/// What unsent bytes may keep alive besides themselves, in halves: a block that is gathered in is at most a quarter
/// larger than what is in it, and a chunk of the application's may be half sent when the next is written.
const SEND_HALVES: u64 = 3;

/// What each stream may hold when the send window is full (C-76).
const SEND_FLOOR: u64 = KIB;

/// Blocks to read into: the one in use, and two that are kept to be used again once their bytes have been read.
const READ_BLOCKS: u64 = 3 * 264 * KIB;

/// What is written together: two messages of the largest size that we send, and the rest of a third.
const WRITE_BUFFER: u64 = 256 * KIB;

/// A message in fragments is held once for the part that was gathered, and once for the fragment that is arriving.
const MESSAGES: u64 = 2;

/// The largest head of a request or a response that a connection keeps.
const HEAD: u64 = 64 * KIB;

/// What a stream holds besides the bytes that wait: its state, its places in queues, and a short block in each
/// direction that is gathered in.
const STREAM: u64 = 4 * KIB;

/// What a peer's stream costs while it waits for a place (SPEC J-43).
const WAITING_STREAM: u64 = 128;

/// What a connection holds besides all that: its state, its tables and queues, the message that is being made, and one
/// datagram's cost in each direction.
const CONNECTION: u64 = 256 * KIB;

/// What the memory of a connection depends on in its application, for [`Config::memory_bound`]. The default is an
/// application that opens no streams, and writes no chunk larger than the room that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Bidirectional streams that it opened and that have not ended, at most.
    pub open_bidi: u64,
    /// Unidirectional streams of the same kind.
    pub open_uni: u64,
    /// The largest chunk that it hands over in one piece, in bytes, and all of what it was cut from.
    pub largest_chunk: u64,
}

/// The most that a connection may hold, in bytes of allocated memory, whatever the peer does: from
/// [`Config::memory_bound`].
///
/// The bounds are on what is asked of the allocator. They hold at any time, with the settings at their largest where
/// an application changes them on a live connection. TLS, the operating system's own buffers, the application's
/// tasks, and the 4 MiB of a qlog are not in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBound {
    /// What has arrived and was not read: streams' windows and their growth, each byte of which may keep four alive, and
    /// datagrams.
    pub receive: u64,
    /// What was written and has not left: streams' send buffers, and datagrams.
    pub send: u64,
    /// The WebSocket: blocks to read into, a message that is not complete, and what is written together. Those of a
    /// connection of a client or a server; `WebSocketConnection::websocket_config` has those of tungstenite.
    pub socket: u64,
    /// The head of the handshake's request or response, which the connection keeps.
    pub head: u64,
    /// The state of the connection and of its streams.
    pub state: u64,
}

impl MemoryBound {
    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        let Self { receive, send, socket, head, state } = *self;
        [receive, send, socket, head, state].into_iter().fold(0, u64::saturating_add)
    }
}

impl Config {
    /// The most that a connection with these settings may hold, in bytes of allocated memory, whatever its peer does.
    ///
    /// With `P` for the streams that the peer may have open, and `O` for those that the application opens:
    ///
    /// ```text
    /// receive   ((P bidi + P uni + O bidi) * stream_receive_window + window_growth_budget) * 4 + datagram_receive_buffer_size
    /// send      the smaller of (P bidi + O bidi + O uni) * (send_buffer + largest chunk)
    ///           and send_window + (P bidi + O bidi + O uni) * (1 KiB + largest chunk),
    ///           * 3 / 2 + datagram_send_buffer_size
    /// socket    792 KiB + 256 KiB + 2 * largest inbound message
    /// head      64 KiB
    /// state     (P bidi + P uni + O bidi + O uni) * 4 KiB + 256 KiB, and 128 bytes for each stream that may wait
    /// ```
    ///
    /// On the QMux wire the largest inbound message is [`max_record_size`](Self::max_record_size).
    /// On the js-ws wire it is the stream window plus 10 bytes. That wire has no unidirectional
    /// streams, no datagrams, and no windows that grow. The manual's chapter `flow_control` has the
    /// reasons.
    ///
    /// ```
    /// use wsmux_proto::{Config, MemoryUse, Wire};
    ///
    /// // A server that opens no streams, and writes chunks of up to 64 KiB.
    /// let application = MemoryUse { largest_chunk: 64 * 1024, ..MemoryUse::default() };
    /// let bound = Config::default().memory_bound(Wire::QMux, &application);
    /// assert!(bound.receive > 200 * 1024 * 1024, "200 streams of 1 MiB, and more");
    /// assert!(bound.total() > bound.receive + bound.send);
    /// ```
    pub fn memory_bound(&self, wire: Wire, application: &MemoryUse) -> MemoryBound {
        let caps = wire.capabilities();
        let uni = |count| if caps.unidirectional() { count } else { 0 };
        let datagrams = |bytes: usize| if caps.datagrams() { bytes as u64 } else { 0 };
        let growth =
            if caps.messages.are_bounded_by_window() { 0 } else { self.window_growth_budget };
        let (bidi, peers_uni) =
            (self.max_concurrent_bidi_streams, uni(self.max_concurrent_uni_streams));
        let MemoryUse { open_bidi, open_uni, largest_chunk } = *application;
        let both = bidi.saturating_add(open_bidi);
        let waiting = if caps.stream_limits() { 0 } else { self.max_waiting_streams };
        let (receiving, sending) =
            (both.saturating_add(peers_uni), both.saturating_add(uni(open_uni)));
        let message = wire.max_inbound_message(self.max_record_size, self.stream_receive_window);
        let by_streams = (self.send_buffer as u64).saturating_add(largest_chunk);
        let by_window = SEND_FLOOR.saturating_add(largest_chunk);
        let unsent = sending
            .saturating_mul(by_streams)
            .min(sending.saturating_mul(by_window).saturating_add(self.send_window as u64));
        MemoryBound {
            receive: receiving
                .saturating_mul(self.stream_receive_window)
                .saturating_add(growth)
                .saturating_mul(RECEIVE_FACTOR)
                .saturating_add(datagrams(self.datagram_receive_buffer_size)),
            send: unsent
                .saturating_mul(SEND_HALVES)
                .div_euclid(2)
                .saturating_add(datagrams(self.datagram_send_buffer_size)),
            socket: READ_BLOCKS
                .saturating_add(WRITE_BUFFER)
                .saturating_add(message.saturating_mul(MESSAGES)),
            head: HEAD,
            state: both
                .saturating_add(peers_uni)
                .saturating_add(uni(open_uni))
                .saturating_mul(STREAM)
                .saturating_add(waiting.saturating_mul(WAITING_STREAM))
                .saturating_add(CONNECTION),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_at_their_extremes_have_a_bound() {
        let application =
            MemoryUse { open_bidi: u64::MAX, open_uni: u64::MAX, largest_chunk: u64::MAX };
        let mut config = Config::default();
        config
            .stream_receive_window(u64::MAX)
            .window_growth_budget(u64::MAX)
            .send_buffer(usize::MAX)
            .max_concurrent_bidi_streams(u64::MAX)
            .max_record_size(u64::MAX);
        for wire in [Wire::QMux, Wire::JsWs] {
            assert_eq!(config.memory_bound(wire, &application).total(), u64::MAX);
        }
        config
            .stream_receive_window(0)
            .window_growth_budget(0)
            .send_buffer(0)
            .max_concurrent_bidi_streams(0)
            .max_concurrent_uni_streams(0)
            .max_record_size(0)
            .datagram_receive_buffer_size(0)
            .datagram_send_buffer_size(0);
        let none = config.memory_bound(Wire::QMux, &MemoryUse::default());
        assert_eq!((none.receive, none.send), (0, 0));
    }
}
