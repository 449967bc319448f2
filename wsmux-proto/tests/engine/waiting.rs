//! On js-ws a peer cannot know our stream limit, so streams above the limit wait until another
//! stream is freed.

use crate::support::*;
use wsmux_proto::{
    Config, ConnectionError, Dir, Event, Frame, Read, StreamId, TransportErrorCode, Wire,
};

const WINDOW: u64 = 1 << 20;

fn id(index: u64) -> StreamId {
    bidi(CLIENT, index)
}

fn peer(limit: u64, waiting: u64) -> ScriptedPeer {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(limit).max_waiting_streams(waiting);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    peer.events();
    peer
}

/// The peer opens the streams with these indices.
fn open(peer: &mut ScriptedPeer, indices: std::ops::Range<u64>) {
    indices.for_each(|index| peer.send(&[ack(id(index), WINDOW)]));
}

fn live(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(Time::EPOCH).live_streams
}

fn waiting(peer: &ScriptedPeer) -> u64 {
    peer.conn.stats(Time::EPOCH).waiting_streams
}

fn accept(peer: &mut ScriptedPeer) -> Option<StreamId> {
    peer.conn.accept(Dir::Bi)
}

fn let_go(peer: &mut ScriptedPeer, id: StreamId) {
    peer.conn.send_stream(peer.now, id).release();
    peer.conn.recv_stream(peer.now, id).release();
}

/// The peer finishes its request. The application reads and answers it.
fn serve(peer: &mut ScriptedPeer, id: StreamId) {
    peer.send(&[data(id, b"?"), close_read(id)]);
    let request = peer.conn.recv_stream(peer.now, id).read(9).unwrap().data();
    assert_eq!(request.as_deref(), Some(&b"?"[..]));
    assert!(matches!(peer.conn.recv_stream(peer.now, id).read(9), Ok(Read::Finished)));
    peer.conn.send_stream(peer.now, id).write(b"!").unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
}

/// [J-40] A new stream MUST wait if our stream limit is reached or other streams wait. While a
/// stream waits, we send no Ack for it, and the application does not see it. When fewer streams are
/// open than the limit allows, we MUST open the waiting stream with the lowest id. We then treat it
/// like a new stream whose first Ack has just arrived (J-13).
#[test]
fn streams_past_the_limit_wait_and_are_opened_in_their_order() {
    let mut peer = peer(2, 100);
    open(&mut peer, 0..5);
    assert_eq!(peer.frames(), [ack(id(0), WINDOW), ack(id(1), WINDOW)]);
    assert_eq!(peer.events(), [Event::Opened { dir: Dir::Bi }]);
    assert_eq!((live(&peer), waiting(&peer)), (2, 3));
    assert_eq!(
        [accept(&mut peer), accept(&mut peer), accept(&mut peer)].map(|id| id.is_some()),
        [true, true, false]
    );
    for index in 0..5 {
        serve(&mut peer, id(index));
        let said = peer.frames();
        let next = index + 2;
        // The next stream is opened as soon as the answer has been sent. No frame of the peer is
        // needed for that.
        assert_eq!(said.contains(&ack(id(next), WINDOW)), next < 5, "{said:?}");
        assert_eq!(accept(&mut peer), (next < 5).then_some(id(next)));
        assert_eq!(peer.events().contains(&Event::Opened { dir: Dir::Bi }), next < 5);
    }
    assert_eq!((live(&peer), waiting(&peer)), (0, 0));
    assert_eq!(peer.conn.stats(Time::EPOCH).streams_refused, 0);
}

