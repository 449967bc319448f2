//! What a connection may hold, send and wait for. One setting, one default, one reason.

use std::time::Duration;

use crate::{VarInt, transport_parameters::TransportParameters};

/// The largest stream window: js-ws counts credit in 32 bits, and more than this per stream is
/// no longer a window (J-29).
const MAX_STREAM_WINDOW: u64 = u32::MAX as u64;

/// A tenth of the pings a second that the peer's budget refills (SPEC §8.6).
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// The largest message that is sent, even if the peer takes larger ones.
const MAX_MESSAGE_SENT: usize = 64 * 1024;

/// QUIC's own minimum (RFC 9000 §14.1): it holds the transport parameters, every control frame, and a close with
/// the longest reason.
const MIN_MESSAGE_SENT: usize = 1_200;

/// One turn of the scheduler: with less, no stream could fill its turn, even if no other holds anything.
const MIN_SEND_WINDOW: usize = 16 * 1024;

/// The limits and times of one connection; the same for a client and a server.
///
/// Memory per connection is bounded by these settings: to receive, by the number of streams times the stream
/// window, plus the growth of windows; to send, by the send buffers of the open streams,
/// or the send window where that is less.
/// [`memory_bound`](Self::memory_bound) computes it.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) stream_receive_window: u64,
    pub(crate) max_stream_receive_window: u64,
    pub(crate) window_growth_budget: u64,
    pub(crate) max_concurrent_bidi_streams: u64,
    pub(crate) max_concurrent_uni_streams: u64,
    pub(crate) max_waiting_streams: u64,
    pub(crate) cancelled_streams_per_second: Option<u64>,
    pub(crate) max_local_streams: u64,
    pub(crate) send_buffer: usize,
    pub(crate) send_window: usize,
    pub(crate) max_message_sent: usize,
    pub(crate) max_record_size: u64,
    pub(crate) max_idle_timeout: Option<Duration>,
    pub(crate) keep_alive_interval: Option<Duration>,
    pub(crate) write_stall_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) datagram_receive_buffer_size: usize,
    pub(crate) datagram_send_buffer_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // A gigabit over 8 ms, or loopback at its full speed; js-ws's own default as well.
            stream_receive_window: 1024 * 1024,
            // A gigabit over 200 ms is 25 MB, and a third more for grants that are late.
            max_stream_receive_window: 32 * 1024 * 1024,
            // Half of it for one stream, which then has its largest window; the other half for the rest.
            window_growth_budget: 64 * 1024 * 1024,
            // quinn's default: with both kinds 200 MiB of data at worst, if nothing of it is read.
            max_concurrent_bidi_streams: 100,
            max_concurrent_uni_streams: 100,
            // More than any burst of calls of one program; at some 100 bytes each a megabyte at worst.
            max_waiting_streams: 10_000,
            // More than people cancel, and no load to speak of for an application that begins each in vain.
            cancelled_streams_per_second: Some(100),
            // A stream costs up to 1 KB of state, so 64 MiB of each kind at worst; more calls than most programs
            // have at once, and a peer may allow 2^60.
            max_local_streams: 65_536,
            // Enough to keep the socket busy while the writer is woken, and half a window of promise.
            send_buffer: 512 * 1024,
            // The whole buffer for each of 100 streams that send at once, with something left for the next.
            send_window: 64 * 1024 * 1024,
            // Four turns of the scheduler: a larger message gains no throughput, and delays every urgent frame
            // until it has left.
            max_message_sent: MAX_MESSAGE_SENT,
            // Four turns of the scheduler: larger gains nothing in throughput, and costs latency.
            max_record_size: 64 * 1024,
            // QUIC's custom; shorter than the minute after which proxies drop a silent connection.
            max_idle_timeout: Some(Duration::from_secs(30)),
            // Two may be lost to a stalled machine before the idle timeout strikes.
            keep_alive_interval: Some(Duration::from_secs(10)),
            // One message of 64 KiB a minute is 9 kbit/s: a slow link is not a dead peer. The idle timeout ends a
            // connection with a silent peer before that. nginx's `send_timeout` and `proxy_send_timeout` are the
            // same.
            write_stall_timeout: Some(Duration::from_secs(60)),
            handshake_timeout: Duration::from_secs(10),
            // Some round trips of a bad path; a peer that has not answered by then will not.
            close_timeout: Duration::from_secs(3),
            // Two hundred datagrams of a usual size; one that waits after more than that is stale.
            datagram_receive_buffer_size: 256 * 1024,
            datagram_send_buffer_size: 256 * 1024,
        }
    }
}

impl Config {
    /// Bytes that the peer may send on a stream before the application has read any: the window that each
    /// stream has in any case. At least 1, at most 2^32 - 1; default 1 MiB.
    pub fn stream_receive_window(&mut self, bytes: u64) -> &mut Self {
        self.stream_receive_window = bytes.clamp(1, MAX_STREAM_WINDOW);
        self
    }

