//! The calls of the application on a connection.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Connection,
    transmit::{DATAGRAM_OVERHEAD, MIN_DATAGRAM_FRAME},
};
use crate::{
    ConnectionStats, Dir, Event, InFlight, OpenError, RecvStream, SendDatagramError, SendStream,
    Side, StreamId, Time, Wire, config::MAX_STREAM_COUNT,
};

impl Connection {
    /// Returns the next event for the application, or `None` if there is no event at present.
    pub fn poll(&mut self) -> Option<Event> {
        let available = || self.streams.take_available().map(|dir| Event::Available { dir });
        self.events.pop().or_else(available)
    }

    /// Whether [`poll`](Self::poll) would return something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.streams.has_available()
    }

    /// Opens a stream. Returns `Ok(None)` if the stream would exceed the peer's limit or this end's
    /// own limit ([`Config::max_local_streams`](crate::Config::max_local_streams)). In that case
    /// [`Event::Available`] reports when a stream can be opened.
    ///
    /// On js-ws the peer learns of the stream at once. On QMux the peer learns of the stream when
    /// the stream's first frame arrives.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&mut self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        match self.state.error() {
            Some(error) => Err(error.clone().into()),
            None => self.streams.open(dir),
        }
    }

    /// Returns how many streams [`open`](Self::open) would open now. This method does not ask for
    /// an event. If the result is 0, call [`report_streams_blocked`](Self::report_streams_blocked)
    /// or `open` to get [`Event::Available`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn openable(&self, dir: Dir) -> Result<u64, OpenError> {
        match self.state.error() {
            Some(error) => Err(error.clone().into()),
            None => self.streams.openable(dir),
        }
    }

    /// Reports to the peer that the application waits at the peer's limit. The report is a
    /// STREAMS_BLOCKED frame, which is sent once for each value of the limit. Sends nothing if the
    /// application waits at this end's own limit. Returns whether there is something to send.
    pub fn report_streams_blocked(&mut self, dir: Dir) -> bool {
        self.is_established() && self.streams.report_streams_blocked(dir)
    }

    /// Sets how many streams of a kind the peer may have open at once, at most 2^32. A lower number
    /// than before takes effect as streams end, because a limit that was granted cannot be revoked.
    pub fn set_max_concurrent(&mut self, dir: Dir, count: u64) {
        self.streams.set_max_concurrent(dir, count.min(MAX_STREAM_COUNT));
    }

    /// Sets the receive window of each stream: how many bytes the peer may be ahead of the reader.
    /// A smaller window than before takes effect as data is read, because credit that was granted
    /// cannot be revoked.
    ///
    /// The window is at least 1 and at most 2^32 - 1. On js-ws the new window must also not be
    /// larger than the window with which the connection began, because that window limits the size
    /// of a message.
    pub fn set_stream_receive_window(&mut self, bytes: u64) {
        let most = match self.caps.messages.are_bounded_by_window() {
            true => self.config.stream_receive_window,
            false => u32::MAX.into(),
        };
        self.streams.set_stream_receive_window(bytes.clamp(1, most));
    }

    /// Accepts the oldest stream that the peer has opened and that has not been accepted yet.
    /// Streams that were opened before the connection ended can still be accepted.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.streams.accept(dir)
    }

    /// Returns how many streams [`accept`](Self::accept) would accept now.
    pub fn acceptable(&self, dir: Dir) -> u64 {
        self.streams.acceptable(dir)
    }

    /// Returns a stream's sending half, for calls at the time `now`.
    pub fn send_stream(&mut self, now: Time, id: StreamId) -> SendStream<'_> {
        self.streams.send_stream(now, id, self.state.error())
    }

    /// Returns a stream's receiving half, for calls at the time `now`.
    pub fn recv_stream(&mut self, now: Time, id: StreamId) -> RecvStream<'_> {
        self.streams.recv_stream(now, id, self.state.error())
    }

    /// Returns the size of the largest datagram that can be sent, in bytes; `None` if the peer
    /// accepts no datagrams. The size is the smaller of the peer's limit and
    /// [`Config::max_message_sent`](crate::Config::max_message_sent), less the 5 bytes of the
    /// frame's header.
    pub fn max_datagram_size(&self) -> Option<usize> {
        let frame =
            usize::try_from(self.max_datagram_frame).unwrap_or(usize::MAX).min(self.max_message);
        (self.caps.datagrams() && self.max_datagram_frame >= MIN_DATAGRAM_FRAME)
            .then(|| frame.saturating_sub(DATAGRAM_OVERHEAD))
    }

    fn check_datagram(&self, datagram: &Bytes) -> Result<(), SendDatagramError> {
        if let Some(error) = self.state.error() {
            return Err(error.clone().into());
        }
        // Q-52 (RFC 9221 §3; QMux "Unreliable Datagram Extension")
        match self.max_datagram_size() {
            None => Err(SendDatagramError::UnsupportedByPeer),
            Some(max) if datagram.len() > max => Err(SendDatagramError::TooLarge),
            Some(_) => Ok(()),
        }
    }

    /// Queues a datagram. If the queue is full, the oldest datagrams in it are dropped.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn send_datagram(&mut self, datagram: Bytes) -> Result<(), SendDatagramError> {
        self.check_datagram(&datagram)?;
        self.datagrams.send(datagram);
        Ok(())
    }

    /// Whether [`send_datagram`](Self::send_datagram) would queue the datagram without dropping
    /// another datagram. If not, [`want_datagram_room`](Self::want_datagram_room) asks for an event
    /// that reports more room.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn datagram_fits(&self, datagram: &Bytes) -> Result<bool, SendDatagramError> {
        self.check_datagram(datagram)?;
        Ok(self.datagrams.has_room(datagram))
    }

    /// Takes the oldest datagram that has arrived and was not read. If there is no such datagram,
    /// returns `None`, and [`Event::DatagramReceived`] reports when a datagram arrives.
    pub fn read_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.read()
    }

    /// Returns how much of [`datagram_room`](Self::datagram_room) a datagram would use.
    ///
    /// # Errors
    /// [`SendDatagramError`].
    pub fn datagram_cost(&self, datagram: &Bytes) -> Result<u64, SendDatagramError> {
        self.check_datagram(datagram)?;
        Ok(self.datagrams.cost_to_send(datagram))
    }

    /// Returns how much room the queue of outgoing datagrams has before it drops older datagrams,
    /// in the units of [`datagram_cost`](Self::datagram_cost).
    pub fn datagram_room(&self) -> u64 {
        self.datagrams.room_to_send()
    }

    /// Asks for [`Event::DatagramsUnblocked`] as soon as there is more room than now.
    pub fn want_datagram_room(&mut self) {
        self.datagrams.want_room();
    }

    /// Returns how many datagrams have arrived and were not read.
    pub fn readable_datagrams(&self) -> u64 {
        self.datagrams.readable()
    }

    /// Asks for [`Event::DatagramReceived`] when another datagram arrives.
    pub fn want_datagram(&mut self) {
        self.datagrams.want_another();
    }

    /// Returns whether this end is the client or the server.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Returns the wire that the two ends use.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Returns the smoothed time from a ping to its answer; `None` before the first answer.
    pub fn rtt(&self) -> Option<Duration> {
        self.timers.ping.rtt
    }

    /// Returns what was under way when the connection ended. The result is empty as long as the
    /// connection has not ended.
    pub fn in_flight(&self) -> &InFlight {
        &self.streams.stats.in_flight
    }

    /// Returns the connection's statistics.
    pub fn stats(&self, now: Time) -> ConnectionStats {
        let (opened, accepted, closed) = self.streams.totals();
        ConnectionStats {
            messages_sent: self.counters.messages_sent,
            bytes_sent: self.counters.bytes_sent,
            messages_received: self.counters.messages_received,
            bytes_received: self.counters.bytes_received,
            frames_sent: self.counters.frames_sent,
            frames_received: self.counters.frames_received,
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
        }
    }
}
