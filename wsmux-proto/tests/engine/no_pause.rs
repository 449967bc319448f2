//! A stream whose reader has stopped reading blocks no other stream, and two ends that only write
//! do not deadlock.

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{Config, Dir, Incoming, Read, StreamId, Wire};

/// How many bytes one stream transfers while the readers of the other streams have stopped. A debug
/// build transfers fewer bytes, to save time.
const BULK: usize = if cfg!(debug_assertions) { 8 << 20 } else { 256 << 20 };

const STALLED: usize = 32;
const WINDOW: u64 = 64 * 1024;

fn write_all_of(end: &mut Endpoint, id: StreamId, chunk: &mut Bytes) -> usize {
    end.conn.send_stream(end.now, id).write_chunk(chunk).expect("the stream is open")
}

/// Moves `total` bytes over `id` from the client to a server that reads them and keeps no copy.
fn move_bulk(pair: &mut Pair, id: StreamId, total: usize) {
    let block = Bytes::from(pattern(3, 0, 64 * 1024));
    let mut left = block.clone();
    let (mut written, mut read) = (0, 0);
    while read < total {
        while written < total {
            if left.is_empty() {
                left = block.clone();
            }
            match write_all_of(&mut pair.client, id, &mut left) {
                0 => break,
                taken => written += taken,
            }
        }
        pair.drive();
        let before = read;
        while let Read::Data(bytes) =
            pair.server.conn.recv_stream(pair.now, id).read(1 << 20).unwrap()
        {
            let at = read % block.len();
            let same = bytes.len().min(block.len() - at);
            assert!(bytes[..same] == block[at..at + same], "at {read}");
            read += bytes.len();
        }
        assert!(read > before, "stuck after {read} of {total}");
        pair.drive();
        pair.client.take_events();
        pair.server.take_events();
    }
}

/// [C-28] Unread data in one stream MUST NOT reduce the number of bytes that another stream may
/// still receive.
/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[test]
fn streams_that_stand_still_with_full_windows_do_not_stop_another() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(WINDOW).send_buffer(WINDOW as usize);
        let mut pair = Pair::new(wire, &config);
        pair.client.record = false;
        pair.server.record = false;
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let id = pair.open_bi(CLIENT);
            // The first round fills the window, the second one the send buffer.
            for fill in 0..2 {
                let taken = pair.client.write(id, &pattern(fill, 0, WINDOW as usize));
                assert_eq!(taken, WINDOW as usize);
                pair.drive();
            }
            assert_eq!(pair.client.write(id, b"x"), 0, "it stands still");
            stalled.push(id);
        }
        let id = pair.open_bi(CLIENT);
        move_bulk(&mut pair, id, BULK);
        assert_eq!(pair.client.conn.stats(Time::EPOCH).send_buffered, STALLED as u64 * WINDOW);
        for id in stalled {
            assert_eq!(pair.server.read(id).0, pattern(0, 0, WINDOW as usize), "{wire:?}");
        }
    }
}

/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[test]
fn streams_that_nobody_accepts_do_not_stop_another() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, Config::default().stream_receive_window(WINDOW));
        pair.client.record = false;
        let id = pair.open_bi(CLIENT);
        for _ in 0..99 {
            let ignored = pair.client.open(Dir::Bi);
            pair.client.write(ignored, &pattern(0, 0, WINDOW as usize));
        }
        pair.drive();
        move_bulk(&mut pair, id, 1 << 20);
    }
}

/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[test]
fn a_full_stream_that_is_stopped_frees_its_memory_and_pauses_no_other() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, Config::default().stream_receive_window(WINDOW));
        pair.client.record = false;
        let id = pair.open_bi(CLIENT);
        for _ in 0..50 {
            let other = pair.open_bi(CLIENT);
            pair.client.write(other, &pattern(0, 0, 2 * WINDOW as usize));
            pair.drive();
            pair.server.conn.recv_stream(pair.now, other).stop(code(1)).unwrap();
            pair.drive();
            pair.release_both(other);
        }
        move_bulk(&mut pair, id, 1 << 20);
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (1, 1));
    }
}

