//! A peer that reads nothing, but sends something now and then so that it looks alive.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{
    Config, Connection, ConnectionError, Dir, Frame, Incoming, StreamId, Timeout, Wire,
};

fn config(stall: Option<u64>) -> Config {
    let mut config = Config::default();
    config.window_growth_budget(0).write_stall_timeout(stall.map(secs));
    config
}

/// Returns a client with a stream that has something to send.
fn with_data(wire: Wire, config: &Config) -> (ScriptedPeer, StreamId) {
    let mut peer = ScriptedPeer::new(wire, CLIENT, config);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    if wire == Wire::JsWs {
        peer.send(&[ack(id, 1 << 30)]);
    }
    peer.conn.send_stream(peer.now, id).write(&[7; 100_000]).unwrap();
    (peer, id)
}

/// Advances the time by one second. Meanwhile the socket accepts nothing, and the peer sends
/// something that needs no answer.
fn deaf_second(peer: &mut ScriptedPeer) {
    let until = peer.now + secs(1);
    peer.conn.handle_socket_full(peer.now);
    while let Some(timeout) = peer.conn.poll_timeout().filter(|&timeout| timeout <= until) {
        peer.now = timeout.max(peer.now);
        peer.conn.handle_timeout(peer.now);
        if peer.conn.close_reason().is_some() {
            return;
        }
    }
    peer.now = until;
    match peer.wire {
        Wire::QMux => peer.send(&[Frame::Padding(1)]),
        _ => peer.conn.handle(peer.now, Incoming::Ping),
    }
}

/// Returns how long it takes until the connection ends, or `None` if it takes more than `most`
/// seconds.
fn deaf_until_end(peer: &mut ScriptedPeer, most: u64) -> Option<Duration> {
    let start = peer.now;
    for _ in 0..most {
        deaf_second(peer);
        if peer.conn.close_reason().is_some() {
            return Some(peer.now - start);
        }
    }
    None
}

fn stalled(conn: &Connection) -> bool {
    match conn.close_reason() {
        None => false,
        Some(ConnectionError::TimedOut(Timeout::WriteStall)) => true,
        Some(other) => panic!("{other}"),
    }
}

/// [C-78] If there is something to send, and the socket takes no message for the write-stall
/// timeout, the connection MUST time out, whatever arrives meanwhile.
/// [W-24] Our Close frame MUST have the code that the table of §3.3 gives.
#[test]
fn a_peer_that_pads_and_reads_nothing_is_given_up() {
    for wire in WIRES {
        for (setting, seconds) in [(Some(5), 5), (Some(90), 90)] {
            let (mut peer, _) = with_data(wire, &config(setting));
            assert_eq!(deaf_until_end(&mut peer, 1_000), Some(secs(seconds)), "{wire:?}");
            assert!(stalled(&peer.conn));
            // If the socket accepts a message now, this message is the WebSocket Close.
            assert!(matches!(peer.said()[..], [Said::Close { code: 1001, .. }]), "{wire:?}");
        }
        let (mut peer, _) = with_data(wire, &Config::default());
        assert_eq!(deaf_until_end(&mut peer, 1_000), Some(secs(60)), "{wire:?}: the default");
        let (mut peer, _) = with_data(wire, &config(None));
        assert_eq!(deaf_until_end(&mut peer, 10_000), None, "{wire:?}: for ever");
    }
}

#[test]
fn a_link_that_carries_a_message_now_and_then_is_slow_and_not_dead() {
    for wire in WIRES {
        let (mut peer, id) = with_data(wire, &config(Some(60)));
        for _ in 0..20 {
            assert_eq!(deaf_until_end(&mut peer, 59), None, "{wire:?}");
            peer.said_next().expect("there is always more");
            peer.conn.send_stream(peer.now, id).write(&[7; 100_000]).unwrap();
        }
        assert_eq!(deaf_until_end(&mut peer, 100), Some(secs(60)), "{wire:?}");
    }
}

#[test]
fn a_full_socket_is_no_stall_while_there_is_nothing_to_send() {
    for wire in WIRES {
        let mut config = config(Some(60));
        // With keep-alive there would always be a ping to send.
        config.keep_alive_interval(None);
        let mut peer = ScriptedPeer::new(wire, CLIENT, &config);
        assert_eq!(deaf_until_end(&mut peer, 600), None, "{wire:?}");
        assert!(!peer.conn.wants_socket_full());
        // From here on there is something to send, and the driver has to report that the socket
        // does not accept it.
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
        assert!(peer.conn.wants_socket_full());
        peer.conn.handle_socket_full(peer.now);
        assert!(!peer.conn.wants_socket_full());
        assert_eq!(deaf_until_end(&mut peer, 600), Some(secs(60)), "{wire:?}");
        assert!(stalled(&peer.conn));
    }
}

/// The machine sleeps for an hour, so the socket may have had room that this end did not notice.
/// This end therefore allows the peer more time, but only once. Otherwise an end that is always
/// late would never give up a dead peer.
#[test]
fn our_own_stall_is_not_taken_for_the_peers_but_only_once() {
    for wire in WIRES {
        let (mut peer, id) = with_data(wire, &config(Some(60)));
        let late = |peer: &mut ScriptedPeer| {
            peer.conn.handle_socket_full(peer.now);
            peer.now += secs(3_600);
            // The peer sends something first, so the connection does not end because of silence.
            match peer.wire {
                Wire::QMux => peer.send(&[Frame::Padding(1)]),
                _ => peer.conn.handle(peer.now, Incoming::Ping),
            }
            peer.conn.handle_timeout(peer.now);
            stalled(&peer.conn)
        };
        for _ in 0..3 {
            assert!(!late(&mut peer), "{wire:?}: we slept");
            // The driver now finds that the socket had room.
            peer.said_next().expect("there is more");
            peer.conn.send_stream(peer.now, id).write(&[7; 100_000]).unwrap();
        }
        assert!(!late(&mut peer), "{wire:?}: we slept");
        assert!(late(&mut peer), "{wire:?}: again, and nothing has left");
    }
}

/// [C-79] A connection that is closing MUST release the socket when the close wait is over, whether
/// or not the socket has accepted our Close.
#[test]
fn a_peer_that_reads_nothing_holds_a_close_no_longer_than_the_wait() {
    for wire in WIRES {
        for by_stall in [false, true] {
            let mut config = config(by_stall.then_some(60));
            config.close_timeout(secs(3));
            let (mut peer, _) = with_data(wire, &config);
            match by_stall {
                true => assert!(deaf_until_end(&mut peer, 100).is_some()),
                false => peer.conn.close(peer.now, code(1), "enough".into()),
            }
            let closed = peer.now;
            while !peer.conn.is_closed() {
                peer.conn.handle_socket_full(peer.now);
                peer.now = peer.conn.poll_timeout().expect("the close wait");
                peer.conn.handle_timeout(peer.now);
            }
            assert_eq!(peer.now, closed + secs(3), "{wire:?}");
        }
    }
}
