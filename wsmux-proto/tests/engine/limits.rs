//! Stream limits: we obey the peer's limit, we enforce our limit for every type of frame, and a
//! freed stream makes room for another stream.

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Dir, Event, Frame, OpenError, Side, StreamId, TransportErrorCode, Wire,
};

fn config(bidi: u64, uni: u64) -> Config {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(bidi).max_concurrent_uni_streams(uni);
    config
}

/// Returns one frame of every type that can open the peer's stream `id`.
fn openers(id: StreamId) -> Vec<Frame> {
    let mut frames = vec![
        stream(id, 0, b"x", false),
        stream(id, 0, b"", false),
        reset(id, 0, 0),
        reset_at(id, 0, 1, 1),
        Frame::StreamDataBlocked { id, limit: 0 },
    ];
    if id.dir() == Dir::Bi {
        frames.extend([stop(id, 0), max_stream_data(id, 1)]);
    }
    frames
}

/// On a frame for a peer's stream above the limit that we have advertised, we MUST close
/// with STREAM_LIMIT_ERROR, whatever the frame's type: STREAM, RESET_STREAM, RESET_STREAM_AT,
/// STREAM_DATA_BLOCKED, STOP_SENDING, MAX_STREAM_DATA.
#[test]
fn a_stream_past_the_limit_is_an_error_whatever_frame_names_it() {
    for make in [bidi as fn(Side, u64) -> StreamId, uni] {
        for frame in openers(make(CLIENT, 3)) {
            let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(3, 3));
            peer.send(std::slice::from_ref(&frame));
            let what = format!("{frame:?}");
            peer.assert_violation(&what, TransportErrorCode::STREAM_LIMIT_ERROR, 1002);
            assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0);
        }
    }
}

/// A frame of any type that Q-35 lists MUST open the peer's stream that it names, if that
/// stream is within the limit and not open yet.
#[test]
fn every_frame_that_may_opens_a_stream_below_the_limit() {
    for make in [bidi as fn(Side, u64) -> StreamId, uni] {
        let id = make(CLIENT, 2);
        for frame in openers(id) {
            if matches!(frame, Frame::ResetStream { reliable_size: 1.., .. }) {
                continue; // no byte has arrived, so a reliable size of 1 is an error
            }
            let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(3, 3));
            peer.events();
            peer.send(std::slice::from_ref(&frame));
            peer.assert_open(&format!("{frame:?}"));
            assert_eq!(peer.events(), [Event::Opened { dir: id.dir() }], "{frame:?}");
            assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 3, "{frame:?}");
        }
    }
}

/// A frame of any type that Q-35 lists MUST open the peer's stream that it names, if that
/// stream is within the limit and not open yet.
#[test]
fn credit_and_a_stop_before_the_first_stream_frame_are_remembered() {
    let parameters =
        scripted_peer::generous_but(|limits| limits.initial_max_stream_data_bidi_local = 0);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    peer.send(&[max_stream_data(bidi(CLIENT, 0), 5), stop(bidi(CLIENT, 1), 8)]);
    peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).write(b"hello").unwrap();
    let frames = peer.frames();
    assert!(frames.contains(&stream(bidi(CLIENT, 0), 0, b"hello", false)), "{frames:?}");
    assert!(frames.contains(&reset(bidi(CLIENT, 1), 8, 0)), "{frames:?}");
}

