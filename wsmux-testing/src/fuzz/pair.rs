//! Two engines, their two applications, and a link of any width and length, all of which do anything.

use wsmux_proto::Dir;

use super::input::Input;
use crate::engine::{
    CLIENT, SERVER, WIRES,
    world::{Ending, Op, World},
};

/// More than come out of a few KiB of input add nothing but time.
const MAX_OPS: usize = 2_000;

const WINDOWS: [u64; 6] = [1, 9, 100, 700, 5_000, 65_536];
const BUDGETS: [u64; 5] = [0, 1, 100, 5_000, 100_000];

/// Demands C-13, C-19, C-24, C-26, C-33, C-53, C-54, C-57, J-28, Q-9, Q-26.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let wire = input.pick(&WIRES);
    let windows = (input.pick(&WINDOWS), input.pick(&WINDOWS), input.pick(&BUDGETS));
    let send_buffer = input.pick(&[1, 10, 100, 3_000, 10_000]);
    // Where no time passes, a window of one byte takes more grants at once than their budget holds.
    let latency = input.pick(&[1, 2, 7, 100]);
    let ending = input.pick(&[
        Ending::WindUp,
        Ending::WindUp,
        Ending::Cut,
        Ending::Close(CLIENT),
        Ending::Shutdown(SERVER),
    ]);
    // A window of a byte carries a byte in a round trip: few of them show all that many do.
    let most = (windows.0 * 40).clamp(40, 20_000) as usize;
    let mut world = World::new(wire, windows, send_buffer, latency);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let op = op(&mut input, most);
        world.apply(&op);
    }
    world.end(ending);
}

fn op(input: &mut Input<'_>, most: usize) -> Op {
    let what = input.below(34);
    let side = input.pick(&[CLIENT, SERVER]);
    let nth = if what < 28 { input.below(8) } else { 0 };
    match what {
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
        _ => Op::Steps(1),
    }
}