/// [J-40] A new stream MUST wait if our stream limit is reached or other streams wait. While a
/// stream waits, we send no Ack for it, and the application does not see it. When fewer streams are
/// open than the limit allows, we MUST open the waiting stream with the lowest id. We then treat it
/// like a new stream whose first Ack has just arrived (J-13).
#[test]
fn a_newcomer_does_not_overtake_those_that_wait() {
    let mut peer = peer(1, 100);
    open(&mut peer, 0..2);
    peer.frames();
    assert_eq!(accept(&mut peer), Some(id(0)));
    peer.send(&[error_read(id(0), 1), stop(id(0), 1)]);
    // Our answers to the peer's reset and stop are sent before the next stream is opened. So both
    // ends know that the first stream has ended.
    let_go(&mut peer, id(0));
    open(&mut peer, 2..3);
    let said = peer.frames();
    assert!(said.contains(&ack(id(1), WINDOW)) && !said.contains(&ack(id(2), WINDOW)), "{said:?}");
    assert_eq!((accept(&mut peer), accept(&mut peer)), (Some(id(1)), None));
}

/// [J-41] Of the messages that the peer sends for a waiting stream, we MUST keep the sum of the
/// Acks, the first end of the peer's half, and the first stop of our half. These MUST take effect
/// when the stream is opened. If the peer sends Data that is not empty for a waiting stream, we
/// MUST close with FLOW_CONTROL_ERROR, because we have granted no credit yet.
#[test]
fn credit_that_came_while_a_stream_waited_is_there_when_it_is_opened() {
    let mut peer = peer(1, 100);
    peer.send(&[ack(id(0), 1), ack(id(1), 3), ack(id(1), 4)]);
    peer.frames();
    assert_eq!(accept(&mut peer), Some(id(0)));
    serve(&mut peer, id(0));
    peer.frames();
    assert_eq!(accept(&mut peer), Some(id(1)));
    peer.conn.send_stream(peer.now, id(1)).write(b"0123456789").unwrap();
    assert_eq!(peer.frames(), [data(id(1), b"0123456")]);
}

/// While its streams wait, the peer finishes one of them, resets another, and stops our half of two
/// more.
///
/// [J-41] Of the messages that the peer sends for a waiting stream, we MUST keep the sum of the
/// Acks, the first end of the peer's half, and the first stop of our half. These MUST take effect
/// when the stream is opened. If the peer sends Data that is not empty for a waiting stream, we
/// MUST close with FLOW_CONTROL_ERROR, because we have granted no credit yet.
#[test]
fn ends_that_came_while_a_stream_waited_take_effect_when_it_is_opened() {
    let mut peer = peer(1, 100);
    open(&mut peer, 0..5);
    peer.send(&[close_read(id(1)), error_read(id(1), 9)]);
    peer.send(&[stop(id(2), 7), stop(id(2), 9)]);
    peer.send(&[error_read(id(3), 5), error_read(id(3), 9), close_read(id(3)), data(id(3), b"")]);
    peer.send(&[Frame::FinReceived { id: id(4) }]);
    assert_eq!(peer.frames(), [ack(id(0), WINDOW)]);
    assert_eq!(waiting(&peer), 4);
    let mut next = |index: u64| {
        assert_eq!(accept(&mut peer), Some(id(index)));
        let read = peer.conn.recv_stream(peer.now, id(index)).read(9);
        let room = peer.conn.send_stream(peer.now, id(index)).poll_room();
        let_go(&mut peer, id(index));
        if index == 0 {
            peer.send(&[error_read(id(0), 0)]);
        }
        if matches!(index, 2 | 4) {
            peer.send(&[close_read(id(index))]);
        }
        (format!("{read:?}"), room.is_ok(), peer.frames())
    };
    let said = next(0).2;
    assert!(said.contains(&Frame::FinReceived { id: id(1) }), "answered once: {said:?}");
    assert!(!said.contains(&ack(id(1), WINDOW)), "no credit after the end: {said:?}");
    let (read, writable, said) = next(1);
    assert_eq!((read.as_str(), writable), ("Ok(Finished)", true));
    assert!(said.contains(&ack(id(2), WINDOW)) && said.contains(&error_read(id(2), 7)), "{said:?}");
    let (read, writable, said) = next(2);
    assert_eq!((read.as_str(), writable), ("Ok(Blocked)", false));
    assert!(said.contains(&stop(id(3), 5)), "the answer to the reset: {said:?}");
    let (read, writable, said) = next(3);
    assert_eq!((read.as_str(), writable), ("Err(Reset(5))", true));
    assert!(said.contains(&error_read(id(4), 0)), "J-20: {said:?}");
    assert!(!next(4).1);
    peer.assert_open("all of it is allowed");
    assert_eq!((live(&peer), waiting(&peer)), (0, 0));
}

