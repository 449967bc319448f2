//! SPEC.md §7: the js-ws wire.

use wsmux::{
    Config,
    proto::{
        ConnectionError, Credit, Dir, Frame, MessageBuf, Outgoing, Read, TransportErrorCode, Wire,
    },
};

use super::*;

/// [J-7] The lowest bit of an id MUST say who opened the stream: 0 for the client, 1 for the
/// server. Each side counts up by 2, and begins with 0 or 1. Id n stands for the neutral stream
/// with counter n >> 1.
/// [J-12] The first message on a stream that we open MUST be an Ack with our receive window, sent
/// at once.
#[test]
fn the_first_messages_of_our_streams_are_these_bytes() {
    for (side, ids) in [(CLIENT, [0, 2, 4]), (SERVER, [1, 3, 5])] {
        let mut config = Config::default();
        config.stream_receive_window(0x0102_0304);
        let mut peer = ScriptedPeer::new(Wire::JsWs, side, &config);
        for (index, id) in ids.into_iter().enumerate() {
            let opened = peer.conn.open(Dir::Bi).unwrap().unwrap();
            assert_eq!(opened, bidi(side, index as u64));
            assert_eq!(peer.said_bytes().unwrap()[..], [id, 0, 1, 1, 2, 3, 4]);
        }
        // This is the id of the first stream that the peer opens.
        let theirs = 1 - ids[0];
        peer.send_bytes(vec![theirs, 0, 1, 0, 0, 0, 9]);
        assert_eq!(peer.conn.accept(Dir::Bi), Some(bidi(!side, 0)));
    }
}

/// [J-8] On an id of 2^61 or above we MUST close with PROTOCOL_VIOLATION, because its counter does
/// not fit into a neutral id.
#[test]
fn the_last_id_below_2_61_is_a_stream() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
    let last = bidi(CLIENT, (1 << 60) - 1);
    peer.send_bytes([varints(&[(1 << 61) - 2]), vec![0, 1, 0, 0, 0, 9]].concat());
    assert_eq!(peer.conn.accept(Dir::Bi), Some(last));
    for id in [1 << 61, (1 << 61) + 1, (1 << 62) - 1] {
        let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
        peer.send_bytes([varints(&[id]), vec![0, 1, 0, 0, 0, 9]].concat());
        peer.assert_violation("too large", TransportErrorCode::PROTOCOL_VIOLATION, 1002);
    }
}

/// [J-16] To finish a stream, we MUST send Close(Read) after all Data of the stream. Close(Read)
/// needs no credit. We flush the socket after the last Data and before Close(Read), because the
/// real endpoint loses Data that comes in the same TLS record as the Close(Read).
#[test]
fn the_socket_is_flushed_between_the_last_data_and_the_end() {
    // Only a FIN needs the flush. A reset or a request to stop may overtake Data that was sent
    // earlier, because the sender gives up the half anyway.
    let (mut peer, id) = with_stream(Wire::JsWs, &Config::default());
    peer.conn.send_stream(peer.now, id).write(b"last").unwrap();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    let mut out = MessageBuf::new();
    let mut steps = Vec::new();
    while let Some(transmit) = peer.conn.poll_transmit(peer.now, &mut out) {
        match transmit {
            Outgoing::Message(message) => {
                let frames = scripted_peer::decode(Wire::JsWs, message.to_bytes());
                steps.extend(frames.into_iter().map(Some));
            }
            Outgoing::Flush => steps.push(None),
            other => panic!("{other:?}"),
        }
    }
    let steps: Vec<_> = steps.iter().map(Option::as_ref).collect();
    assert_eq!(steps, [Some(&data(id, b"last")), None, Some(&close_read(id))]);

    // If there is no Data to send, the end is sent at once, even without credit.
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
    peer.send(&[ack(id, 0)]);
    peer.said();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    assert_eq!(peer.frames(), [close_read(id)]);
}

