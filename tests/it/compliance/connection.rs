//! SPEC.md §8.1 to §8.4: progress, scheduling, credit, timers.

use wsmux::{
    Config,
    proto::{Dir, Frame, Read, TransportErrorCode, Wire},
};

use super::*;

/// [C-30] Reading from the socket MUST NOT wait for an application's read, for the accept queue, or
/// for a write to the socket.
#[test]
fn what_comes_is_taken_while_nothing_can_leave_and_nobody_accepts() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(1_000).max_concurrent_bidi_streams(20);
        let (mut peer, id) = with_stream(wire, &config);
        (1..20).for_each(|index| peer.send(&[open(wire, bidi(CLIENT, index))]));
        peer.said();
        // From here on the socket accepts nothing, although there is much to send.
        peer.conn.send_stream(peer.now, id).write(&[0; 100_000]).unwrap();
        for index in 1..20 {
            peer.send(&[some(wire, bidi(CLIENT, index), 0, &[0; 1_000])]);
        }
        let mut read = 0;
        for offset in 0..1_000 {
            peer.send(&[some(wire, id, offset, b"x")]);
            read += peer.conn.recv_stream(peer.now, id).read(9).unwrap().data().unwrap().len();
        }
        peer.assert_open("nothing waits for anything");
        assert_eq!(read, 1_000, "{wire:?}");
        assert!(peer.conn.wants_transmit());
    }
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
#[test]
fn what_was_demanded_a_thousand_times_is_answered_once() {
    let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
    peer.send(&[stream(id, 0, b"x", false)]);
    for nth in 0..1_000 {
        peer.send(&[Frame::Ping(code(nth)), stop(id, nth)]);
        peer.conn.recv_stream(peer.now, id).read(1).unwrap();
    }
    let said = peer.said();
    let [Said::Frames(frames)] = &said[..] else { panic!("{} messages", said.len()) };
    assert_eq!(frames[..], [Frame::Pong(code(999)), reset(id, 0, 0)]);
}

/// [C-34] Control frames MUST be sent before datagrams, and datagrams before stream data.
#[test]
fn in_one_message_control_goes_first_then_datagrams_then_data() {
    let (mut peer, id) = with_stream(Wire::QMux, &Config::default());
    let own = peer.conn.open(Dir::Bi).unwrap().unwrap();
    // The application asks for these frames in the opposite order.
    peer.conn.send_stream(peer.now, own).write(b"data").unwrap();
    peer.conn.send_stream(peer.now, own).set_priority(1_000).unwrap();
    peer.conn.send_datagram("datagram".into()).unwrap();
    peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
    peer.send(&[Frame::Ping(code(3))]);
    assert_eq!(
        peer.said(),
        [Said::Frames(vec![
            Frame::Pong(code(3)),
            stop(id, 1),
            Frame::Datagram("datagram".into()),
            stream(own, 0, b"data", false),
        ])]
    );
}

/// [C-37] A message with stream data MUST NOT be longer than 65536 bytes, headers included, nor
/// longer than the wire and the peer permit.
#[test]
fn a_message_is_filled_to_65536_bytes_and_not_to_one_more() {
    for wire in WIRES {
        let parameters = scripted_peer::generous_but(|limits| limits.max_record_size = 1 << 30);
        let mut config = Config::default();
        config.send_buffer(1 << 20);
        let mut peer = ScriptedPeer::with_parameters(wire, SERVER, &config, parameters);
        let id = bidi(CLIENT, 0);
        peer.send(&[open(wire, id)]);
        peer.said();
        peer.conn.send_stream(peer.now, id).write(&[0; 300_000]).unwrap();
        let lengths: Vec<_> =
            std::iter::from_fn(|| peer.said_bytes()).map(|message| message.len()).collect();
        assert!(lengths.iter().all(|&len| len <= 65_536), "{wire:?}: {lengths:?}");
        assert!(lengths[0] > 65_500, "{wire:?}: {lengths:?}");
    }
}

/// [C-40] A stream of the peer MUST count towards the stream limit until it is freed (C-4). So a
/// stream with unread data still counts, and a stream that the application has not accepted counts
/// as well.
#[test]
fn a_place_comes_back_once_the_stream_was_accepted_and_all_bytes_read() {
    for (dir, id, next) in
        [(Dir::Bi, bidi(CLIENT, 0), bidi(CLIENT, 1)), (Dir::Uni, uni(CLIENT, 0), uni(CLIENT, 1))]
    {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(1).max_concurrent_uni_streams(1);
        let raised = Frame::MaxStreams { dir, count: 2 };
        let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
        peer.send(&[stream(id, 0, b"hello", true)]);
        assert_eq!(peer.frames(), [], "nobody has accepted it");
        assert_eq!(peer.conn.accept(dir), Some(id));
        if dir == Dir::Bi {
            peer.conn.send_stream(peer.now, id).finish().unwrap();
        }
        assert!(!peer.frames().contains(&raised), "nobody has read it");
        peer.conn.recv_stream(peer.now, id).read(5).unwrap();
        assert!(!peer.frames().contains(&raised), "nor its end");
        assert_eq!(peer.conn.recv_stream(peer.now, id).read(1).unwrap(), Read::Finished);
        assert_eq!(peer.frames(), [raised]);
        peer.send(&[stream(next, 0, b"", false)]);
        peer.assert_open("the place is free");
    }
    // While the only stream that the limit allows is open, a second one is a violation.
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(1);
    let (mut peer, _) = with_stream(Wire::QMux, &config);
    peer.send(&[stream(bidi(CLIENT, 1), 0, b"", false)]);
    peer.assert_violation("a second", TransportErrorCode::STREAM_LIMIT_ERROR, 1002);
}

