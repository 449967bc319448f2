//! The deadlines of a connection, and what proves that the peer is alive.

use std::time::Duration;

use super::{Time, TransportError, VarInt, error::Timeout, transport_error::violation};

/// If this end notices a deadline at least this long after the deadline, it was not running at the
/// deadline. Its task stalled, or its machine was suspended. In that case the peer's silence proves
/// nothing.
const LOCAL_STALL: Duration = Duration::from_secs(1);

/// The shortest idle timeout. It applies even if an end declares a shorter idle timeout. RFC 9000
/// §10.1 also has a lower bound, which is three probe timeouts. Keep-alive sends three pings per
/// idle timeout. So the shortest idle timeout causes twenty pings a second. The peer's budget
/// allows a hundred pings a second.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(150);

/// The weight of a new sample in the smoothed round-trip time (RFC 9002 §5.3).
const RTT_WEIGHT: u32 = 8;

/// If the declared idle timeout is shorter than this many round trips, the timeout is extended to
/// this many round trips (RFC 9000 §10.1: three probe timeouts). The extended timeout is at most
/// this many times the declared timeout (C-91).
const ROUND_TRIPS: u32 = 3;

/// What to do at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    TimedOut(Timeout),
}

/// Whether this end still waits for the peer's transport parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    /// The parameters must arrive by this deadline. There is no deadline (`None`) if [`Time`]
    /// cannot express it.
    Awaited(Option<Time>),
    Done,
}

/// The timers of one connection. A deadline that [`Time`] cannot express never passes (C-81).
#[derive(Debug)]
pub(super) struct Timers {
    handshake: Handshake,
    idle_timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    /// How long a connection that can be resumed waits for a new socket; `None` if it cannot be
    /// resumed.
    resume_timeout: Option<Duration>,
    silences: Silences,
    /// When a complete message was last sent or received (C-42, draft-ietf-quic-qmux-02 §Idle
    /// Timeout).
    last_activity: Time,
    /// When a message was last received.
    last_received: Time,
    /// When anything was last received, including parts of messages and the WebSocket's pings.
    last_heard: Time,
    /// Whether a deadline was already postponed during the present silence because this end had
    /// missed it. One postponement is enough, because everything that arrived before this end
    /// noticed the deadline is handled before the deadline is checked (C-46). If a deadline could
    /// be postponed again, timers that are always late would postpone it for ever.
    forgiven: bool,
    /// Whether the socket was full when its state was last reported.
    socket_full: bool,
    pub(super) ping: Ping,
}

/// How long each kind of silence may last. These times follow from the settings and the newest
/// round-trip time. They are computed when a setting or the round-trip time changes, and stored
/// because each message needs them.
#[derive(Debug, Default)]
struct Silences {
    /// The idle timeout that applies, if either end has declared an idle timeout.
    idle: Option<Duration>,
    /// The idle timeout while a ping is unanswered, which is shorter if the connection can be
    /// resumed.
    idle_after_ping: Option<Duration>,
    /// How long an unanswered ping may wait before it ends or suspends the connection: the idle
    /// timeout, or three keep-alive intervals if there is no idle timeout. The wait is shorter if
    /// the connection can be resumed.
    unanswered: Option<Duration>,
    /// How long the peer may be silent before a ping is sent.
    ping: Option<Duration>,
}

/// The pings of both directions.
#[derive(Debug, Default)]
pub(super) struct Ping {
    next: u64,
    /// The number of the ping that has not been answered, and when it was sent.
    outstanding: Option<(u64, Time)>,
    /// Whether a ping has to be sent.
    pub(super) due: bool,
    /// The number of the peer's last ping.
    last_received: Option<VarInt>,
    /// The answer that has to be sent. Only the newest ping needs an answer, so a flood of pings
    /// causes only one answer.
    pub(super) answer: Option<VarInt>,
    /// The smoothed round-trip time.
    pub(super) rtt: Option<Duration>,
    /// The newest sample of the round-trip time.
    latest_rtt: Option<Duration>,
}

