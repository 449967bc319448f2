//! The rules of the js-ws wire for messages, for ids, and for answers to the end of a half. The
//! last tests replay recorded traces of real endpoints.

use std::collections::BTreeMap;

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{
    Config, Dir, Frame, Incoming, Read, ReadError, SendEnd, Side, TransportErrorCode, Wire,
    WriteError,
};

const PROTOCOL: TransportErrorCode = TransportErrorCode::PROTOCOL_VIOLATION;
const ENCODING: TransportErrorCode = TransportErrorCode::FRAME_ENCODING_ERROR;

fn config() -> Config {
    Config::default().stream_receive_window(1_024).clone()
}

/// Returns a server that has nothing to send and on which the client's stream 0 is open.
fn server() -> ScriptedPeer {
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config());
    peer.send(&[ack(bidi(CLIENT, 0), 1_024)]);
    assert_eq!(peer.conn.accept(Dir::Bi), Some(bidi(CLIENT, 0)));
    assert_eq!(peer.frames(), [ack(bidi(CLIENT, 0), 1_024)], "an open is answered (J-13)");
    peer
}

/// [J-2] On a message that is truncated, has an unknown type or half, or has bytes after the
/// payload of an Ack, Error or Close, we MUST close with FRAME_ENCODING_ERROR.
/// [J-3] On an empty message we MUST close with PROTOCOL_VIOLATION.
/// [J-8] On an id of 2^61 or above we MUST close with PROTOCOL_VIOLATION, because its counter does
/// not fit into a neutral id.
/// [J-30] From the start of a connection, the limit on inbound messages MUST be the largest window
/// that the configuration permits plus 10 bytes. The limit MUST be at least 19 bytes.
/// [W-2] On a text message we MUST close with PROTOCOL_VIOLATION and WebSocket code 1002, on either
/// wire.
#[test]
fn messages_that_are_malformed() {
    let too_large = [&varints(&[1 << 61])[..], &[0, 1, 0, 0, 0, 1]].concat();
    for (what, message, code) in [
        ("empty", vec![], PROTOCOL),
        ("id past 2^61", too_large, PROTOCOL),
        ("half an id", vec![0x40], ENCODING),
        ("no type", vec![0], ENCODING),
        ("half a type", vec![0, 0], ENCODING),
        ("unknown type", vec![0, 0, 4], ENCODING),
        ("unknown type, high byte", vec![0, 1, 0, 0], ENCODING),
        ("short Ack", vec![0, 0, 1, 0, 0, 4], ENCODING),
        ("long Ack", vec![0, 0, 1, 0, 0, 4, 0, 0], ENCODING),
        ("Error without a half", vec![0, 0, 2], ENCODING),
        ("Error without a code", vec![0, 0, 2, 0], ENCODING),
        ("Error with half a code", vec![0, 0, 2, 0, 0x40], ENCODING),
        ("Error with no such half", vec![0, 0, 2, 2, 0], ENCODING),
        ("long Error", vec![0, 0, 2, 0, 0, 0], ENCODING),
        ("Close without a half", vec![0, 0, 3], ENCODING),
        ("Close with no such half", vec![0, 0, 3, 2], ENCODING),
        ("long Close", vec![0, 0, 3, 0, 0], ENCODING),
    ] {
        let mut peer = server();
        peer.send_bytes(message);
        peer.assert_violation(what, code, 1002);
    }
    let mut peer = server();
    peer.conn.handle(peer.now, Incoming::Text);
    peer.assert_violation("a text message", PROTOCOL, 1002);
    let mut peer = server();
    peer.send_bytes(vec![0; 1_024 + 11]);
    peer.assert_violation("above window and header", ENCODING, 1009);
}

