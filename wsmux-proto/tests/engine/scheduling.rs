//! Which bytes go into the next message: control frames first, then data by priority. Streams of
//! equal priority take turns.

use std::collections::BTreeMap;

use crate::support::*;
use wsmux_proto::{Config, Dir, Event, Frame, MessageBuf, Outgoing, StreamId, Wire};

/// Returns a client with this many streams that have ample credit and nothing to send yet.
fn client_with(wire: Wire, count: usize) -> (ScriptedPeer, Vec<StreamId>) {
    client_with_record(wire, count, 65_536)
}

fn client_with_record(wire: Wire, count: usize, record: u64) -> (ScriptedPeer, Vec<StreamId>) {
    let parameters = scripted_peer::generous_but(|limits| limits.max_record_size = record);
    let mut config = Config::default();
    config.send_buffer(4 << 20);
    let mut peer = ScriptedPeer::with_parameters(wire, CLIENT, &config, parameters);
    let ids: Vec<_> = (0..count).map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap()).collect();
    if wire == Wire::JsWs {
        ids.iter().for_each(|&id| peer.send(&[ack(id, 1 << 31)]));
    }
    peer.said();
    (peer, ids)
}

fn data_frames(said: &Said) -> Vec<(StreamId, usize)> {
    let Said::Frames(frames) = said else { panic!("{said:?}") };
    let data = |frame: &Frame| match frame {
        Frame::Stream { id, data, .. } => Some((*id, data.len())),
        _ => None,
    };
    frames.iter().filter_map(data).collect()
}

fn write(peer: &mut ScriptedPeer, id: StreamId, len: usize) {
    assert_eq!(
        peer.conn.send_stream(peer.now, id).write(&vec![id.index() as u8; len]).unwrap(),
        len
    );
}

/// [C-35] Of the streams that can send, those of the highest priority MUST be served first, round
/// robin. While other streams of that priority wait, a stream sends about 16 KiB in its turn.
#[test]
fn a_higher_priority_goes_first_whenever_it_has_something() {
    for wire in WIRES {
        let (mut peer, ids) = client_with(wire, 4);
        for (&id, priority) in ids.iter().zip([0, -5, 7, 7]) {
            peer.conn.send_stream(peer.now, id).set_priority(priority).unwrap();
            assert_eq!(peer.conn.send_stream(peer.now, id).priority().unwrap(), priority);
            write(&mut peer, id, 100_000);
        }
        let mut order = Vec::new();
        while let Some(said) = peer.said_next() {
            order.extend(data_frames(&said));
        }
        let rank = |id: StreamId| [1, 2, 0, 0][id.index() as usize];
        assert!(order.is_sorted_by_key(|&(id, _)| rank(id)), "{wire:?} {order:?}");
        // If the priority of a stream is raised while another stream sends, the raised stream is
        // served next.
        for &id in &ids[..2] {
            write(&mut peer, id, 300_000);
        }
        assert_eq!(data_frames(&peer.said_next().unwrap())[0].0, ids[0]);
        peer.conn.send_stream(peer.now, ids[1]).set_priority(1).unwrap();
        let next = data_frames(&peer.said_next().unwrap());
        assert!(next.iter().all(|&(id, _)| id == ids[1]), "{next:?}");
    }
}

/// [C-35] Of the streams that can send, those of the highest priority MUST be served first, round
/// robin. While other streams of that priority wait, a stream sends about 16 KiB in its turn.
#[test]
fn equals_share_alike_within_ten_percent_over_a_thousand_turns() {
    for wire in WIRES {
        for (count, record) in [(2, 65_536), (3, 65_536), (7, 65_536), (3, 16_382), (5, 20_000)] {
            let (mut peer, ids) = client_with_record(wire, count, record);
            let mut sent = BTreeMap::<StreamId, usize>::new();
            let mut turns = 0;
            while turns < 1_000 {
                for &id in &ids {
                    // The streams always have something to send, and their writes differ in size.
                    while peer.conn.send_stream(peer.now, id).poll_room().unwrap() > 3 << 20 {
                        write(&mut peer, id, 50_000 + 10_000 * id.index() as usize);
                    }
                }
                for (id, len) in data_frames(&peer.said_next().unwrap()) {
                    *sent.entry(id).or_default() += len;
                    turns += 1;
                }
            }
            let (least, most) = (*sent.values().min().unwrap(), *sent.values().max().unwrap());
            assert_eq!(sent.len(), count);
            assert!(least * 10 >= most * 9, "{wire:?} {count} of {record}: {sent:?}");
        }
    }
}

