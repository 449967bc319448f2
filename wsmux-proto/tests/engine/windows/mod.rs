//! Windows that grow to the size that the path and the reader can use, but no further, and within a
//! budget.

mod budget;
mod growth;
mod round_trip;

use wsmux_proto::Frame;

use crate::support::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const MBIT: u64 = 1_000_000;

/// The window that each stream begins with.
const INITIAL: u64 = MIB;

/// The size of the socket's buffer. It is smaller than what is in flight, so that the tests show
/// that small buffers at the sender do not limit the growth of a window.
const SOCKET: usize = 256 * 1024;

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_))
}

fn path(rtt: u64, mbit: u64) -> Path {
    Path { rtt: ms(rtt), rate: mbit * MBIT, queue: SOCKET }
}
