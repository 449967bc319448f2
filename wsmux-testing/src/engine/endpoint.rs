//! One engine and the pipe that leads away from it, in virtual time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    Config, Connection, Dir, Event, MessageBuf, Outgoing, Read, ReadError, Side, StreamId, Time,
    Wire,
};

use super::Heap;

/// What a WebSocket carries.
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
            // RFC 6455 §5.5 answers control frames ahead of everything: they wait for no room.
            Self::Ping(_) | Self::Pong(_) | Self::Close { .. } => 0,
        }
    }
}

/// How a receiving half ends, as its application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    Open,
    Fin,
    Reset(u64),
    /// With its connection.
    Lost,
    /// Stopped here, or the end was already reported.
    Closed,
}

/// Lost segments as the layers above TCP see them. No byte is missing, but a lost one arrives one
/// or more round trips late, and all bytes after it wait.
#[derive(Debug)]
pub struct Loss {
    /// How many of 1,000 segments are lost.
    pub per_mille: u64,
    pub rtt: Duration,
    pub seed: u64,
    /// How many were lost.
    pub lost: u64,
}

impl Loss {
    /// Of Ethernet, under TCP and its timestamps.
    const SEGMENT: usize = 1448;

    /// The delay of an item of `bytes` bytes.
    fn delay(&mut self, bytes: usize) -> Duration {
        let mut worst = Duration::ZERO;
        for _ in 0..bytes.div_ceil(Self::SEGMENT).max(1) {
            let mut delay = Duration::ZERO;
            // Each retransmission takes a round trip and may be lost itself; then it is a timer
            // that finds out.
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

    /// Numbers that look random (splitmix64).
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// One engine, and the pipe that leads away from it.
pub struct Endpoint {
    pub conn: Connection,
    /// The time of the last transfer, which is also that of the application's calls.
    pub now: Time,
    pub events: Vec<Event>,
    /// All that left, in order.
    pub sent: Vec<Item>,
    /// The most bytes that may be on their way, or with a `rate` may wait for the link; a message
    /// that begins below it goes whole.
    pub capacity: Option<usize>,
    /// What the link carries, in bytes a second; without it a message leaves in no time.
    pub rate: Option<u64>,
    /// When the link has carried all that it was given.
    idle_at: Time,
    /// The socket takes nothing.
    pub stalled: bool,
    /// What leaves is lost, as at a dead router.
    pub black_hole: bool,
    /// One of the two directions is a black hole, so that no acknowledgement comes: either what it
    /// is for is lost, or itself. A TCP takes then what its send buffer has room for (`capacity`),
    /// and never again anything: what is there has to be kept until it is acknowledged, and the
    /// buffer's size grows with acknowledgements alone (Linux does so in `tcp_new_space`).
    unacknowledged: bool,
    /// The bytes that stay in the buffer then: those that waited for the link, and those that were
    /// taken since.
    kept: usize,
    pub loss: Option<Loss>,
    /// Keep `sent`: off where a test moves much.
    pub record: bool,
    pub(super) in_flight: VecDeque<(Time, Item)>,
    bytes_in_flight: usize,
    has_closed: bool,
    out: MessageBuf,
    /// What the engine holds, where all its calls are made by [`of`](Endpoint::of).
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

    /// Calls the engine, and keeps account of what it took and gave back.
    pub fn of<T>(&mut self, call: impl FnOnce(&mut Connection) -> T) -> T {
        self.heap.of(|| call(&mut self.conn))
    }

    /// How long the link needs for `bytes` bytes.
    fn serialisation(&self, bytes: usize) -> Duration {
        let nanos = |rate| (bytes as u128 * 1_000_000_000 / u128::from(rate)) as u64;
        self.rate.map(nanos).map(Duration::from_nanos).unwrap_or_default()
    }

    /// When a message is taken; `None` for not before something else has happened.
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
        // What was sent before is delivered before.
        let arrival = self.idle_at + latency + late;
        self.bytes_in_flight += item.size();
        self.kept += if self.unacknowledged { item.size() } else { 0 };
        if self.record {
            self.sent.push(item.clone());
        }
        self.in_flight.push_back((arrival, item));
    }

    /// Lets out one item, if the engine has one and the pipe takes it.
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
            // A flush matters to a socket alone.
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

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.collect_events();
        std::mem::take(&mut self.events)
    }

    /// The messages that left since the last call.
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

    /// Says how many bytes the send buffer took.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> usize {
        self.conn.send_stream(self.now, id).write(data).expect("the stream is open")
    }

    pub fn finish(&mut self, id: StreamId) {
        self.conn.send_stream(self.now, id).finish().expect("the stream is open");
    }

    /// At most `max` bytes of what has come.
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

    /// All that has come.
    pub fn read(&mut self, id: StreamId) -> (Vec<u8>, End) {
        self.read_up_to(id, usize::MAX)
    }

    /// What an application does that drops both its handles.
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