/// [C-35] Of the streams that can send, those of the highest priority MUST be served first, round
/// robin. While other streams of that priority wait, a stream sends about 16 KiB in its turn.
/// [C-37] A message with stream data MUST NOT be longer than 65536 bytes, headers included, nor
/// longer than the wire and the peer permit.
#[test]
fn a_turn_is_short_while_others_wait_and_a_message_long_when_none_do() {
    for wire in WIRES {
        let (mut peer, ids) = client_with(wire, 2);
        for &id in &ids {
            write(&mut peer, id, 1 << 20);
        }
        for said in (0..8).map(|_| peer.said_next().unwrap()) {
            let frames = data_frames(&said);
            assert!(frames.iter().all(|&(_, len)| len <= 16 * 1024), "{frames:?}");
        }
        peer.conn.send_stream(peer.now, ids[0]).reset(code(0)).unwrap();
        peer.said_next();
        let frames = data_frames(&peer.said_next().unwrap());
        assert_eq!(frames.len(), 1, "alone");
        assert!(frames[0].1 > 65_000, "{frames:?}");
    }
}

/// [C-34] Control frames MUST be sent before datagrams, and datagrams before stream data.
#[test]
fn control_overtakes_data() {
    for wire in WIRES {
        let (mut peer, ids) = client_with(wire, 3);
        write(&mut peer, ids[0], 1 << 20);
        peer.said_next().unwrap();
        peer.conn.send_stream(peer.now, ids[1]).reset(code(5)).unwrap();
        peer.conn.recv_stream(peer.now, ids[2]).stop(code(6)).unwrap();
        let mut control = Vec::new();
        while control.len() < 2 {
            let Some(Said::Frames(frames)) = peer.said_next() else { panic!("{control:?}") };
            for frame in frames {
                match frame {
                    Frame::Stream { id, .. } if id == ids[0] => {
                        assert!(control.len() >= 2, "{wire:?}: data first");
                    }
                    // Before STOP_SENDING, an empty frame may open the stream at the peer.
                    Frame::Stream { data, .. } if data.is_empty() => {}
                    frame => control.push(frame),
                }
            }
        }
    }
}

#[test]
fn a_ping_is_answered_in_the_next_message_however_much_waits() {
    let (mut peer, ids) = client_with(Wire::QMux, 10);
    for &id in &ids {
        write(&mut peer, id, 1 << 20);
    }
    peer.said_next().unwrap();
    peer.send(&[Frame::Ping(code(3))]);
    let Some(Said::Frames(frames)) = peer.said_next() else { panic!("a message") };
    assert_eq!(frames[0], Frame::Pong(code(3)));
    assert!(frames.len() > 1, "and data behind it");
}

/// [C-36] Stream bytes MUST stay in their stream until the socket can take a message. Which stream
/// sends is decided at that moment. On QMux a message may contain frames of several streams.
/// A message MUST be exactly the Frames field of one QMux record; the Size field is left out.
#[test]
fn several_streams_share_one_message_on_qmux() {
    let (mut peer, ids) = client_with(Wire::QMux, 50);
    for &id in &ids {
        write(&mut peer, id, 100);
        peer.conn.send_stream(peer.now, id).finish().unwrap();
    }
    let said = peer.said();
    assert_eq!(said.len(), 1, "5,000 bytes and their ends");
    let frames = data_frames(&said[0]);
    assert_eq!(frames, ids.iter().map(|&id| (id, 100)).collect::<Vec<_>>());
}

/// [C-37] A message with stream data MUST NOT be longer than 65536 bytes, headers included, nor
/// longer than the wire and the peer permit.
/// A message we send MUST NOT be longer than the peer's `max_record_size`. Until the peer's
/// parameters have arrived, the limit is 16382 bytes.
#[test]
fn no_message_is_longer_than_the_peer_takes() {
    for (record, most) in [(16_382, 16_382), (20_000, 20_000), (1 << 20, 65_536)] {
        let (mut peer, ids) = client_with_record(Wire::QMux, 20, record);
        for &id in &ids {
            write(&mut peer, id, 3_333 * (id.index() as usize + 1));
            peer.conn.send_stream(peer.now, id).finish().unwrap();
            peer.conn.recv_stream(peer.now, id).stop(code(1 << 60)).unwrap();
        }
        for _ in 0..30 {
            let _ = peer.conn.send_datagram(vec![7; 3_000].into());
        }
        let (mut total, mut longest) = (0, 0);
        while let Some(message) = peer.said_bytes() {
            assert!(message.len() <= most, "{} of {most}", message.len());
            longest = longest.max(message.len());
            for frame in scripted_peer::decode(Wire::QMux, message) {
                if let Frame::Stream { data, .. } = frame {
                    total += data.len();
                }
            }
        }
        assert_eq!(total, (1..=20).map(|nth| 3_333 * nth).sum::<usize>());
        assert!(longest > most * 9 / 10, "{longest} of {most}: messages are filled");
    }
    let (mut peer, ids) = client_with(Wire::JsWs, 1);
    write(&mut peer, ids[0], 1 << 20);
    while let Some(message) = peer.said_bytes() {
        assert!(message.len() <= 65_536, "one message must not hold up the rest (C-37)");
    }
}

