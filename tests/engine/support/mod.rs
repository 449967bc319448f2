//! What the engine's tests stand on: two engines on a pipe, or one engine against bytes by hand.

pub(crate) mod bulk;
pub(crate) mod encode;
pub(crate) mod heap;
pub(crate) mod pair;
pub(crate) mod scripted_peer;
pub(crate) mod world;

pub(crate) use bulk::{Bulk, Path, Reader};
pub(crate) use encode::*;
pub(crate) use heap::Heap;
pub(crate) use pair::{End, Endpoint, Item, Loss, Pair};
pub(crate) use scripted_peer::{Said, ScriptedPeer};

use std::time::Duration;

use wsmux::proto::{Side, VarInt, Wire};

/// Every test that is about streams runs on both.
pub(crate) const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

pub(crate) const CLIENT: Side = Side::Client;
pub(crate) const SERVER: Side = Side::Server;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn code(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("a code of 62 bits")
}

/// Bytes that no two places of a stream share by accident.
pub(crate) fn pattern(seed: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed * 0x51) >> 29) as u8)
        .collect()
}
