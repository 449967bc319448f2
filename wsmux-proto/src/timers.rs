//! Deadlines, and what tells that the peer lives.

use std::time::Duration;

use super::{Time, TransportError, VarInt, error::Timeout, transport_error::violation};

/// A deadline that is found this much too late was missed by this end (a stalled task, a suspended machine):
/// the peer's silence proves nothing then.
const LOCAL_STALL: Duration = Duration::from_secs(1);

/// The least idle timeout that is observed, whatever either end declares (RFC 9000 §10.1 asks for three times what a
/// lost packet takes to be noticed). Three pings a timeout are then twenty a second, of which the peer's budget takes
/// a hundred.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(150);

/// The weight of a new sample in the smoothed round-trip time (RFC 9002 §5.3).
const RTT_WEIGHT: u32 = 8;

/// How many round trips an idle timeout has to last (RFC 9000 §10.1: three probe timeouts), and how many times its
/// declared length a long round trip can make of it (C-91).
const ROUND_TRIPS: u32 = 3;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    TimedOut(Timeout),
}

/// Whether the peer's parameters are still awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    /// They must have come by then; `None` for a time that no clock reaches.
    Awaited(Option<Time>),
    Done,
}

/// Times of one connection, each as a distance from the caller's epoch. A deadline that is further away than such
/// a distance can say is none (C-81).
#[derive(Debug)]
pub(super) struct Timers {
    handshake: Handshake,
    idle_timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    silences: Silences,
    /// When a message last came or went whole (C-42, draft-ietf-quic-qmux-02 §Idle Timeout).
    last_activity: Time,
    /// When a message last came.
    last_received: Time,
    /// When anything at all last came.
    last_heard: Time,
    /// A deadline of the present silence was put off already. Once is enough: whatever came while this end slept is
    /// handled before the deadline is looked at (C-46), and timers that are always late would put it off for ever.
    forgiven: bool,
    /// The socket was full when it was last seen.
    socket_full: bool,
    pub(super) ping: Ping,
}

/// How long each kind of silence may last. They follow from the settings and from the newest round trip, and are asked
/// for after each message, so that they are worked out only when one of those changes.
#[derive(Debug, Default)]
struct Silences {
    /// Until the idle timeout, where either end has declared it.
    idle: Option<Duration>,
    /// Until a ping without an answer ends the connection. Where there is no idle timeout, three pings' time.
    unanswered: Option<Duration>,
    /// Until the peer is asked.
    ask: Option<Duration>,
}

/// Both directions' pings.
#[derive(Debug, Default)]
pub(super) struct Ping {
    next: u64,
    /// The ping that has not been answered, and when it left.
    outstanding: Option<(u64, Time)>,
    /// A ping is to be sent.
    pub(super) due: bool,
    /// The number of the peer's last ping.
    last_received: Option<VarInt>,
    /// The answer to be sent; only the newest ping needs one, so a flood of pings makes one answer.
    pub(super) answer: Option<VarInt>,
    pub(super) rtt: Option<Duration>,
    /// The newest sample of it.
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

    /// Silence proves nothing from here on, and is not broken.
    pub(super) fn disable_liveness(&mut self) {
        (self.idle_timeout, self.keep_alive) = (None, None);
        self.set_silences();
    }

    /// The peer's parameters have come, with its idle timeout; the shorter one holds (RFC 9000 §10.1).
    pub(super) fn established(&mut self, peer_idle_timeout: Duration) {
        self.handshake = Handshake::Done;
        if !peer_idle_timeout.is_zero() {
            let local = self.idle_timeout.unwrap_or(peer_idle_timeout);
            self.idle_timeout = Some(local.min(peer_idle_timeout).max(MIN_IDLE_TIMEOUT));
            self.set_silences();
        }
    }

    /// Returns the sample of the round-trip time, if this answers the newest ping.
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
            idle: idle.map(|timeout| self.at_least_round_trips(timeout)),
            unanswered: interval.map(|interval| {
                self.at_least_round_trips(idle.unwrap_or(interval.saturating_mul(3)))
            }),
            // C-44 (RFC 9000 §10.1.2)
            ask: interval
                .map(|interval| idle.map_or(interval, |timeout| interval.min(timeout / 3))),
        };
    }

    /// This timeout, or longer where the newest ping's round trip shows that an answer may take as long as that (RFC
    /// 9000 §10.1). A peer that holds its answers back gains a bounded time (C-91).
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

    /// Something came that proves life but is no message of the wire. It does not end the silence that the idle
    /// timeout counts, so it earns no further delay either: a proxy sends pings for a peer that is gone.
    pub(super) fn on_heard(&mut self, now: Time) {
        self.last_heard = now;
    }

    /// The socket takes nothing.
    pub(super) fn on_socket_full(&mut self) {
        self.socket_full = true;
    }

    /// The socket takes messages. If it was full, what lies below it has moved (C-90): a send buffer of TCP that was
    /// full has room when the peer's TCP has acknowledged something, and its size grows with acknowledgements alone.
    /// So has what a proxy or a browser holds, when the next hop took something. A path that is dead, or a peer that
    /// reads no more, moves nothing once the buffers on the way are full, so what this puts off is bounded by them.
    pub(super) fn on_socket_takes(&mut self, now: Time) {
        if std::mem::take(&mut self.socket_full) {
            self.last_activity = now;
            self.last_heard = now;
        }
    }

    /// For how long nothing has come.
    pub(super) fn silence(&self, now: Time) -> Duration {
        now - self.last_received
    }

    fn deadlines(&self) -> [(Option<Time>, Due); 4] {
        let after = |since: Time, time: Option<Duration>| since.checked_add(time?);
        let ping_is_due = self.ping.due || self.ping.outstanding.is_some();
        let (handshake, asks) = match self.handshake {
            Handshake::Awaited(deadline) => (deadline, false),
            Handshake::Done => (None, !ping_is_due),
        };
        [
            (handshake, Due::TimedOut(Timeout::Handshake)),
            (after(self.last_activity, self.silences.idle), Due::TimedOut(Timeout::Idle)),
            (
                // C-45
                after(self.last_heard, self.silences.unanswered.filter(|_| ping_is_due)),
                Due::TimedOut(Timeout::KeepAlive),
            ),
            (
                // Not `last_heard`: what is no activity could come for ever, hold back the pings, and let
                // the idle timeout end a connection that pings would keep alive.
                after(self.last_received, self.silences.ask.filter(|_| asks)),
                Due::Ping,
            ),
        ]
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.deadlines().into_iter().filter_map(|(deadline, _)| deadline).min()
    }

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

    /// This end slept through a deadline: the peer gets a little time to show that it lives (C-80).
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
    /// Somebody wants to know the round-trip time. One that is under way already answers the same question.
    pub(super) fn request(&mut self) {
        self.due |= self.outstanding.is_none();
    }

    /// The number of the ping that is due, which leaves now.
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

    /// How long the newest ping took; an answer to an older one tells nothing.
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
            // The products of times as long as the clock reaches would be longer than that.
            Some(smoothed) => {
                (smoothed.saturating_mul(RTT_WEIGHT - 1).saturating_add(rtt)) / RTT_WEIGHT
            }
            None => rtt,
        });
        Ok(Some(rtt))
    }
}
