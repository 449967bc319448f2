//! How the two ends tell each other that a connection is about to end (SPEC.md §13).
//!
//! ```text
//!        this end drains                       the peer drains
//!   notice: Due, then Sent                by_peer is set, deadline: answer
//!   the peer's streams are accepted       this end may open streams
//!             |                                    |
//!             |  the peer's GOING_AWAY,            |  at once, when this end drains,
//!             |  or the deadline                   |  or at the deadline
//!             v                                    v
//!   the peer's streams are refused        notice: Due, then Sent
//! ```

use std::time::Duration;

use super::{Connection, state::State};
use crate::{
    Event, Frame, MessageBuf, Time, TransportError, event::Events, streams::Streams,
    transport_error::violation,
};

/// How long a draining end accepts the streams of a peer that has not answered. This is longer than
/// [`ANSWER`], because the answer needs time on the path. So no stream of an honest peer is
/// refused.
const GRACE: Duration = Duration::from_secs(5);

/// How long an end may wait before it answers GOING_AWAY. In this time a client can usually
/// connect to another server.
const ANSWER: Duration = Duration::from_secs(3);

/// The length of the GOING_AWAY frame, in bytes.
const FRAME: usize = 8;

/// What the two ends have said about the end of the connection.
#[derive(Debug, Default)]
pub(super) struct GoingAway {
    notice: Notice,
    /// Whether the peer has sent GOING_AWAY.
    by_peer: bool,
    /// Whether the application may delay the answer, for at most [`ANSWER`].
    answers_late: bool,
    /// When this end stops waiting. If only this end has sent GOING_AWAY, it refuses the peer's
    /// streams from then on. If only the peer has sent GOING_AWAY, this end answers then.
    deadline: Option<Time>,
}

/// Whether this end has sent GOING_AWAY.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// The notice cannot be sent: the peer does not know the frame, or the peer's transport
    /// parameters have not arrived.
    #[default]
    Unsupported,
    /// The notice can be sent, but this end does not drain.
    NotSent,
    /// This end drains, and GOING_AWAY has to be sent.
    Due,
    Sent,
}

impl GoingAway {
    /// Records whether the peer knows the frame.
    pub(super) fn set_supported(&mut self, is_supported: bool) {
        if is_supported {
            self.notice = Notice::NotSent;
        }
    }

    /// Begins a drain of this end.
    pub(super) fn drain(&mut self, streams: &mut Streams) {
        match self.notice {
            Notice::Unsupported => streams.drain(),
            Notice::NotSent => self.leave(streams),
            Notice::Due | Notice::Sent => {}
        }
    }

    /// Opens no more streams, and prepares the notice.
    fn leave(&mut self, streams: &mut Streams) {
        self.notice = Notice::Due;
        self.deadline = None;
        streams.leave();
        // The peer opens no more streams after its own notice.
        if self.by_peer {
            streams.drain();
        }
    }

    /// Handles the peer's GOING_AWAY.
    pub(super) fn on_frame(
        &mut self,
        now: Time,
        streams: &mut Streams,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        // G-1
        if self.notice == Notice::Unsupported {
            return Err(violation::frame_encoding("GOING_AWAY without wsmux_going_away"));
        }
        // G-6
        if std::mem::replace(&mut self.by_peer, true) {
            return Err(violation::protocol("GOING_AWAY comes once"));
        }
        events.push(Event::PeerDraining);
        match self.notice {
            Notice::NotSent if self.answers_late => self.deadline = now.checked_add(ANSWER),
            Notice::NotSent => self.answer(streams, events),
            Notice::Unsupported | Notice::Due | Notice::Sent => {
                self.deadline = None;
                streams.drain();
            }
        }
        Ok(())
    }

    /// Answers the peer's notice. This end opens no more streams, and leaves the close to the peer.
    fn answer(&mut self, streams: &mut Streams, events: &mut Events) {
        // G-5
        self.leave(streams);
        events.push(Event::Draining);
    }

    /// Handles the deadline, if it has passed.
    pub(super) fn on_timeout(&mut self, now: Time, streams: &mut Streams, events: &mut Events) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.by_peer {
            true => self.answer(streams, events),
            // G-4
            false => streams.drain(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Returns the time until which a connection without a socket waits for the peer's answer.
    pub(super) fn suspended_deadline(&self) -> Option<Time> {
        self.deadline.filter(|_| !self.by_peer)
    }

    /// Handles the deadline that [`suspended_deadline`](Self::suspended_deadline) returns, if it
    /// has passed. If the connection gets a new socket afterwards, the peer's streams are still
    /// accepted.
    pub(super) fn on_suspended_timeout(&mut self, now: Time) {
        if self.suspended_deadline().is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
        }
    }

    /// Gives the peer the whole time for its answer again, because the connection has a new socket.
    pub(super) fn on_new_socket(&mut self, now: Time, streams: &Streams) {
        // G-4
        if self.notice == Notice::Sent && !self.by_peer && !streams.is_draining() {
            self.deadline = now.checked_add(GRACE);
        }
    }

    /// Whether the notice has to be sent now. The notice waits until every stream of this end has
    /// been announced.
    pub(super) fn is_due(&self, streams: &Streams) -> bool {
        // G-3
        self.notice == Notice::Due && streams.all_announced()
    }

    /// Records that the notice is sent now.
    fn on_sent(&mut self, now: Time) {
        self.notice = Notice::Sent;
        if !self.by_peer {
            self.deadline = now.checked_add(GRACE);
        }
    }
}

impl Connection {
    /// Sets whether this end stops opening streams as soon as its peer drains the connection.
    /// Default `true`.
    ///
    /// With `false`, this end may open streams for 3 s after [`Event::PeerDraining`], and the peer
    /// accepts them. The application uses this time to connect to another server. Then the
    /// application [drains](Self::drain) this connection. If the application does not drain the
    /// connection within the 3 s, this end stops opening streams, which [`Event::Draining`]
    /// reports.
    pub fn set_drain_with_peer(&mut self, drains: bool) {
        self.going_away.answers_late = !drains;
    }

    /// Whether the peer has announced that it drains the connection (GOING_AWAY). This stays true
    /// after the connection has ended.
    pub fn is_peer_draining(&self) -> bool {
        self.going_away.by_peer
    }

    /// Appends GOING_AWAY, if it is due and there is room.
    pub(super) fn write_going_away(&mut self, now: Time, out: &mut MessageBuf, max: usize) {
        if self.going_away.is_due(&self.streams) && out.len() + FRAME <= max {
            self.wire.encode(&Frame::GoingAway, out);
            self.going_away.on_sent(now);
        }
    }

    /// Handles the deadline of the notice, if the connection is established.
    pub(super) fn check_going_away(&mut self, now: Time) {
        if matches!(self.state, State::Established { .. }) {
            self.going_away.on_timeout(now, &mut self.streams, &mut self.events);
        }
    }
}
