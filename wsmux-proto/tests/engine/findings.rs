//! What a hostile reading found: each of these fails on the code that it was written against.

use std::time::{Duration, Instant};

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{Config, Dir, Event, Frame, SendEnd, TransportParameters, Wire};

/// js-ws: the end of one stream leaves although another always has data.
#[test]
fn the_end_of_a_stream_leaves_beside_one_that_always_has_data() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &Config::default());
    let (small, bulk) = (bidi(CLIENT, 0), bidi(CLIENT, 1));
    assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(small));
    assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(bulk));
    peer.said();
    peer.send(&[ack(small, 1_024), ack(bulk, 1 << 31)]);
    peer.conn.send_stream(small).write(b"hello").unwrap();
    peer.conn.send_stream(small).finish().unwrap();
    let mut out = wsmux_proto::MessageBuf::new();
    let (mut bytes, mut flushes, mut messages) = (0u64, 0, 0);
    while bytes < 64 << 20 {
        peer.conn.send_stream(bulk).write(&[7; 64 * 1024]).unwrap();
        match peer.conn.poll_transmit(peer.now, &mut out) {
            Some(wsmux_proto::Transmit::Message) => {
                messages += 1;
                bytes += out.len() as u64;
                if scripted_peer::decode(Wire::JsWs, out.to_bytes()) == [close_read(small)] {
                    eprintln!("the end left after {bytes} bytes of the other");
                    return;
                }
            }
            Some(_) => flushes += 1,
            None => panic!("there is always something"),
        }
    }
    panic!("{messages} messages of {bytes} bytes, {flushes} flushes, and never the end");
}

/// an own stream's first frame is a STREAM frame, also after the window was raised.
#[test]
fn a_raised_window_is_not_told_before_the_streams_first_frame() {
    let mut config = Config::default();
    config.stream_window(64 * 1024);
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config);
    peer.conn.set_stream_window(1 << 20);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(id).write(b"request").unwrap();
    assert!(peer.conn.recv_stream(id).read(9).unwrap().is_none());
    let frames = peer.frames();
    assert!(matches!(frames[0], Frame::Stream { .. }), "{frames:?}");
}

/// And what follows, with a peer that forgets a grant for a stream that it has not seen (SPEC.md Q-34 names the public
/// peers): it waits for credit that this end takes for granted.
#[test]
fn a_peer_that_forgets_early_grants_is_not_left_without_credit() {
    let mut config = Config::default();
    config.stream_window(64 * 1024);
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config);
    peer.conn.set_stream_window(1 << 20);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(id).write(b"request").unwrap();
    assert!(peer.conn.recv_stream(id).read(9).unwrap().is_none());
    peer.frames();
    // The peer uses up what it knows of.
    for part in 0..4 {
        peer.send(&[stream(id, part * 16_384, &[1; 16_384], false)]);
    }
    let mut read = 0;
    while let Some(Some(data)) = peer.conn.recv_stream(id).read(1 << 20).unwrap() {
        read += data.len();
    }
    assert_eq!(read, 64 * 1024);
    peer.send(&[Frame::StreamDataBlocked { id, limit: 64 * 1024 }]);
    let frames = peer.frames();
    assert!(
        frames.iter().any(|frame| matches!(frame, Frame::MaxStreamData { .. })),
        "all is read, the peer says that it waits, and is told nothing: {frames:?}"
    );
}

/// A stop and the connection's end in one batch: the first tells what became of the stream.
#[test]
fn a_stop_just_before_the_end_is_not_reported_as_finished() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, CLIENT, &Config::default());
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.said();
        // js-ws: an open is answered; no credit to speak of.
        match wire {
            Wire::QMux => {}
            _ => peer.send(&[ack(id, 1)]),
        }
        peer.conn.send_stream(id).write(&[0; 100_000]).unwrap();
        peer.conn.send_stream(id).finish().unwrap();
        assert_eq!(peer.conn.send_stream(id).poll_end(), SendEnd::Open);
        // Both handles go; who waits for the end still does.
        peer.conn.send_stream(id).release();
        peer.conn.recv_stream(id).release();
        peer.events();
        peer.send(&[stop(id, 7)]);
        match wire {
            Wire::QMux => peer.send(&[application_close(1, "")]),
            _ => peer.conn.handle_close(peer.now, Some(1000), ""),
        }
        assert!(peer.events().contains(&Event::Ended { id }));
        let end = peer.conn.send_stream(id).poll_end();
        assert_ne!(end, SendEnd::Finished, "{wire:?}: not one byte left");
    }
}

