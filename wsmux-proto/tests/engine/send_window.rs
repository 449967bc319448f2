//! The send window limits the unsent data of all streams of a connection together. No stream can
//! take away another stream's share of the send window.

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{Config, Dir, Event, Frame, StreamId, Wire};

/// How many unsent bytes a stream may always hold, even if the window is full (C-75).
const ALWAYS: usize = 1024;

const WINDOW: usize = 256 * 1024;

fn config(window: usize) -> Config {
    Config::default().send_window(window).keep_alive_interval(None).clone()
}

/// Returns a client whose peer allows any number of streams, with `credit` bytes on each.
fn client(wire: Wire, config: &Config, credit: u64) -> ScriptedPeer {
    let parameters = scripted_peer::generous_but(|limits| {
        limits.initial_max_stream_data_bidi_remote = credit;
        limits.initial_max_stream_data_uni = credit;
        limits.initial_max_streams_bidi = 1 << 60;
        limits.initial_max_streams_uni = 1 << 60;
        limits.max_idle_timeout = secs(0);
    });
    ScriptedPeer::with_parameters(wire, CLIENT, config, parameters)
}

/// Opens a stream. On js-ws, where streams begin without credit, the peer then grants `credit`
/// bytes.
fn open(peer: &mut ScriptedPeer, credit: u64) -> StreamId {
    let id = peer.conn.open(Dir::Bi).unwrap().expect("the limits permit");
    if peer.wire == Wire::JsWs {
        peer.send(&[ack(id, credit)]);
    }
    id
}

fn held(peer: &ScriptedPeer) -> usize {
    peer.conn.stats(peer.now).send_buffered as usize
}

fn write(peer: &mut ScriptedPeer, id: StreamId, len: usize) -> usize {
    peer.conn.send_stream(peer.now, id).write(&vec![7; len]).expect("it is open")
}

fn write_chunk(peer: &mut ScriptedPeer, id: StreamId, len: usize) -> usize {
    peer.conn.send_stream(peer.now, id).write_chunk(&mut vec![7; len].into()).expect("it is open")
}

fn writable(peer: &mut ScriptedPeer) -> Vec<StreamId> {
    let events = peer.events().into_iter();
    events
        .filter_map(|event| if let Event::Writable { id } = event { Some(id) } else { None })
        .collect()
}

/// [C-75] The unsent data of all streams of a connection, including finished and dropped ones, MUST
/// NOT exceed the send window by more than the sum of these: 1 KiB for each stream, two chunks, and
/// one chunk for each stream that has credit for only a part of its chunk. No stream takes more
/// than half of the part of the send window that the other streams leave free.
#[test]
fn a_fan_out_to_a_peer_that_reads_nothing_is_held_within_the_window() {
    const EVENT: usize = 10_000;
    for wire in WIRES {
        for credit in [0, 100, 1 << 20] {
            for whole in [false, true] {
                let mut peer = client(wire, &config(WINDOW), credit);
                let mut waiting = 0;
                for _ in 0..2_000 {
                    let id = open(&mut peer, credit);
                    let taken = match whole {
                        true => write_chunk(&mut peer, id, EVENT),
                        false => write(&mut peer, id, EVENT),
                    };
                    match taken {
                        EVENT => {
                            peer.conn.send_stream(peer.now, id).finish().unwrap();
                            peer.conn.recv_stream(peer.now, id).release();
                            peer.conn.send_stream(peer.now, id).release();
                        }
                        _ => waiting += 1,
                    }
                }
                let what = format!("{wire:?}, credit {credit}, whole {whole}: {}", held(&peer));
                let beside = match (whole, credit) {
                    (false, _) => 2_000 * ALWAYS,
                    // Here each stream accepts its whole chunk, because otherwise it could not use
                    // its credit. So there is no bound to check.
                    (true, 100) => continue,
                    (true, _) => 2 * EVENT,
                };
                assert!(held(&peer) <= WINDOW + beside, "{what}");
                assert!(waiting > 1_900, "calls wait: {waiting}, {what}");
            }
        }
    }
}