/// [C-30] Reading from the socket MUST NOT wait for an application's read, for the accept queue, or
/// for a write to the socket.
#[test]
fn two_that_write_without_reading_through_a_narrow_pipe_do_not_deadlock() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(20_000).send_buffer(50_000);
        let mut pair = Pair::new(wire, &config);
        pair.latency = ms(1);
        pair.client.capacity = Some(1_024);
        pair.server.capacity = Some(1_024);
        let mut streams = Vec::new();
        for nth in 0..20 {
            let side = if nth % 2 == 0 { CLIENT } else { SERVER };
            streams.push(pair.open_bi(side));
        }
        // Both ends write all they can on every stream, and read nothing.
        let mut written = vec![[0; 2]; streams.len()];
        for (&id, written) in streams.iter().zip(&mut written) {
            for side in [CLIENT, SERVER] {
                let data = pattern(id.into_inner() + side as u64, 0, 50_000);
                written[side as usize] = pair.end(side).write(id, &data);
                pair.end(side).finish(id);
            }
        }
        pair.drive();
        // After that both ends read a little at a time, until all data has arrived.
        let mut read = vec![[vec![], vec![]]; streams.len()];
        let mut open = 2 * streams.len();
        while open > 0 {
            let before = pair.client.sent.len() + pair.server.sent.len();
            let mut bytes = 0;
            for (&id, read) in streams.iter().zip(&mut read) {
                for side in [CLIENT, SERVER] {
                    let (data, end) = pair.end(side).read_up_to(id, 7_000);
                    bytes += data.len();
                    read[side as usize].extend(data);
                    open -= usize::from(end == End::Fin);
                }
            }
            pair.drive();
            let after = pair.client.sent.len() + pair.server.sent.len();
            assert!(open == 0 || bytes > 0 || after > before, "{wire:?}: {open} never end");
        }
        for ((&id, read), written) in streams.iter().zip(&read).zip(&written) {
            for side in [CLIENT, SERVER] {
                let data = pattern(id.into_inner() + (!side) as u64, 0, written[!side as usize]);
                assert!(read[side as usize] == data, "{wire:?} {id}");
            }
        }
        assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
    }
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
#[test]
fn a_peer_that_does_not_read_makes_nothing_grow() {
    // The peer sends everything that requires an answer, while the socket accepts nothing.
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, SERVER, &Config::default());
        let id = bidi(CLIENT, 0);
        match wire {
            Wire::QMux => peer.send(&[stream(id, 0, b"", false)]),
            _ => peer.send(&[ack(id, 1 << 20)]),
        }
        peer.said();
        let fresh = format!("{:?}", peer.conn).len();
        for nth in 0..10_000 {
            // The frames come too slowly to exceed a budget (C-61).
            peer.now = at(ms(50 * nth));
            match wire {
                Wire::QMux => {
                    peer.send(&[
                        wsmux_proto::Frame::Ping(code(nth)),
                        stream(id, nth, b"x", false),
                        max_stream_data(id, nth),
                        wsmux_proto::Frame::MaxData(nth),
                        stop(id, nth),
                        wsmux_proto::Frame::StreamDataBlocked { id, limit: nth },
                        wsmux_proto::Frame::StreamsBlocked { dir: Dir::Bi, limit: nth },
                    ]);
                }
                _ => peer.send(&[data(id, b"x"), stop(id, nth), ack(id, 1)]),
            }
            peer.conn.recv_stream(peer.now, id).read(1).unwrap();
            peer.conn.handle(peer.now, Incoming::Ping);
            peer.conn.handle(peer.now, Incoming::Pong(nth.to_be_bytes().to_vec().into()));
            peer.events();
        }
        peer.assert_open("none of it is against the rules");
        assert!(format!("{:?}", peer.conn).len() < fresh + 2_000, "{wire:?}");
    }
}