/// [C-41] Credit that was granted MUST NOT be taken back when a window is made smaller. No window
/// becomes smaller by itself.
#[test]
fn what_was_granted_can_be_used_after_the_window_became_smaller() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(10_000).window_growth_budget(0);
        let (mut peer, id) = with_stream(wire, &config);
        peer.conn.set_stream_receive_window(100);
        assert_eq!(peer.frames(), []);
        peer.send(&[some(wire, id, 0, &[0; 9_999]), some(wire, id, 9_999, b"x")]);
        peer.assert_open("ten thousand were granted");
        peer.send(&[some(wire, id, 10_000, b"x")]);
        peer.assert_violation("and no more", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
    }
}

/// [C-44] When nothing has been received for the keep-alive interval, or for a third of the
/// effective idle timeout if that is shorter, a ping MUST be sent: QX_PING on QMux, WebSocket ping
/// on js-ws.
#[test]
fn a_ping_is_sent_to_the_second() {
    for wire in WIRES {
        for (idle, keep_alive, expected) in
            [(Some(30), 10, 10), (Some(30), 7, 7), (Some(6), 10, 2), (None, 10, 10)]
        {
            let mut config = Config::default();
            config.window_growth_budget(0);
            config.max_idle_timeout(idle.map(secs)).keep_alive_interval(Some(secs(keep_alive)));
            let mut peer = ScriptedPeer::new(wire, SERVER, &config);
            assert_eq!(peer.said(), []);
            let what = format!("{wire:?} {idle:?} {keep_alive}");
            peer.now = at(secs(expected) - ms(1));
            peer.conn.handle_timeout(peer.now);
            assert_eq!(peer.said(), [], "{what}");
            peer.now = at(secs(expected));
            peer.conn.handle_timeout(peer.now);
            let said = peer.said();
            match wire {
                Wire::QMux => {
                    assert_eq!(said, [Said::Frames(vec![Frame::Ping(code(0))])], "{what}")
                }
                _ => assert!(matches!(said[..], [Said::Ping(_)]), "{what}: {said:?}"),
            }
        }
    }
}

/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn after_streams_of_all_kinds_the_engine_is_as_large_as_before() {
    for wire in WIRES {
        let mut config = Config::default();
        config.window_growth_budget(0);
        let mut peer = ScriptedPeer::new(wire, SERVER, &config);
        let round = |peer: &mut ScriptedPeer, index: u64| {
            let id = bidi(CLIENT, index);
            peer.send(&[open(wire, id)]);
            peer.said();
            peer.send(&[some(wire, id, 0, b"hello")]);
            assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
            peer.conn.send_stream(peer.now, id).write(b"answer").unwrap();
            peer.conn.send_stream(peer.now, id).set_priority(index as i32 % 3).unwrap();
            match index % 4 {
                0 => {
                    peer.send(&[fin(wire, id, 5)]);
                    peer.conn.recv_stream(peer.now, id).read(9).unwrap();
                    assert_eq!(
                        peer.conn.recv_stream(peer.now, id).read(9).unwrap(),
                        Read::Finished
                    );
                    peer.conn.send_stream(peer.now, id).finish().unwrap();
                }
                1 => peer.send(&[gives_up(wire, id, 1, 5), stop(id, 2)]),
                2 => {
                    peer.conn.recv_stream(peer.now, id).stop(code(1)).unwrap();
                    peer.conn.send_stream(peer.now, id).reset(code(1)).unwrap();
                    peer.said();
                    peer.send(&[gives_up(wire, id, 1, 5)]);
                }
                _ => peer.send(&[fin(wire, id, 5)]),
            }
            peer.conn.recv_stream(peer.now, id).release();
            peer.conn.send_stream(peer.now, id).release();
            peer.said();
            peer.events();
        };
        (0..8).for_each(|index| round(&mut peer, index));
        let before = format!("{:?}", peer.conn).len();
        (8..400).for_each(|index| round(&mut peer, index));
        assert_eq!(live(&peer), 0, "{wire:?}");
        assert_eq!(peer.conn.stats(wsmux_proto::Time::EPOCH).send_buffered, 0);
        let after = format!("{:?}", peer.conn).len();
        assert!(after < before + 200, "{wire:?}: {before} and {after}");
    }
}

/// When the queue of received datagrams is full, the oldest datagram in it MUST be dropped,
/// and the connection continues.
#[test]
fn a_full_queue_of_datagrams_does_not_stop_streams() {
    let mut config = Config::default();
    config.datagram_receive_buffer_size(2_000);
    let (mut peer, id) = with_stream(Wire::QMux, &config);
    for nth in 0..200u8 {
        peer.send(&[Frame::Datagram(vec![nth; 500].into()), stream(id, nth.into(), &[nth], false)]);
    }
    peer.assert_open("datagrams may be lost");
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(1_000).unwrap().data().unwrap()[0], 0);
    let newest = std::iter::from_fn(|| peer.conn.read_datagram()).last();
    assert_eq!(newest.unwrap()[0], 199);
}