    /// Bytes up to which the window of a stream may grow, where its reader and its path can use them: by
    /// measurement, to twice what the reader takes in a round trip. At most 2^32 - 1; one that is not above
    /// [`stream_receive_window`](Self::stream_receive_window) has no effect. Default 32 MiB.
    ///
    /// On the js-ws wire no window grows, for there the window is also the limit of a message.
    pub fn max_stream_receive_window(&mut self, bytes: u64) -> &mut Self {
        self.max_stream_receive_window = bytes.min(MAX_STREAM_WINDOW);
        self
    }

    /// Bytes by which the windows of a connection's streams may grow past
    /// [`stream_receive_window`](Self::stream_receive_window), all together; 0 turns growing off. Default 64 MiB.
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
    /// place, on the js-ws wire. At most 2^32; default 10,000, which cost this end a megabyte at most: some 100 bytes
    /// each.
    ///
    /// On that wire a peer cannot know of a limit. A stream that waits has no credit, so that its peer sends nothing on
    /// it, and is not seen by the application; when a place is free, the one that has waited longest is opened. Past
    /// this many a new stream is refused: both its halves fail at the peer with code 0. 0 refuses each past the limit.
    /// On the QMux wire, where a peer waits by itself, it has no effect.
    pub fn max_waiting_streams(&mut self, count: u64) -> &mut Self {
        self.max_waiting_streams = count.min(1 << 32);
        self
    }

    /// Bidirectional streams of the peer's that it may reset or stop in a second before it was sent anything on them and
    /// before anything of them was read; `None` for any number. Default 100.
    ///
    /// Past it the connection closes with
    /// [`EXCESSIVE_LOAD`](crate::TransportErrorCode::EXCESSIVE_LOAD): an application that begins what nobody
    /// waits for does more work than its peer (CVE-2023-44487). A burst of ten times the streams that may be open at
    /// once, and of at least 1000, is let pass; and each stream that was answered, or read to its end, makes good for
    /// four that were cancelled. So more is wanted only of a peer that cancels nearly all that it asks for, as one may that
    /// asks several servers and takes the first answer.
    pub fn cancelled_streams_per_second(&mut self, count: Option<u64>) -> &mut Self {
        self.cancelled_streams_per_second = count;
        self
    }

    /// Streams of each kind that this end may have open, whatever the peer allows. At least 1; default 65,536.
    ///
    /// At this limit `open_bi` and
    /// `open_uni` wait as at the peer's, for the end of another. A stream
    /// counts until both its halves have ended, the application has let go of them, and all that there is to
    /// say of it has been handed to the socket: so a peer that allows streams without end, and does not read,
    /// makes this end hold no more state than for these.
    pub fn max_local_streams(&mut self, count: u64) -> &mut Self {
        self.max_local_streams = count.max(1);
        self
    }

    /// Bytes that a stream takes from the application before they can be sent. At least 1; default 512 KiB.
    pub fn send_buffer(&mut self, bytes: usize) -> &mut Self {
        self.send_buffer = bytes.max(1);
        self
    }

    /// Bytes that all streams of a connection together take from the application before they can be sent; those
    /// of streams that are finished, and wait to leave, included. At least 16 KiB; default 64 MiB.
    ///
    /// A stream holds at most half of what the others have left, and bytes that its own credit does not cover
    /// count against others for half of the window at most. So streams whose readers stand still, however many,
    /// keep no other from going on. What may be held besides: 1 KiB of each stream, so that short messages
    /// always leave; two chunks of `write_chunk`, which are taken whole; and one
    /// for each stream that has credit for a part of its chunk only.
    pub fn send_window(&mut self, bytes: usize) -> &mut Self {
        self.send_window = bytes.max(MIN_SEND_WINDOW);
        self
    }

    /// The largest message that this end sends, in bytes. 1,200 to 65,536; default 64 KiB. The peer's own limit
    /// holds besides.
    ///
    /// Set it to less for a gateway on the way that takes no message of more than 32 KiB, say, and closes with 1009. It
    /// bounds datagrams as well.
    pub fn max_message_sent(&mut self, bytes: usize) -> &mut Self {
        self.max_message_sent = bytes.clamp(MIN_MESSAGE_SENT, MAX_MESSAGE_SENT);
        self
    }

    /// The largest message that the peer may send on the QMux wire, in bytes. At least 16,382
    /// (draft-ietf-quic-qmux-02 §max_record_size); default 64 KiB.
    pub fn max_record_size(&mut self, bytes: u64) -> &mut Self {
        self.max_record_size = bytes.clamp(crate::MIN_MAX_RECORD_SIZE, 1 << 30);
        self
    }