/// [J-4] Varints MUST be sent in their shortest encoding and accepted in every length.
#[test]
fn integers_may_be_longer_than_they_need_to_be() {
    let mut peer = server();
    peer.send_bytes(vec![0x80, 0, 0, 0, 0, 0, b'x']);
    peer.send_bytes(vec![0x40, 0, 0, 2, 1, 0x80, 0, 0, 7]);
    peer.assert_open("J-4");
    let mut recv = peer.conn.recv_stream(peer.now, bidi(CLIENT, 0));
    assert_eq!(recv.read(9).unwrap().data().unwrap(), "x");
    assert_eq!(peer.frames(), [error_read(bidi(CLIENT, 0), 7)]);
}

/// [J-9] On a message for an id that only we may open, and that we have not opened, we MUST close
/// with STREAM_STATE_ERROR.
/// [J-14] If the first message on a new id of the peer is not an Ack, we MUST close with
/// PROTOCOL_VIOLATION.
#[test]
fn streams_that_begin_wrongly() {
    let ours = bidi(SERVER, 0);
    let own = [ack(ours, 5), data(ours, b"x"), close_read(ours), stop(ours, 0)];
    let state = TransportErrorCode::STREAM_STATE_ERROR;
    let theirs = bidi(CLIENT, 1);
    let others = [
        data(theirs, b"x"),
        data(theirs, b""),
        close_read(theirs),
        Frame::FinReceived { id: theirs },
        error_read(theirs, 0),
        stop(theirs, 0),
    ];
    for (frame, code) in
        own.map(|frame| (frame, state)).into_iter().chain(others.map(|frame| (frame, PROTOCOL)))
    {
        let mut peer = server();
        peer.send(std::slice::from_ref(&frame));
        peer.assert_violation(&format!("{frame:?}"), code, 1002);
    }
}

/// [J-6] On a stream that is open, an empty Data message from the peer MUST be accepted without
/// effect.
/// [J-24] If Data arrives after Close(Read) or Error(Read) on a live stream, we MUST close with
/// FINAL_SIZE_ERROR, unless C-55 applies. On this wire the final size is the number of bytes that
/// came before the Close or Error.
#[test]
fn data_behind_the_end_of_a_stream_is_a_final_size_error() {
    let id = bidi(CLIENT, 0);
    for end in [close_read(id), error_read(id, 1)] {
        let mut peer = server();
        peer.send(&[data(id, b"hello"), end.clone(), data(id, b"")]);
        peer.assert_open("an empty message says nothing (J-6)");
        peer.said();
        peer.send(&[data(id, b"x")]);
        let what = format!("behind {end:?}");
        peer.assert_violation(&what, TransportErrorCode::FINAL_SIZE_ERROR, 1002);
    }
}

/// [J-17] Close(Read) received on an open receiving half is its FIN, and MUST be answered once by
/// Close(Write).
/// [J-18] To reset a half we MUST send Error(Read, code). Error(Read, code) received on an open
/// receiving half is a reset, and MUST be answered once by Error(Write, code).
/// [J-19] To stop a half we MUST send Error(Write, code). Error(Write, code) received on an open
/// sending half is a request to stop, and MUST be answered once by Error(Read, code). After this
/// answer no Data is sent.
/// [J-20] Close(Write) received on an open sending half MUST be treated as Error(Write, 0).
/// [J-21] A Close or Error for a half that has ended MUST be ignored and not be answered. So two
/// endpoints cannot answer each other for ever.
#[test]
fn each_end_is_answered_once_and_answers_are_not_answered() {
    let id = bidi(CLIENT, 0);
    // Each row has a frame of the peer and our answers to this frame. The peer sends the frame
    // twice, and we answer only the first time.
    for (said, answer) in [
        (close_read(id), vec![Frame::FinReceived { id }]),
        (error_read(id, 9), vec![stop(id, 9)]),
        (stop(id, 9), vec![error_read(id, 9)]),
        (Frame::FinReceived { id }, vec![error_read(id, 0)]),
    ] {
        let mut peer = server();
        peer.conn.send_stream(peer.now, id).write(b"pending").unwrap();
        peer.said();
        peer.send(std::slice::from_ref(&said));
        assert_eq!(peer.frames(), answer, "to {said:?}");
        peer.send(std::slice::from_ref(&said));
        assert_eq!(peer.frames(), [], "the second time");
        peer.assert_open("said twice");
    }
}