impl Timers {
    pub(super) fn new(
        now: Time,
        handshake: Option<Duration>,
        idle_timeout: Option<Duration>,
        keep_alive: Option<Duration>,
    ) -> Self {
        let mut timers = Self {
            handshake: match handshake {
                Some(timeout) => Handshake::Awaited(now.checked_add(timeout)),
                None => Handshake::Done,
            },
            idle_timeout: idle_timeout.map(|timeout| timeout.max(MIN_IDLE_TIMEOUT)),
            keep_alive,
            resume_timeout: None,
            silences: Silences::default(),
            last_activity: now,
            last_received: now,
            last_heard: now,
            forgiven: false,
            socket_full: false,
            ping: Ping::default(),
        };
        timers.set_silences();
        timers
    }

    /// Disables the idle timeout and keep-alive, because this end can neither send nor see pings
    /// (C-47).
    pub(super) fn disable_liveness(&mut self) {
        (self.idle_timeout, self.keep_alive) = (None, None);
        self.set_silences();
    }

    /// Lets the connection be suspended before the peer's silence has lasted for the whole idle
    /// timeout.
    pub(super) fn set_resume_timeout(&mut self, timeout: Duration) {
        self.resume_timeout = Some(timeout);
        self.set_silences();
    }

    /// Ends the handshake, because the peer's parameters have arrived, and applies the peer's idle
    /// timeout. The shorter of the two ends' timeouts applies (RFC 9000 §10.1).
    pub(super) fn established(&mut self, peer_idle_timeout: Duration) {
        self.handshake = Handshake::Done;
        if !peer_idle_timeout.is_zero() {
            let local = self.idle_timeout.unwrap_or(peer_idle_timeout);
            self.idle_timeout = Some(local.min(peer_idle_timeout).max(MIN_IDLE_TIMEOUT));
            self.set_silences();
        }
    }

    /// Handles a pong. Returns a sample of the round-trip time if the pong answers the outstanding
    /// ping.
    pub(super) fn on_pong(
        &mut self,
        now: Time,
        number: VarInt,
    ) -> Result<Option<Duration>, TransportError> {
        let sample = self.ping.on_pong(now, number)?;
        if sample.is_some() {
            self.set_silences();
        }
        Ok(sample)
    }

    fn set_silences(&mut self) {
        let (idle, interval) = (self.idle_timeout, self.keep_alive);
        self.silences = Silences {
            idle: self.whole_idle(),
            idle_after_ping: self.whole_idle().map(|timeout| self.until_suspension(timeout)),
            unanswered: self.whole_unanswered().map(|timeout| self.until_suspension(timeout)),
            // C-44 (RFC 9000 §10.1.2)
            ping: interval
                .map(|interval| idle.map_or(interval, |timeout| interval.min(timeout / 3))),
        };
    }

    fn whole_idle(&self) -> Option<Duration> {
        self.idle_timeout.map(|timeout| self.at_least_round_trips(timeout))
    }

    fn whole_unanswered(&self) -> Option<Duration> {
        let interval = self.keep_alive?;
        let timeout = self.idle_timeout.unwrap_or(interval.saturating_mul(3));
        Some(self.at_least_round_trips(timeout))
    }

    /// Returns the time after which an unanswered ping suspends a connection that can be resumed.
    /// This time is the first part of `timeout`, and in the rest of `timeout` this end waits for a
    /// new socket. If `resume_timeout` is shorter than this rest, the connection is suspended
    /// later, because it must not end before `timeout` has passed.
    fn until_suspension(&self, timeout: Duration) -> Duration {
        match self.resume_timeout {
            None => timeout,
            //
            Some(resume) => (timeout / 3).saturating_mul(2).max(timeout.saturating_sub(resume)),
        }
    }