/// [J-25] Each byte of Data MUST use one byte of credit. Ids and types use no credit.
#[test]
fn credit_is_for_payload_alone_in_both_directions() {
    let mut config = Config::default();
    config.stream_receive_window(100);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    let id = bidi(CLIENT, 0);
    peer.send(&[ack(id, 100)]);
    peer.said();
    for _ in 0..100 {
        peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
        assert_eq!(peer.frames(), [data(id, b"x")]);
        peer.send(&[data(id, b"y")]);
    }
    peer.assert_open("a hundred messages of a byte");
    peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
    assert_eq!(peer.frames(), [], "the credit is used up");
    peer.send(&[data(id, b"y")]);
    peer.assert_violation("a byte more", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
}

/// [J-27] On an Ack that raises our unused credit above 2^32-1 we MUST close with
/// FLOW_CONTROL_ERROR.
#[test]
fn credit_that_was_used_makes_room_for_more() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
    let id = bidi(CLIENT, 0);
    peer.send(&[ack(id, u64::from(u32::MAX))]);
    peer.said();
    peer.conn.send_stream(peer.now, id).write(&[0; 7]).unwrap();
    peer.said();
    peer.send(&[ack(id, 7)]);
    peer.assert_open("as much as 32 bits hold, and no more");
    // Bytes that are buffered but not yet sent have used no credit.
    peer.conn.send_stream(peer.now, id).write(&[0; 7]).unwrap();
    peer.send(&[ack(id, 1)]);
    peer.assert_violation("one more", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
}

/// [J-28] The sum of the credit we have granted on a stream and the bytes not yet read MUST NOT
/// exceed the stream's window.
#[test]
fn credit_and_unread_bytes_are_never_more_than_the_window() {
    for window in [1, 2, 3, 10, 1_000] {
        let mut config = Config::default();
        config.stream_receive_window(window);
        let (mut peer, id) = with_stream(Wire::JsWs, &config);
        let (mut credit, mut unread) = (window, 0);
        for step in 0..2_000u64 {
            if step % 3 < 2 && credit > 0 {
                let len = (step % 7 + 1).min(credit);
                peer.send(&[data(id, &vec![0; len as usize])]);
                (credit, unread) = (credit - len, unread + len);
            } else if let Read::Data(read) =
                peer.conn.recv_stream(peer.now, id).read(step as usize % 11 + 1).unwrap()
            {
                unread -= read.len() as u64;
            }
            for frame in peer.frames() {
                match frame {
                    Frame::MaxStreamData { credit: Credit::More(more), .. } => credit += more,
                    other => panic!("{other:?}"),
                }
            }
            assert!(credit + unread <= window, "{credit} and {unread} of {window}");
        }
        peer.assert_open("within its credit");
    }
}

/// [J-29] A window MUST NOT be above 2^32-1. If a setting is larger, the window is 2^32-1.
#[test]
fn a_window_has_32_bits() {
    for asked in [u64::from(u32::MAX), 1 << 32, 1 << 40, u64::MAX] {
        let mut config = Config::default();
        config.stream_receive_window(asked);
        let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &config);
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        assert_eq!(peer.frames(), [ack(id, u64::from(u32::MAX))], "{asked}");

        // The same limit applies when the application changes the window later.
        let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &Config::default());
        peer.conn.set_stream_receive_window(asked);
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        for frame in peer.frames() {
            let Frame::MaxStreamData { credit: Credit::More(more), .. } = frame else {
                panic!("{frame:?}")
            };
            assert!(more <= u64::from(u32::MAX), "{asked}: {more} on {id}");
        }
    }
}

/// [J-30] From the start of a connection, the limit on inbound messages MUST be the largest window
/// that the configuration permits plus 10 bytes. The limit MUST be at least 19 bytes.
#[test]
fn a_message_may_hold_a_whole_window_and_its_header() {
    let mut config = Config::default();
    config.stream_receive_window(100_000);
    let (mut peer, id) = with_stream(Wire::JsWs, &config);
    assert_eq!(peer.conn.max_inbound_message(), 100_010);
    // An id of eight bytes gives the longest header.
    let header = [&0xc000_0000_0000_0000u64.to_be_bytes()[..], &[0, 0]].concat();
    peer.send_bytes([header.clone(), vec![7; 100_000]].concat());
    peer.assert_open("as large as it may be");
    assert_eq!(
        peer.conn.recv_stream(peer.now, id).read(200_000).unwrap().data().unwrap().len(),
        100_000
    );
    peer.said();
    peer.send_bytes([header, vec![7; 100_001]].concat());
    peer.assert_violation("a byte more", TransportErrorCode::FRAME_ENCODING_ERROR, 1009);
}

/// [J-33] The number of refusals that wait to be sent MUST be bounded. The answers of J-42 and the
/// refusals of J-44 do not count. If more refusals wait than the bound allows, we close with
/// EXCESSIVE_LOAD.
#[test]
fn too_many_refusals_for_a_peer_that_does_not_read_are_an_excessive_load() {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(1).max_waiting_streams(0);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    // If the peer reads, each of its requests is refused, however many there are.
    for index in 0..10_000 {
        peer.send(&[ack(bidi(CLIENT, index), 1)]);
        peer.said();
    }
    peer.assert_open("all were told");
    let mut index = 10_000;
    while peer.conn.close_reason().is_none() {
        peer.send(&[ack(bidi(CLIENT, index), 1)]);
        index += 1;
        assert!(index < 20_000, "no bound");
    }
    match peer.conn.close_reason() {
        Some(ConnectionError::TransportError(error)) => {
            assert_eq!(error.code, TransportErrorCode::EXCESSIVE_LOAD);
        }
        other => panic!("{other:?}"),
    }
    peer.assert_violation("a flood", TransportErrorCode::EXCESSIVE_LOAD, 1002);
}
