//! One engine and the pipe that carries what it sends, in virtual time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    Config, Connection, Dir, Event, MessageBuf, Outgoing, Read, ReadError, Side, StreamId, Time,
    Wire,
};

use super::Heap;

/// An item that a WebSocket carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Message(Bytes),
    Ping([u8; 8]),
    Pong(Vec<u8>),
    Close { code: u16, reason: String },
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            // Control frames are sent ahead of everything else (RFC 6455 §5.5), so they do not need
            // room.
            Self::Ping(_) | Self::Pong(_) | Self::Close { .. } => 0,
        }
    }
}

/// How a receiving half ended, as its application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The half has not ended yet.
    Open,
    Fin,
    Reset(u64),
    /// The half ended with its connection.
    Lost,
    /// This application has stopped the half, or the end of the half has already been reported.
    Closed,
}

/// A model of lost segments, as the layers above TCP notice them. No byte is missing. But a lost
/// segment arrives one or more round trips late, and all bytes after the segment wait for it.
#[derive(Debug)]
pub struct Loss {
    /// How many of 1,000 segments are lost.
    pub per_mille: u64,
    pub rtt: Duration,
    pub seed: u64,
    /// How many segments were lost.
    pub lost: u64,
}

impl Loss {
    /// The size of an Ethernet segment, without the headers of TCP and its timestamps.
    const SEGMENT: usize = 1448;

    /// Returns by how much the item of `bytes` bytes is delayed.
    fn delay(&mut self, bytes: usize) -> Duration {
        let mut worst = Duration::ZERO;
        for _ in 0..bytes.div_ceil(Self::SEGMENT).max(1) {
            let mut delay = Duration::ZERO;
            // Each retransmission takes a round trip, and may be lost too. If it is lost, only a
            // timer detects the loss, so the next retransmission takes twice as long.
            let mut again = self.rtt;
            while self.next() % 1_000 < self.per_mille {
                self.lost += 1;
                delay += again;
                again *= 2;
            }
            worst = worst.max(delay);
        }
        worst
    }

    /// Returns numbers that look random (splitmix64).
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// One engine, and the pipe that carries what it sends.
pub struct Endpoint {
    pub conn: Connection,
    /// The time of the last transfer. The application's calls happen at this time as well.
    pub now: Time,
    pub events: Vec<Event>,
    /// All items that were sent, in order.
    pub sent: Vec<Item>,
    /// The limit on the bytes in flight or, with a `rate`, on the bytes that wait for the link. A
    /// message is accepted as a whole if the limit has not been reached before it.
    pub capacity: Option<usize>,
    /// The link's rate in bytes a second. Without it a message is sent in no time.
    pub rate: Option<u64>,
    /// The time at which the link will have sent all that it has accepted.
    idle_at: Time,
    /// Whether the socket accepts nothing.
    pub stalled: bool,
    /// Whether everything that is sent is lost, as behind a router that has failed.
    pub black_hole: bool,
    /// Whether one of the two directions is a black hole, so that no acknowledgement arrives. TCP
    /// has to keep data until the data is acknowledged, so it accepts only as many bytes as its
    /// send buffer has room for (`capacity`). The buffer does not grow either, because only
    /// acknowledgements make it grow (on Linux in `tcp_new_space`).
    unacknowledged: bool,
    /// The bytes that stay in the buffer while no acknowledgement arrives. These are the bytes that
    /// waited for the link when the acknowledgements stopped, and the bytes that were accepted
    /// after that.
    kept: usize,
    pub loss: Option<Loss>,
    /// Whether to record items in `sent`. Tests that move much data turn this off.
    pub record: bool,
    pub(super) in_flight: VecDeque<(Time, Item)>,
    bytes_in_flight: usize,
    has_closed: bool,
    out: MessageBuf,
    /// The heap memory that the engine holds. The value is right only if all calls of the engine
    /// are made with [`of`](Endpoint::of).
    pub heap: Heap,
}

impl Endpoint {
    pub(super) fn new(config: Config, side: Side, wire: Wire) -> Self {
        let mut heap = Heap::default();
        Self {
            conn: heap.of(|| Connection::new(config, side, wire, Time::EPOCH)),
            now: Time::EPOCH,
            events: Vec::new(),
            sent: Vec::new(),
            capacity: None,
            rate: None,
            idle_at: Time::EPOCH,
            stalled: false,
            black_hole: false,
            unacknowledged: false,
            kept: 0,
            loss: None,
            record: true,
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            has_closed: false,
            out: MessageBuf::new(),
            heap,
        }
    }

    /// Calls the engine, and records what it allocated and freed.
    pub fn of<T>(&mut self, call: impl FnOnce(&mut Connection) -> T) -> T {
        self.heap.of(|| call(&mut self.conn))
    }

    /// Returns how long the link needs for `bytes` bytes.
    fn serialisation(&self, bytes: usize) -> Duration {
        let nanos = |rate| (bytes as u128 * 1_000_000_000 / u128::from(rate)) as u64;
        self.rate.map(nanos).map(Duration::from_nanos).unwrap_or_default()
    }

    /// Returns when the pipe can accept a message, or `None` if something else has to happen first.
    pub(super) fn room_at(&self, now: Time) -> Option<Time> {
        let Some(capacity) = self.capacity.filter(|_| !self.stalled) else {
            return (!self.stalled).then_some(now);
        };
        if self.unacknowledged {
            return (self.kept < capacity).then_some(now);
        }
        match self.rate {
            None => (self.bytes_in_flight < capacity).then_some(now),
            Some(_) => Some(self.idle_at.saturating_sub(self.serialisation(capacity)).max(now)),
        }
    }