/// The same without the connection's end, for who calls in the order that `Connection` documents.
#[test]
fn a_stop_is_not_reported_as_finished_once_its_answer_has_left() {
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &Config::default());
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(id).write(&[0; 100_000]).unwrap();
    peer.conn.send_stream(id).finish().unwrap();
    assert_eq!(peer.conn.send_stream(id).poll_end(), SendEnd::Open);
    peer.conn.send_stream(id).release();
    peer.send(&[stop(id, 7)]);
    peer.said();
    assert!(peer.events().contains(&Event::Ended { id }));
    assert_eq!(peer.conn.send_stream(id).poll_end(), SendEnd::Stopped(code(7)));
}

/// An honest peer cannot know that this end drains: what it sends on a stream that is being refused is within its
/// window.
#[test]
fn a_stream_that_is_refused_by_a_shutdown_does_not_end_the_others() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let busy = bidi(CLIENT, 0);
    peer.send(&[stream(busy, 0, b"request", true)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(busy));
    peer.conn.send_stream(busy).write(b"the first half").unwrap();
    peer.conn.shutdown(peer.now, None);
    peer.said();
    // A log of 32 bytes a line, within the 1 MiB that each stream may send unasked, on a link of 100 ms.
    let log = uni(CLIENT, 0);
    for line in 0..20_000u64 {
        peer.now = ms(line / 200);
        peer.send(&[stream(log, line * 32, &[b'x'; 32], false)]);
        if !peer.conn.is_established() {
            panic!("after {line} lines: {:?}", peer.conn.close_reason());
        }
    }
}

/// SPEC.md §8.6: each kind of useless work has a budget.
#[test]
fn empty_datagrams_without_end_are_useless_work() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let message = Bytes::from([0x31, 0].repeat(32 * 1024));
    let begun = Instant::now();
    let mut frames = 0u64;
    for _ in 0..40 {
        peer.send_bytes(message.clone());
        frames += 32 * 1024;
        if !peer.conn.is_established() {
            return;
        }
    }
    let took = begun.elapsed();
    let stats = peer.conn.stats(Duration::ZERO);
    panic!(
        "{frames} empty datagrams in {took:?} ({} ns each), all in one instant of the engine, and it goes on; \
         useless {}, dropped {}",
        took.as_nanos() as u64 / frames,
        stats.useless_received,
        stats.datagrams_dropped_incoming
    );
}

///
#[test]
fn no_datagram_frame_is_longer_than_the_peer_takes() {
    for max in 1..10 {
        let parameters =
            TransportParameters { max_datagram_frame_size: max, ..scripted_peer::generous() };
        let mut peer =
            ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
        let Some(len) = peer.conn.max_datagram_size() else { continue };
        peer.conn.send_datagram(vec![0; len].into()).unwrap();
        let sent = peer.said_bytes().unwrap();
        assert!(sent.len() as u64 <= max, "{} bytes of {max}", sent.len());
    }
}

/// Nobody waits for the connection's credit any more.
#[test]
fn a_reset_ends_the_wait_for_credit_of_the_connection() {
    let parameters = TransportParameters { initial_max_data: 0, ..scripted_peer::generous() };
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(id).write(b"x").unwrap();
    peer.said();
    peer.now = secs(1);
    peer.conn.send_stream(id).reset(code(0)).unwrap();
    peer.said();
    assert_eq!(peer.conn.stats(secs(100)).blocked_by_connection_credit, secs(1));
}

/// js-ws: the window bounds Data; the other messages are up to 19 bytes long.
#[test]
fn a_small_window_leaves_room_for_messages_that_are_no_data() {
    let mut config = Config::default();
    config.stream_window(4);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    let id = bidi(CLIENT, 1 << 20);
    peer.send(&[ack(id, 4), error_read(id, 1 << 40)]);
    peer.assert_open("an honest reset");
}

