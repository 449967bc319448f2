//! The frame GOING_AWAY, which announces a drain: when it is sent and answered, and how long the
//! two ends wait for each other.

use crate::support::*;
use wsmux_proto::{
    Config, Connection, ConnectionError, Dir, Event, Frame, OpenError, TransportErrorCode, Wire,
};

/// How long a draining end waits for the peer's answer.
const GRACE: std::time::Duration = secs(5);

/// How long an end may wait before it answers.
const ANSWER: std::time::Duration = secs(3);

/// Returns a server whose peer supports GOING_AWAY.
fn server() -> ScriptedPeer {
    let parameters = scripted_peer::generous_but(|limits| limits.going_away = true);
    ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters)
}

fn is_closed_locally(conn: &Connection) -> bool {
    matches!(conn.close_reason(), Some(ConnectionError::LocallyClosed))
}

/// [G-1] We MUST send `wsmux_going_away`. We MUST NOT send GOING_AWAY to a peer that has not sent
/// this parameter. From such a peer, GOING_AWAY is an unknown frame.
#[test]
fn a_peer_without_the_parameter_gets_no_notice_and_may_send_none() {
    let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &Config::default());
    let Some(Said::Frames(first)) = peer.said_next() else { panic!("no parameters") };
    assert!(matches!(first[0], Frame::TransportParameters(parameters) if parameters.going_away));

    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = bidi(CLIENT, 0);
    peer.send(&[stream(id, 0, b"request", true)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.conn.drain(peer.now, None);
    peer.send(&[stream(bidi(CLIENT, 1), 0, b"late", true)]);
    let refused = [reset(bidi(CLIENT, 1), 0, 0)];
    assert_eq!(peer.frames(), refused, "refused at once, and nothing else is sent");
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    peer.conn.send_stream(peer.now, id).release();
    peer.conn.recv_stream(peer.now, id).release();
    peer.said();
    assert!(is_closed_locally(&peer.conn));

    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    peer.send(&[Frame::GoingAway]);
    let blamed =
        peer.assert_violation("no parameter", TransportErrorCode::FRAME_ENCODING_ERROR, 1002);
    assert_eq!(blamed, GOING_AWAY);
}

/// [G-3] An end that begins to drain MUST send GOING_AWAY, unless it has already sent GOING_AWAY.
/// Before GOING_AWAY, it MUST have sent, for each stream that it has opened, a frame of that stream
/// or of a later stream of the same kind. After GOING_AWAY it opens no stream.
#[test]
fn the_notice_comes_after_all_streams_of_its_sender() {
    let mut peer = server();
    let ids = [0, 1, 2].map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap());
    let log = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, log).write(b"line").unwrap();
    peer.conn.drain(peer.now, None);
    for dir in Dir::ALL {
        assert!(matches!(peer.conn.open(dir), Err(OpenError::Draining)));
    }
    let announced = [stream(ids[2], 0, b"", false), stream(log, 0, b"", false), Frame::GoingAway];
    assert_eq!(peer.frames(), [&announced[..], &[stream(log, 0, b"line", false)]].concat());
    // The announced drain goes on, and GOING_AWAY is not sent again.
    peer.conn.drain(peer.now, None);
    peer.conn.send_stream(peer.now, ids[0]).write(b"first").unwrap();
    assert_eq!(peer.frames(), [stream(ids[0], 0, b"first", false)]);
}

