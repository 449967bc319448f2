//! What a connection may hold, send and wait for. One setting, one default, one reason.

use std::time::Duration;

use crate::proto::{VarInt, params::TransportParameters};

/// The largest stream window: js-ws counts credit in 32 bits, and more than this per stream is
/// no longer a window.
const MAX_STREAM_WINDOW: u64 = u32::MAX as u64;

/// The limits and times of one connection; the same for a client and a server.
///
/// Memory per connection is bounded by these settings: to receive, the number of streams times the stream
/// window, plus the growth of windows (plus the datagram queue); to send, the send buffers of the open streams (plus one message and the
/// socket's own buffer).
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) stream_window: u64,
    pub(crate) max_stream_window: u64,
    pub(crate) window_growth_budget: u64,
    pub(crate) max_concurrent_bidi_streams: u64,
    pub(crate) max_concurrent_uni_streams: u64,
    pub(crate) max_waiting_streams: u64,
    pub(crate) cancelled_streams_per_second: Option<u64>,
    pub(crate) send_buffer: usize,
    pub(crate) max_record_size: u64,
    pub(crate) max_idle_timeout: Option<Duration>,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) datagram_receive_buffer: usize,
    pub(crate) datagram_send_buffer: usize,
    #[cfg(feature = "qlog")]
    pub(crate) qlog: Option<crate::QlogConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // A gigabit over 8 ms, or loopback at its full speed; js-ws's own default as well.
            stream_window: 1024 * 1024,
            // A gigabit over 200 ms is 25 MB, and a third more for grants that are late.
            max_stream_window: 32 * 1024 * 1024,
            // Half of it for one stream, which then has its largest window; the other half for the rest.
            window_growth_budget: 64 * 1024 * 1024,
            // quinn's default: with both kinds 200 MiB at worst, if nothing of it is read.
            max_concurrent_bidi_streams: 100,
            max_concurrent_uni_streams: 100,
            // Any burst of calls that one program makes at once; at some 100 bytes each a megabyte at worst.
            max_waiting_streams: 10_000,
            // More than people cancel, and no load to speak of for an application that begins each in vain.
            cancelled_streams_per_second: Some(100),
            // Enough to keep the socket busy while the writer is woken, and half a window of promise.
            send_buffer: 512 * 1024,
            // Four turns of the scheduler: larger gains nothing in throughput, and costs latency.
            max_record_size: 64 * 1024,
            // QUIC's custom; shorter than the minute after which proxies drop a silent connection.
            max_idle_timeout: Some(Duration::from_secs(30)),
            // Two may be lost to a stalled machine before the idle timeout strikes.
            keep_alive_interval: Some(Duration::from_secs(10)),
            handshake_timeout: Duration::from_secs(10),
            // Some round trips of a bad path; whoever has not answered by then will not.
            close_timeout: Duration::from_secs(3),
            // Some hundreds of datagrams of a usual size; what waits behind more is stale.
            datagram_receive_buffer: 256 * 1024,
            datagram_send_buffer: 256 * 1024,
            // A log costs time and disk, and shows who did what when.
            #[cfg(feature = "qlog")]
            qlog: None,
        }
    }
}

impl Config {
    /// Bytes that the peer may send on a stream before the application has read any: the window that each
    /// stream has in any case. At least 1, at most 2^32 - 1; default 1 MiB.
    pub fn stream_window(&mut self, bytes: u64) -> &mut Self {
        self.stream_window = bytes.clamp(1, MAX_STREAM_WINDOW);
        self
    }

    /// Bytes up to which the window of a stream may grow, where its reader and its path can use them: by
    /// measurement, to twice what the reader takes in a round trip. At most 2^32 - 1; one that is not above
    /// [`stream_window`](Self::stream_window) has no effect. Default 32 MiB.
    ///
    /// On the js-ws wire no window grows, for there the window is also the limit of a message.
    pub fn max_stream_window(&mut self, bytes: u64) -> &mut Self {
        self.max_stream_window = bytes.min(MAX_STREAM_WINDOW);
        self
    }

    /// Bytes by which the windows of a connection's streams may grow past
    /// [`stream_window`](Self::stream_window), all together; 0 turns growing off. Default 64 MiB.
    ///
    /// No stream takes more than half of what the others have left, so one alone gets up to 32 MiB of the
    /// default. A stream keeps what it has until it ends, for credit cannot be taken back.
    pub fn window_growth_budget(&mut self, bytes: u64) -> &mut Self {
        self.window_growth_budget = bytes;
        self
    }

    /// Bidirectional streams that the peer may have open at once. Default 100.
    ///
    /// A stream counts until both its halves have ended and the application has let go of them. Past the limit the peer's
    /// next stream waits: at the peer on the QMux wire, and here on the js-ws wire, see
    /// [`max_waiting_streams`](Self::max_waiting_streams).
    pub fn max_concurrent_bidi_streams(&mut self, count: u64) -> &mut Self {
        self.max_concurrent_bidi_streams = count.min(1 << 32);
        self
    }

    /// Unidirectional streams that the peer may have open at once. Default 100; the js-ws wire has none.
    pub fn max_concurrent_uni_streams(&mut self, count: u64) -> &mut Self {
        self.max_concurrent_uni_streams = count.min(1 << 32);
        self
    }