/// [J-41] Of the messages that the peer sends for a waiting stream, we MUST keep the sum of the
/// Acks, the first end of the peer's half, and the first stop of our half. These MUST take effect
/// when the stream is opened. If the peer sends Data that is not empty for a waiting stream, we
/// MUST close with FLOW_CONTROL_ERROR, because we have granted no credit yet.
#[test]
fn data_on_a_stream_that_waits_ends_the_connection() {
    let flow = TransportErrorCode::FLOW_CONTROL_ERROR;
    let last = TransportErrorCode::FINAL_SIZE_ERROR;
    let cases: [(&[Frame], _); 4] = [
        (&[data(id(1), b"x")], flow),
        (&[close_read(id(1)), data(id(1), b"x")], last),
        (&[error_read(id(1), 0), data(id(1), b"x")], last),
        // This exceeds the largest credit (J-27).
        (&[ack(id(1), u64::from(u32::MAX))], flow),
    ];
    for (frames, code) in cases {
        let mut peer = peer(1, 100);
        open(&mut peer, 0..2);
        peer.send(&[data(id(1), b"")]);
        peer.frames();
        peer.send(frames);
        peer.assert_violation(&format!("{frames:?}"), code, 1002);
    }
}

/// [J-42] If the peer has both reset and stopped a waiting stream, the stream MUST be forgotten. We
/// MUST answer by Error(Write, code) and Error(Read, code) with the codes that arrived. The stream
/// is charged as a refused stream.
/// [J-11] A message for an id that is at or below the high-water mark MUST be dropped if its stream
/// is not live.
#[test]
fn a_call_that_is_cancelled_while_it_waits_never_reaches_the_application() {
    let mut peer = peer(1, 100);
    open(&mut peer, 0..4);
    peer.frames();
    peer.send(&[error_read(id(1), 5), stop(id(1), 6)]);
    peer.send(&[stop(id(3), 8), error_read(id(3), 7)]);
    let answers = [stop(id(1), 5), error_read(id(1), 6), stop(id(3), 7), error_read(id(3), 8)];
    assert_eq!(peer.frames(), answers);
    assert_eq!(waiting(&peer), 1);
    peer.send(&[ack(id(1), 1), data(id(1), b""), stop(id(3), 0), error_read(id(3), 0)]);
    assert_eq!(peer.frames(), []);
    assert_eq!(accept(&mut peer), Some(id(0)));
    serve(&mut peer, id(0));
    peer.frames();
    assert_eq!((accept(&mut peer), accept(&mut peer)), (Some(id(2)), None));
    assert_eq!(peer.conn.stats(Time::EPOCH).streams_refused, 0);
}

/// [J-43] The number of streams that wait MUST NOT exceed a setting. A stream that is refused by
/// J-42 or J-44 counts as waiting until its answer has been sent. A new stream that would exceed
/// the setting is refused as J-31 describes.
/// [J-31] If our stream limit is reached and no more streams may wait, a new stream MUST be
/// refused. We refuse it by both Error(Read, code) and Error(Write, code), and send no Ack for it.
/// The connection and its other streams continue.
#[test]
fn past_the_bound_of_those_that_wait_a_stream_is_refused() {
    let mut peer = peer(1, 3);
    open(&mut peer, 0..6);
    assert_eq!((live(&peer), waiting(&peer)), (1, 3));
    // The peer cancels one of the waiting streams. That stream still counts until the answer has
    // been sent.
    peer.send(&[error_read(id(1), 5), stop(id(1), 5)]);
    open(&mut peer, 6..7);
    let said = peer.frames();
    for refused in [4, 5, 6] {
        assert!(said.contains(&stop(id(refused), 0)), "{said:?}");
        assert!(said.contains(&error_read(id(refused), 0)), "{said:?}");
    }
    open(&mut peer, 7..9);
    assert_eq!(peer.frames(), [stop(id(8), 0), error_read(id(8), 0)]);
    assert_eq!(waiting(&peer), 3);
    assert_eq!(peer.conn.stats(Time::EPOCH).streams_refused, 4);
    peer.assert_open("refused, and no more");
}