/// [G-4] An end that drains waits for the peer's GOING_AWAY for up to 5 s. While it waits, it MUST
/// accept the streams that the peer opens, and MUST NOT close the connection because all streams
/// have ended. The 5 s begin when this end sends its own GOING_AWAY, and begin again with each new
/// WebSocket (§12.3). After the wait, new streams are refused with code 0.
#[test]
fn streams_are_accepted_until_the_peer_answers_or_the_time_is_over() {
    for answers in [false, true] {
        let mut peer = server();
        peer.now = at(secs(1));
        peer.conn.drain(peer.now, None);
        assert_eq!(peer.frames(), [Frame::GoingAway]);
        peer.now = at(secs(1) + GRACE - ms(1));
        peer.conn.handle_timeout(peer.now);
        peer.assert_open("no stream is open, but the peer may open one");
        let id = bidi(CLIENT, 0);
        peer.send(&[stream(id, 0, b"request", true)]);
        assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
        match answers {
            true => peer.send(&[Frame::GoingAway]),
            false => {
                assert_eq!(peer.conn.poll_timeout(), Some(at(secs(1) + GRACE)));
                peer.now = at(secs(1) + GRACE);
                peer.conn.handle_timeout(peer.now);
            }
        }
        peer.said();
        peer.assert_open("a stream is open");
        peer.send(&[stream(bidi(CLIENT, 1), 0, b"late", true)]);
        assert_eq!(peer.frames(), [reset(bidi(CLIENT, 1), 0, 0)]);
        let mut send = peer.conn.send_stream(peer.now, id);
        send.write(b"answer").unwrap();
        send.finish().unwrap();
        peer.conn.send_stream(peer.now, id).release();
        peer.conn.recv_stream(peer.now, id).release();
        peer.said();
        assert!(is_closed_locally(&peer.conn), "answers: {answers}");
    }
}

/// If the limit were not raised, a busy peer could use it up before the peer has another
/// connection.
#[test]
fn the_stream_limit_is_raised_while_the_notice_is_unanswered() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(2);
    let parameters = scripted_peer::generous_but(|limits| limits.going_away = true);
    let mut peer = ScriptedPeer::with_parameters(Wire::QMux, SERVER, &config, parameters);
    peer.conn.drain(peer.now, None);
    let mut frames = peer.frames();
    for nth in 0..2 {
        let id = bidi(CLIENT, nth);
        peer.send(&[stream(id, 0, b"", true)]);
        assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
        peer.conn.send_stream(peer.now, id).finish().unwrap();
        peer.conn.send_stream(peer.now, id).release();
        peer.conn.recv_stream(peer.now, id).release();
        frames.extend(peer.frames());
    }
    let raised = |frame: &Frame| matches!(frame, Frame::MaxStreams { .. });
    assert!(frames.iter().any(raised), "{frames:?}");
}

/// [G-5] An end that receives GOING_AWAY and has not sent its own MUST send its own within 3 s, by
/// the rules of G-3. This end need not close the connection, because the peer closes it.
#[test]
fn an_end_answers_the_notice_and_leaves_the_close_to_the_peer() {
    for late in [false, true] {
        let mut peer = server();
        peer.conn.set_drain_with_peer(!late);
        peer.events();
        peer.send(&[Frame::GoingAway]);
        assert!(peer.conn.is_peer_draining() && !peer.conn.is_draining());
        if late {
            assert_eq!(peer.events(), [Event::PeerDraining]);
            peer.now = at(ANSWER - ms(1));
            peer.conn.handle_timeout(peer.now);
            let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
            assert_eq!(peer.conn.poll_timeout(), Some(at(ANSWER)));
            peer.now = at(ANSWER);
            peer.conn.handle_timeout(peer.now);
            assert_eq!(peer.events(), [Event::Draining]);
            assert_eq!(peer.frames(), [stream(id, 0, b"", false), Frame::GoingAway]);
        } else {
            assert_eq!(peer.events(), [Event::PeerDraining, Event::Draining]);
            assert_eq!(peer.frames(), [Frame::GoingAway]);
        }
        assert!(matches!(peer.conn.open(Dir::Bi), Err(OpenError::Draining)));
        peer.assert_open("the peer closes");
        // If the application drains as well, this end waits only until the open streams have ended.
        peer.conn.drain(peer.now, None);
        peer.said();
        assert_eq!(is_closed_locally(&peer.conn), !late);
    }
}

/// An application that has another connection drains the old connection before the 3 s of G-5 are
/// over.
#[test]
fn a_drain_answers_the_notice_of_the_peer() {
    let mut peer = server();
    peer.conn.set_drain_with_peer(false);
    peer.send(&[Frame::GoingAway]);
    assert_eq!(peer.said(), []);
    peer.conn.drain(peer.now, None);
    let Some(Said::Frames(frames)) = peer.said_next() else { panic!("no answer") };
    assert_eq!(frames, [Frame::GoingAway]);
    peer.said();
    assert!(is_closed_locally(&peer.conn));
}

