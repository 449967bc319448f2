//! What a connection and its streams have done.

use std::time::Duration;

use super::{Side, StreamId, Time};

/// Counts since the connection began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Messages handed to the socket.
    pub messages_sent: u64,
    /// Their bytes, without the WebSocket's framing.
    pub bytes_sent: u64,
    /// Messages from the socket.
    pub messages_received: u64,
    /// Their bytes, without the WebSocket's framing.
    pub bytes_received: u64,
    /// Frames in the messages that were sent. A message of a wire with one frame in each counts as one.
    pub frames_sent: u64,
    /// Frames in the messages that came.
    pub frames_received: u64,
    /// Streams that this end has opened.
    pub streams_opened: u64,
    /// Streams that the peer has opened, those included that were refused or wait for a place.
    pub streams_accepted: u64,
    /// Streams of either that are no more.
    pub streams_closed: u64,
    /// Streams that exist now: open, or ended and not yet let go of by the application.
    pub live_streams: u64,
    /// Streams of the peer's that wait now for a place at this end's limit, on a wire without stream limits
    /// ([`Config::max_waiting_streams`](crate::Config::max_waiting_streams)). They are not among the live ones.
    pub waiting_streams: u64,
    /// Streams of the peer's that were refused, on a wire without stream limits: at this end's limit when no more could
    /// wait, or by a shutdown.
    pub streams_refused: u64,
    /// Frames, runs of padding, WebSocket pings and streams of the peer's that were of no use in themselves, and
    /// count against a budget (SPEC.md §8.6). Some are usual: grants and pings are among them.
    pub useless_received: u64,
    /// Bytes that wait in send buffers.
    pub send_buffered: u64,
    /// Bytes by which the windows of receiving halves have grown past the one that each has in any case
    /// ([`Config::window_growth_budget`](crate::Config::window_growth_budget)).
    pub window_growth: u64,
    /// How long streams had data and no credit of their own: the sum over all streams.
    pub blocked_by_stream_credit: Duration,
    /// How long any stream had data and credit of its own, and the connection had none.
    pub blocked_by_connection_credit: Duration,
    /// How long there was something to send and the socket did not take it.
    pub blocked_by_socket: Duration,
    /// Datagrams that came and were dropped because the application did not read them.
    pub datagrams_dropped_incoming: u64,
    /// Datagrams that were dropped because the socket did not take them.
    pub datagrams_dropped_outgoing: u64,
}

/// What a connection itself counts. The rest of its statistics is known where it arises.
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
/// A stream whose bytes and end have all been handed to the socket, and on which nothing is awaited, is not
/// under way here; whether the peer has seen it is another question, which only the peer's own words answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// The streams that were cut off, in the order of their ids, those included that nobody had accepted: this end
    /// had not finished or reset its sending half, or not all of it had left, or the peer had not ended the
    /// receiving half. At most the streams that may be open at once.
    pub streams: Vec<StreamId>,
    /// Bytes that writes had accepted and that were not handed to the socket, of all streams together.
    pub unsent_bytes: u64,
}

impl InFlight {
    /// How many of the streams this side had opened.
    pub fn opened_by(&self, side: Side) -> usize {
        self.streams.iter().filter(|id| id.initiator() == side).count()
    }
}

/// One sending half, now and since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendStreamStats {
    /// Bytes handed to the socket.
    pub sent: u64,
    /// Bytes that wait in the send buffer.
    pub buffered: u64,
    /// Bytes that the peer's credit for the stream still allows.
    pub credit: u64,
    /// How long there was data and no credit for the stream.
    pub blocked: Duration,
}

/// One receiving half, now and since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvStreamStats {
    /// Bytes that have come.
    pub received: u64,
    /// Bytes that have come and were not read.
    pub buffered: u64,
    /// Bytes that the peer may still send before it is granted more.
    pub credit: u64,
    /// How many bytes the peer may be ahead of the reader, now.
    pub window: u64,
}

/// Time spent in a state that comes and goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stopwatch {
    since: Option<Time>,
    total: Duration,
}

impl Stopwatch {
    /// It runs from now on; `false` when it did already.
    pub(super) fn start(&mut self, now: Time) -> bool {
        let stood = self.since.is_none();
        self.since.get_or_insert(now);
        stood
    }

    /// It stops; `false` when it did not run.
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

/// The sum of many stopwatches, without a look at each. A sum beyond what a [`Duration`] can hold
/// stays at the maximum: the statistic is then wrong, and nothing else is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StopwatchSum {
    running: u32,
    /// When the number of running stopwatches last changed.
    changed_at: Time,
    /// What all of them had measured by then.
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
