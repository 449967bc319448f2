//! Statistics of a connection and its streams.

use std::time::Duration;

use super::{Side, StreamId, Time};

/// Statistics of a connection. Each number counts since the connection began, unless it says
/// otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Messages passed to the socket.
    pub messages_sent: u64,
    /// Bytes in these messages, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Messages received from the socket.
    pub messages_received: u64,
    /// Bytes in these messages, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Frames in the sent messages. On js-ws a message is one frame.
    pub frames_sent: u64,
    /// Frames in the received messages.
    pub frames_received: u64,
    /// Streams that this end has opened.
    pub streams_opened: u64,
    /// Streams that the peer has opened, including those that were refused or that wait for a
    /// place.
    pub streams_accepted: u64,
    /// Streams of both ends that are freed. A stream is freed when it has ended and the application
    /// has released it.
    pub streams_closed: u64,
    /// Streams that exist now: they are open, or have ended and are not released by the
    /// application.
    pub live_streams: u64,
    /// Streams of the peer that wait now for a place within this end's limit, on a wire without
    /// stream limits ([`Config::max_waiting_streams`](crate::Config::max_waiting_streams)). They do
    /// not count as live.
    pub waiting_streams: u64,
    /// Streams of the peer that were refused, on a wire without stream limits. A stream is refused
    /// by a shutdown, or above this end's limit when no more streams may wait.
    pub streams_refused: u64,
    /// Frames, runs of padding, WebSocket pings and cancelled streams of the peer that were of no
    /// use in themselves and that count against a budget (SPEC.md §8.6). Some of them are normal,
    /// such as grants and pings.
    pub useless_received: u64,
    /// Bytes that wait in send buffers now.
    pub send_buffered: u64,
    /// By how many bytes the receive windows of all streams together exceed their initial sizes now
    /// ([`Config::window_growth_budget`](crate::Config::window_growth_budget)).
    pub window_growth: u64,
    /// How long streams had data to send but no credit of their own: the sum over all streams.
    pub blocked_by_stream_credit: Duration,
    /// How long at least one stream had data to send and credit of its own, but the connection had
    /// no credit.
    pub blocked_by_connection_credit: Duration,
    /// How long there was something to send while the socket was full.
    pub blocked_by_socket: Duration,
    /// Received datagrams that were dropped because the application did not read them in time.
    pub datagrams_dropped_incoming: u64,
    /// Unsent datagrams that were dropped because newer ones needed their room.
    pub datagrams_dropped_outgoing: u64,
}

/// The statistics that the connection itself counts. The others are kept by its parts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages_sent: u64,
    pub(super) bytes_sent: u64,
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
    pub(super) frames_sent: u64,
    pub(super) frames_received: u64,
}

/// What was under way when a connection ended.
///
/// A stream was under way unless all its data and its end had been passed to the socket and nothing
/// more was expected from the peer. Whether the peer has received that data is not known. Only an
/// answer of its application can show that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// The streams that were under way, in the order of their ids, including those that were not
    /// accepted. This end had not finished or reset the sending half, or had not sent all of it, or
    /// the peer had not ended the receiving half. The limits on open streams bound their number.
    pub streams: Vec<StreamId>,
    /// Bytes that were written and not yet passed to the socket, of all streams together.
    pub unsent_bytes: u64,
}

impl InFlight {
    /// How many of the streams were opened by `side`.
    pub fn opened_by(&self, side: Side) -> usize {
        self.streams.iter().filter(|id| id.initiator() == side).count()
    }
}

/// Statistics of the sending half of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendStreamStats {
    /// Bytes passed to the socket.
    pub sent: u64,
    /// Bytes that wait in the send buffer now.
    pub buffered: u64,
    /// Bytes that the peer's credit for the stream allows now.
    pub credit: u64,
    /// How long there was data to send but no credit for the stream.
    pub blocked: Duration,
}

/// Statistics of the receiving half of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvStreamStats {
    /// Bytes received.
    pub received: u64,
    /// Received bytes that are not read.
    pub buffered: u64,
    /// Bytes that the peer may send before it is granted more.
    pub credit: u64,
    /// The receive window now: how many bytes the peer may be ahead of the reader.
    pub window: u64,
}

/// Measures how long a state that comes and goes has lasted in all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stopwatch {
    /// When it was started; `None` while it is stopped.
    since: Option<Time>,
    /// What it had measured before.
    total: Duration,
}

impl Stopwatch {
    /// Starts it. Returns `false` if it was running.
    pub(super) fn start(&mut self, now: Time) -> bool {
        let was_stopped = self.since.is_none();
        self.since.get_or_insert(now);
        was_stopped
    }

    /// Stops it. Returns `false` if it was not running.
    pub(super) fn stop(&mut self, now: Time) -> bool {
        let Some(since) = self.since.take() else { return false };
        self.total = self.total.saturating_add(now - since);
        true
    }

    pub(super) fn total(&self, now: Time) -> Duration {
        let running = self.since.map_or(Duration::ZERO, |since| now - since);
        self.total.saturating_add(running)
    }
}

/// The sum of many stopwatches, computed without looking at each. A sum that exceeds the range of
/// [`Duration`] stays at the maximum, which makes only the statistic wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StopwatchSum {
    running: u32,
    /// When the number of running stopwatches last changed.
    changed_at: Time,
    /// What all of them together had measured by then.
    total: Duration,
}

impl StopwatchSum {
    pub(super) fn started(&mut self, now: Time) {
        self.count_to(now);
        self.running += 1;
    }

    pub(super) fn stopped(&mut self, now: Time) {
        self.count_to(now);
        self.running -= 1;
    }

    fn count_to(&mut self, now: Time) {
        self.total = self.total(now);
        self.changed_at = now;
    }

    pub(super) fn total(&self, now: Time) -> Duration {
        let running = (now - self.changed_at).saturating_mul(self.running);
        self.total.saturating_add(running)
    }
}
