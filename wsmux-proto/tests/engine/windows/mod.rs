//! Windows that grow: to what the path and the reader can use, no further, and out of a budget.

mod budget;
mod growth;
mod round_trip;

use wsmux_proto::Frame;

use crate::support::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const MBIT: u64 = 1_000_000;

/// The window that each stream has in any case.
const INITIAL: u64 = MIB;

/// Of the socket: that it is smaller than what is on the way is the point of the send buffer's
/// being small.
const SOCKET: usize = 256 * 1024;

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_))
}

fn path(rtt: u64, mbit: u64) -> Path {
    Path { rtt: ms(rtt), rate: mbit * MBIT, queue: SOCKET }
}