/// [G-6] On a second GOING_AWAY we MUST close with PROTOCOL_VIOLATION.
#[test]
fn a_notice_that_comes_twice_is_a_violation() {
    for drains in [false, true] {
        let mut peer = server();
        if drains {
            let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
            peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
            peer.conn.drain(peer.now, None);
        }
        peer.send(&[Frame::GoingAway]);
        peer.said();
        peer.assert_open("once");
        peer.send(&[Frame::GoingAway]);
        let code = TransportErrorCode::PROTOCOL_VIOLATION;
        assert_eq!(peer.assert_violation("twice", code, 1002), GOING_AWAY);
    }
}

#[test]
fn two_ends_that_drain_at_once_end_without_a_wait() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    pair.latency = ms(100);
    let id = pair.client.open(Dir::Bi);
    pair.client.write(id, b"request");
    pair.client.finish(id);
    let now = pair.now;
    for side in [CLIENT, SERVER] {
        pair.end(side).of(|conn| conn.drain(now, None));
    }
    pair.drive();
    assert_eq!(pair.server.accept(Dir::Bi), id);
    pair.server.write(id, b"answer");
    pair.server.finish(id);
    assert_eq!(pair.server.read(id), (b"request".to_vec(), End::Fin));
    pair.server.release(id);
    pair.drive();
    assert_eq!(pair.client.read(id), (b"answer".to_vec(), End::Fin));
    pair.client.release(id);
    pair.pass(ms(500));
    for side in [CLIENT, SERVER] {
        assert!(pair.end(side).conn.close_reason().is_some(), "{side:?}");
    }
}

/// A client opens streams until its engine allows no more, and writes to some of these streams only
/// later. No stream is refused, even if its first frame crosses GOING_AWAY on the path.
#[test]
fn no_stream_that_crosses_the_notice_is_refused() {
    for latency in [0, 1, 40, 900] {
        for (with_peer, drains_at) in [(true, None), (false, None), (false, Some(700))] {
            let mut pair = Pair::new(Wire::QMux, &Config::default());
            pair.latency = ms(latency);
            pair.client.of(|conn| conn.set_drain_with_peer(with_peer));
            let (mut streams, mut served, mut ended) = (Vec::new(), Vec::new(), 0);
            for step in 0..12_000_u64 {
                let now = pair.now;
                if step == 1_000 {
                    pair.server.of(|conn| conn.drain(now, None));
                }
                if drains_at.is_some_and(|at| step == 1_000 + 2 * latency + at) {
                    pair.client.of(|conn| conn.drain(now, None));
                }
                if step % 7 == 0
                    && let Ok(Some(id)) = pair.client.of(|conn| conn.open(Dir::Bi))
                {
                    // Every other stream is first used half a second after it was opened.
                    streams.push((id, step + if streams.len() % 2 == 0 { 0 } else { 500 }));
                }
                for &(id, at) in &streams {
                    if at == step && pair.client.conn.is_established() {
                        pair.client.write(id, b"request");
                        pair.client.finish(id);
                    }
                }
                served.extend(std::iter::from_fn(|| pair.server.of(|conn| conn.accept(Dir::Bi))));
                served.retain(|&id| match pair.server.read(id) {
                    (_, End::Open) => true,
                    (_, End::Fin) => {
                        pair.server.write(id, b"answer");
                        pair.server.finish(id);
                        pair.server.release(id);
                        false
                    }
                    (_, end) => panic!("{latency} ms, at {step}: {id} {end:?}"),
                });
                streams.retain(|&(id, at)| {
                    if step < at {
                        return true;
                    }
                    match pair.client.read(id) {
                        (_, End::Open) => true,
                        (_, End::Fin) => {
                            pair.client.release(id);
                            ended += 1;
                            false
                        }
                        (_, end) => panic!("{latency} ms, at {step}: {id} {end:?}"),
                    }
                });
                let until = pair.now + ms(1);
                while pair.now < until {
                    pair.tick(until - pair.now);
                }
            }
            assert_eq!(pair.server.conn.stats(pair.now).streams_refused, 0);
            assert!(ended > 100 && streams.is_empty(), "{ended} and {streams:?}");
            assert!(pair.client.conn.is_closed() && pair.server.conn.is_closed());
        }
    }
}
