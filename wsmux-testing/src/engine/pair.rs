//! Two engines connected by a reliable, ordered pipe, in virtual time.

use std::time::Duration;

use bytes::BytesMut;
use wsmux_proto::{Config, Dir, Incoming, Side, SocketError, StreamId, Time, Wire};

use super::{Endpoint, Item};

/// A client and a server.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
    pub now: Time,
    /// The delay in one direction.
    pub latency: Duration,
    pub wire: Wire,
}

impl Pair {
    /// Creates both ends with the same settings, and completes the handshake.
    pub fn new(wire: Wire, config: &Config) -> Self {
        let mut pair = Self::unconnected(wire, config.clone(), config.clone());
        pair.drive();
        assert!(pair.client.conn.is_established() && pair.server.conn.is_established());
        pair
    }

    pub fn unconnected(wire: Wire, client: Config, server: Config) -> Self {
        Self {
            client: Endpoint::new(client, Side::Client, wire),
            server: Endpoint::new(server, Side::Server, wire),
            now: Time::EPOCH,
            latency: Duration::ZERO,
            wire,
        }
    }

    pub fn end(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Lets both engines send all that the pipe accepts. Returns whether anything was sent.
    pub fn transmit(&mut self) -> bool {
        let mut sent = false;
        let cut_off = self.client.black_hole || self.server.black_hole;
        self.client.set_unacknowledged(self.now, cut_off);
        self.server.set_unacknowledged(self.now, cut_off);
        let limits =
            [self.server.conn.max_inbound_message(), self.client.conn.max_inbound_message()];
        for (end, max) in [&mut self.client, &mut self.server].into_iter().zip(limits) {
            while end.transmit(self.now, self.latency, max) {
                sent = true;
            }
            end.collect_events();
        }
        sent
    }

    /// Delivers what has arrived by now. Returns whether there was anything.
    pub fn deliver(&mut self) -> bool {
        let (now, mut delivered) = (self.now, false);
        for to in [Side::Server, Side::Client] {
            while let Some(item) = self.end(!to).take_arrived(now) {
                delivered = true;
                if !self.end(!to).black_hole {
                    self.hand_over(to, item);
                }
            }
            self.end(to).collect_events();
        }
        delivered
    }

    fn hand_over(&mut self, to: Side, item: Item) {
        let (now, latency) = (self.now, self.latency);
        let end = self.end(to);
        match item {
            // A message counts as the engine's memory. Its block may be up to twice as large as the
            // message (C-72), so this function uses a block of twice the size.
            Item::Message(message) => end.of(|conn| {
                let mut block = BytesMut::with_capacity(2 * message.len());
                block.extend_from_slice(&message);
                conn.handle(now, Incoming::Message(block.split().freeze()));
            }),
            Item::Ping(payload) => {
                end.of(|conn| conn.handle(now, Incoming::Ping));
                end.push(now, latency, Item::Pong(payload.to_vec()));
            }
            Item::Pong(payload) => {
                end.of(|conn| conn.handle(now, Incoming::Pong(payload.to_vec().into())))
            }
            Item::Close { code, reason } => {
                end.of(|conn| {
                    conn.handle(now, Incoming::Close { code: Some(code), reason: reason.clone() })
                });
            }
        }
    }

    fn next_arrival(&self) -> Option<Time> {
        [&self.client, &self.server].into_iter().filter_map(Endpoint::next_arrival).min()
    }

    pub fn next_timeout(&self) -> Option<Time> {
        let timeouts = [self.client.conn.poll_timeout(), self.server.conn.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Handles the timers that are due at either end.
    fn fire(&mut self) {
        for end in [&mut self.client, &mut self.server] {
            if end.conn.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                let now = self.now;
                end.of(|conn| conn.handle_timeout(now));
                end.collect_events();
            }
        }
    }

    /// Returns when the next item arrives, or when a link has room for a waiting message, if that
    /// is sooner.
    fn next_event(&self) -> Option<Time> {
        let ends = [&self.client, &self.server].into_iter();
        // If there is room now, the engine has already sent all that it could.
        let later = |end: &Endpoint| end.room_at(self.now).filter(|&room| room > self.now);
        let room = |end: &Endpoint| later(end).filter(|_| end.conn.wants_transmit());
        ends.filter_map(room).chain(self.next_arrival()).min()
    }

    /// Lets both engines send, and delivers what arrives next. Returns whether anything was sent or
    /// delivered.
    pub fn step(&mut self) -> bool {
        self.step_until(Time::MAX)
    }

    /// Lets both engines send, and delivers what arrives next. If a timer is due before anything
    /// arrives, only advances the time to the timer and handles the timer. If nothing arrives until
    /// `until`, only advances the time to `until`. Returns whether there may be more to do before
    /// `until`.
    pub fn step_until(&mut self, until: Time) -> bool {
        let sent = self.transmit();
        let Some(event) = self.next_event() else {
            if until < Time::MAX {
                self.now = self.now.max(until);
            }
            return sent && until == Time::MAX;
        };
        if event > until {
            self.now = self.now.max(until);
            return false;
        }
        if event > self.now {
            match self.next_timeout() {
                Some(timeout) if timeout < event => self.now = self.now.max(timeout),
                _ => self.now = event,
            }
        }
        self.deliver();
        self.fire();
        true
    }

    /// Runs until nothing is in flight. Does not wait for timers that are due later.
    pub fn drive(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the two never come to rest");
    }

    /// Advances the time to the next timer, and fires it. Returns `false` if no timer was running.
    pub fn advance(&mut self) -> bool {
        let Some(timeout) = self.next_timeout() else { return false };
        self.now = self.now.max(timeout);
        self.fire();
        true
    }

    /// If a message arrives within `time`, handles that message. Otherwise lets `time` pass, and
    /// handles a timer if one is due.
    pub fn tick(&mut self, time: Duration) {
        if !self.step_until(self.now + time)
            && self.next_timeout().is_some_and(|timeout| timeout <= self.now)
        {
            self.advance();
        }
    }

    /// Lets `time` pass. Both ends handle each timer when it is due, and send all that they can.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drive();
        for fired in 0.. {
            if self.next_timeout().is_none_or(|timeout| timeout > until) {
                break;
            }
            assert!(fired < 100_000, "a timer that is due again as soon as it was handled");
            self.advance();
            self.drive();
        }
        self.now = self.now.max(until);
    }

    /// Delivers everything that is in flight, and then closes the transport under both ends.
    pub fn cut(&mut self) {
        while self.next_arrival().is_some() {
            self.now = self.next_arrival().unwrap_or_default().max(self.now);
            self.deliver();
        }
        for end in [&mut self.client, &mut self.server] {
            let now = self.now;
            end.of(|conn| conn.handle_socket_end(now, SocketError::Eof));
            end.collect_events();
        }
    }

    /// Resets the transport under both ends. Everything that is in flight is lost.
    pub fn reset(&mut self) {
        for end in [&mut self.client, &mut self.server] {
            end.in_flight.clear();
            let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            end.conn.handle_socket_end(self.now, error.into());
            end.collect_events();
        }
    }

    // ---- steps that many tests need ----

    /// Opens a stream from `side`, so that both ends know it.
    pub fn open_bi(&mut self, side: Side) -> StreamId {
        let id = self.end(side).open(Dir::Bi);
        let now = self.now;
        self.end(side).conn.send_stream(now, id).announce();
        self.drive();
        assert_eq!(self.end(!side).accept(Dir::Bi), id);
        id
    }

    /// Both applications drop a stream, and the frames about that are delivered to both ends.
    pub fn release_both(&mut self, id: StreamId) {
        self.client.release(id);
        self.server.release(id);
        self.drive();
    }

    /// Writes all of `data` while the other end reads. Returns what was read.
    pub fn transfer(&mut self, from: Side, id: StreamId, data: &[u8]) -> Vec<u8> {
        let mut read = Vec::with_capacity(data.len());
        let mut written = 0;
        while read.len() < data.len() {
            written += self.end(from).write(id, &data[written..]);
            self.drive();
            let (bytes, _) = self.end(!from).read(id);
            assert!(!bytes.is_empty(), "stuck after {} of {}", read.len(), data.len());
            read.extend_from_slice(&bytes);
            self.drive();
        }
        read
    }
}