    /// Returns the timeout, extended to [`ROUND_TRIPS`] round trips if the newest round trip was
    /// long (RFC 9000 §10.1). The extension is bounded, because a peer can delay its answers
    /// (C-91).
    fn at_least_round_trips(&self, timeout: Duration) -> Duration {
        let round_trips = self.ping.latest_rtt.unwrap_or_default().saturating_mul(ROUND_TRIPS);
        timeout.max(round_trips.min(timeout.saturating_mul(ROUND_TRIPS)))
    }

    pub(super) fn on_sent(&mut self, now: Time) {
        self.last_activity = now;
    }

    pub(super) fn on_received(&mut self, now: Time) {
        self.last_activity = now;
        self.last_received = now;
        self.last_heard = now;
        self.forgiven = false;
    }

    /// Records that something other than a complete message was received. This restarts the wait
    /// for the answer to a ping. It does not restart the idle timeout, because a proxy may send
    /// pings for a peer that is gone. For the same reason, it does not permit a second postponement
    /// of a deadline that was missed and postponed.
    pub(super) fn on_heard(&mut self, now: Time) {
        self.last_heard = now;
    }

    /// Records that the socket is full.
    pub(super) fn on_socket_full(&mut self) {
        self.socket_full = true;
    }

    /// Records that the socket has room. If the socket was full before, the path carries bytes,
    /// which counts as activity (C-90). A full TCP send buffer grows or gets room only when the
    /// peer's TCP acknowledges something. The buffer of a proxy or a browser gets room only when
    /// the next hop accepts something. If the path is dead or the peer stops reading, the buffers
    /// on the path fill up. A buffer that is full then gets no more room.
    pub(super) fn on_socket_room(&mut self, now: Time) {
        if std::mem::take(&mut self.socket_full) {
            self.last_activity = now;
            self.last_heard = now;
        }
    }

    /// Starts all timers again after a time without a socket. The peer's silence in that time
    /// proves nothing. A ping that was sent over the lost socket has no meaning for the new socket,
    /// so a new ping is sent.
    pub(super) fn on_new_socket(&mut self, now: Time) {
        self.on_received(now);
        self.socket_full = false;
        self.ping.outstanding = None;
        self.ping.due = true;
    }

    /// Whether a ping is unanswered or has yet to be sent.
    pub(super) fn awaits_pong(&self) -> bool {
        self.ping.due || self.ping.outstanding.is_some()
    }

    /// If the peer's silence has suspended the connection, returns when the connection ends. The
    /// wait for a new socket is counted from the start of the silence. Returns `None` if `timeout`
    /// is not a timeout of silence, and for a time that [`Time`] cannot express.
    pub(super) fn silence_deadline(&self, timeout: Timeout) -> Option<Time> {
        let (since, whole) = match timeout {
            Timeout::Idle => (self.last_activity, self.whole_idle()),
            Timeout::KeepAlive => (self.last_heard, self.whole_unanswered()),
            _ => return None,
        };
        //
        since.checked_add(whole.max(self.resume_timeout)?)
    }

    /// Returns how long ago the last message was received.
    pub(super) fn silence(&self, now: Time) -> Duration {
        now - self.last_received
    }

    fn deadlines(&self) -> [(Option<Time>, Due); 4] {
        let after = |since: Time, time: Option<Duration>| since.checked_add(time?);
        let ping_is_due = self.awaits_pong();
        let idle = match ping_is_due {
            true => self.silences.idle_after_ping,
            false => self.silences.idle,
        };
        let (handshake, may_ping) = match self.handshake {
            Handshake::Awaited(deadline) => (deadline, false),
            Handshake::Done => (None, !ping_is_due),
        };
        [
            (handshake, Due::TimedOut(Timeout::Handshake)),
            (after(self.last_activity, idle), Due::TimedOut(Timeout::Idle)),
            (
                // C-45
                after(self.last_heard, self.silences.unanswered.filter(|_| ping_is_due)),
                Due::TimedOut(Timeout::KeepAlive),
            ),
            (
                // `last_heard` would be wrong here, because it is also renewed by events that do
                // not count as activity. With enough of these events no ping would be sent, and the
                // idle timeout would end a connection that pings could keep alive.
                after(self.last_received, self.silences.ping.filter(|_| may_ping)),
                Due::Ping,
            ),
        ]
    }

