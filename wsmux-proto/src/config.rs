//! The settings of a connection: how much it may hold and send, and how long it may wait. Each
//! setting has a default, and the reason for that default is given next to it.

use std::time::Duration;

use crate::{VarInt, transport_parameters::TransportParameters};

/// The largest stream window. js-ws counts credit in 32 bits (J-29), and a window larger than this
/// would have no practical effect as a limit.
const MAX_STREAM_WINDOW: u64 = u32::MAX as u64;

/// The largest number of streams that a setting can allow the peer to have open. The state of this
/// many streams would take terabytes, so a larger number would not limit anything in practice.
/// MAX_STREAMS counts every stream that was ever opened, and RFC 9000 §4.6 limits it to 2^60.
/// Because this constant bounds the number of open streams, no connection lives long enough to
/// reach that limit.
pub(crate) const MAX_STREAM_COUNT: u64 = 1 << 32;

/// The shortest interval of keep-alive pings. It allows ten pings a second, which is a tenth of the
/// rate at which the peer's budget for pings is replenished (SPEC §8.6).
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// The largest value of `max_message_sent`, in bytes. This end sends no larger message, even if the
/// peer accepts larger messages.
const MAX_MESSAGE_SENT: usize = 64 * 1024;

/// The smallest value of `max_message_sent`, in bytes. QUIC requires that a path carries UDP
/// payloads of this size (RFC 9000 §14.1). The transport parameters, every control frame, and a
/// close frame with the longest reason fit into a message of this size.
pub(crate) const MIN_MESSAGE_SENT: usize = 1_200;

/// The largest message that the peer may be allowed to send: 1 GiB.
const MAX_MAX_RECORD_SIZE: u64 = 1 << 30;

/// The smallest send window, in bytes. The size is one turn of the scheduler. In each turn the
/// scheduler sends 16 KiB from one stream. A smaller window would make the turns much shorter.
const MIN_SEND_WINDOW: usize = 16 * 1024;

/// The smallest replay budget, in bytes: the size of the largest message.
pub(crate) const MIN_REPLAY_BUDGET: u64 = 64 * 1024;

/// The largest replay budget, in bytes.
const MAX_REPLAY_BUDGET: u64 = 1 << 32;

