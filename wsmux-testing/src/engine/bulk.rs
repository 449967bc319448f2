//! Streams that carry all they can over a link of some length and width, to readers of some speed.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{Config, Frame, Read, StreamId, Time, Wire};

use super::{CLIENT, Item, Pair, ms, scripted_peer};

/// How far and how wide, the same both ways.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// There and back.
    pub rtt: Duration,
    /// Bits a second.
    pub rate: u64,
    /// Bytes that wait before the link: a socket's buffer, or a bloated one on the way.
    pub queue: usize,
}

impl Path {
    /// What is on the way when the link is full, both ways.
    pub fn bandwidth_delay(&self) -> u64 {
        self.bytes_in(self.rtt)
    }

    pub fn bytes_in(&self, time: Duration) -> u64 {
        (u128::from(self.rate / 8) * time.as_nanos() / 1_000_000_000) as u64
    }
}

/// What the application does with what has come.
#[derive(Debug, Clone, Copy)]
pub enum Reader {
    AtOnce,
    Never,
    /// Takes this many bytes, or what there is, each time that the clock comes to a multiple.
    Every(Duration, usize),
}

/// One stream, its eager writer at the client, and its reader at the server.
pub struct Flow {
    pub id: StreamId,
    pub reader: Reader,
    pub read: u64,
    next_read: Time,
    left: Bytes,
}

pub struct Bulk {
    pub pair: Pair,
    pub flows: Vec<Flow>,
    block: Bytes,
}

impl Bulk {
    pub fn new(path: Path, config: &Config) -> Self {
        let mut pair = Pair::unconnected(Wire::QMux, config.clone(), config.clone());
        pair.latency = path.rtt / 2;
        for end in [&mut pair.client, &mut pair.server] {
            end.rate = Some(path.rate / 8);
            end.capacity = Some(path.queue);
        }
        // The data are too many to keep; what the server says are grants and pings.
        pair.client.record = false;
        pair.drive();
        Self { pair, flows: Vec::new(), block: Bytes::from(vec![7; 64 * 1024]) }
    }

    /// One more stream; gives its number.
    pub fn open(&mut self, reader: Reader) -> usize {
        let id = self.pair.open_bi(CLIENT);
        let next_read = self.pair.now;
        self.flows.push(Flow { id, reader, read: 0, next_read, left: Bytes::new() });
        self.flows.len() - 1
    }

    fn write(&mut self) {
        for flow in &mut self.flows {
            let mut send = self.pair.client.conn.send_stream(self.pair.now, flow.id);
            loop {
                if flow.left.is_empty() {
                    flow.left = self.block.clone();
                }
                // A stream that has ended is one that the test has ended.
                if send.write_chunk(&mut flow.left).unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    }

    fn read(&mut self) {
        for flow in &mut self.flows {
            let mut most = match flow.reader {
                Reader::AtOnce => usize::MAX,
                Reader::Never => 0,
                Reader::Every(period, bytes) if flow.next_read <= self.pair.now => {
                    flow.next_read = self.pair.now + period;
                    bytes
                }
                Reader::Every(..) => 0,
            };
            while most > 0
                && let Ok(Read::Data(data)) =
                    self.pair.server.conn.recv_stream(self.pair.now, flow.id).read(most)
            {
                flow.read += data.len() as u64;
                most -= data.len();
            }
        }
    }

    /// Lets time pass; the applications look up after each message, and each millisecond.
    pub fn run(&mut self, time: Duration) {
        let until = self.pair.now + time;
        while self.pair.now < until {
            let tick = (self.pair.now + ms(1)).min(until);
            loop {
                self.write();
                let moved = self.pair.step_until(tick);
                self.read();
                if !moved {
                    break;
                }
            }
            self.pair.client.take_events();
            self.pair.server.take_events();
        }
    }

    /// The same, and how many bytes stream `nth` brought meanwhile.
    pub fn brings(&mut self, nth: usize, time: Duration) -> u64 {
        let before = self.flows[nth].read;
        self.run(time);
        self.flows[nth].read - before
    }

    /// The window that the server gives to stream `nth`.
    pub fn window(&mut self, nth: usize) -> u64 {
        let id = self.flows[nth].id;
        self.pair
            .server
            .conn
            .recv_stream(self.pair.now, id)
            .stats()
            .expect("the stream lives")
            .window
    }

    /// What the server's windows have grown by.
    pub fn growth(&self) -> u64 {
        self.pair.server.conn.stats(self.pair.now).window_growth
    }

    /// How many frames of a kind the server has sent since the last look.
    pub fn server_said(&mut self, kind: impl Fn(&Frame) -> bool) -> usize {
        let sent = self.pair.server.take_sent();
        let frames = sent.into_iter().flat_map(|item| match item {
            Item::Message(message) => scripted_peer::decode(Wire::QMux, message),
            other => panic!("{other:?}"),
        });
        frames.filter(kind).count()
    }
}
