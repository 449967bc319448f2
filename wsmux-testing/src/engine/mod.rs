//! The helpers of the engine's tests: two engines connected by a pipe, or one engine and bytes that
//! a test writes by hand.

pub mod bulk;
pub mod encode;
pub mod endpoint;
pub mod heap;
pub mod pair;
pub mod scripted_peer;
pub mod world;

pub use bulk::{Bulk, Path, Reader};
pub use encode::*;
pub use endpoint::{End, Endpoint, Item, Loss};
pub use heap::Heap;
pub use pair::Pair;
pub use scripted_peer::{Said, ScriptedPeer};

use std::time::Duration;

pub use wsmux_proto::Time;
use wsmux_proto::{Side, VarInt, Wire};

/// Both wires. Every test about streams runs on each wire.
pub const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

pub const CLIENT: Side = Side::Client;
pub const SERVER: Side = Side::Server;

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Returns the time that is `distance` after the engines' epoch.
pub const fn at(distance: Duration) -> Time {
    Time::from_epoch(distance)
}

pub fn code(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a code of 62 bits")
}

/// Returns bytes that depend on their position, so that a part at a wrong position is detected.
pub fn pattern(seed: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed * 0x51) >> 29) as u8)
        .collect()
}
