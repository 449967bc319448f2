//! Draining a connection whose peer does not know of the drain or does not cooperate.

use crate::support::*;
use wsmux_proto::{Config, Dir, Frame, Wire};

/// An honest peer cannot know that this end is draining. So on a stream that the drain refuses, the
/// peer may still send as much as the stream's window allows.
#[test]
fn a_stream_that_is_refused_by_a_drain_does_not_end_the_others() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let busy = bidi(CLIENT, 0);
    peer.send(&[stream(busy, 0, b"request", true)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(busy));
    peer.conn.send_stream(peer.now, busy).write(b"the first half").unwrap();
    peer.conn.drain(peer.now, None);
    peer.said();
    // The peer writes a log in lines of 32 bytes for 100 ms, the time that our STOP_SENDING may
    // take to reach it. The log stays within the 1 MiB that each stream may send without a further
    // grant.
    let log = uni(CLIENT, 0);
    for line in 0..20_000u64 {
        peer.now = at(ms(line / 200));
        peer.send(&[stream(log, line * 32, &[b'x'; 32], false)]);
        if !peer.conn.is_established() {
            panic!("after {line} lines: {:?}", peer.conn.close_reason());
        }
    }
}

/// The application has dropped a stream, and the peer does not answer our STOP_SENDING, although
/// RFC 9000 §3.5 requires an answer.
#[test]
fn a_peer_that_answers_no_stop_does_not_hold_up_a_drain() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = bidi(CLIENT, 0);
    peer.send(&[stream(id, 0, b"x", false)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    peer.conn.send_stream(peer.now, id).release();
    peer.conn.recv_stream(peer.now, id).release();
    peer.said();
    peer.conn.drain(peer.now, None);
    peer.said();
    // For an hour the peer answers our pings, so it counts as alive. The peer sends nothing more.
    let mut pongs = 0;
    peer.send(&[Frame::Pong(code(0))]);
    while peer.now < at(secs(3_600)) && peer.conn.is_established() {
        peer.now = peer.conn.poll_timeout().unwrap().max(peer.now);
        peer.conn.handle_timeout(peer.now);
        for said in peer.said() {
            if let Said::Frames(frames) = said {
                for frame in frames {
                    if let Frame::Ping(number) = frame {
                        pongs += 1;
                        peer.send(&[Frame::Pong(number)]);
                    }
                }
            }
        }
    }
    assert!(!peer.conn.is_established(), "after {:?} and {pongs} pongs", peer.now);
}