/// [J-21] A Close or Error for a half that has ended MUST be ignored and not be answered. So two
/// endpoints cannot answer each other for ever.
/// [J-22] If Error(Read) or Close(Read) arrives after we stopped the half, the half MUST end
/// without an answer.
#[test]
fn answers_to_ends_of_ours_are_ignored() {
    let id = bidi(CLIENT, 0);
    let mut peer = server();
    peer.conn.send_stream(peer.now, id).finish().unwrap();
    peer.conn.recv_stream(peer.now, id).stop(code(3)).unwrap();
    let said = peer.frames();
    assert!(said.contains(&close_read(id)) && said.contains(&stop(id, 3)), "{said:?}");
    peer.send(&[Frame::FinReceived { id }, error_read(id, 3)]);
    peer.assert_open("both are answers");
    assert_eq!(peer.frames(), []);
    assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0);

    let mut peer = server();
    peer.conn.send_stream(peer.now, id).reset(code(4)).unwrap();
    assert_eq!(peer.frames(), [error_read(id, 4)]);
    peer.send(&[stop(id, 4)]);
    assert_eq!(peer.frames(), []);
}

/// [J-22] If Error(Read) or Close(Read) arrives after we stopped the half, the half MUST end
/// without an answer.
#[test]
fn either_end_of_a_half_that_we_stopped_is_not_answered() {
    let id = bidi(CLIENT, 0);
    for end in [close_read(id), error_read(id, 3), error_read(id, 4)] {
        let mut peer = server();
        peer.conn.recv_stream(peer.now, id).stop(code(3)).unwrap();
        assert_eq!(peer.frames(), [stop(id, 3)]);
        peer.send(&[data(id, b"on its way"), end.clone()]);
        assert_eq!(peer.frames(), [], "to {end:?}");
        peer.conn.send_stream(peer.now, id).reset(code(0)).unwrap();
        peer.frames();
        assert_eq!(peer.conn.stats(Time::EPOCH).live_streams, 0, "it has ended");
    }
}

/// [J-19] To stop a half we MUST send Error(Write, code). Error(Write, code) received on an open
/// sending half is a request to stop, and MUST be answered once by Error(Read, code). After this
/// answer no Data is sent.
#[test]
fn no_data_follows_the_peers_request_to_stop() {
    let id = bidi(CLIENT, 0);
    let mut peer = server();
    peer.conn.send_stream(peer.now, id).write(&[0; 5_000]).unwrap();
    let said = peer.frames();
    assert_eq!(said, [data(id, &[0; 1_024])]);
    peer.send(&[stop(id, 6), ack(id, 1_024)]);
    assert_eq!(peer.frames(), [error_read(id, 6)]);
    let mut send = peer.conn.send_stream(peer.now, id);
    assert_eq!(send.poll_end(), SendEnd::Stopped(code(6)));
    assert!(matches!(send.write(b"x"), Err(WriteError::Stopped(_))));
}

/// [J-5] We MUST NOT send an empty Data message.
#[test]
fn an_empty_write_sends_no_message() {
    let mut peer = server();
    peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).write(b"").unwrap();
    peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).announce();
    assert_eq!(peer.frames(), []);
}

/// [J-1] Each message MUST hold exactly one stream message.
#[test]
fn each_message_holds_one_frame() {
    let mut peer = server();
    let ids: Vec<_> = (0..3).map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap()).collect();
    for id in ids {
        peer.send(&[ack(id, 1_024)]);
        peer.conn.send_stream(peer.now, id).write(b"hello").unwrap();
        peer.conn.send_stream(peer.now, id).finish().unwrap();
    }
    let said = peer.said();
    assert!(said.iter().all(|said| matches!(said, Said::Frames(frames) if frames.len() == 1)));
    assert_eq!(said.len(), 3 * 3, "Ack, Data, Close of each: {said:?}");
}

// ---- traces of two real endpoints ----