/// [C-40] A stream of the peer MUST count towards the stream limit until it is freed (C-4). So a
/// stream with unread data still counts, and a stream that the application has not accepted counts
/// as well.
/// We MUST NOT open a stream above the peer's limit.
/// We MUST raise the stream limit as streams are freed, without waiting for STREAMS_BLOCKED.
#[test]
fn opening_waits_at_the_peers_limit_and_goes_on_when_it_rises() {
    // The client sends a frame on only one of its ten streams, so the server sees only that stream.
    // Only STREAMS_BLOCKED tells the server that the client waits to open another stream.
    let mut pair = Pair::new(Wire::QMux, &config(10, 1));
    pair.client.take_events();
    let ids: Vec<_> = (0..10).map(|_| pair.client.open(Dir::Bi)).collect();
    assert!(matches!(pair.client.conn.open(Dir::Bi), Ok(None)));
    assert!(pair.client.conn.open(Dir::Uni).unwrap().is_some(), "each kind has its own limit");
    assert!(pair.client.conn.report_streams_blocked(Dir::Bi));
    assert!(!pair.client.conn.report_streams_blocked(Dir::Bi), "once for each limit");
    pair.drive();
    assert_eq!(pair.client.take_events(), []);
    // The client drops its handles. But the stream does not end until the server's application has
    // dropped its handles too.
    pair.client.release(ids[0]);
    pair.drive();
    assert!(
        matches!(pair.client.conn.open(Dir::Bi), Ok(None)),
        "unaccepted streams keep their place"
    );
    assert_eq!(pair.server.accept(Dir::Bi), ids[0]);
    pair.release_both(ids[0]);
    assert!(pair.client.take_events().contains(&Event::Available { dir: Dir::Bi }));
    assert_eq!(pair.client.open(Dir::Bi).index(), 10);
    assert!(matches!(pair.client.conn.open(Dir::Bi), Ok(None)), "one place, and no more");
}

/// [C-39] A raised stream limit MUST be sent together with other frames. If the number of streams
/// that the peer can still open is at most half of the number that it may have open at once, the
/// raised limit MUST be sent even without other frames.
/// We MUST raise the stream limit as streams are freed, without waiting for STREAMS_BLOCKED.
#[test]
fn a_peer_at_its_limit_gets_max_streams_though_nothing_else_is_sent() {
    // The first 40 streams are freed while the peer may still open more than half of its limit, so
    // no message is sent for the raised limit. After that the peer opens all streams that the limit
    // allows, and then only the raised limit is left to send.
    let mut pair = Pair::new(Wire::QMux, &config(100, 0));
    let open = |pair: &mut Pair, count: usize| {
        let ids: Vec<_> = (0..count).map(|_| pair.client.open(Dir::Bi)).collect();
        ids.iter().for_each(|&id| pair.client.conn.send_stream(pair.now, id).announce());
        pair.drive();
        ids.iter().for_each(|&id| assert_eq!(pair.server.accept(Dir::Bi), id));
        ids
    };
    let first = open(&mut pair, 40);
    // Both halves have ended before the server drops the stream. So when the server drops it, only
    // the raised limit is left to send.
    for &id in &first {
        pair.client.conn.send_stream(pair.now, id).reset(code(0)).unwrap();
        pair.client.conn.recv_stream(pair.now, id).stop(code(0)).unwrap();
        pair.drive();
        pair.server.release(id);
        pair.drive();
    }
    let mut opened = 40;
    while opened < 140 {
        assert!(
            pair.client.conn.open(Dir::Bi).unwrap().is_some_and(|id| {
                pair.client.conn.send_stream(pair.now, id).announce();
                true
            }),
            "stuck after {opened}: 40 places are free, and the client does not know"
        );
        pair.drive();
        opened += 1;
    }
}

/// [C-39] A raised stream limit MUST be sent together with other frames. If the number of streams
/// that the peer can still open is at most half of the number that it may have open at once, the
/// raised limit MUST be sent even without other frames.
#[test]
fn a_raised_limit_rides_along_while_the_peer_has_plenty_left() {
    let mut pair = Pair::new(Wire::QMux, &config(100, 0));
    pair.server.take_sent();
    for _ in 0..30 {
        let id = pair.open_bi(CLIENT);
        pair.client.finish(id);
        pair.drive();
        pair.server.read(id);
        pair.server.finish(id);
        pair.drive();
        pair.client.read(id);
    }
    let alone = pair.server.take_sent().into_iter().filter(|item| match item {
        Item::Message(message) => matches!(
            scripted_peer::decode(Wire::QMux, message.clone())[..],
            [Frame::MaxStreams { .. }]
        ),
        _ => false,
    });
    assert_eq!(alone.count(), 0, "no message for it alone");
}