/// [J-43] The number of streams that wait MUST NOT exceed a setting. A stream that is refused by
/// J-42 or J-44 counts as waiting until its answer has been sent. A new stream that would exceed
/// the setting is refused as J-31 describes.
/// [J-33] The number of refusals that wait to be sent MUST be bounded. The answers of J-42 and the
/// refusals of J-44 do not count. If more refusals wait than the bound allows, we close with
/// EXCESSIVE_LOAD.
#[test]
fn a_peer_that_opens_and_cancels_and_reads_nothing_makes_no_queue_grow() {
    let mut peer = peer(1, 500);
    let mut index = 0;
    while peer.conn.close_reason().is_none() {
        peer.send(&[ack(id(index), 1), error_read(id(index), 1), stop(id(index), 1)]);
        index += 1;
        assert!(index < 2_000, "500 places and 1,024 refusals, and no end");
    }
    peer.assert_violation("a flood", TransportErrorCode::EXCESSIVE_LOAD, 1002);
}

/// [J-44] Once a drain has begun, each waiting stream MUST be refused as J-31 describes.
#[test]
fn a_drain_refuses_those_that_wait_and_serves_the_rest() {
    let mut peer = peer(1, 5_000);
    open(&mut peer, 0..4_001);
    peer.frames();
    assert_eq!(accept(&mut peer), Some(id(0)));
    peer.conn.drain(peer.now, None);
    let said = peer.frames();
    assert_eq!(said.len(), 8_000);
    for index in 1..4_001 {
        let at = 2 * (index as usize - 1);
        assert_eq!(said[at..at + 2], [stop(id(index), 0), error_read(id(index), 0)]);
        peer.send(&[error_read(id(index), 0), stop(id(index), 0)]);
    }
    assert_eq!((live(&peer), waiting(&peer)), (1, 0));
    serve(&mut peer, id(0));
    assert!(matches!(peer.said()[..], [.., Said::Close { code: 1000, .. }]));
    assert!(matches!(peer.conn.close_reason(), Some(ConnectionError::LocallyClosed)));
}

/// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
#[test]
fn the_end_of_the_connection_forgets_those_that_wait() {
    let mut peer = peer(1, 1_000);
    open(&mut peer, 0..1_001);
    peer.send(&[error_read(id(7), 1), stop(id(7), 1)]);
    peer.conn.close(peer.now, code(0), b"done".as_slice().into());
    assert_eq!(waiting(&peer), 0);
    assert!(matches!(peer.said()[..], [Said::Close { .. }]));
    assert_eq!((accept(&mut peer), accept(&mut peer)), (Some(id(0)), None));
}

/// [J-40] A new stream MUST wait if our stream limit is reached or other streams wait. While a
/// stream waits, we send no Ack for it, and the application does not see it. When fewer streams are
/// open than the limit allows, we MUST open the waiting stream with the lowest id. We then treat it
/// like a new stream whose first Ack has just arrived (J-13).
#[test]
fn a_higher_limit_opens_those_that_wait_and_a_lower_one_opens_none() {
    let mut peer = peer(0, 100);
    open(&mut peer, 0..5);
    assert!(!peer.conn.wants_transmit());
    peer.conn.set_max_concurrent(Dir::Bi, 2);
    assert!(peer.conn.wants_transmit());
    assert_eq!(peer.frames(), [ack(id(0), WINDOW), ack(id(1), WINDOW)]);
    assert_eq!(peer.events(), [Event::Opened { dir: Dir::Bi }]);
    peer.conn.set_max_concurrent(Dir::Bi, 1);
    assert_eq!(accept(&mut peer), Some(id(0)));
    serve(&mut peer, id(0));
    assert!(!peer.frames().contains(&ack(id(2), WINDOW)));
    assert_eq!((live(&peer), waiting(&peer)), (1, 3));
}

