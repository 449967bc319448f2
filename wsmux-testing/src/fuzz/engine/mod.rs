//! One engine with a peer that sends any bytes, an application that calls any methods, and a clock
//! that jumps.

mod application;
mod check;
mod peer;

use std::collections::BTreeMap;

use wsmux_proto::{Config, Connection, Dir, Frame, Side, StreamId, Time, VarInt, Wire};

use super::input::Input;
use crate::engine::{CLIENT, Heap, SERVER, WIRES, ms};
use peer::parameters;

/// The most operations of one case. More operations would take time and show nothing new, because
/// an input has only a few KiB.
const MAX_OPS: usize = 1_000;

/// The most timers that one jump of the clock may make due. No jump comes near this bound.
const MAX_TIMERS: usize = 1_000;

const DATAGRAMS: usize = 3_000;
const WINDOWS: [u64; 5] = [1, 20, 300, 5_000, 300_000];
/// Lengths of the pieces of stream data in a case. The engine copies a short piece, and holds a
/// long piece by reference. The bound between them is 512 bytes in a message and 4,096 bytes in a
/// queue, so half of these lengths are next to one of these bounds.
const SIZES: [usize; 12] = [1, 2, 5, 300, 511, 512, 513, 2_047, 4_095, 4_096, 4_097, 16_000];
const MAX: u64 = VarInt::MAX.into_inner();
/// The largest stream count of RFC 9000 §4.6.
const MAX_COUNT: u64 = 1 << 60;

/// Checks C-27, C-32, C-33, C-53, C-54, C-70, C-71, Q-3, Q-9 and W-11.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut case = Case::new(&mut input);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        case.step(&mut input);
        case.check();
    }
    case.end();
}

struct Case {
    conn: Connection,
    heap: Heap,
    wire: Wire,
    /// The engine's side.
    side: Side,
    now: Time,
    /// How many bytes of each stream the peer has sent.
    sent: BTreeMap<StreamId, u64>,
    last_message: Vec<u8>,
    /// The index of the next stream of a flood. This index is above the indices that most frames
    /// use.
    flooded: u64,
    /// All streams that the application holds.
    held: Vec<StreamId>,
    /// The streams for whose end the application waits.
    watched: Vec<StreamId>,
    opened: u64,
    largest_window: u64,
    /// The largest window without growth; `largest_window` includes growth.
    largest_initial_window: u64,
    largest_limit: u64,
    budget: u64,
    send_buffer: u64,
    largest_chunk: u64,
    has_closed: bool,
}

impl Case {
    fn new(input: &mut Input<'_>) -> Self {
        let (wire, side) = (input.pick(&WIRES), input.pick(&[CLIENT, SERVER]));
        let (window, max_window) = (input.pick(&WINDOWS), input.pick(&WINDOWS));
        let (budget, limit) = (input.pick(&[0, 100, 20_000]), input.between(0, 5));
        let send_buffer = input.pick(&[1, 100, 200_000]);
        let mut config = Config::default();
        config
            .stream_receive_window(window)
            .max_stream_receive_window(max_window)
            .window_growth_budget(budget)
            .send_buffer(send_buffer)
            .max_concurrent_bidi_streams(limit)
            .max_concurrent_uni_streams(limit)
            .max_record_size(0)
            .datagram_receive_buffer_size(DATAGRAMS)
            .datagram_send_buffer_size(DATAGRAMS);
        if input.flag() {
            config.max_idle_timeout(None).keep_alive_interval(None);
        }
        let mut heap = Heap::default();
        let conn = heap.of(|| Connection::new(config, side, wire, Time::EPOCH));
        let mut case = Self {
            conn,
            heap,
            wire,
            side,
            now: Time::EPOCH,
            sent: BTreeMap::new(),
            last_message: Vec::new(),
            flooded: 6,
            held: Vec::new(),
            watched: Vec::new(),
            opened: 0,
            largest_window: window.max(max_window),
            largest_initial_window: window,
            largest_limit: limit,
            budget,
            send_buffer: send_buffer as u64,
            largest_chunk: 0,
            has_closed: false,
        };
        // In most cases the peer begins with valid parameters.
        if wire == Wire::QMux && input.below(8) > 0 {
            case.say(&[Frame::TransportParameters(parameters(input))]);
        }
        case
    }

    // ---- the peer ----

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(48) {
            0 => {
                let message = input.bytes(100).to_vec();
                self.message(message);
            }
            1..16 => {
                let frames: Vec<_> = (0..=input.below(3)).map(|_| self.frame(input)).collect();
                self.say(&frames);
            }
            // A message that is harmless when it is sent once may exceed a budget when it is
            // repeated.
            16 => {
                for _ in 0..input.below(250) {
                    let message = self.last_message.clone();
                    self.message(message);
                }
            }
            17 => self.flood(input),
            18..20 => self.peer_socket(input),
            20..26 => {
                for _ in 0..=input.below(4) {
                    self.transmit();
                }
            }
            26..28 => self.time(input),
            28..31 => self.accept(),
            31 | 32 => {
                let dir = if input.below(4) == 0 { Dir::Uni } else { Dir::Bi };
                self.open(dir);
            }
            _ => match self.held.len() {
                0 => self.connection_call(input),
                held => {
                    let id = self.held[input.below(held)];
                    self.stream_call(id, input);
                }
            },
        }
    }

    fn time(&mut self, input: &mut Input<'_>) {
        self.now += ms(match input.below(4) {
            0 => 0,
            1 => input.between(0, 100),
            2 => input.between(0, 10_000),
            _ => input.between(0, 1_000_000),
        });
        self.fire();
    }

    fn fire(&mut self) {
        let mut fired = 0;
        while self.conn.poll_timeout().is_some_and(|at| at <= self.now) {
            self.heap.of(|| self.conn.handle_timeout(self.now));
            fired += 1;
            assert!(fired < MAX_TIMERS, "a timer that is due again as soon as it was handled");
        }
    }
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a value of 62 bits")
}
