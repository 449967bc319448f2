//! Each kind of useless work that a peer can cause has a budget. The tests attack each budget, and
//! check that an honest peer does not exceed it.

mod answers;
mod blocked;
mod cancelled;
mod datagrams;
mod ended_streams;
mod grants;
mod no_effect;
mod padding;
mod pings;

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Dir, Frame, Incoming, Read, StreamId, TransportErrorCode, Wire,
};

/// How often `honest` repeats an action. The number is larger than the burst of any budget.
const MANY: u64 = 12_000;

fn peer(wire: Wire) -> ScriptedPeer {
    ScriptedPeer::new(wire, SERVER, &Config::default())
}

/// Makes the peer repeat an action and read all our answers, until the connection is closed.
/// Asserts that `budget` is the reason for the close, and returns how many actions the budget
/// allowed.
fn flood(
    mut peer: ScriptedPeer,
    budget: &str,
    mut again: impl FnMut(&mut ScriptedPeer, u64),
) -> u64 {
    for count in 0..10 * MANY {
        again(&mut peer, count);
        if let Some(ConnectionError::TransportError(error)) = peer.conn.close_reason() {
            assert!(error.reason.ends_with(budget), "{error}");
            peer.assert_violation(budget, TransportErrorCode::EXCESSIVE_LOAD, 1002);
            return count;
        }
        peer.said();
        peer.events();
    }
    panic!("{budget}: nothing stops it");
}

/// Has the peer repeat an action `MANY` times and read all our answers. Asserts that the connection
/// stays open.
fn honest(mut peer: ScriptedPeer, mut again: impl FnMut(&mut ScriptedPeer, u64)) -> ScriptedPeer {
    for count in 0..MANY {
        again(&mut peer, count);
        peer.said();
        peer.events();
        peer.assert_open(&format!("after {count}"));
    }
    peer
}

fn useless(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(Time::EPOCH).useless_received
}

/// Returns how many grants are counted as useless when an honest peer opens `MANY` streams. On
/// js-ws the first message of each stream is a grant.
fn acks(wire: Wire) -> u64 {
    if wire == Wire::JsWs { MANY } else { 0 }
}

/// Has the peer send a request: one byte and the end of the stream.
fn request(peer: &mut ScriptedPeer, index: u64) -> StreamId {
    let id = bidi(CLIENT, index);
    match peer.wire {
        Wire::QMux => peer.send(&[stream(id, 0, b"?", true)]),
        _ => {
            peer.send(&[ack(id, 1 << 16)]);
            // If this request exceeded the budget, our close is left for `flood` to check.
            if peer.conn.close_reason().is_none() {
                peer.said();
                peer.send(&[data(id, b"?"), close_read(id)]);
            }
        }
    }
    id
}

fn accept(peer: &mut ScriptedPeer, id: StreamId) {
    assert_eq!(peer.conn.accept(id.dir()), Some(id));
}

/// The application reads the request, and answers it with one byte.
fn answer(peer: &mut ScriptedPeer, id: StreamId) {
    while let Ok(Read::Data(_)) = peer.conn.recv_stream(peer.now, id).read(100) {}
    peer.conn.send_stream(peer.now, id).write(b"!").unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    peer.said();
}

/// The application drops both halves of a stream that the peer has cancelled.
fn let_go(peer: &mut ScriptedPeer, id: StreamId) {
    peer.conn.send_stream(peer.now, id).release();
    peer.conn.recv_stream(peer.now, id).release();
}

/// The application ignores every error and still writes an answer, as the code of many examples
/// does.
fn answer_all_the_same(peer: &mut ScriptedPeer, id: StreamId) {
    let _ = peer.conn.recv_stream(peer.now, id).read(100);
    let _ = peer.conn.send_stream(peer.now, id).write(b"an error");
    let _ = peer.conn.send_stream(peer.now, id).finish();
    let_go(peer, id);
}

/// The peer cancels a request that it has just sent. `whole` says whether it has also sent the end
/// of the request.
fn cancelled_call(peer: &mut ScriptedPeer, index: u64, whole: bool) {
    let id = bidi(CLIENT, index);
    if whole {
        request(peer, index);
        peer.send(&[stop(id, 8)]);
    } else if peer.wire == Wire::QMux {
        peer.send(&[stream(id, 0, b"?", false), reset(id, 8, 1), stop(id, 8)]);
    } else {
        peer.send(&[ack(id, 1 << 16), error_read(id, 8), stop(id, 8)]);
    }
    // The request that exceeded the budget has ended the connection and cannot be accepted.
    if peer.conn.close_reason().is_none() {
        accept(peer, id);
        let_go(peer, id);
    }
}
