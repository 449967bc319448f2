//! Comparison with tungstenite. Each of the two implementations reads what the other implementation
//! writes, and both treat arbitrary bytes alike.

use std::task::{Context, Waker};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{
        CloseFrame,
        frame::{
            Frame, FrameHeader,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use wsmux_proto::{MessageBuf, Side};

use super::{
    super::FramedSocket,
    SIDES,
    agree::{End, Heard, LIMIT, agree, ours, run, theirs, tungstenite},
    chopped::Chopped,
};
use crate::socket::{Outgoing, Socket};

/// Makes each run test the same cases, unless the environment asks for others (PROPTEST_RNG_SEED,
/// PROPTEST_CASES).
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 1_000;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5eed);
    }
    config
}

fn side() -> impl Strategy<Value = Side> {
    proptest::sample::select(SIDES.to_vec())
}

fn chops() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), vec(1usize..40, 1..6), Just(vec![])]
}

/// Lengths with different header sizes, including the limit.
fn payload(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let borders = [0, 1, 124, 125, 126, 127, LIMIT - 1, LIMIT, LIMIT + 1];
    let len = prop_oneof![
        0..max.min(20) + 1,
        0..max + 1,
        proptest::sample::select(borders.to_vec()).prop_map(move |border| border.min(max)),
    ];
    (len, any::<u8>()).prop_map(|(len, seed)| (0..len).map(|at| at as u8 ^ seed).collect())
}

/// Something that an application sends.
#[derive(Debug, Clone)]
enum Step {
    /// A message in these pieces. If there is a ping, it follows each piece except the last.
    Message(Vec<Vec<u8>>, Option<Vec<u8>>),
    Ping([u8; 8]),
    Pong(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (vec(payload(LIMIT / 4), 1..5), proptest::option::of(payload(125)))
            .prop_map(|(pieces, ping)| Step::Message(pieces, ping)),
        1 => any::<[u8; 8]>().prop_map(Step::Ping),
        1 => payload(125).prop_map(Step::Pong),
    ]
}

fn close() -> impl Strategy<Value = Option<(u16, String)>> {
    let codes = [1000, 1001, 1009, 1013, 3000, 4999];
    proptest::option::of((proptest::sample::select(codes.to_vec()), "[a-zµ€😀]{0,30}"))
}

fn end(close: Option<(u16, String)>) -> End {
    close.map_or(End::Eof, |(code, reason)| End::Close(Some(code), reason))
}

/// A frame that may be invalid, either in itself or after the frames before it.
fn any_frame() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let codes = prop_oneof![990u16..1_020, any::<u16>()];
    let close =
        (codes, payload(60)).prop_map(|(code, reason)| [&code.to_be_bytes(), &reason[..]].concat());
    prop_oneof![
        4 => payload(LIMIT + 1).prop_map(|payload| (0x82, payload)),
        4 => (proptest::sample::select(vec![0x02, 0x00, 0x80]), payload(LIMIT / 2)),
        2 => (proptest::sample::select(vec![0x89, 0x8a]), payload(126)),
        1 => close.prop_map(|payload| (0x88, payload)),
        1 => (any::<u8>(), payload(130)),
    ]
}

/// Returns the bytes of frames that `side` receives.
fn wire(side: Side, frames: Vec<(u8, Vec<u8>)>, mask: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    for (first, payload) in frames {
        let header = FrameHeader {
            is_final: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            rsv2: first & 0x20 != 0,
            rsv3: first & 0x10 != 0,
            opcode: OpCode::from(first & 0x0f),
            mask: (side == Side::Server).then_some(mask),
        };
        Frame::from_payload(header, payload.into()).format(&mut out).unwrap();
    }
    out
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(u8),
    Set(u8),
    Insert(u8),
    Remove,
    Truncate,
    Repeat(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (0u8..8).prop_map(Mutation::Flip),
        2 => any::<u8>().prop_map(Mutation::Set),
        1 => any::<u8>().prop_map(Mutation::Insert),
        1 => Just(Mutation::Remove),
        1 => Just(Mutation::Truncate),
        1 => (1usize..20).prop_map(Mutation::Repeat),
    ]
}