    pub(super) fn set_unacknowledged(&mut self, now: Time, unacknowledged: bool) {
        if std::mem::replace(&mut self.unacknowledged, unacknowledged) == unacknowledged {
            return;
        }
        let waits = (self.idle_at - now).as_micros();
        self.kept = self.rate.map_or(0, |rate| (waits * u128::from(rate) / 1_000_000) as usize);
    }

    pub(super) fn push(&mut self, now: Time, latency: Duration, item: Item) {
        self.idle_at = self.idle_at.max(now) + self.serialisation(item.size());
        let late = self.loss.as_mut().map(|loss| loss.delay(item.size())).unwrap_or_default();
        // Items are delivered in the order in which they were sent, so a late item delays all items
        // after it.
        let arrival = self.idle_at + latency + late;
        self.bytes_in_flight += item.size();
        self.kept += if self.unacknowledged { item.size() } else { 0 };
        if self.record {
            self.sent.push(item.clone());
        }
        self.in_flight.push_back((arrival, item));
    }

    /// Sends one item, if the engine has one and the pipe accepts it.
    pub(super) fn transmit(&mut self, now: Time, latency: Duration, max: u64) -> bool {
        self.now = now;
        if self.room_at(now) != Some(now) {
            self.of(|conn| conn.handle_socket_full(now));
            return false;
        }
        let wanted = self.conn.wants_transmit();
        let transmit = self.heap.of(|| self.conn.poll_transmit(now, &mut self.out));
        assert!(wanted || transmit.is_none(), "wants_transmit hid {transmit:?}");
        let item = match transmit {
            None => return false,
            Some(Outgoing::Message(message)) => {
                let message = message.slices().collect::<Vec<_>>().concat();
                self.heap.of(|| self.out = MessageBuf::new());
                Item::Message(message.into())
            }
            Some(Outgoing::Ping(payload)) => Item::Ping(payload),
            Some(Outgoing::Close { code, reason }) => {
                assert!(reason.len() <= 123, "a Close has no more room (RFC 6455 §5.5)");
                Item::Close { code, reason }
            }
            // A flush has an effect only on a real socket.
            Some(_) => return true,
        };
        assert!(!self.has_closed, "{item:?} behind the Close");
        self.has_closed = matches!(item, Item::Close { .. });
        if let Item::Message(message) = &item {
            assert!(!message.is_empty() && message.len() as u64 <= max, "{} bytes", message.len());
        }
        self.push(now, latency, item);
        true
    }

    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.in_flight.front().map(|(arrival, _)| *arrival)
    }

    pub(super) fn take_arrived(&mut self, now: Time) -> Option<Item> {
        self.now = now;
        self.in_flight.front().filter(|(arrival, _)| *arrival <= now)?;
        let (_, item) = self.in_flight.pop_front()?;
        self.bytes_in_flight -= item.size();
        Some(item)
    }

    pub(super) fn collect_events(&mut self) {
        while let Some(event) = self.of(Connection::poll) {
            self.events.push(event);
        }
    }

    /// Returns the events since the previous call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.collect_events();
        std::mem::take(&mut self.events)
    }

    /// Returns the items that were sent since the previous call.
    pub fn take_sent(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.sent)
    }

    // ---- the application ----

    pub fn open(&mut self, dir: Dir) -> StreamId {
        self.conn.open(dir).expect("the connection lives").expect("the limit permits")
    }

    pub fn accept(&mut self, dir: Dir) -> StreamId {
        self.conn.accept(dir).expect("a stream has come")
    }

    /// Writes to a stream, and returns how many bytes the send buffer accepted.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> usize {
        self.conn.send_stream(self.now, id).write(data).expect("the stream is open")
    }

    pub fn finish(&mut self, id: StreamId) {
        self.conn.send_stream(self.now, id).finish().expect("the stream is open");
    }

    /// Reads at most `max` bytes of what has arrived.
    pub fn read_up_to(&mut self, id: StreamId, max: usize) -> (Vec<u8>, End) {
        let mut data = Vec::new();
        while data.len() < max {
            let most = max - data.len();
            let now = self.now;
            match self.of(|conn| conn.recv_stream(now, id).read(most)) {
                Ok(Read::Data(bytes)) => {
                    assert!(!bytes.is_empty(), "no bytes are no news");
                    data.extend_from_slice(&bytes);
                    self.heap.give_back(bytes);
                }
                Ok(Read::Finished) => return (data, End::Fin),
                Ok(Read::Blocked) => return (data, End::Open),
                Err(ReadError::Reset(code)) => return (data, End::Reset(code.into_inner())),
                Err(ReadError::ConnectionLost(_)) => return (data, End::Lost),
                Err(_) => return (data, End::Closed),
            }
        }
        (data, End::Open)
    }

    /// Reads everything that has arrived.
    pub fn read(&mut self, id: StreamId) -> (Vec<u8>, End) {
        self.read_up_to(id, usize::MAX)
    }

    /// Drops both handles of a stream, as an application would.
    pub fn release(&mut self, id: StreamId) {
        let now = self.now;
        self.of(|conn| {
            conn.send_stream(now, id).release();
            conn.recv_stream(now, id).release();
        });
    }

    pub fn live_streams(&self) -> u64 {
        self.conn.stats(Time::EPOCH).live_streams
    }
}