/// [C-40] A stream of the peer MUST count towards the stream limit until it is freed (C-4). So a
/// stream with unread data still counts, and a stream that the application has not accepted counts
/// as well.
/// We MUST raise the stream limit as streams are freed, without waiting for STREAMS_BLOCKED.
#[test]
fn the_limit_grows_with_each_freed_stream_and_never_past_the_live_ones() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(4, 0));
    let mut limit = 4;
    for index in 0..50 {
        let id = bidi(CLIENT, index);
        peer.send(&[stream(id, 0, b"", true)]);
        peer.assert_open("below the limit");
        assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
        peer.conn.recv_stream(peer.now, id).read(1).unwrap();
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        for frame in peer.frames() {
            if let Frame::MaxStreams { dir: Dir::Bi, count } = frame {
                assert!(count > limit && count <= index + 1 + 4, "{count} at {index}");
                limit = count;
            }
        }
    }
    assert!(limit >= 52, "{limit}");
    peer.send(&[stream(bidi(CLIENT, 54), 0, b"", false)]);
    peer.assert_violation("five at once", TransportErrorCode::STREAM_LIMIT_ERROR, 1002);
}

/// A MAX_STREAMS, MAX_STREAM_DATA or MAX_DATA that does not raise its limit MUST be ignored.
#[test]
fn a_max_streams_that_does_not_raise_the_limit_is_ignored() {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_streams_bidi = 1);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.events();
    for count in [0, 1] {
        peer.send(&[Frame::MaxStreams { dir: Dir::Bi, count }]);
        assert_eq!(peer.events(), []);
        assert!(matches!(peer.conn.open(Dir::Bi), Ok(None)));
    }
    peer.send(&[Frame::MaxStreams { dir: Dir::Bi, count: 2 }]);
    assert_eq!(peer.events(), [Event::Available { dir: Dir::Bi }]);
    assert!(matches!(peer.conn.open(Dir::Bi), Ok(Some(_))));
}

/// [J-31] If our stream limit is reached and no more streams may wait, a new stream MUST be
/// refused. We refuse it by both Error(Read, code) and Error(Write, code), and send no Ack for it.
/// The connection and its other streams continue.
/// [J-32] The peer's answers to a refusal MUST be dropped.
#[test]
fn a_js_ws_stream_past_the_limit_is_refused_and_the_connection_lives() {
    let mut config = config(2, 0);
    config.max_waiting_streams(0);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    for index in 0..3 {
        peer.send(&[ack(bidi(CLIENT, index), 1 << 16)]);
    }
    peer.assert_open("one too many");
    let refused = bidi(CLIENT, 2);
    let said = peer.frames();
    assert!(said.contains(&error_read(refused, 0)) && said.contains(&stop(refused, 0)), "{said:?}");
    assert!(
        !said
            .iter()
            .any(|frame| matches!(frame, Frame::MaxStreamData { id, .. } if *id == refused))
    );
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 2);
    assert_eq!(peer.conn.stats(Time::EPOCH).streams_refused, 1);
    // The peer's answers to the refusal are dropped. Frames that the peer had sent before it
    // received the refusal are dropped as well.
    peer.send(&[data(refused, b"x"), stop(refused, 0), error_read(refused, 0), ack(refused, 5)]);
    peer.assert_open("answers to the refusal");
    assert_eq!(peer.frames(), []);
    // When a stream is freed, the next new stream is accepted.
    peer.send(&[close_read(bidi(CLIENT, 0))]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(bidi(CLIENT, 0)));
    peer.conn.recv_stream(peer.now, bidi(CLIENT, 0)).read(1).unwrap();
    peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).reset(code(0)).unwrap();
    peer.frames();
    peer.send(&[ack(bidi(CLIENT, 3), 1)]);
    assert_eq!(peer.frames(), [ack(bidi(CLIENT, 3), 1 << 20)]);
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
/// [J-33] The number of refusals that wait to be sent MUST be bounded. The answers of J-42 and the
/// refusals of J-44 do not count. If more refusals wait than the bound allows, we close with
/// EXCESSIVE_LOAD.
#[test]
fn an_open_flood_on_js_ws_from_a_peer_that_does_not_read_is_cut_off() {
    let mut config = config(1, 0);
    config.max_waiting_streams(1_000);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    let mut sent = 0;
    while peer.conn.close_reason().is_none() {
        peer.send(&[ack(bidi(CLIENT, sent), 1)]);
        sent += 1;
        assert!(sent < 10_000, "the queue of refusals has no bound");
    }
    assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::TransportError(_))));
    assert!(matches!(peer.said()[..], [Said::Close { code: 1002, .. }]));
}

