//! This end's own limit on the streams that it opens, which applies in addition to the peer's
//! limit.

use crate::support::*;
use wsmux_proto::{Config, Dir, Event, Frame, TransportParameters, Wire};

fn config(most: u64) -> Config {
    Config::default().max_local_streams(most).window_growth_budget(0).clone()
}

/// Returns the parameters of a peer that allows any number of streams.
fn boundless() -> TransportParameters {
    scripted_peer::generous_but(|limits| {
        limits.initial_max_streams_bidi = 1 << 60;
        limits.initial_max_streams_uni = 1 << 60;
    })
}

/// [C-77] The number of streams of each kind that we opened and that are not freed MUST NOT exceed
/// our own limit. At the limit, opening waits until a stream is freed, and the peer receives
/// nothing about it.
#[test]
fn opening_waits_at_our_own_limit_and_goes_on_when_a_stream_is_freed() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &config(3));
        let mut open: Vec<_> = (0..3).map(|_| pair.open_bi(CLIENT)).collect();
        for round in 0..20 {
            assert!(matches!(pair.client.conn.open(Dir::Bi), Ok(None)), "{wire:?}");
            assert_eq!(pair.client.conn.openable(Dir::Bi).unwrap(), 0);
            assert!(!pair.client.conn.report_streams_blocked(Dir::Bi), "{wire:?}");
            pair.client.take_events();
            // A stream counts until both of its halves have ended.
            let oldest = open.remove(0);
            pair.client.finish(oldest);
            pair.drive();
            assert_eq!(pair.client.take_events(), [], "{wire:?} {round}");
            pair.release_both(oldest);
            // On QMux the event occurs twice, because the peer raises its limit as well.
            let events = pair.client.take_events();
            assert!(events.contains(&Event::Available { dir: Dir::Bi }), "{wire:?}: {events:?}");
            assert_eq!(pair.client.conn.openable(Dir::Bi).unwrap(), 1);
            open.push(pair.open_bi(CLIENT));
        }
    }
}

#[test]
fn each_kind_of_streams_has_a_limit_of_its_own() {
    let mut peer = ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &config(2), boundless());
    for dir in [Dir::Bi, Dir::Uni] {
        for expected in [true, true, false] {
            assert_eq!(peer.conn.open(dir).unwrap().is_some(), expected, "{dir:?}");
        }
    }
}

/// Reading the end of a stream frees the stream, although no frame is sent or received.
#[test]
fn a_stream_that_is_freed_by_reading_it_lets_another_be_opened() {
    let mut pair = Pair::new(Wire::QMux, &config(1));
    let id = pair.open_bi(CLIENT);
    pair.client.finish(id);
    pair.server.finish(id);
    pair.drive();
    assert!(matches!(pair.client.conn.open(Dir::Bi), Ok(None)));
    pair.client.take_events();
    assert!(!pair.client.conn.has_events());
    pair.client.read(id);
    assert!(pair.client.conn.has_events());
    assert_eq!(pair.client.take_events(), [Event::Available { dir: Dir::Bi }]);
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
/// [C-77] The number of streams of each kind that we opened and that are not freed MUST NOT exceed
/// our own limit. At the limit, opening waits until a stream is freed, and the peer receives
/// nothing about it.
#[test]
fn calls_that_are_dropped_hold_their_places_until_they_have_left() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::with_parameters(wire, CLIENT, &config(100), boundless());
        for nth in 0..1_000 {
            let Some(id) = peer.conn.open(Dir::Bi).unwrap() else {
                assert!(nth >= 100, "{wire:?} {nth}");
                continue;
            };
            peer.conn.send_stream(peer.now, id).write(b"a call").unwrap();
            peer.conn.send_stream(peer.now, id).release();
            peer.conn.recv_stream(peer.now, id).release();
        }
        assert_eq!(peer.conn.stats(peer.now).live_streams, 100, "{wire:?}");
        peer.events();
        let frames = peer.frames();
        let blocked = |frame: &&Frame| matches!(frame, Frame::StreamsBlocked { .. });
        assert_eq!(frames.iter().find(blocked), None, "{wire:?}");
        // Once the peer has answered, the streams are freed.
        for index in 0..100 {
            let id = bidi(CLIENT, index);
            peer.send(&[match wire {
                Wire::QMux => reset(id, 0, 0),
                _ => error_read(id, 0),
            }]);
        }
        assert_eq!(peer.conn.stats(peer.now).live_streams, 0, "{wire:?}");
        assert!(peer.events().contains(&Event::Available { dir: Dir::Bi }), "{wire:?}");
        assert!(peer.conn.open(Dir::Bi).unwrap().is_some());
    }
}

/// STREAMS_BLOCKED is sent if the peer's limit was reached, even if our own limit was reached at
/// the same time. If only our own limit was reached, STREAMS_BLOCKED is not sent.
#[test]
fn the_peer_hears_of_its_own_limit_alone() {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_streams_bidi = 2);
    for (most, told) in [(1, false), (2, false), (3, true)] {
        let mut peer = ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &config(most), parameters);
        while peer.conn.open(Dir::Bi).unwrap().is_some() {}
        // When both limits are reached, the peer's limit is reported, although the peer could not
        // help by raising its limit.
        let reported = peer.conn.report_streams_blocked(Dir::Bi);
        assert_eq!(reported, told || most == 2, "{most}");
        let blocked = Frame::StreamsBlocked { dir: Dir::Bi, limit: 2 };
        assert_eq!(peer.frames().contains(&blocked), reported, "{most}");
    }
}

/// A caller that only asks whether the limit is reached is not registered as a waiter. A caller
/// that waits while the connection drains is not registered either.
#[test]
fn only_a_caller_that_waits_at_the_local_limit_gets_an_event() {
    for (waits, drains, expected) in [(false, false, 0), (true, false, 1), (true, true, 0)] {
        let mut pair = Pair::new(Wire::JsWs, &config(2));
        let ids = [pair.open_bi(CLIENT), pair.open_bi(CLIENT)];
        assert!(matches!(pair.client.conn.openable(Dir::Bi), Ok(0)));
        if drains {
            pair.client.conn.drain(pair.now, None);
        }
        if waits {
            assert!(!pair.client.conn.report_streams_blocked(Dir::Bi), "no limit of the peer's");
        }
        pair.client.take_events();
        for end in [CLIENT, SERVER] {
            pair.end(end).finish(ids[0]);
        }
        pair.drive();
        pair.release_both(ids[0]);
        let events = pair.client.take_events();
        let available = events.iter().filter(|event| matches!(event, Event::Available { .. }));
        assert_eq!(available.count(), expected, "waits: {waits}, drains: {drains}");
    }
}