    /// Returns the next deadline.
    pub(super) fn next(&self) -> Option<Time> {
        self.deadlines().into_iter().filter_map(|(deadline, _)| deadline).min()
    }

    /// Returns what to do now that the next deadline may have passed.
    pub(super) fn on_timeout(&mut self, now: Time) -> Due {
        for (deadline, due) in self.deadlines() {
            let Some(late) = deadline.and_then(|deadline| now.checked_duration_since(deadline))
            else {
                continue;
            };
            if due == Due::Ping {
                self.ping.due = true;
                return due;
            }
            if late < LOCAL_STALL || self.forgiven || self.handshake != Handshake::Done {
                return due;
            }
            self.forgive(now);
            break;
        }
        Due::Nothing
    }

    /// Gives the peer a little more time to show that it is alive, because this end has missed a
    /// deadline (C-80).
    fn forgive(&mut self, now: Time) {
        self.forgiven = true;
        let timeout = self.silences.unanswered.or(self.silences.idle).unwrap_or_default();
        let since = now.saturating_sub(timeout.saturating_sub(LOCAL_STALL));
        self.last_activity = self.last_activity.max(since);
        self.last_heard = self.last_heard.max(since);
        if self.keep_alive.is_some() && self.ping.outstanding.is_none() {
            self.ping.due = true;
        }
    }
}

impl Ping {
    /// Asks for a sample of the round-trip time. If a ping is outstanding, its answer will give the
    /// sample, so no other ping is sent.
    pub(super) fn request(&mut self) {
        self.due |= self.outstanding.is_none();
    }

    /// Returns the number of the ping to send now, if one is due.
    pub(super) fn send(&mut self, now: Time) -> Option<VarInt> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let number = self.next;
        // Q-56 (QMux "QX_PING Frames")
        self.next += 1;
        self.outstanding = Some((number, now));
        Some(VarInt::saturating(number))
    }

    /// Handles a ping from the peer. `equal_is_valid` permits the same number as in the peer's last
    /// ping, as some versions of QMux do.
    pub(super) fn on_ping(
        &mut self,
        number: VarInt,
        equal_is_valid: bool,
    ) -> Result<(), TransportError> {
        let last = self.last_received;
        // Q-58 (QMux "QX_PING Frames")
        if last.is_some_and(|last| number < last || (number == last && !equal_is_valid)) {
            return Err(violation::protocol("ping numbers must rise"));
        }
        self.last_received = Some(number);
        // Q-57 (QMux "QX_PING Frames")
        self.answer = Some(number);
        Ok(())
    }

    /// Handles a pong. Returns the round-trip time of the outstanding ping, if the pong answers it.
    fn on_pong(&mut self, now: Time, number: VarInt) -> Result<Option<Duration>, TransportError> {
        let number = number.into_inner();
        // Q-59 (QMux "QX_PING Frames")
        if number >= self.next {
            return Err(violation::protocol("an answer to a ping that was never sent"));
        }
        let newest = self.outstanding.take_if(|(outstanding, _)| *outstanding == number);
        let Some((_, sent)) = newest else { return Ok(None) };
        let rtt = now - sent;
        self.latest_rtt = Some(rtt);
        self.rtt = Some(match self.rtt {
            // The arithmetic saturates, because the round-trip time can be as long as a `Duration`
            // can be.
            Some(smoothed) => {
                (smoothed.saturating_mul(RTT_WEIGHT - 1).saturating_add(rtt)) / RTT_WEIGHT
            }
            None => rtt,
        });
        Ok(Some(rtt))
    }
}
