//! What SPEC.md demands, a file to a section, where the other tests say it only in passing
//! or not at all. `tests/spec/` finds out that nothing is left over.

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

/// A connection of its own making, with the peer's stream 0 open and accepted, and nothing to say.
fn with_stream(wire: Wire, config: &Config) -> (ScriptedPeer, StreamId) {
    let mut peer = ScriptedPeer::new(wire, SERVER, config);
    let id = bidi(CLIENT, 0);
    peer.send(&[open(wire, id)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.said();
    peer.events();
    (peer, id)
}

/// What opens a stream of the peer's, and gives all the credit that one can want.
fn open(wire: Wire, id: StreamId) -> Frame {
    match wire {
        Wire::QMux => stream(id, 0, b"", false),
        _ => ack(id, 1 << 30),
    }
}

/// Data that begins at this offset.
fn some(wire: Wire, id: StreamId, offset: u64, bytes: &[u8]) -> Frame {
    match wire {
        Wire::QMux => stream(id, offset, bytes, false),
        _ => data(id, bytes),
    }
}

/// The end of a stream of `size` bytes.
fn fin(wire: Wire, id: StreamId, size: u64) -> Frame {
    match wire {
        Wire::QMux => stream(id, size, b"", true),
        _ => close_read(id),
    }
}

/// A reset of a stream of `size` bytes.
fn gives_up(wire: Wire, id: StreamId, code: u64, size: u64) -> Frame {
    match wire {
        Wire::QMux => reset(id, code, size),
        _ => error_read(id, code),
    }
}

/// A client whose peer tells it these limits.
fn client(parameters: TransportParameters) -> ScriptedPeer {
    ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters)
}

fn live(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(wsmux_proto::Time::EPOCH).live_streams
}