fn mutate(bytes: &mut Vec<u8>, at: prop::sample::Index, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match *mutation {
        Mutation::Flip(bit) => bytes[at] ^= 1 << bit,
        Mutation::Set(byte) => bytes[at] = byte,
        Mutation::Insert(byte) => bytes.insert(at, byte),
        Mutation::Remove => drop(bytes.remove(at)),
        Mutation::Truncate => bytes.truncate(at),
        Mutation::Repeat(len) => {
            let again = bytes[at..bytes.len().min(at + len)].to_vec();
            bytes.splice(at..at, again);
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_tungstenite_writes_our_reader_understands(
        side in side(),
        steps in vec(step(), 0..8),
        close in close(),
        chops in chops(),
    ) {
        let mut writer = tungstenite(!side, Chopped::default());
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Message(pieces, ping) => {
                    let last = pieces.len() - 1;
                    for (nth, piece) in pieces.iter().enumerate() {
                        let opcode = if nth == 0 { Data::Binary } else { Data::Continue };
                        let frame = Frame::message(piece.clone(), OpCode::Data(opcode), nth == last);
                        writer.write(Message::Frame(frame)).unwrap();
                        if let Some(ping) = ping.clone().filter(|_| nth < last) {
                            writer.write(Message::Ping(ping.clone().into())).unwrap();
                            expected.push(Heard::Ping(ping.into()));
                        }
                    }
                    expected.push(Heard::Message(pieces.concat().into()));
                }
                Step::Ping(payload) => {
                    let payload = Bytes::copy_from_slice(&payload);
                    writer.write(Message::Ping(payload.clone())).unwrap();
                    expected.push(Heard::Ping(payload));
                }
                Step::Pong(payload) => {
                    writer.write(Message::Pong(payload.clone().into())).unwrap();
                    // Without this flush, a newer pong would replace this pong.
                    writer.flush().unwrap();
                    expected.push(Heard::Pong(payload.into()));
                }
            }
        }
        if let Some((code, reason)) = close.clone() {
            let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
            writer.write(Message::Close(Some(frame))).unwrap();
        }
        writer.flush().unwrap();
        let written = std::mem::take(&mut writer.get_mut().written);
        prop_assert_eq!(ours(side, &written, &chops), (expected, end(close)));
    }

    #[test]
    fn what_our_writer_writes_tungstenite_understands(
        side in side(),
        steps in vec(step(), 0..8),
        close in close(),
        chops in chops(),
    ) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut writer = FramedSocket::new(Chopped::default(), &[], !side, LIMIT as u64);
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Message(pieces, _) => {
                    let mut message = MessageBuf::new();
                    for piece in &pieces {
                        message.put_chunk(Bytes::copy_from_slice(piece));
                    }
                    writer.start_send(Outgoing::Message(&message)).unwrap();
                    expected.push(Heard::Message(pieces.concat().into()));
                }
                Step::Ping(payload) => {
                    writer.start_send(Outgoing::Ping(payload)).unwrap();
                    expected.push(Heard::Ping(Bytes::copy_from_slice(&payload)));
                }
                Step::Pong(payload) => {
                    writer.writer.pong(Bytes::copy_from_slice(&payload));
                    // Without this flush, a newer pong would replace this pong.
                    prop_assert!(writer.poll_flush(&mut cx).is_ready());
                    expected.push(Heard::Pong(payload.into()));
                }
            }
        }
        if let Some((code, reason)) = close.clone() {
            writer.start_send(Outgoing::Close { code, reason }).unwrap();
        }
        prop_assert!(writer.poll_flush(&mut cx).is_ready());
        prop_assert_eq!(theirs(side, &writer.io.written, &chops), (expected, end(close)));
    }

    #[test]
    fn of_any_frames_both_understand_the_same(
        side in side(),
        frames in vec(any_frame(), 0..8),
        mask in any::<[u8; 4]>(),
        chops in chops(),
    ) {
        agree(side, &wire(side, frames, mask), &chops);
    }

    #[test]
    fn of_frames_with_bytes_changed_both_understand_the_same(
        side in side(),
        frames in vec(any_frame(), 1..6),
        mask in any::<[u8; 4]>(),
        mutations in vec((any::<prop::sample::Index>(), mutation()), 1..4),
        chops in chops(),
    ) {
        let mut bytes = wire(side, frames, mask);
        for (at, mutation) in &mutations {
            mutate(&mut bytes, *at, mutation);
        }
        agree(side, &bytes, &chops);
    }

    #[test]
    fn of_any_bytes_both_understand_the_same(
        side in side(),
        bytes in vec(prop_oneof![any::<u8>(), proptest::sample::select(vec![0x82, 0x89, 0x00, 0x80])], 0..300),
        chops in chops(),
    ) {
        agree(side, &bytes, &chops);
    }

    #[test]
    fn of_any_input_of_the_fuzzer_both_understand_the_same(data in vec(any::<u8>(), 0..300)) {
        run(&data);
    }
}

#[test]
fn of_what_the_fuzzer_has_kept_both_understand_the_same() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/framed");
    // The published package has no corpus, so the folder may be missing.
    for input in std::fs::read_dir(corpus).into_iter().flatten() {
        run(&std::fs::read(input.unwrap().path()).unwrap());
    }
}

/// Checks that every permitted difference still exists. A difference that has disappeared must no
/// longer be permitted in `agree`.
#[test]
fn the_differences_are_these() {
    let close = |code: u16| [&[0x88, 2][..], &code.to_be_bytes()].concat();
    let refused = |words: &str| End::Refused(words.into());
    let bad_code = End::Close(Some(1002), "Protocol violation".into());
    let length = refused("payload length not as it must be encoded");
    let small = || vec![Heard::Message(Bytes::from_static(b"x"))];
    for (input, our_end, their) in [
        (vec![0x81, 0], End::Text, (vec![], End::Text)),
        (vec![0x82, 126, 0, 1, b'x'], length.clone(), (small(), End::Eof)),
        (vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'x'], length, (small(), End::Eof)),
        (
            vec![0x89, 126, 0, 1, b'x'],
            refused("control frame longer than 125 bytes"),
            (vec![Heard::Ping(Bytes::from_static(b"x"))], End::Eof),
        ),
        (close(999), refused("close code that cannot be sent"), (vec![], bad_code.clone())),
        (close(1014), End::Close(Some(1014), String::new()), (vec![], bad_code)),
        (vec![0x82, 0x80], refused("frame of a server with a mask"), (vec![], End::Eof)),
        (vec![0x80, 1], refused("continuation of nothing"), (vec![], End::Eof)),
        (
            [&[0x02, 126, 2, 0][..], &[0; 512], &[0x80, 100]].concat(),
            refused("too large"),
            (vec![], End::Eof),
        ),
    ] {
        assert_eq!(ours(Side::Client, &input, &[]), (vec![], our_end), "{input:x?}");
        assert_eq!(theirs(Side::Client, &input, &[]), their, "{input:x?}");
        agree(Side::Client, &input, &[]);
    }
}