/// [C-36] Stream bytes MUST stay in their stream until the socket can take a message. Which stream
/// sends is decided at that moment. On QMux a message may contain frames of several streams.
#[test]
fn which_streams_bytes_go_is_decided_when_the_socket_can_take_them() {
    for wire in WIRES {
        let (mut peer, ids) = client_with(wire, 2);
        write(&mut peer, ids[0], 1 << 20);
        assert!(peer.conn.wants_transmit());
        // While the socket is full, the second stream becomes more urgent. After one message the
        // first stream is reset.
        write(&mut peer, ids[1], 10);
        peer.conn.send_stream(peer.now, ids[1]).set_priority(1).unwrap();
        assert_eq!(data_frames(&peer.said_next().unwrap())[0], (ids[1], 10));
        peer.conn.send_stream(peer.now, ids[0]).reset(code(1)).unwrap();
        let sent = peer.frames().into_iter().filter(|frame| matches!(frame, Frame::Stream { .. }));
        assert_eq!(sent.count(), 0, "{wire:?}");
        assert_eq!(peer.conn.stats(Time::EPOCH).send_buffered, 0);
    }
}

/// [C-29] A stream MUST NOT be scheduled while it has nothing to send. A stream has something to
/// send if it has data and credit for this data, or a FIN without data. A FIN without data needs no
/// credit.
#[test]
fn a_stream_without_credit_takes_no_turn() {
    let parameters =
        scripted_peer::generous_but(|limits| limits.initial_max_stream_data_bidi_remote = 10);
    let mut config = Config::default();
    config.send_buffer(4 << 20);
    let mut peer = ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &config, parameters);
    let stuck = peer.conn.open(Dir::Bi).unwrap().unwrap();
    let free = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, stuck).set_priority(100).unwrap();
    write(&mut peer, stuck, 1_000);
    write(&mut peer, free, 100_000);
    let mut sent = BTreeMap::<StreamId, usize>::new();
    while let Some(said) = peer.said_next() {
        for (id, len) in data_frames(&said) {
            *sent.entry(id).or_default() += len;
        }
    }
    assert_eq!(sent, BTreeMap::from([(stuck, 10), (free, 100_000)]));
}

#[test]
fn an_announced_stream_is_seen_before_anything_is_written() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    pair.server.take_events();
    let id = pair.client.open(Dir::Bi);
    pair.drive();
    assert_eq!(pair.server.take_events(), [], "opening is lazy");
    pair.client.conn.send_stream(pair.now, id).announce();
    pair.drive();
    assert_eq!(pair.server.take_events(), [Event::Opened { dir: Dir::Bi }]);
    // On js-ws the server sees the stream at once.
    let mut pair = Pair::new(Wire::JsWs, &Config::default());
    pair.server.take_events();
    pair.client.open(Dir::Bi);
    pair.drive();
    assert_eq!(pair.server.take_events(), [Event::Opened { dir: Dir::Bi }]);
}

/// On js-ws the end of one stream is sent although another stream always has data.
#[test]
fn the_end_of_a_stream_leaves_beside_one_that_always_has_data() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &Config::default());
    let (small, bulk) = (bidi(CLIENT, 0), bidi(CLIENT, 1));
    assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(small));
    assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(bulk));
    peer.said();
    peer.send(&[ack(small, 1_024), ack(bulk, 1 << 31)]);
    peer.conn.send_stream(peer.now, small).write(b"hello").unwrap();
    peer.conn.send_stream(peer.now, small).finish().unwrap();
    let mut out = MessageBuf::new();
    let (mut bytes, mut flushes, mut messages) = (0u64, 0, 0);
    while bytes < 64 << 20 {
        peer.conn.send_stream(peer.now, bulk).write(&[7; 64 * 1024]).unwrap();
        match peer.conn.poll_transmit(peer.now, &mut out) {
            Some(Outgoing::Message(message)) => {
                messages += 1;
                bytes += message.len() as u64;
                if scripted_peer::decode(Wire::JsWs, message.to_bytes()) == [close_read(small)] {
                    return;
                }
            }
            Some(_) => flushes += 1,
            None => panic!("there is always something"),
        }
    }
    panic!("{messages} messages of {bytes} bytes, {flushes} flushes, and never the end");
}

/// A server with default settings sends a small answer beside a large one, on a link of 100 MB/s
/// with a round-trip time of 2 ms.
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
            let _ = pair.server.conn.send_stream(pair.now, bulk).write(&[1; 512 * 1024]);
            pair.step();
            let _ = pair.server.conn.send_stream(pair.now, bulk).write(&[1; 512 * 1024]);
            read += pair.client.read(bulk).0.len();
            if pair.client.read(small).1 == End::Fin {
                break;
            }
            assert!(read < 200_000_000, "{wire:?}: no end after {:?}", pair.now - begun);
        }
    }
}