/// The peer finishes each waiting stream and stops our half of it. The application still gets the
/// stream and starts to serve it, although the peer no longer wants the answer.
///
/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
#[test]
fn streams_opened_in_advance_are_no_way_around_the_budget() {
    let mut peer = peer(10, 10_000);
    for index in 0..10_010 {
        peer.send(&[ack(id(index), 1), close_read(id(index)), stop(id(index), 1)]);
    }
    let mut begun = 0;
    while peer.conn.close_reason().is_none() {
        peer.said();
        while let Some(id) = accept(&mut peer) {
            begun += 1;
            let_go(&mut peer, id);
        }
        assert!(begun < 2_000, "the application begins all of them");
    }
    assert!((1_000..=1_020).contains(&begun), "{begun}");
    let reason = peer.conn.close_reason().map(ToString::to_string).unwrap_or_default();
    assert!(reason.contains("EXCESSIVE_LOAD") && reason.ends_with("cancelled streams"), "{reason}");
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_page_that_cancels_all_that_waits_as_it_closes_is_no_attack() {
    for many in [10_000, 50_000] {
        let mut peer = peer(100, many);
        open(&mut peer, 0..100 + many);
        peer.frames();
        for index in 0..100 + many {
            peer.send(&[error_read(id(index), 1), stop(id(index), 1)]);
        }
        peer.said();
        while let Some(id) = accept(&mut peer) {
            let_go(&mut peer, id);
        }
        // A page that closes would now be gone. In this test it stays, and opens more streams.
        open(&mut peer, 100 + many..200 + many);
        peer.said();
        peer.assert_open(&format!("{many} cancelled"));
        assert_eq!((live(&peer), waiting(&peer)), (100, 0));
    }
}

/// [J-40] A new stream MUST wait if our stream limit is reached or other streams wait. While a
/// stream waits, we send no Ack for it, and the application does not see it. When fewer streams are
/// open than the limit allows, we MUST open the waiting stream with the lowest id. We then treat it
/// like a new stream whose first Ack has just arrived (J-13).
#[test]
fn ten_thousand_calls_at_once_are_answered_a_hundred_at_a_time() {
    let mut pair = Pair::new(Wire::JsWs, &Config::default());
    let ids: Vec<_> = (0..10_000).map(|_| pair.client.open(Dir::Bi)).collect();
    for &id in &ids {
        pair.client.write(id, b"?");
        pair.client.finish(id);
    }
    pair.drive();
    let mut served = 0;
    let mut stalled = Vec::new();
    while let Some(id) = pair.server.conn.accept(Dir::Bi) {
        assert_eq!(id, ids[served]);
        served += 1;
        if served % 200 == 0 {
            // The handler of this call never ends.
            stalled.push(id);
            continue;
        }
        assert_eq!(pair.server.read(id), (b"?".to_vec(), End::Fin));
        pair.server.write(id, b"!");
        pair.server.finish(id);
        pair.server.release(id);
        pair.drive();
    }
    assert_eq!(served, ids.len());
    for id in ids {
        let answer = pair.client.read(id);
        let expected =
            if stalled.contains(&id) { (vec![], End::Open) } else { (b"!".to_vec(), End::Fin) };
        assert_eq!(answer, expected);
    }
    assert_eq!(pair.server.live_streams(), 50);
    stalled.into_iter().for_each(|id| pair.release_both(id));
    assert_eq!(pair.server.live_streams() + pair.client.live_streams(), 0);
}