/// The limits and timeouts of one connection. A client and a server have the same settings.
///
/// No value is refused. A value outside the range of a setting is replaced by the nearest value
/// inside it. The documentation of each setting gives its unit, its range and its default. If the
/// documentation gives no range, every value is valid. A setting that can be turned off takes an
/// `Option`, and `None` turns it off.
///
/// The settings bound the memory of a connection. Received data takes at most the number of streams
/// times the stream window, plus the bytes by which windows may grow. Data to send takes at most
/// the send buffers of the open streams, or the send window if the window is smaller.
/// [`memory_bound`](Self::memory_bound) computes the bound.
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
    pub(crate) resume_timeout: Option<Duration>,
    pub(crate) replay_budget: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // This is enough to fill 1 Gbit/s at a round trip of 8 ms, and to fill a loopback
            // connection. js-ws has the same default.
            stream_receive_window: 1024 * 1024,
            // 1 Gbit/s at a round trip of 200 ms needs 25 MB. The rest of the window, about a third
            // more, covers grants that arrive late.
            max_stream_receive_window: 32 * 1024 * 1024,
            // One stream may take half of this budget. This half is enough for the largest window.
            // The other half of the budget remains for the other streams.
            window_growth_budget: 64 * 1024 * 1024,
            // The same default as in quinn. If the application reads nothing, the streams of both
            // kinds together hold at most 200 MiB.
            max_concurrent_bidi_streams: 100,
            max_concurrent_uni_streams: 100,
            // No single program opens more streams than this in a burst. A waiting stream takes
            // about 100 bytes, so all of them take at most 1 MB.
            max_waiting_streams: 10_000,
            // No honest peer cancels more streams than this. Even if the application begins to
            // answer each cancelled stream, the answers cause little work.
            cancelled_streams_per_second: Some(100),
            // Most programs need fewer streams than this at once. The limit is needed because a
            // peer may allow 2^60 streams. A stream has up to 1 KB of state, so each kind of stream
            // takes at most 64 MiB.
            max_local_streams: 65_536,
            // A buffer of this size keeps the socket busy until the woken writer writes again. The
            // buffer is half as large as a stream window.
            send_buffer: 512 * 1024,
            // 100 streams that send at once can each fill their buffer, and some room is left.
            send_window: 64 * 1024 * 1024,
            // A message of this size holds four turns of the scheduler, which sends 16 KiB from a
            // stream in each turn. A larger message would not raise the throughput. It would delay
            // urgent frames, because they wait until the whole message has been sent.
            max_message_sent: MAX_MESSAGE_SENT,
            // The reasons for this limit on the peer's messages are the same as for the limit on
            // this end's messages.
            max_record_size: 64 * 1024,
            // This value is usual for QUIC, and shorter than the minute after which proxies drop an
            // idle connection.
            max_idle_timeout: Some(Duration::from_secs(30)),
            // On a machine that stalls, two pings in a row may be late, and the idle timeout still
            // does not expire.
            keep_alive_interval: Some(Duration::from_secs(10)),
            // A link that takes a whole minute for one message of 64 KiB (9 kbit/s) is slow, but
            // not dead. If the peer is silent, the idle timeout ends the connection earlier. The
            // `send_timeout` and `proxy_send_timeout` of nginx have the same default.
            write_stall_timeout: Some(Duration::from_secs(60)),
            handshake_timeout: Duration::from_secs(10),
            // Three seconds are several round trips of a bad path. If the peer has not answered
            // within three seconds, it will not answer.
            close_timeout: Duration::from_secs(3),
            // This size suffices for about 200 datagrams of a usual size. A datagram that waits
            // behind 200 other datagrams is stale when it is read.
            datagram_receive_buffer_size: 256 * 1024,
            datagram_send_buffer_size: 256 * 1024,
            // By default resumption is off, for three reasons. A connection that waits for its peer
            // keeps memory. A load balancer has to lead the client back to the same server. A
            // caller of the engine has to provide new sockets.
            resume_timeout: None,
            // This is as much as the largest window of a stream, and is enough for 1 Gbit/s at a
            // round trip of 200 ms. Only bytes in flight are kept, so a shorter path needs less
            // memory. The whole budget is needed only for a long path, or for a peer that
            // acknowledges nothing.
            replay_budget: 32 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Sets the receive window of each stream, in bytes: how much the peer may send on a stream
    /// before the application has read any of it. Range 1 to 2^32 - 1; default 1 MiB.
    pub fn stream_receive_window(&mut self, bytes: u64) -> &mut Self {
        self.stream_receive_window = bytes.clamp(1, MAX_STREAM_WINDOW);
        self
    }

    /// Sets the size in bytes up to which the window of a stream may grow. At most 2^32 - 1;
    /// default 32 MiB. A value that is not above
    /// [`stream_receive_window`](Self::stream_receive_window) has no effect.
    ///
    /// A window grows if its reader could read faster with a larger window and the path could carry
    /// more. This end measures how many bytes the application reads in a round trip, and the window
    /// grows to twice that number. On the js-ws wire windows do not grow, because on that wire the
    /// window also limits the size of a message.
    pub fn max_stream_receive_window(&mut self, bytes: u64) -> &mut Self {
        self.max_stream_receive_window = bytes.min(MAX_STREAM_WINDOW);
        self
    }

    /// Sets by how many bytes all stream windows of a connection together may grow beyond
    /// [`stream_receive_window`](Self::stream_receive_window). 0 turns growth off. Default 64 MiB.
    ///
    /// A stream may take at most half of the part of this budget that the other streams do not use.
    /// So with the default a single stream gets up to 32 MiB. A stream keeps the bytes that it has
    /// taken until it ends, because credit that was granted cannot be revoked.
    pub fn window_growth_budget(&mut self, bytes: u64) -> &mut Self {
        self.window_growth_budget = bytes;
        self
    }

    /// Sets how many bidirectional streams the peer may have open at once. At most 2^32; default
    /// 100.
    ///
    /// A stream counts until both its halves have ended and the application has dropped its
    /// handles. A stream that the peer opens beyond the limit waits. On the QMux wire this stream
    /// waits at the peer, and on the js-ws wire it waits at this end; see
    /// [`max_waiting_streams`](Self::max_waiting_streams).
    pub fn max_concurrent_bidi_streams(&mut self, count: u64) -> &mut Self {
        self.max_concurrent_bidi_streams = count.min(MAX_STREAM_COUNT);
        self
    }

    /// Sets how many unidirectional streams the peer may have open at once. At most 2^32; default
    /// 100. The js-ws wire has no unidirectional streams.
    pub fn max_concurrent_uni_streams(&mut self, count: u64) -> &mut Self {
        self.max_concurrent_uni_streams = count.min(MAX_STREAM_COUNT);
        self
    }

    /// Sets how many of the peer's streams beyond
    /// [`max_concurrent_bidi_streams`](Self::max_concurrent_bidi_streams) may wait on the js-ws
    /// wire. At most 2^32; default 10,000, which cost at most 1 MB (about 100 bytes each).
    ///
    /// On the js-ws wire the peer cannot learn the limit on open streams. A waiting stream has no
    /// credit, so the peer cannot send data on it, and the application does not see it. When
    /// another stream ends, the stream that has waited longest is opened. If this many streams are
    /// waiting already, the next stream is refused. Both halves of a refused stream fail at the
    /// peer with code 0. If this setting is 0, every stream beyond the limit is refused. On the
    /// QMux wire, where streams wait at the peer, this setting has no effect.
    pub fn max_waiting_streams(&mut self, count: u64) -> &mut Self {
        self.max_waiting_streams = count.min(MAX_STREAM_COUNT);
        self
    }

    /// Sets how many bidirectional streams the peer may cancel per second, of the streams that the
    /// peer has opened. A stream counts as cancelled if the peer resets or stops it before this end
    /// has sent anything on it and before the application has read anything from it. `None` for no
    /// limit; default 100.
    ///
    /// If the peer cancels more, the connection closes with
    /// [`EXCESSIVE_LOAD`](crate::TransportErrorCode::EXCESSIVE_LOAD). Without this limit, a peer
    /// could send requests and cancel them at once. The application would begin to answer each
    /// request, which is more work than the peer does (CVE-2023-44487). A burst of cancelled
    /// streams is allowed: ten times the number of streams that may be open at once, and at least
    /// 1000. Each stream that this end has answered, or that the application has read to its end,
    /// makes up for four cancelled streams. Raise the limit only for peers that legitimately cancel
    /// almost everything, such as a client that races several servers.
    pub fn cancelled_streams_per_second(&mut self, count: Option<u64>) -> &mut Self {
        self.cancelled_streams_per_second = count;
        self
    }

    /// Sets how many streams of each kind this end may have open, even if the peer allows more. At
    /// least 1; default 65,536.
    ///
    /// At this limit `open_bi` and `open_uni` wait until another stream ends, as they do at the
    /// peer's limit. A stream counts until both its halves have ended, the application has dropped
    /// its handles, and its last frames have been passed to the socket. If a peer allows any number
    /// of streams and then reads nothing, this limit also bounds the number of streams whose state
    /// this end holds.
    pub fn max_local_streams(&mut self, count: u64) -> &mut Self {
        self.max_local_streams = count.max(1);
        self
    }

    /// Sets how many unsent bytes a stream accepts from the application. At least 1; default 512
    /// KiB.
    pub fn send_buffer(&mut self, bytes: usize) -> &mut Self {
        self.send_buffer = bytes.max(1);
        self
    }

    /// Sets how many unsent bytes all streams of a connection together accept from the application.
    /// The unsent bytes of finished streams count, too. At least 16 KiB; default 64 MiB.
    ///
    /// A stream may use at most half of the part of the window that the other streams do not use.
    /// Bytes that wait for the credit of their stream may take at most half of the whole window. So
    /// streams with stalled readers cannot stop other streams, even if many readers are stalled.
    ///
    /// A connection may hold more than the window in three cases. Each stream may hold 1 KiB even
    /// if the window is full, so that short messages can always be sent. Two chunks of
    /// `write_chunk` may exceed the window, because a chunk is accepted as a whole or not at all.
    /// In addition, one chunk of each stream may exceed the window while the stream has credit for
    /// only a part of that chunk.
    pub fn send_window(&mut self, bytes: usize) -> &mut Self {
        self.send_window = bytes.max(MIN_SEND_WINDOW);
        self
    }

    /// Sets the size of the largest message that this end sends, in bytes. Range 1,200 to 65,536;
    /// default 64 KiB. The limit that the peer advertises applies as well.
    ///
    /// Lower this limit if a gateway on the path does not pass larger messages, for example a
    /// gateway that closes the connection with code 1009 when a message exceeds 32 KiB. The limit
    /// applies to datagrams as well.
    pub fn max_message_sent(&mut self, bytes: usize) -> &mut Self {
        self.max_message_sent = bytes.clamp(MIN_MESSAGE_SENT, MAX_MESSAGE_SENT);
        self
    }

    /// Sets the size of the largest message that the peer may send on the QMux wire, in bytes.
    /// Range 16,382 (draft-ietf-quic-qmux-02 §max_record_size) to 2^30; default 64 KiB.
    pub fn max_record_size(&mut self, bytes: u64) -> &mut Self {
        self.max_record_size = bytes.clamp(crate::MIN_MAX_RECORD_SIZE, MAX_MAX_RECORD_SIZE);
        self
    }

    /// Sets how long the connection may be silent before it is closed. `None` means no timeout, and
    /// so do zero and a time beyond the range of the clock. The time is rounded up to whole
    /// milliseconds, the unit in which it is sent to the peer. Default 30 s.
    ///
    /// On the QMux wire both ends use the shorter of their two values (RFC 9000 §10.1). A timeout
    /// below 150 ms acts as 150 ms (RFC 9000 §10.1). If the timeout is shorter than the time
    /// between two messages, it ends the connection.
    ///
    /// On a slow path, queued bytes can delay a ping. If the round trip of a ping takes more than a
    /// third of the timeout, the timeout is raised to three times that round trip. It is never
    /// raised to more than three times the value set here. When a full socket accepts bytes again,
    /// this counts as activity, too.
    pub fn max_idle_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.max_idle_timeout =
            timeout.filter(|timeout| !timeout.is_zero()).map(whole_milliseconds);
        self
    }

    /// Sets how long the peer may be silent before a ping is sent. `None` means no pings, and so do
    /// zero and a time beyond the range of the clock. At least 100 ms, because a peer counts more
    /// frequent pings as useless work and ends the connection. Default 10 s.
    ///
    /// If a third of the idle timeout is shorter than this interval, a ping is sent after a third
    /// of the idle timeout instead. If there is no idle timeout, the connection ends when the peer
    /// has answered no ping for three intervals.
    pub fn keep_alive_interval(&mut self, interval: Option<Duration>) -> &mut Self {
        let interval = interval.filter(|interval| !interval.is_zero());
        self.keep_alive_interval = interval.map(|interval| interval.max(MIN_KEEP_ALIVE));
        self
    }

    /// Sets how long the socket may accept nothing while there is something to send. After this
    /// time the connection ends with [`Timeout::WriteStall`](crate::Timeout::WriteStall). `None`
    /// means no timeout, and so does zero. Default 60 s.
    ///
    /// The idle timeout ends a connection whose peer is silent. The write-stall timeout ends a
    /// connection whose peer sends something, such as pings or padding, but reads nothing. The time
    /// starts again with each message that the socket accepts. So a link is fast enough if it
    /// carries one message of 64 KiB in this time (9 kbit/s).
    ///
    /// The default is twice the default of the idle timeout. A full socket is weaker evidence of a
    /// dead peer than silence is. When a network is interrupted or a peer is suspended, the peer is
    /// silent too, and the idle timeout ends the connection.
    ///
    /// After this time, a [`Session`](crate::Session) that can be resumed is suspended and does not
    /// end. The session is also suspended if the peer has to acknowledge messages and acknowledges
    /// none of them within this time. If the peer fails to acknowledge twice, the session ends.
    pub fn write_stall_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.write_stall_timeout = timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// Sets how long the handshake may take. Every value is used as it is given. With zero, no
    /// handshake succeeds. A time beyond the range of the clock means no timeout. Default 10 s.
    ///
    /// At a client and at a server the timeout covers every step after the TCP handshake: TLS, the
    /// upgrade, and then the peer's transport parameters. If the WebSocket was already open when
    /// the connection was created, the timeout covers only the wait for the peer's transport
    /// parameters.
    pub fn handshake_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets how long closing a connection may take. The time runs until the peer has answered the
    /// close and has then ended the TCP, TLS or HTTP/2 stream. If the peer takes longer, the socket
    /// is dropped. A time beyond the range of the clock means no timeout, so the socket is kept for
    /// ever if the peer never answers. Default 3 s.
    pub fn close_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets how many bytes of memory are available for received datagrams that the application has
    /// not read. If more arrive, the oldest are dropped. Each datagram counts as its length plus
    /// 128 bytes. With 0, datagrams are turned off, so the peer may not send datagrams. Default 256
    /// KiB.
    pub fn datagram_receive_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.datagram_receive_buffer_size = bytes;
        self
    }

    /// Sets how many bytes of memory are available for datagrams that the socket has not taken yet.
    /// If more are sent, the oldest are dropped. Each datagram counts as its length plus 128 bytes.
    /// Default 256 KiB.
    pub fn datagram_send_buffer_size(&mut self, bytes: usize) -> &mut Self {
        self.datagram_send_buffer_size = bytes;
        self
    }

    /// Sets how long a connection may be without a socket before it ends. During this time a new
    /// socket can [resume](crate::Session::resume) it. `None` turns resumption off, and so does
    /// zero. A time beyond the range of the clock means that the connection waits for ever. The
    /// time is rounded up to whole milliseconds, the unit in which it is sent to the peer. Default
    /// `None`.
    ///
    /// If the peer has fallen silent, this time starts when the silence starts. But the connection
    /// never ends before the [idle timeout](Self::max_idle_timeout). The default idle timeout is 30
    /// s. So if this setting is at most 30 s and a peer is gone for good, the loss is reported as
    /// early as without resumption.
    ///
    /// Both ends use the shorter of their two values, and resumption is on only if both ends have
    /// turned it on. Resumption exists only on the QMux wire, for a caller that uses a
    /// [`Session`](crate::Session), as the clients and servers of `wsmux` do. A connection over a
    /// socket that the application has opened cannot be resumed.
    pub fn resume_timeout(&mut self, timeout: Option<Duration>) -> &mut Self {
        self.resume_timeout = timeout.filter(|timeout| !timeout.is_zero()).map(whole_milliseconds);
        self
    }

    /// Sets how many bytes of sent messages a connection that can be resumed keeps until the peer
    /// acknowledges them. Range 64 KiB to 2^32; default 32 MiB. Each message counts as its length
    /// plus 64 bytes.
    ///
    /// When this many bytes are unacknowledged, sending pauses. So a connection sends at most about
    /// three quarters of the budget in each round trip. Long chunks are kept by reference and are
    /// not copied. If [`resume_timeout`](Self::resume_timeout) is `None`, this setting has no
    /// effect.
    pub fn replay_budget(&mut self, bytes: u64) -> &mut Self {
        self.replay_budget = bytes.clamp(MIN_REPLAY_BUDGET, MAX_REPLAY_BUDGET);
        self
    }

    /// Returns the current value of [`resume_timeout`](Self::resume_timeout). If it is `None`, the
    /// caller does not have to provide new sockets.
    pub fn get_resume_timeout(&self) -> Option<Duration> {
        self.resume_timeout
    }

    /// Returns the current value of [`handshake_timeout`](Self::handshake_timeout). The caller
    /// needs it to bound the time of TLS and of the upgrade, which take place before the engine
    /// starts.
    pub fn get_handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// Returns the size of the largest message that the peer may send on `wire`, in bytes. This
    /// size follows from the settings. The socket refuses larger messages.
    pub fn max_inbound_message(&self, wire: crate::Wire) -> u64 {
        wire.max_inbound_message(self.max_record_size, self.stream_receive_window)
    }

    /// Returns the transport parameters that are sent to the peer.
    pub(crate) fn parameters(&self) -> TransportParameters {
        TransportParameters {
            max_idle_timeout: self.max_idle_timeout.unwrap_or_default(),
            // The parameter has its largest value, so that the connection's credit never runs out
            // before a stream's credit. Otherwise one slow reader could stop all streams (C-28,
            // C-31). The number of streams times their window bounds the memory.
            initial_max_data: VarInt::MAX.into_inner(),
            initial_max_stream_data_bidi_local: self.stream_receive_window,
            initial_max_stream_data_bidi_remote: self.stream_receive_window,
            initial_max_stream_data_uni: self.stream_receive_window,
            initial_max_streams_bidi: self.max_concurrent_bidi_streams,
            initial_max_streams_uni: self.max_concurrent_uni_streams,
            // A datagram has to fit into one message. The limit counts the whole DATAGRAM frame
            // (RFC 9221 §3).
            max_datagram_frame_size: match self.datagram_receive_buffer_size {
                0 => 0,
                // Q-54 (QMux "Unreliable Datagram Extension")
                bytes => self.max_record_size.min(bytes as u64),
            },
            max_record_size: self.max_record_size,
            reset_stream_at: true,
            // G-1
            going_away: true,
        }
    }
}

/// Rounds up, because rounding down could turn a fraction of a millisecond into zero, which means
/// no timeout.
fn whole_milliseconds(time: Duration) -> Duration {
    match time.subsec_nanos() % 1_000_000 {
        0 => time,
        rest => time.saturating_add(Duration::from_nanos(u64::from(1_000_000 - rest))),
    }
}