    /// How long the connection may be silent before it is closed. `None`, zero, and a time beyond what a clock can
    /// hold mean for ever. Rounded up to whole milliseconds, the unit in which it is sent to the peer. A timeout shorter
    /// than the time between two messages ends every connection; below 150 ms it acts as 150 ms (RFC 9000 §10.1).
    /// Default 30 s.
    ///
    /// On the QMux wire the shorter of the two ends' values holds for both (RFC 9000 §10.1).
    ///
    /// Where a ping took more than a third of it, for slow bytes wait before it, it lasts three of that ping's round
    /// trips, and at most three times as long as is declared. A full socket that takes bytes again is not silent.
    pub fn max_idle_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.max_idle_timeout =
            timeout.filter(|timeout| !timeout.is_zero()).map(whole_milliseconds);
        self
    }

    /// How long the peer may be silent before it is sent a ping. `None`, zero, and a time beyond what a clock can hold
    /// mean never. At least 100 ms: the peer counts more frequent pings as useless work, and ends connections for it.
    /// Default 10 s.
    ///
    /// If a third of the idle timeout is shorter, that is used instead. Without an idle timeout, a peer that has
    /// answered no ping for three intervals is given up.
    pub fn keep_alive_interval(&mut self, interval: Option<Duration>) -> &mut Self {
        let interval = interval.filter(|interval| !interval.is_zero());
        self.keep_alive_interval = interval.map(|interval| interval.max(MIN_KEEP_ALIVE));
        self
    }

    /// For how long the socket may take nothing while there is something to send, before the connection is given up
    /// with [`Timeout::WriteStall`](crate::Timeout::WriteStall); `None` for ever. Default 60 s.
    ///
    /// The idle timeout ends a connection whose peer says nothing. This one ends a connection whose peer says
    /// something, by pings or padding, and reads nothing. It restarts with each message that the
    /// socket takes, so a link that carries one message of 64 KiB in that time, which is 9 kbit/s, is fast enough.
    /// It is twice the idle timeout, because a full socket is weaker evidence than silence: when a network is
    /// interrupted or a peer is suspended, the peer is silent too, and the idle timeout ends the connection.
    pub fn write_stall_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.write_stall_timeout = timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// How long the handshake may take. Of a client and a server that is everything after TCP's own: TLS, the
    /// upgrade, and the peer's transport parameters, which get what the others have left. Of a WebSocket that
    /// was open before it is the parameters alone. A time beyond what a clock can hold means no timeout; with zero no
    /// handshake succeeds. Default 10 s.
    pub fn handshake_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long the end of a connection may take: until the peer has answered the close, and then until it has ended
    /// the TCP, TLS or HTTP/2 stream. After that the socket is dropped. A time beyond what a clock can hold
    /// means no timeout, and leaves the socket to a peer that never answers. Default 3 s.
    pub fn close_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.close_timeout = timeout;
        self
    }

    /// Bytes of memory for datagrams that wait for the application; when more come, the oldest go. Each counts for
    /// 128 bytes more than it has. 0 refuses datagrams. Default 256 KiB.
    pub fn datagram_receive_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.datagram_receive_buffer_size = bytes;
        self
    }

    /// Bytes of memory for datagrams that wait for the socket; when more come, the oldest go. Each counts for 128 bytes
    /// more than it has. Default 256 KiB.
    pub fn datagram_send_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.datagram_send_buffer_size = bytes;
        self
    }

    /// The [`handshake_timeout`](Self::handshake_timeout) that is set.
    pub fn get_handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// The largest message that the peer may send on `wire`, in bytes: what a socket has to take, and no more.
    pub fn max_inbound_message(&self, wire: crate::Wire) -> u64 {
        wire.max_inbound_message(self.max_record_size, self.stream_receive_window)
    }

    /// The transport parameters that are sent to the peer.
    pub(crate) fn parameters(&self) -> TransportParameters {
        TransportParameters {
            max_idle_timeout: self.max_idle_timeout.unwrap_or_default(),
            // The credit of the connection must never run out before a stream's does: without a
            // pause for all (C-28, C-31). The streams' windows times their number bound the memory
            //
            initial_max_data: VarInt::MAX.into_inner(),
            initial_max_stream_data_bidi_local: self.stream_receive_window,
            initial_max_stream_data_bidi_remote: self.stream_receive_window,
            initial_max_stream_data_uni: self.stream_receive_window,
            initial_max_streams_bidi: self.max_concurrent_bidi_streams,
            initial_max_streams_uni: self.max_concurrent_uni_streams,
            // A datagram fills at most one message, and the frame is what counts (RFC 9221 §3).
            max_datagram_frame_size: match self.datagram_receive_buffer_size {
                0 => 0,
                // Q-54 (QMux "Unreliable Datagram Extension")
                bytes => self.max_record_size.min(bytes as u64),
            },
            max_record_size: self.max_record_size,
            reset_stream_at: true,
        }
    }
}

/// Rounded up, because a part of a millisecond would otherwise become zero, which means no timeout.
fn whole_milliseconds(time: Duration) -> Duration {
    match time.subsec_nanos() % 1_000_000 {
        0 => time,
        rest => time.saturating_add(Duration::from_nanos(u64::from(1_000_000 - rest))),
    }
}