#[test]
fn a_js_ws_peer_is_told_nothing_of_a_limit_that_changes() {
    for count in [0, 1, 8] {
        let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config(3, 3));
        for dir in [Dir::Bi, Dir::Uni] {
            peer.conn.set_max_concurrent(dir, count);
        }
        assert!(!peer.conn.wants_transmit());
        assert_eq!(peer.said(), []);
        for index in 0..10 {
            peer.send(&[ack(bidi(CLIENT, index), 100)]);
        }
        assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, count);
    }
}

/// [J-34] If the application opens a unidirectional stream or sends a datagram, the call MUST fail
/// with an error that names the wire, and nothing is sent.
#[test]
fn js_ws_has_no_unidirectional_streams() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &Config::default());
    assert!(matches!(peer.conn.open(Dir::Uni), Err(OpenError::Unsupported)));
    assert_eq!(peer.conn.accept(Dir::Uni), None);
}

/// [C-9] If a stream is reset before the application has accepted it, the application MUST still be
/// able to accept the stream. Until the application accepts it, the stream counts towards the
/// stream limit.
/// [C-40] A stream of the peer MUST count towards the stream limit until it is freed (C-4). So a
/// stream with unread data still counts, and a stream that the application has not accepted counts
/// as well.
#[test]
fn a_flood_of_opens_and_resets_costs_no_more_than_the_limit() {
    // CVE-2023-44487: a reset stream that has not been accepted still counts against the limit.
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(10, 0));
    for index in 0..10 {
        let id = bidi(CLIENT, index);
        peer.send(&[stream(id, 0, b"x", false), reset(id, 0, 1), stop(id, 0)]);
    }
    peer.assert_open("ten are allowed");
    peer.said();
    peer.send(&[stream(bidi(CLIENT, 10), 0, b"", false)]);
    peer.assert_violation("an eleventh", TransportErrorCode::STREAM_LIMIT_ERROR, 1002);
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn streams_that_come_and_go_without_connection_credit_leave_nothing() {
    // The peer grants no connection credit. Again and again it opens a stream, makes us answer, and
    // cancels the stream.
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_data = 0);
    let mut config = Config::default();
    config.cancelled_streams_per_second(None);
    let mut peer = ScriptedPeer::with_parameters(Wire::QMux, SERVER, &config, parameters);
    let fresh = format!("{:?}", peer.conn).len();
    for index in 0..5_000 {
        let id = bidi(CLIENT, index);
        peer.send(&[stream(id, 0, b"?", false)]);
        assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
        peer.conn.send_stream(peer.now, id).write(b"answer").unwrap();
        peer.said();
        peer.send(&[stop(id, 0), reset(id, 0, 1)]);
        peer.conn.send_stream(peer.now, id).release();
        peer.conn.recv_stream(peer.now, id).release();
        peer.said();
        peer.events();
    }
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0);
    assert!(format!("{:?}", peer.conn).len() < fresh + 20_000, "something grows with each stream");
}

#[test]
fn a_stream_that_changes_its_priority_while_nothing_leaves_costs_no_more() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"waits for the socket").unwrap();
    let fresh = format!("{:?}", peer.conn).len();
    for priority in 1..5_000 {
        peer.conn.send_stream(peer.now, id).set_priority(priority).unwrap();
    }
    assert!(format!("{:?}", peer.conn).len() < fresh + 20_000, "an entry for each change");
    assert_eq!(peer.frames(), [stream(id, 0, b"waits for the socket", false)]);
}