/// The messages of one exchange, each with the side that sent it.
type Trace = Vec<(Side, Bytes)>;

/// Loads the recorded traces. For a long message, the file has only the first 20 bytes and the
/// length, because all further bytes are zeros.
fn traces() -> BTreeMap<String, Trace> {
    let file = include_str!("data/jsws-traces.json");
    let mut traces = BTreeMap::<String, Trace>::new();
    let mut name = String::new();
    for line in file.lines() {
        let line = line.trim().trim_end_matches(',').trim_matches('"');
        if let Some(rest) = line.strip_prefix("name\": ") {
            name = rest.trim_matches('"').replace('\\', "");
        } else if let Some((from, hex)) =
            line.split_once(' ').filter(|(from, _)| from.contains('>'))
        {
            let from = if from == "c>s" { Side::Client } else { Side::Server };
            let (hex, len) = match hex.split_once("...(") {
                Some((hex, len)) => (hex, len.trim_end_matches(')').parse().unwrap()),
                None => (hex, hex.len() / 2),
            };
            let mut bytes: Vec<_> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            bytes.resize(len, 0);
            traces.entry(name.clone()).or_default().push((from, bytes.into()));
        }
    }
    assert_eq!(traces.len(), 3, "{traces:?}");
    traces
}

/// Removes all Acks after the first message. Returns the other messages, and the sum of the credit
/// of the removed Acks. The engine and the recorded endpoint renew credit in different portions
/// (C-38). After a stream's end, the engine renews no credit (C-20). So only the sums of these Acks
/// are compared, and all other messages must agree byte for byte.
fn without_later_acks(messages: &[Bytes]) -> (Vec<Bytes>, u64) {
    let (mut kept, mut credit) = (Vec::new(), 0);
    for message in messages {
        match &scripted_peer::decode(Wire::JsWs, message.clone())[..] {
            [Frame::MaxStreamData { credit: wsmux_proto::Credit::More(more), .. }]
                if !kept.is_empty() =>
            {
                credit += more;
            }
            _ => kept.push(message.clone()),
        }
    }
    (kept, credit)
}

/// Plays one side of a trace with the engine and takes the other side from the file. `app` is
/// called at each step, and acts as the application of the engine.
fn replay(
    trace: &Trace,
    side: Side,
    mut app: impl FnMut(&mut ScriptedPeer, usize),
) -> ScriptedPeer {
    let mut peer = ScriptedPeer::new(Wire::JsWs, side, &config());
    let mut ours = Vec::new();
    for (step, (from, bytes)) in trace.iter().enumerate() {
        if *from != side {
            peer.send_bytes(bytes.clone());
            peer.assert_open(&format!("step {step}"));
        }
        app(&mut peer, step);
        ours.extend(std::iter::from_fn(|| peer.said_bytes()));
    }
    let theirs: Vec<_> =
        trace.iter().filter(|(from, _)| *from == side).map(|(_, bytes)| bytes.clone()).collect();
    let ((ours, granted), (theirs, at_most)) =
        (without_later_acks(&ours), without_later_acks(&theirs));
    assert_eq!(ours, theirs, "{side:?}");
    assert!(granted <= at_most, "never more credit than the real endpoint: {granted}");
    peer
}

