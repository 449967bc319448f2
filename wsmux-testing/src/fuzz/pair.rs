//! Two engines, their two applications, and a link of any rate and delay. The input decides what
//! the applications and the link do.

use wsmux_proto::Dir;

use super::input::Input;
use crate::engine::{
    CLIENT, SERVER, WIRES,
    world::{Ending, Op, World},
};

/// The largest number of operations in one case. More operations would take time and show nothing
/// new, because an input has only a few KiB.
const MAX_OPS: usize = 2_000;

const WINDOWS: [u64; 6] = [1, 9, 100, 700, 5_000, 65_536];
const BUDGETS: [u64; 5] = [0, 1, 100, 5_000, 100_000];

/// Lengths of the pieces of stream data in a case. The engine copies a short piece, and holds a
/// long piece by reference. The bound between them is 512 bytes in a message and 4,096 bytes in a
/// queue, so half of these lengths are next to one of these bounds.
const SIZES: [usize; 12] = [1, 2, 5, 300, 511, 512, 513, 2_047, 4_095, 4_096, 4_097, 16_000];

/// Checks C-13, C-19, C-24, C-26, C-33, C-53, C-54, C-57, C-70, C-71, J-28, Q-9 and Q-26.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let wire = input.pick(&WIRES);
    let windows = (input.pick(&WINDOWS), input.pick(&WINDOWS), input.pick(&BUDGETS));
    let send_buffer = input.pick(&[1, 10, 100, 3_000, 10_000]);
    // The latency is at least 1 ms. If no time passed, a window of one byte would need more grants
    // at once than the budget allows.
    let latency = input.pick(&[1, 2, 7, 100]);
    let ending = input.pick(&[
        Ending::WindUp,
        Ending::WindUp,
        Ending::Cut,
        Ending::Close(CLIENT),
        Ending::Drain(SERVER),
    ]);
    // With a window of one byte, each byte takes a round trip. So less is written if the window is
    // small. A few bytes then show as much as many bytes would show.
    let most = (windows.0 * 40).clamp(40, 20_000) as usize;
    let mut world = World::new(wire, windows, send_buffer, latency);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        match op(&mut input, most) {
            Some(op) => world.apply(&op),
            None => pieces(&mut world, &mut input, most),
        }
    }
    world.end(ending);
}

/// Writes pieces of two alternating sizes, as bytes or as chunks. Some of the pieces share a
/// message. The other application reads some of the pieces.
fn pieces(world: &mut World, input: &mut Input<'_>, most: usize) {
    let (side, nth) = (input.pick(&[CLIENT, SERVER]), input.below(3));
    if nth == 0 {
        // After this, the new stream is the newest stream at each end.
        world.apply(&Op::Open(side, Dir::Bi));
        world.apply(&Op::Announce(side, 0));
        world.apply(&Op::Steps(3));
        world.apply(&Op::Accept(!side));
    }
    let sizes = [input.pick(&SIZES), input.pick(&SIZES)].map(|size| size.min(most));
    let (rounds, chunks) = (input.pick(&[10, 80, 600]), input.below(4));
    let (steps_every, read_every, read) =
        (1 + input.below(4), 1 + input.below(40), input.pick(&SIZES));
    for round in 0..rounds {
        let len = sizes[round % 2];
        world.apply(&match chunks & (1 << (round % 2)) {
            0 => Op::Write(side, nth, len),
            _ => Op::WriteChunk(side, nth, len),
        });
        if round % steps_every == 0 {
            world.apply(&Op::Steps(2));
        }
        if round % read_every == read_every - 1 {
            world.apply(&Op::Read(!side, nth, read));
        }
    }
}

/// Returns the next operation of an application or of the link. Returns `None` if [`pieces`] should
/// run instead.
fn op(input: &mut Input<'_>, most: usize) -> Option<Op> {
    let what = input.below(34);
    let side = input.pick(&[CLIENT, SERVER]);
    let nth = if what < 28 { input.below(8) } else { 0 };
    Some(match what {
        0 | 1 => Op::Open(side, if nth % 4 == 3 { Dir::Uni } else { Dir::Bi }),
        2 | 3 => Op::Accept(side),
        4..8 => Op::Write(side, nth, input.below(most.min(3_000))),
        8 | 9 => Op::WriteChunk(side, nth, input.below(most)),
        10..15 => Op::Read(side, nth, 1 + input.below(5_000)),
        15 | 16 => Op::Finish(side, nth),
        17 => Op::Reset(side, nth),
        18 => Op::Stop(side, nth),
        19 => Op::Priority(side, nth, input.below(5) as i32 - 2),
        20 => Op::DropSender(side, nth),
        21 => Op::DropReceiver(side, nth),
        22 => Op::Announce(side, nth),
        23 => Op::ResetAt(side, nth, input.between(0, 5_000)),
        24..28 => Op::Steps(1 + nth),
        28 => Op::Datagram(side, input.below(2_000)),
        29 => Op::Pipe(side, input.flag().then(|| 1 + input.below(5_000))),
        30 => Op::Pass(input.between(0, 500)),
        31 => Op::Window(side, input.pick(&WINDOWS[2..])),
        32 => Op::Limit(side, input.between(0, 6)),
        _ => return None,
    })
}
