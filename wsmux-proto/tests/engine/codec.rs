//! The codecs of both wires. Every frame that is encoded as the specifications say is decoded to
//! the same frame. No input causes a panic.
//!
//! Most tests encode with `encode` of the test support, which was written from the specifications
//! and not from the engine. `what_the_engine_writes_is_what_the_documents_say` compares the
//! engine's encoder with this `encode`.

use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use wsmux_proto::{
    Close, Config, Connection, Credit, Dir, Frame, MessageBuf, Outgoing, Side, StreamId,
    TransportErrorCode, TransportParameters, VarInt, Wire,
};

/// Runs the same cases each time, unless the environment sets PROPTEST_RNG_SEED or PROPTEST_CASES.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5eed);
    }
    config
}

const MAX: u64 = (1 << 62) - 1;

/// Generates integers of every encoded length, including the smallest and the largest integer of
/// each length.
fn integer(max: u64) -> impl Strategy<Value = u64> {
    let borders = [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX];
    prop_oneof![
        0..=max.min(100),
        0..=max,
        proptest::sample::select(borders.to_vec()).prop_map(move |border| border.min(max)),
    ]
}

fn varint() -> impl Strategy<Value = VarInt> {
    integer(MAX).prop_map(code)
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn dir() -> impl Strategy<Value = Dir> {
    prop_oneof![Just(Dir::Bi), Just(Dir::Uni)]
}

fn stream_id() -> impl Strategy<Value = StreamId> {
    (side(), dir(), integer((1 << 60) - 1)).prop_map(|(side, dir, at)| StreamId::new(side, dir, at))
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn transport_parameters() -> impl Strategy<Value = TransportParameters> {
    let streams = || integer(1 << 60);
    let bytes = || integer(MAX);
    (
        (bytes(), bytes(), bytes(), bytes(), bytes()),
        (streams(), streams(), bytes(), integer(MAX - 16_382), any::<[bool; 2]>()),
    )
        .prop_map(
            |(
                (idle, data, local, remote, uni),
                (bidi, unis, datagram, record, [at, going_away]),
            )| {
                let mut limits = TransportParameters::default();
                limits.max_idle_timeout = Duration::from_millis(idle);
                limits.initial_max_data = data;
                limits.initial_max_stream_data_bidi_local = local;
                limits.initial_max_stream_data_bidi_remote = remote;
                limits.initial_max_stream_data_uni = uni;
                limits.initial_max_streams_bidi = bidi;
                limits.initial_max_streams_uni = unis;
                limits.max_datagram_frame_size = datagram;
                limits.max_record_size = record + 16_382;
                limits.reset_stream_at = at;
                limits.going_away = going_away;
                limits
            },
        )
}

fn qmux_frame() -> impl Strategy<Value = Frame> {
    let count = || integer(1 << 60);
    // Only `wsmux_proto` can make a `TransportErrorCode` from a number, so this test uses two
    // constants of `wsmux_proto`.
    let errors = [TransportErrorCode::NO_ERROR, TransportErrorCode::PROTOCOL_VIOLATION];
    prop_oneof![
        (1usize..50).prop_map(Frame::Padding),
        transport_parameters().prop_map(Frame::TransportParameters),
        varint().prop_map(Frame::Ping),
        varint().prop_map(Frame::Pong),
        (stream_id(), integer(MAX - 200), payload(), any::<bool>()).prop_map(
            |(id, offset, data, fin)| Frame::Stream { id, offset: Some(offset), data, fin }
        ),
        (stream_id(), varint(), integer(MAX), integer(MAX)).prop_map(
            |(id, code, final_size, reliable)| Frame::ResetStream {
                id,
                code,
                final_size: Some(final_size),
                reliable_size: reliable.min(final_size),
            }
        ),
        (stream_id(), varint()).prop_map(|(id, code)| Frame::StopSending { id, code }),
        integer(MAX).prop_map(Frame::MaxData),
        (stream_id(), integer(MAX))
            .prop_map(|(id, total)| Frame::MaxStreamData { id, credit: Credit::Total(total) }),
        (dir(), count()).prop_map(|(dir, count)| Frame::MaxStreams { dir, count }),
        integer(MAX).prop_map(Frame::DataBlocked),
        (stream_id(), integer(MAX)).prop_map(|(id, limit)| Frame::StreamDataBlocked { id, limit }),
        (dir(), count()).prop_map(|(dir, limit)| Frame::StreamsBlocked { dir, limit }),
        payload().prop_map(Frame::Datagram),
        Just(Frame::GoingAway),
        (proptest::sample::select(errors.to_vec()), varint(), payload()).prop_map(
            |(code, frame, reason)| {
                Frame::ConnectionClose(Close::Transport { code, frame, reason })
            }
        ),
        (varint(), payload()).prop_map(|(code, reason)| {
            Frame::ConnectionClose(Close::Application { code, reason })
        }),
    ]
}

fn jsws_frame() -> impl Strategy<Value = Frame> {
    let id =
        || (side(), integer((1 << 60) - 1)).prop_map(|(side, at)| StreamId::new(side, Dir::Bi, at));
    prop_oneof![
        (id(), payload()).prop_map(|(id, data)| Frame::Stream {
            id,
            offset: None,
            data,
            fin: false
        }),
        id().prop_map(close_read),
        id().prop_map(|id| Frame::FinReceived { id }),
        (id(), 0..=u64::from(u32::MAX)).prop_map(|(id, more)| ack(id, more)),
        (id(), integer(MAX)).prop_map(|(id, code)| error_read(id, code)),
        (id(), integer(MAX)).prop_map(|(id, code)| stop(id, code)),
    ]
}

fn wire_and_frame() -> impl Strategy<Value = (Wire, Frame)> {
    prop_oneof![
        3 => qmux_frame().prop_map(|frame| (Wire::QMux, frame)),
        1 => jsws_frame().prop_map(|frame| (Wire::JsWs, frame)),
    ]
}

/// Decodes a message. Returns how many frames came before the end of the message, or before an
/// error.
fn decode_all(wire: Wire, mut message: Bytes) -> usize {
    let mut frames = 0;
    while let Ok(Some(_)) = wire.decode(&mut message) {
        frames += 1;
        assert!(frames <= 10_000, "frames without bytes");
    }
    frames
}

/// Delivers the message to an idle engine of each side, to see whether an engine panics. The test
/// does not check which error the engine reports.
fn feed(wire: Wire, message: &[u8]) {
    for side in [Side::Client, Side::Server] {
        let mut peer = ScriptedPeer::new(wire, side, &Config::default());
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).write(b"hello").unwrap();
        peer.said();
        peer.send_bytes(message.to_vec());
        let _ = peer.conn.recv_stream(peer.now, id).read(100);
        peer.said();
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_frame_comes_out_as_it_went_in((wire, frame) in wire_and_frame(), last in any::<bool>()) {
        let mut message = Bytes::from(encode(wire, &frame, last));
        prop_assert_eq!(wire.decode(&mut message).unwrap(), Some(frame));
        prop_assert_eq!(wire.decode(&mut message).unwrap(), None);
        prop_assert!(message.is_empty());
    }

    #[test]
    fn frames_of_one_message_come_out_in_order(frames in vec(qmux_frame(), 1..20)) {
        let mut message = Vec::new();
        for (nth, frame) in frames.iter().enumerate() {
            message.extend(encode(Wire::QMux, frame, nth + 1 == frames.len()));
        }
        // The decoder merges consecutive padding frames into one.
        let mut expected: Vec<Frame> = Vec::new();
        for frame in frames {
            match (expected.last_mut(), &frame) {
                (Some(Frame::Padding(before)), Frame::Padding(more)) => *before += more,
                _ => expected.push(frame),
            }
        }
        prop_assert_eq!(scripted_peer::decode(Wire::QMux, message.into()), expected);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_value((wire, frame) in wire_and_frame()) {
        let whole = encode(wire, &frame, false);
        for cut in 0..whole.len() {
            let mut message = Bytes::copy_from_slice(&whole[..cut]);
            let decoded = wire.decode(&mut message);
            // The part before the cut is a valid frame only if the frame is padding, or has data
            // that extends to the end of its message.
            let open_end = matches!(frame, Frame::Padding(_))
                || (wire == Wire::JsWs && matches!(frame, Frame::Stream { fin: false, .. }));
            prop_assert!(open_end || cut == 0 || decoded.is_err(), "{:?} of {:?}", decoded, frame);
            if cut > 0 {
                feed(wire, &whole[..cut]);
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_a_value((wire, frame) in wire_and_frame(), last in any::<bool>()) {
        let whole = encode(wire, &frame, last);
        for at in 0..whole.len().min(40) {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                decode_all(wire, flipped.clone().into());
                if bit % 3 == 0 {
                    feed(wire, &flipped);
                }
            }
        }
    }

    /// [C-33] Input from the peer MUST NOT cause a panic.
    #[test]
    fn any_bytes_at_all_are_an_error_or_a_value(bytes in vec(any::<u8>(), 0..100)) {
        for wire in WIRES {
            decode_all(wire, bytes.clone().into());
            feed(wire, &bytes);
        }
    }

    #[test]
    fn any_parameters_at_all_are_an_error_or_a_value(bytes in vec(any::<u8>(), 0..100)) {
        for side in [Side::Client, Side::Server] {
            let mut peer = ScriptedPeer::fresh(Wire::QMux, side, &Config::default());
            peer.send_bytes(parameters_frame(std::slice::from_ref(&bytes)));
            peer.said();
        }
    }

    /// [C-33] Input from the peer MUST NOT cause a panic.
    #[test]
    fn an_engine_survives_any_row_of_frames(frames in vec(wire_and_frame(), 1..30)) {
        for wire in WIRES {
            let mut peer = ScriptedPeer::new(wire, Side::Server, &Config::default());
            for (_, frame) in frames.iter().filter(|(of, _)| *of == wire) {
                peer.send(std::slice::from_ref(frame));
                while let Some(id) = peer.conn.accept(Dir::Bi) {
                    let _ = peer.conn.recv_stream(peer.now, id).read(10);
                    let _ = peer.conn.send_stream(peer.now, id).write(b"hello");
                }
                peer.said();
            }
        }
    }
}

/// [J-1] Each message MUST hold exactly one stream message.
/// [J-4] Varints MUST be sent in their shortest encoding and accepted in every length.
/// A message MUST be exactly the Frames field of one QMux record; the Size field is left out.
/// Every frame MUST lie within one message.
/// We MUST NOT send a prohibited frame type.
/// Every frame type we send MUST be in its shortest encoding.
/// A STREAM frame we send MUST carry the offset of its first byte. The frames of one stream
/// are sent in order, without gap or overlap.
/// [W-1] Every message we send MUST be binary.
#[test]
fn what_the_engine_writes_is_what_the_documents_say() {
    for wire in WIRES {
        let mut pair = Pair::unconnected(wire, Config::default(), Config::default());
        pair.drive();
        for nth in 0..40u64 {
            let id = pair.client.open(Dir::Bi);
            pair.client.write(id, &pattern(nth, 0, 1 << (nth % 18)));
            match nth % 3 {
                0 => pair.client.finish(id),
                1 => pair.client.conn.send_stream(pair.now, id).reset(code(nth << 40)).unwrap(),
                _ => {}
            }
            if nth % 5 == 0 {
                pair.client.conn.recv_stream(pair.now, id).stop(code(nth)).unwrap();
            }
            if wire == Wire::QMux {
                pair.client.conn.send_datagram(pattern(nth, 0, nth as usize * 90).into()).unwrap();
            }
            pair.drive();
            pair.server.read(id);
            let _ = pair.server.conn.send_stream(pair.now, id).write(&pattern(nth, 1, 100_000));
            let _ = pair.server.conn.send_stream(pair.now, id).finish();
            pair.drive();
            pair.client.read(id);
            pair.drive();
        }
        pair.pass(secs(60));
        pair.client.conn.close(pair.now, code(77), "that was all".into());
        pair.drive();
        let mut messages = 0;
        for item in pair.client.take_sent().into_iter().chain(pair.server.take_sent()) {
            let Item::Message(message) = item else { continue };
            messages += 1;
            let frames = scripted_peer::decode(wire, message.clone());
            let (last, others) = frames.split_last().unwrap();
            let head: Vec<_> = others.iter().flat_map(|frame| encode(wire, frame, false)).collect();
            let either = [true, false].map(|end| [&head[..], &encode(wire, last, end)].concat());
            assert!(either.contains(&message.to_vec()), "{wire:?} {frames:?}");
        }
        assert!(messages > 80, "{messages}");
    }
}

#[test]
fn an_engine_of_a_thousand_messages_uses_one_buffer() {
    // `poll_transmit` clears the caller's buffer for each message, whatever the buffer contained.
    let mut conn = Connection::new(Config::default(), Side::Client, Wire::JsWs, Time::EPOCH);
    let mut out = MessageBuf::new();
    for _ in 0..1_000 {
        conn.open(Dir::Bi).unwrap().unwrap();
        let transmit = conn.poll_transmit(Time::EPOCH, &mut out);
        assert!(matches!(transmit, Some(Outgoing::Message(_))), "{transmit:?}");
        assert!(out.len() <= 9);
        assert_eq!(out.slices().map(<[u8]>::len).sum::<usize>(), out.len());
    }
}