/// [J-7] The lowest bit of an id MUST say who opened the stream: 0 for the client, 1 for the
/// server. Each side counts up by 2, and begins with 0 or 1. Id n stands for the neutral stream
/// with counter n >> 1.
/// [J-13] An Ack on a new id of the peer MUST open the stream, and grants us the credit in the Ack.
/// We MUST answer with an Ack that grants our receive window.
/// [J-16] To finish a stream, we MUST send Close(Read) after all Data of the stream. Close(Read)
/// needs no credit. We flush the socket after the last Data and before Close(Read), because the
/// real endpoint loses Data that comes in the same TLS record as the Close(Read).
/// [J-17] Close(Read) received on an open receiving half is its FIN, and MUST be answered once by
/// Close(Write).
#[test]
fn an_echo_with_a_real_endpoint_is_the_same_on_the_wire() {
    for (name, index, sent) in [
        ("echo \"hello\" then finish", 0, b"hello".to_vec()),
        ("echo 3000 bytes through a 1024-byte window", 1, vec![0; 3_000]),
    ] {
        let trace = &traces()[name];
        let id = bidi(CLIENT, index);
        let (mut written, mut read) = (false, Vec::new());
        let client = replay(trace, Side::Client, |peer, _| {
            if !std::mem::replace(&mut written, true) {
                // In the recording, the streams with lower ids belonged to earlier exchanges.
                for _ in 0..index {
                    let earlier = peer.conn.open(Dir::Bi).unwrap().unwrap();
                    peer.said_bytes();
                    peer.conn.send_stream(peer.now, earlier).release();
                    peer.conn.recv_stream(peer.now, earlier).release();
                    peer.said();
                }
                assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(id));
                assert_eq!(peer.conn.send_stream(peer.now, id).write(&sent).unwrap(), sent.len());
                peer.conn.send_stream(peer.now, id).finish().unwrap();
            }
            while let Ok(Read::Data(bytes)) = peer.conn.recv_stream(peer.now, id).read(9_999) {
                read.extend_from_slice(&bytes);
            }
        });
        assert_eq!(read, sent);
        drop(client);
        let server = replay(trace, Side::Server, |peer, _| {
            loop {
                match peer.conn.recv_stream(peer.now, id).read(9_999) {
                    Ok(Read::Data(bytes)) => {
                        assert_eq!(
                            peer.conn.send_stream(peer.now, id).write(&bytes).unwrap(),
                            bytes.len()
                        );
                    }
                    Ok(Read::Finished) => peer.conn.send_stream(peer.now, id).finish().unwrap(),
                    _ => break,
                }
            }
        });
        assert_eq!(server.conn.stats(Time::EPOCH).live_streams, 0, "{name}");
    }
}

/// [J-18] To reset a half we MUST send Error(Read, code). Error(Read, code) received on an open
/// receiving half is a reset, and MUST be answered once by Error(Write, code).
/// [J-19] To stop a half we MUST send Error(Write, code). Error(Write, code) received on an open
/// sending half is a request to stop, and MUST be answered once by Error(Read, code). After this
/// answer no Data is sent.
#[test]
fn a_cancel_of_both_halves_with_a_real_endpoint_is_the_same_on_the_wire() {
    let traces = traces();
    let trace = &traces["cancel both sides"];
    let id = bidi(CLIENT, 2);
    let mut opened = false;
    let client = replay(trace, Side::Client, |peer, step| {
        if !std::mem::replace(&mut opened, true) {
            for _ in 0..2 {
                let earlier = peer.conn.open(Dir::Bi).unwrap().unwrap();
                peer.conn.send_stream(peer.now, earlier).release();
                peer.conn.recv_stream(peer.now, earlier).release();
                peer.said();
            }
            assert_eq!(peer.conn.open(Dir::Bi).unwrap(), Some(id));
        }
        if step == 1 {
            peer.conn.recv_stream(peer.now, id).stop(code(0)).unwrap();
            peer.conn.send_stream(peer.now, id).reset(code(0)).unwrap();
        }
    });
    drop(client);
    let server = replay(trace, Side::Server, |_, _| {});
    let mut conn = server.conn;
    assert!(
        matches!(conn.recv_stream(server.now, id).read(1), Err(ReadError::Reset(reset)) if reset == code(0))
    );
}

/// On js-ws the window limits only the length of Data. Other messages can be up to 19 bytes long,
/// so they must be accepted even if the window is smaller than that.
#[test]
fn a_small_window_leaves_room_for_messages_that_are_no_data() {
    let mut config = Config::default();
    config.stream_receive_window(4);
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &config);
    let id = bidi(CLIENT, 1 << 20);
    peer.send(&[ack(id, 4), error_read(id, 1 << 40)]);
    peer.assert_open("an honest reset");
}
