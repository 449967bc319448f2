//! Tests for the requirements of SPEC.md that the other tests do not check, or check only
//! incidentally. There is a file for each section. `tests/spec/` checks that every requirement has
//! a test.

mod close;
mod connection;
#[cfg(feature = "tokio")]
mod handshake;
mod jsws;
mod qmux;
mod streams;

use wsmux::{
    Config,
    proto::{Dir, Frame, StreamId, TransportParameters, Wire},
};
use wsmux_testing::engine::*;

/// Returns an established connection with nothing to send, on which the peer's stream 0 is open and
/// has been accepted.
fn with_stream(wire: Wire, config: &Config) -> (ScriptedPeer, StreamId) {
    let mut peer = ScriptedPeer::new(wire, SERVER, config);
    let id = bidi(CLIENT, 0);
    peer.send(&[open(wire, id)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.said();
    peer.events();
    (peer, id)
}

/// Returns a frame with which the peer opens a stream. On js-ws the frame also grants as much
/// credit as any test needs.
fn open(wire: Wire, id: StreamId) -> Frame {
    match wire {
        Wire::QMux => stream(id, 0, b"", false),
        _ => ack(id, 1 << 30),
    }
}

/// Returns a frame with data that begins at this offset.
fn some(wire: Wire, id: StreamId, offset: u64, bytes: &[u8]) -> Frame {
    match wire {
        Wire::QMux => stream(id, offset, bytes, false),
        _ => data(id, bytes),
    }
}

/// Returns the frame that finishes a stream of `size` bytes.
fn fin(wire: Wire, id: StreamId, size: u64) -> Frame {
    match wire {
        Wire::QMux => stream(id, size, b"", true),
        _ => close_read(id),
    }
}

/// Returns the frame that resets a stream of `size` bytes.
fn gives_up(wire: Wire, id: StreamId, code: u64, size: u64) -> Frame {
    match wire {
        Wire::QMux => reset(id, code, size),
        _ => error_read(id, code),
    }
}

/// Returns a client whose peer advertises these limits.
fn client(parameters: TransportParameters) -> ScriptedPeer {
    ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters)
}

fn live(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(wsmux_proto::Time::EPOCH).live_streams
}
