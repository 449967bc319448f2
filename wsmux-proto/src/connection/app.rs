//! What the application asks of a connection.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Connection,
    transmit::{DATAGRAM_OVERHEAD, MIN_DATAGRAM_FRAME},
};
use crate::{
    ConnectionStats, Dir, Event, InFlight, OpenError, RecvStream, SendDatagramError, SendStream,
    Side, StreamId, Time, Wire,
};

impl Connection {
    /// The next news for the application.
    pub fn poll(&mut self) -> Option<Event> {
        let available = || self.streams.take_available().map(|dir| Event::Available { dir });
        self.events.pop().or_else(available)
    }

    /// Whether [`poll`](Self::poll) would return something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.streams.has_available()
    }

    /// Opens a stream; `Ok(None)` when the peer, or this end's own limit
    /// ([`Config::max_local_streams`](crate::Config::max_local_streams)), allows no more for now,
    /// and then [`Event::Available`] follows.
    ///
    /// On the QMux wire the peer sees the stream with its first frame; on the js-ws wire at once.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        match &self.end {
            Some(end) => Err(end.clone().into()),
            None => self.streams.open(dir),
        }
    }

    /// How many streams [`open`](Self::open) would open.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn openable(&mut self, dir: Dir) -> Result<u64, OpenError> {
        match &self.end {
            Some(end) => Err(end.clone().into()),
            None => self.streams.openable(dir),
        }
    }

    /// An application waits for the peer to allow more streams: STREAMS_BLOCKED is sent once for
    /// each limit, and nothing if the application waits at this end's own limit. Says whether there
    /// is something to send now.
    pub fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        self.is_established() && self.streams.report_streams_blocked(dir)
    }

    /// From now on the peer may have this many streams of a kind open at once. Fewer than before
    /// takes effect as streams end; what was granted is not taken back.
    pub fn set_max_concurrent(&mut self, dir: Dir, count: u64) {
        self.streams.set_max_concurrent(dir, count.min(1 << 32));
    }

    /// From now on the peer may be this many bytes ahead of the reader, on each stream. Less than
    /// before takes effect as data is read; what was granted is not taken back. At least 1, at most
    /// 2^32 - 1, and where the largest message follows from the window (js-ws) at most what the
    /// connection began with.
    pub fn set_stream_receive_window(&mut self, bytes: u64) {
        let most = match self.caps.window_bounds_message {
            true => self.config.stream_receive_window,
            false => u32::MAX.into(),
        };
        self.streams.set_stream_receive_window(bytes.clamp(1, most));
    }

    /// The oldest stream of the peer's that was not accepted yet. Those that came before the
    /// connection's end can be accepted after it.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.streams.accept(dir)
    }

    /// How many streams [`accept`](Self::accept) would give.
    pub fn acceptable(&self, dir: Dir) -> u64 {
        self.streams.acceptable(dir)
    }

    /// A stream's sending half, for calls at the time `now`.
    pub fn send_stream(&mut self, now: Time, id: StreamId) -> SendStream<'_> {
        self.streams.send_stream(now, id, self.end.as_ref())
    }

    /// A stream's receiving half, for calls at the time `now`.
    pub fn recv_stream(&mut self, now: Time, id: StreamId) -> RecvStream<'_> {
        self.streams.recv_stream(now, id, self.end.as_ref())
    }

    /// The largest datagram that the peer takes and this end
    /// [sends](crate::Config::max_message_sent), in bytes; `None` when the peer takes none.
    pub fn max_datagram_size(&self) -> Option<usize> {
        let frame =
            usize::try_from(self.max_datagram_frame).unwrap_or(usize::MAX).min(self.max_message);
        (self.caps.datagrams && self.max_datagram_frame >= MIN_DATAGRAM_FRAME)
            .then(|| frame.saturating_sub(DATAGRAM_OVERHEAD))
    }

    fn check_datagram(&self, datagram: &Bytes) -> Result<(), SendDatagramError> {
        if let Some(end) = &self.end {
            return Err(end.clone().into());
        }
        // Q-52 (RFC 9221 §3; QMux "Unreliable Datagram Extension")
        match self.max_datagram_size() {
            None => Err(SendDatagramError::UnsupportedByPeer),
            Some(max) if datagram.len() > max => Err(SendDatagramError::TooLarge),
            Some(_) => Ok(()),
        }
    }

    /// Queues a datagram; where the queue is full, the oldest go.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn send_datagram(&mut self, datagram: Bytes) -> Result<(), SendDatagramError> {
        self.check_datagram(&datagram)?;
        self.datagrams.send(datagram);
        Ok(())
    }

    /// Whether [`send_datagram`](Self::send_datagram) would queue the datagram without another
    /// being dropped; if not, [`Event::DatagramsUnblocked`] follows.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn datagram_fits(&mut self, datagram: &Bytes) -> Result<bool, SendDatagramError> {
        self.check_datagram(datagram)?;
        Ok(self.datagrams.has_room(datagram))
    }

    /// The oldest datagram that has come; `None` when there is none, and then
    /// [`Event::DatagramReceived`] follows.
    pub fn read_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.read()
    }

    /// How much of [`datagram_room`](Self::datagram_room) a datagram takes.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn datagram_cost(&self, datagram: &Bytes) -> Result<u64, SendDatagramError> {
        self.check_datagram(datagram)?;
        Ok(self.datagrams.cost_to_send(datagram))
    }

    /// For how much there is room that nothing need be dropped for.
    pub fn datagram_room(&self) -> u64 {
        self.datagrams.room_to_send()
    }

    /// [`Event::DatagramsUnblocked`] follows when there is more room than now.
    pub fn want_datagram_room(&mut self) {
        self.datagrams.want_room();
    }

    /// How many datagrams [`read_datagram`](Self::read_datagram) would give.
    pub fn readable_datagrams(&self) -> u64 {
        self.datagrams.readable()
    }

    /// [`Event::DatagramReceived`] follows when another one comes.
    pub fn want_datagram(&mut self) {
        self.datagrams.want_another();
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Which language the two ends speak.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The smoothed time from a ping to its answer; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.timers.ping.rtt
    }

    /// What the end of the connection cut off; nothing while it has not ended.
    pub fn in_flight(&self) -> &InFlight {
        &self.streams.stats.in_flight
    }

    /// What the connection has done.
    pub fn stats(&self, now: Time) -> ConnectionStats {
        let (opened, accepted, closed) = self.streams.totals();
        ConnectionStats {
            live_streams: self.streams.len() as u64,
            waiting_streams: self.streams.waiting() as u64,
            streams_refused: self.streams.stats.refused,
            useless_received: self.streams.budgets.useless,
            streams_opened: opened,
            streams_accepted: accepted,
            streams_closed: closed,
            blocked_by_stream_credit: self.streams.stats.blocked_by_stream.total(now),
            blocked_by_connection_credit: self.streams.stats.blocked_by_connection.total(now),
            blocked_by_socket: self.blocked_by_socket.total(now),
            send_buffered: self.streams.send_budget.bytes() as u64,
            window_growth: self.streams.window_growth(),
            datagrams_dropped_incoming: self.datagrams.dropped_incoming,
            datagrams_dropped_outgoing: self.datagrams.dropped_outgoing,
            ..self.stats
        }
    }
}
