//! The upper bound of a connection's memory (SPEC §10, C-53).

use crate::{Config, Wire};

const KIB: u64 = 1024;

/// The most bytes of memory that an unread byte can keep alive. A chunk shares the memory of its
/// message only if the chunk is at least half of the message. A message shares the memory of its
/// block only if the message is at least half of the block. Otherwise the bytes are copied.
const RECEIVE_FACTOR: u64 = 4;

/// The most memory that an unsent byte can keep alive. The unit is half a byte, so 3 stands for one
/// and a half bytes. A block that gathers small writes is at most a quarter larger than its
/// content. A partly sent chunk keeps all of its memory. But if more is written when less than half
/// of the chunk is left, the rest is copied. So the sent bytes that still take memory are at most
/// half as many as fit into the send buffer.
const SEND_HALVES: u64 = 3;

/// How many bytes each stream may hold even when the send window is full (C-76).
const SEND_FLOOR: u64 = KIB;

/// The size of the blocks that the socket reads into. One block is in use, and two more are reused
/// once their bytes have been read.
const READ_BLOCKS: u64 = 3 * 264 * KIB;

/// The largest size of the buffer for bytes that wait to be written. Two messages of the largest
/// size that this end sends and the rest of a third message fit into it.
const WRITE_BUFFER: u64 = 256 * KIB;

/// A fragmented message takes at most its size times this number, because its complete fragments
/// and the fragment that is arriving have separate buffers.
const MESSAGES: u64 = 2;

/// The largest size of the head of the handshake's request or response, which a connection keeps.
const HEAD: u64 = 64 * KIB;

/// The largest cost of a single message that is kept for a new socket, in the units of the replay
/// budget. The bound contains this cost in addition to the budget, because the message that
/// exhausts the budget is still sent and kept.
const LARGEST_REPLAYED: u64 = 64 * KIB + 64;

/// The most memory that a byte of the replay budget takes, in bytes. Half of a queue's capacity may
/// be unused.
const REPLAY_FACTOR: u64 = 2;

/// The memory of a stream without its buffered bytes: its state, its entries in queues, and in each
/// direction a short block that gathers small pieces.
const STREAM: u64 = 4 * KIB;

/// The memory of a stream of the peer that waits until it can be opened (SPEC J-43).
const WAITING_STREAM: u64 = 128;

/// The rest of a connection's memory: its state, its tables and queues, the message that is being
/// written, and one datagram in each direction.
const CONNECTION: u64 = 256 * KIB;

/// How an application uses a connection, as far as this affects the connection's memory. This type
/// is the argument of [`Config::memory_bound`].
///
/// The default describes an application that opens no streams and writes no chunk that is larger
/// than the room in the send buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// The largest number of this application's own bidirectional streams that are open at the same
    /// time.
    pub open_bidi: u64,
    /// The largest number of this application's own unidirectional streams that are open at the
    /// same time.
    pub open_uni: u64,
    /// The size of the largest chunk that the application writes in one piece, in bytes. If a chunk
    /// is a slice, the size of the whole allocation counts.
    pub largest_chunk: u64,
}

/// The most memory that a connection may hold, in bytes, whatever its peer does. This is the result
/// of [`Config::memory_bound`].
///
/// The bounds count the bytes that are requested from the allocator, and they hold at any time. If
/// an application changes settings on a live connection, the largest value of each setting counts.
/// The bounds do not include TLS, the operating system's buffers, the application's tasks, or the
/// buffer of a qlog (4 MiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBound {
    /// Received bytes that the application has not read: datagrams, and the streams' windows with
    /// their growth. Each byte of a window may keep four bytes of memory alive.
    pub receive: u64,
    /// Bytes that the application has written and that have not been sent: the streams' send
    /// buffers, and datagrams.
    pub send: u64,
    /// The WebSocket's buffers: blocks to read into, a message that is not complete, and messages
    /// that are written together. The bound applies to the socket of wsmux's own client and server.
    /// For the socket of tungstenite, see `WebSocketConnection::websocket_config`.
    pub socket: u64,
    /// The head of the handshake's request or response, which the connection keeps.
    pub head: u64,
    /// Sent messages that the peer has not acknowledged, if the connection can be
    /// [resumed](Config::resume_timeout).
    pub replay: u64,
    /// The state of the connection and of its streams.
    pub state: u64,
}

impl MemoryBound {
    /// Returns the sum of these bounds, in bytes.
    pub fn total(&self) -> u64 {
        let Self { receive, send, socket, head, replay, state } = *self;
        [receive, send, socket, head, replay, state].into_iter().fold(0, u64::saturating_add)
    }
}

impl Config {
    /// Returns the most memory that a connection with these settings may hold, in bytes, whatever
    /// its peer does.
    ///
    /// In the formulas, `P` stands for the streams that the peer may have open, and `O` for the
    /// streams that the application opens:
    ///
    /// ```text
    /// receive   ((P bidi + P uni + O bidi) * stream_receive_window + window_growth_budget) * 4 + datagram_receive_buffer_size
    /// send      the smaller of (P bidi + O bidi + O uni) * (send_buffer + largest chunk)
    ///           and send_window + (P bidi + O bidi + O uni) * (1 KiB + largest chunk),
    ///           * 3 / 2 + datagram_send_buffer_size
    /// socket    792 KiB + 256 KiB + 2 * largest inbound message
    /// head      64 KiB
    /// replay    0; with resumption (replay_budget + 64 KiB + 64) * 2 + send without datagrams
    /// state     (P bidi + P uni + O bidi + O uni) * 4 KiB + 256 KiB, and 128 bytes for each stream that may wait
    /// ```
    ///
    /// On the QMux wire the largest inbound message is [`max_record_size`](Self::max_record_size).
    /// On the js-ws wire the largest inbound message is the stream window plus 10 bytes. The js-ws
    /// wire has no unidirectional streams, no datagrams, and no windows that grow. The manual's
    /// chapter `flow_control` gives the reasons.
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
        let send = unsent.saturating_mul(SEND_HALVES).div_euclid(2);
        let replay = match self.resume_timeout {
            Some(_) if wire == Wire::QMux => self
                .replay_budget
                .saturating_add(LARGEST_REPLAYED)
                .saturating_mul(REPLAY_FACTOR)
                .saturating_add(send),
            _ => 0,
        };
        MemoryBound {
            receive: receiving
                .saturating_mul(self.stream_receive_window)
                .saturating_add(growth)
                .saturating_mul(RECEIVE_FACTOR)
                .saturating_add(datagrams(self.datagram_receive_buffer_size)),
            send: send.saturating_add(datagrams(self.datagram_send_buffer_size)),
            socket: READ_BLOCKS
                .saturating_add(WRITE_BUFFER)
                .saturating_add(message.saturating_mul(MESSAGES)),
            head: HEAD,
            replay,
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
        assert_eq!((none.receive, none.send, none.replay), (0, 0, 0));
    }
}
