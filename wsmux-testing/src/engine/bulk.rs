//! Streams that carry as much as they can over a link with a given delay and rate, to readers of a
//! given speed.

use std::time::Duration;

use bytes::Bytes;
use wsmux_proto::{Config, Frame, Read, StreamId, Time, Wire};

use super::{CLIENT, Item, Pair, ms, scripted_peer};

/// The delay and the rate of a link, which are the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// The round-trip time.
    pub rtt: Duration,
    /// The rate in bits a second.
    pub rate: u64,
    /// How many bytes can wait for the link. They wait in the socket's buffer, or in a large buffer
    /// between the socket and the link.
    pub queue: usize,
}

impl Path {
    /// Returns how many bytes the link carries in one round trip.
    pub fn bandwidth_delay(&self) -> u64 {
        self.bytes_in(self.rtt)
    }

    pub fn bytes_in(&self, time: Duration) -> u64 {
        (u128::from(self.rate / 8) * time.as_nanos() / 1_000_000_000) as u64
    }
}

/// How the application reads.
#[derive(Debug, Clone, Copy)]
pub enum Reader {
    AtOnce,
    Never,
    /// Reads at most this many bytes at a time, and waits for this duration after each read.
    Every(Duration, usize),
}

/// A stream from the client to the server. The client always has more to write. The server reads as
/// `reader` says.
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
        // The client sends too much data to record. The server sends only grants and pings.
        pair.client.record = false;
        pair.drive();
        Self { pair, flows: Vec::new(), block: Bytes::from(vec![7; 64 * 1024]) }
    }

    /// Opens one more stream, and returns its number.
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
                // An error means that the test has ended the stream.
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

    /// Lets time pass. The applications run after each message, and at least once per millisecond.
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

    /// Lets time pass, and returns how many bytes stream `nth` delivered meanwhile.
    pub fn brings(&mut self, nth: usize, time: Duration) -> u64 {
        let before = self.flows[nth].read;
        self.run(time);
        self.flows[nth].read - before
    }

    /// Returns the server's window for stream `nth`.
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

    /// Returns by how much the server's windows have grown.
    pub fn growth(&self) -> u64 {
        self.pair.server.conn.stats(self.pair.now).window_growth
    }

    /// Returns how many frames of a kind the server has sent since the previous call.
    pub fn server_said(&mut self, kind: impl Fn(&Frame) -> bool) -> usize {
        let sent = self.pair.server.take_sent();
        let frames = sent.into_iter().flat_map(|item| match item {
            Item::Message(message) => scripted_peer::decode(Wire::QMux, message),
            other => panic!("{other:?}"),
        });
        frames.filter(kind).count()
    }
}