/// The same between two ends with their defaults, on a link of 100 MB/s and 2 ms: a small answer beside a large one.
#[test]
fn a_small_answer_ends_beside_a_large_one() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &Config::default());
        pair.latency = ms(1);
        let (small, bulk) = (pair.open_bi(CLIENT), pair.open_bi(CLIENT));
        pair.server.rate = Some(100_000_000);
        pair.server.capacity = Some(128 * 1024);
        pair.server.record = false;
        pair.server.write(small, b"answer");
        pair.server.finish(small);
        let begun = pair.now;
        let mut read = 0;
        loop {
            let _ = pair.server.conn.send_stream(bulk).write(&[1; 512 * 1024]);
            pair.step();
            let _ = pair.server.conn.send_stream(bulk).write(&[1; 512 * 1024]);
            read += pair.client.read(bulk).0.len();
            if pair.client.read(small).1 == End::Fin {
                eprintln!("{wire:?}: after {:?}, {read} bytes", pair.now - begun);
                break;
            }
            assert!(read < 200_000_000, "{wire:?}: no end after {:?}", pair.now - begun);
        }
    }
}

/// The peer's idle timeout sets how often this end pings, and answers to pings are in no budget.
#[test]
fn a_peer_does_not_set_this_end_to_work_by_an_idle_timeout_of_a_millisecond() {
    let parameters = TransportParameters { max_idle_timeout: ms(1), ..scripted_peer::generous() };
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    // The ping beside our parameters.
    peer.send(&[Frame::Pong(code(0))]);
    let (mut timers, mut pings) = (0, 0);
    while peer.now < secs(10) {
        for said in peer.said() {
            let Said::Frames(frames) = said else { panic!("{said:?}, {timers} timers") };
            for frame in frames {
                if let Frame::Ping(number) = frame {
                    pings += 1;
                    peer.send(&[Frame::Pong(number)]);
                }
            }
        }
        peer.now = peer.conn.poll_timeout().unwrap().max(peer.now);
        peer.conn.handle_timeout(peer.now);
        timers += 1;
    }
    let useless = peer.conn.stats(peer.now).useless_received;
    assert!(pings < 2_000, "{timers} timers and {pings} pings in 10 s; charged: {useless}");
}

/// Two ends of ours with a short idle timeout and nothing to say.
#[test]
fn two_ends_with_a_short_idle_timeout_do_not_ping_each_other_to_death() {
    let mut config = Config::default();
    config.max_idle_timeout(Some(ms(24)));
    let mut pair = Pair::new(Wire::QMux, &config);
    pair.pass(secs(120));
    for end in [&pair.client, &pair.server] {
        assert!(end.conn.is_established(), "at {:?}: {:?}", pair.now, end.conn.close_reason());
    }
}

/// What the connection's end cut off: a reset that had not left, and a half that was stopped and not ended.
#[test]
fn what_the_peer_was_never_told_is_in_flight() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let (sent, got) = (uni(SERVER, 0), uni(CLIENT, 0));
    assert_eq!(peer.conn.open(Dir::Uni).unwrap(), Some(sent));
    peer.conn.send_stream(sent).write(b"x").unwrap();
    peer.send(&[stream(got, 0, b"x", false)]);
    peer.said();
    peer.conn.send_stream(sent).reset(code(1)).unwrap();
    peer.conn.recv_stream(got).stop(code(1)).unwrap();
    peer.conn.handle_socket_end(peer.now, wsmux_proto::SocketError::Eof);
    assert_eq!(peer.conn.in_flight().streams, [got, sent]);
}

/// A write whose stream the peer stopped, and then closed: the stop was first.
#[test]
fn a_write_learns_of_the_stop_that_came_before_the_end() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(id).write(b"x").unwrap();
    peer.said();
    peer.send(&[stop(id, 7), application_close(0, "")]);
    let error = peer.conn.send_stream(id).write(b"x").unwrap_err();
    assert!(matches!(error, wsmux_proto::WriteError::Stopped(_)), "{error}");
}

/// A stream that its application has dropped, and whose peer does not answer a stop, as RFC 9000 §3.5 wants.
#[test]
fn a_peer_that_answers_no_stop_does_not_hold_up_a_shutdown() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &Config::default());
    let id = bidi(CLIENT, 0);
    peer.send(&[stream(id, 0, b"x", false)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.conn.send_stream(id).finish().unwrap();
    peer.conn.send_stream(id).release();
    peer.conn.recv_stream(id).release();
    peer.said();
    peer.conn.shutdown(peer.now, None);
    peer.said();
    // It says that it lives, for an hour.
    let mut pongs = 0;
    peer.send(&[Frame::Pong(code(0))]);
    while peer.now < secs(3_600) && peer.conn.is_established() {
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
