//! Windows that grow. A window grows to the size that the path and the reader can use, and no
//! further. All windows together stay within a budget.

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

/// The size of the socket's buffer, which is smaller than the amount of data in flight. So the
/// tests show that small buffers at the sender do not limit the growth of a window.
const SOCKET: usize = 256 * 1024;

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_))
}

fn path(rtt: u64, mbit: u64) -> Path {
    Path { rtt: ms(rtt), rate: mbit * MBIT, queue: SOCKET }
}
