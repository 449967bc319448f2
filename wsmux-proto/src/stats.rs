//! Statistics of a connection and its streams.

use std::time::Duration;

use super::{Side, StreamId, Time};

/// Statistics of a connection. Each number covers the time since the connection began, unless its
/// documentation says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Messages passed to the socket.
    pub messages_sent: u64,
    /// Bytes in the sent messages, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Messages received from the socket.
    pub messages_received: u64,
    /// Bytes in the received messages, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Frames in the sent messages. On js-ws each message is one frame.
    pub frames_sent: u64,
    /// Frames in the received messages.
    pub frames_received: u64,
    /// Streams that this end has opened.
    pub streams_opened: u64,
    /// Streams that the peer has opened, including those that were refused and those that wait
    /// until they can be opened at this end.
    pub streams_accepted: u64,
    /// Streams of both ends that were freed. A stream is freed when it has ended and the
    /// application has dropped its handles.
    pub streams_closed: u64,
    /// Streams that exist now. A stream exists while it is open, and after its end until the
    /// application has dropped its handles.
    pub live_streams: u64,
    /// Streams of the peer that wait now because this end's limit is reached. Streams wait at this
    /// end only on a wire without stream limits
    /// ([`Config::max_waiting_streams`](crate::Config::max_waiting_streams)). Waiting streams do
    /// not count as live.
    pub waiting_streams: u64,
    /// Streams of the peer that this end refused. During a drain, this end refuses streams after
    /// the peer has had time to stop opening them. On a wire without stream limits, this end also
    /// refuses a stream above its limit if no more streams may wait.
    pub streams_refused: u64,
    /// Frames, runs of padding, WebSocket pings and cancelled streams of the peer that were of no
    /// use in themselves, and that were therefore charged to a budget (SPEC.md §8.6). Some of them
    /// are normal, such as grants and pings.
    pub useless_received: u64,
    /// Bytes that are in the send buffers now.
    pub send_buffered: u64,
    /// The growth of all receive windows together: by how many bytes the windows now exceed their
    /// initial sizes ([`Config::window_growth_budget`](crate::Config::window_growth_budget)).
    pub window_growth: u64,
    /// How long streams had data to send but no credit of their own, summed over all streams.
    pub blocked_by_stream_credit: Duration,
    /// How long the connection had no credit while at least one stream had both data to send and
    /// credit of its own.
    pub blocked_by_connection_credit: Duration,
    /// How long the socket was full while there was something to send.
    pub blocked_by_socket: Duration,
    /// Received datagrams that were dropped because the application did not read them in time.
    pub datagrams_dropped_incoming: u64,
    /// Unsent datagrams that were dropped to make room for newer ones.
    pub datagrams_dropped_outgoing: u64,
}

/// The statistics that the connection itself counts. The parts of the connection count the other
/// statistics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages_sent: u64,
    pub(super) bytes_sent: u64,
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
    pub(super) frames_sent: u64,
    pub(super) frames_received: u64,
}

/// What was still under way when a connection ended.
///
/// A stream was not under way if all its data and its end had been passed to the socket and nothing
/// more was expected from the peer. This type does not say what the peer has received. Only an
/// answer of the peer's application can show what has been received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// The streams that were under way, in the order of their ids, including streams that the
    /// application had not accepted. A stream was under way if neither the FIN nor a reset of its
    /// sending half had been passed to the socket, or if the peer had not ended the receiving half.
    /// The limits on open streams bound the number of these streams.
    pub streams: Vec<StreamId>,
    /// How many bytes, on all streams together, the application had written and the connection had
    /// not passed to the socket.
    pub unsent_bytes: u64,
}

impl InFlight {
    /// Returns how many of the streams were opened by `side`.
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
    /// Bytes that are in the send buffer now.
    pub buffered: u64,
    /// How many more bytes the peer's credit for the stream allows now.
    pub credit: u64,
    /// How long the stream had data to send but no credit of its own.
    pub blocked: Duration,
}

/// Statistics of the receiving half of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvStreamStats {
    /// Bytes received.
    pub received: u64,
    /// Received bytes that the application has not read.
    pub buffered: u64,
    /// How many bytes the peer may send before this end grants it more.
    pub credit: u64,
    /// The size of the receive window now: how many bytes the peer may be ahead of the reader.
    pub window: u64,
}

/// Measures the total time of a state that begins and ends several times.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stopwatch {
    /// When the stopwatch was started; `None` while it is stopped.
    since: Option<Time>,
    /// The time that was measured before the last start.
    total: Duration,
}

impl Stopwatch {
    /// Starts the stopwatch. Returns `false` if it was running already.
    pub(super) fn start(&mut self, now: Time) -> bool {
        let was_stopped = self.since.is_none();
        self.since.get_or_insert(now);
        was_stopped
    }

    /// Stops the stopwatch. Returns `false` if it was not running.
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

/// A [`Stopwatch`] that takes no memory before it is started. There may be thousands of streams,
/// and few of them ever wait for credit.
#[derive(Debug, Default)]
pub(super) struct LazyStopwatch(Option<Box<Stopwatch>>);

impl LazyStopwatch {
    /// Starts the stopwatch. Returns `false` if it was running already.
    pub(super) fn start(&mut self, now: Time) -> bool {
        self.0.get_or_insert_default().start(now)
    }

    /// Stops the stopwatch. Returns `false` if it was not running.
    #[inline]
    pub(super) fn stop(&mut self, now: Time) -> bool {
        self.0.as_mut().is_some_and(|stopwatch| stopwatch.stop(now))
    }

    pub(super) fn total(&self, now: Time) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |stopwatch| stopwatch.total(now))
    }
}

/// The sum of many stopwatches, computed without looking at each of them. A sum that exceeds the
/// range of [`Duration`] stays at the maximum. In this case only the statistic is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StopwatchSum {
    running: u32,
    /// When the number of running stopwatches last changed.
    changed_at: Time,
    /// The time that all stopwatches together had measured at `changed_at`.
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