/// [C-75] The unsent data of all streams of a connection, including finished and dropped ones, MUST
/// NOT exceed the send window by more than the sum of these: 1 KiB for each stream, two chunks, and
/// one chunk for each stream that has credit for only a part of its chunk. No stream takes more
/// than half of the part of the send window that the other streams leave free.
#[test]
fn no_stream_takes_more_than_half_of_what_the_others_leave() {
    for wire in WIRES {
        let mut peer = client(wire, config(WINDOW).send_buffer(1 << 30), 1 << 20);
        let mut left = WINDOW;
        for _ in 0..6 {
            let id = open(&mut peer, 1 << 20);
            let taken = write(&mut peer, id, 1 << 20);
            assert_eq!(taken, left / 2, "{wire:?}");
            assert_eq!(write(&mut peer, id, 1), 0);
            left -= taken;
        }
    }
}

/// With the default settings each of a hundred streams can use its whole send buffer, as if there
/// were no send window.
#[test]
fn a_hundred_streams_that_send_at_once_have_their_whole_buffers() {
    const BUFFER: usize = 512 * 1024;
    for wire in WIRES {
        let mut peer = client(wire, &Config::default(), 1 << 20);
        for nth in 0..100 {
            let id = open(&mut peer, 1 << 20);
            assert_eq!(write(&mut peer, id, 1 << 20), BUFFER, "{wire:?} {nth}");
        }
    }
}

/// Returns how many messages it takes to move a large amount of data over one stream, while the
/// readers of `stalled` other streams do not read.
fn messages_for_bulk(wire: Wire, stalled: usize) -> u64 {
    const BULK: usize = 4 << 20;
    const STREAM_WINDOW: u64 = 64 * 1024;
    let mut config = config(1 << 20);
    config
        .stream_receive_window(STREAM_WINDOW)
        .max_concurrent_bidi_streams(10_000)
        .window_growth_budget(0);
    let mut pair = Pair::new(wire, &config);
    (pair.client.record, pair.server.record) = (false, false);
    for nth in 0..stalled {
        let id = pair.open_bi(CLIENT);
        while pair.client.write(id, &[7; 50_000]) > 0 {
            pair.drive();
        }
        if nth == 0 {
            // One more stalled stream holds a chunk that is larger than the whole send window.
            let other = pair.open_bi(CLIENT);
            let mut chunk = Bytes::from(vec![7; 3 << 20]);
            assert!(
                pair.client.conn.send_stream(pair.now, other).write_chunk(&mut chunk).unwrap() > 0
            );
            pair.drive();
        }
    }
    let id = pair.open_bi(CLIENT);
    let before = pair.client.conn.stats(pair.now).messages_sent;
    let (mut written, mut read) = (0, 0);
    while read < BULK {
        while written < BULK {
            match pair.client.write(id, &vec![7; (BULK - written).min(100_000)]) {
                0 => break,
                taken => written += taken,
            }
        }
        pair.drive();
        let (bytes, _) = pair.server.read(id);
        assert!(!bytes.is_empty(), "{wire:?}: stuck after {read}");
        read += bytes.len();
        pair.drive();
    }
    pair.client.conn.stats(pair.now).messages_sent - before
}

/// [C-76] Bytes that are not covered MUST NOT take more than half of the send window away from
/// other streams.
/// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
/// such streams there are.
#[test]
fn streams_that_stand_still_and_fill_the_window_do_not_slow_another() {
    for wire in WIRES {
        let (alone, past) = (messages_for_bulk(wire, 0), messages_for_bulk(wire, 300));
        assert!(past <= alone + alone / 10, "{wire:?}: {past} messages, and {alone} alone");
    }
}

/// Returns a client with one stream, which holds 100 kB of unsent data and has credit for this
/// data. No other stream can hand over a chunk until the socket has accepted some of this data.
fn full(wire: Wire) -> (ScriptedPeer, StreamId) {
    let mut peer = client(wire, &config(16 * 1024), 1 << 20);
    let first = open(&mut peer, 1 << 20);
    assert_eq!(write_chunk(&mut peer, first, 100_000), 100_000);
    (peer, first)
}

#[test]
fn writers_that_wait_for_the_window_are_let_in_by_turns_in_order() {
    for wire in WIRES {
        let (mut peer, _) = full(wire);
        let ids: Vec<_> = (0..6).map(|_| open(&mut peer, 1 << 20)).collect();
        for &id in &ids {
            assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
            // A stream that asks again is not queued a second time.
            assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
        }
        // A short write is still accepted.
        let short = open(&mut peer, 1 << 20);
        assert_eq!(write_chunk(&mut peer, short, ALWAYS), ALWAYS, "{wire:?}");
        // One of the waiting streams is dropped, which removes it from the queue.
        peer.conn.send_stream(peer.now, ids[2]).release();
        let mut order = Vec::new();
        while let Some(said) = peer.said_next() {
            let Said::Frames(_) = said else { panic!("{said:?}") };
            for id in writable(&mut peer) {
                if write_chunk(&mut peer, id, 8_000) > 0 {
                    order.push(id);
                }
            }
            assert!(held(&peer) <= 100_000 + ALWAYS, "{wire:?}");
        }
        assert_eq!(order, [ids[0], ids[1], ids[3], ids[4], ids[5]], "{wire:?}");
        assert_eq!(held(&peer), 0);
    }
}