    /// Streams of the peer's past [`max_concurrent_bidi_streams`](Self::max_concurrent_bidi_streams) that may wait for a
    /// place, on the js-ws wire. At most 2^32; default 10,000, which a peer can make this end spend a megabyte on: some 100
    /// bytes for each.
    ///
    /// On that wire a peer cannot know of a limit. A stream that waits has no credit, so that its peer sends nothing on
    /// it, and is not seen by the application; when a place is free, the one that has waited longest is opened. Past
    /// this many a new stream is refused: both its halves fail at the peer with code 0. 0 refuses each past the limit.
    /// On the QMux wire, where a peer waits by itself, it has no effect.
    pub fn max_waiting_streams(&mut self, count: u64) -> &mut Self {
        self.max_waiting_streams = count.min(1 << 32);
        self
    }

    /// Streams of the peer's that it may reset or stop in a second before it was sent anything on them and before
    /// anything of them was read; `None` for any number. Default 100.
    ///
    /// Past it the connection closes with
    /// [`EXCESSIVE_LOAD`](crate::proto::TransportErrorCode::EXCESSIVE_LOAD): an application that begins what nobody
    /// waits for does more work than its peer (CVE-2023-44487). A burst of ten times the streams that may be open at
    /// once, and of at least 1000, is let pass; and each stream that was answered, or read to its end, makes good for
    /// four that were cancelled. So more is wanted only of a peer that cancels nearly all that it asks for, as one may that
    /// asks several servers and takes the first answer.
    pub fn cancelled_streams_per_second(&mut self, count: Option<u64>) -> &mut Self {
        self.cancelled_streams_per_second = count;
        self
    }

    /// Bytes that a stream takes from the application before they can be sent. At least 1; default 512 KiB.
    pub fn send_buffer(&mut self, bytes: usize) -> &mut Self {
        self.send_buffer = bytes.max(1);
        self
    }

    /// The largest message that the peer may send on the QMux wire, in bytes. At least 16,382
    /// (draft-ietf-quic-qmux-02 §max_record_size); default 64 KiB.
    pub fn max_record_size(&mut self, bytes: u64) -> &mut Self {
        self.max_record_size = bytes.clamp(crate::proto::MIN_MAX_RECORD_SIZE, 1 << 30);
        self
    }

    /// How long the connection may be silent before it is given up; `None` for ever. Default 30 s.
    ///
    /// On the QMux wire the shorter of the two ends' values holds for both (RFC 9000 §10.1).
    pub fn max_idle_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.max_idle_timeout = timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// How long the peer may be silent before it is sent a ping; `None` never. Default 10 s.
    ///
    /// Where a third of the idle timeout is shorter, that is taken.
    pub fn keep_alive_interval(&mut self, interval: Option<Duration>) -> &mut Self {
        self.keep_alive_interval = interval.filter(|interval| !interval.is_zero());
        self
    }

    /// How long the handshake may take. Of a client and a server that is everything after TCP's own: TLS, the
    /// upgrade, and the peer's transport parameters, which get what the others have left. Of a WebSocket that
    /// was open before it is the parameters alone. Default 10 s.
    pub fn handshake_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long a close waits for the peer to answer it before the socket is dropped. Default 3 s.
    pub fn close_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.close_timeout = timeout;
        self
    }

    /// Bytes of datagrams that wait for the application; when there are more, the oldest go. 0 refuses
    /// datagrams. Default 256 KiB.
    pub fn datagram_receive_buffer(&mut self, bytes: usize) -> &mut Self {
        self.datagram_receive_buffer = bytes;
        self
    }

    /// Bytes of datagrams that wait for the socket; when there are more, the oldest go. Default 256 KiB.
    pub fn datagram_send_buffer(&mut self, bytes: usize) -> &mut Self {
        self.datagram_send_buffer = bytes;
        self
    }

    /// Writes a log of each connection on the QMux wire, in QUIC's qlog; see [`QlogConfig`](crate::QlogConfig).
    /// Default `None`.
    #[cfg(feature = "qlog")]
    pub fn qlog(&mut self, qlog: impl Into<Option<crate::QlogConfig>>) -> &mut Self {
        self.qlog = qlog.into();
        self
    }

    /// The largest message that the peer may send on `wire`, in bytes.
    #[cfg(feature = "tokio")]
    pub(crate) fn max_inbound_message(&self, wire: crate::Wire) -> u64 {
        wire.max_inbound_message(self.max_record_size, self.stream_window)
    }

    /// What the peer is told.
    pub(crate) fn parameters(&self) -> TransportParameters {
        TransportParameters {
            max_idle_timeout: self.max_idle_timeout.unwrap_or_default(),
            // The credit of the connection must never run out before a stream's does: without a pause for
            // all. The streams' windows times their number bound the memory.
            initial_max_data: VarInt::MAX.into_inner(),
            initial_max_stream_data_bidi_local: self.stream_window,
            initial_max_stream_data_bidi_remote: self.stream_window,
            initial_max_stream_data_uni: self.stream_window,
            initial_max_streams_bidi: self.max_concurrent_bidi_streams,
            initial_max_streams_uni: self.max_concurrent_uni_streams,
            // A datagram fills at most one message, and the frame is what counts (RFC 9221 §3).
            max_datagram_frame_size: match self.datagram_receive_buffer {
                0 => 0,
                bytes => self.max_record_size.min(bytes as u64),
            },
            max_record_size: self.max_record_size,
            reset_stream_at: true,
        }
    }
}