/// In this test no writer writes when it is woken. All the other writers must still be woken.
#[test]
fn writers_that_were_woken_and_do_not_write_hold_up_nobody() {
    for wire in WIRES {
        let (mut peer, _) = full(wire);
        let ids: Vec<_> = (0..50).map(|_| open(&mut peer, 1 << 20)).collect();
        for &id in &ids {
            assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
        }
        peer.said();
        assert_eq!(writable(&mut peer), ids, "{wire:?}");
    }
}

#[test]
fn what_a_reset_frees_goes_to_those_that_wait() {
    for wire in WIRES {
        for by_peer in [false, true] {
            let (mut peer, first) = full(wire);
            let id = open(&mut peer, 1 << 20);
            assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
            match by_peer {
                true => peer.send(&[stop(first, 1)]),
                false => peer.conn.send_stream(peer.now, first).reset(code(1)).unwrap(),
            }
            assert!(peer.conn.wants_transmit());
            peer.said();
            assert_eq!(writable(&mut peer), [id], "{wire:?} {by_peer}");
            assert_eq!(write_chunk(&mut peer, id, 8_000), 8_000);
        }
    }
}

/// Data without credit may fill half of the send window. Neither of the two streams has credit. The
/// first stream has filled that half, so the second stream does not accept a chunk. The peer still
/// sees the second stream, and the peer's grant wakes the writer.
#[test]
fn a_stream_without_credit_waits_for_its_own_grant_and_the_peer_sees_it() {
    for wire in WIRES {
        let mut peer = client(wire, &config(16 * 1024), 0);
        let opened = |peer: &mut ScriptedPeer| peer.conn.open(Dir::Bi).unwrap().unwrap();
        let first = opened(&mut peer);
        assert_eq!(write_chunk(&mut peer, first, 100_000), 100_000);
        peer.said();
        let id = opened(&mut peer);
        assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
        let frames = peer.frames();
        let seen = match wire {
            Wire::QMux => frames == [stream(id, 0, b"", false)],
            _ => matches!(frames[..], [Frame::MaxStreamData { id: shown, .. }] if shown == id),
        };
        assert!(seen, "{wire:?}: {frames:?}");
        assert_eq!(writable(&mut peer), []);
        peer.send(&[match wire {
            Wire::QMux => max_stream_data(id, 20_000),
            _ => ack(id, 20_000),
        }]);
        assert_eq!(writable(&mut peer), [id], "{wire:?}");
        assert_eq!(write_chunk(&mut peer, id, 8_000), 8_000, "{wire:?}");
        assert!(!peer.frames().is_empty(), "and it leaves");
    }
}

/// While the window stays full, streams are opened, wait, and are dropped. These streams must leave
/// nothing in the queue.
#[test]
fn writers_that_give_up_by_the_thousand_leave_no_trace() {
    for wire in WIRES {
        let (mut peer, first) = full(wire);
        for _ in 0..20_000 {
            let id = open(&mut peer, 1 << 20);
            assert_eq!(write_chunk(&mut peer, id, 8_000), 0, "{wire:?}");
            peer.conn.send_stream(peer.now, id).release();
            peer.conn.recv_stream(peer.now, id).release();
            peer.send(&[match wire {
                Wire::QMux => reset(id, 0, 0),
                _ => error_read(id, 0),
            }]);
            // Nothing is sent in this loop, so the data of the first stream keeps the window full.
            // In each round the priority of that stream is set again. The change of priority must
            // leave nothing in the queue, either.
            peer.conn.send_stream(peer.now, first).set_priority(-1).unwrap();
        }
        assert_eq!(writable(&mut peer), [], "{wire:?}");
        peer.said();
        assert_eq!(writable(&mut peer), [], "{wire:?}");
        assert_eq!(held(&peer), 0);
    }
}
