//! The cases of the Autobahn test suite, written by hand. A case consists of the bytes that the
//! suite sends and the answer that it expects. The module `wstest` runs the suite itself.
//!
//! Where the suite sends text, these cases send binary messages of the same bytes, because the
//! wires have no text. Section 6 is the exception, because it tests text itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{super::*, SIDES, echo::echo};

/// The largest message of section 9.
const LARGEST: u64 = 16 << 20;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

/// A frame's first byte and its payload.
type Frame = (u8, Vec<u8>);

fn fin(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    (FIN | opcode, payload.as_ref().to_vec())
}

fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    (opcode, payload.as_ref().to_vec())
}

fn rsv(rsv: u8, (first, payload): Frame) -> Frame {
    (first | rsv << 4, payload)
}

fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    fin(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// Returns the frame's bytes, masked if a client sends them. This was written from RFC 6455 §5.2,
/// independently of the encoder under test.
fn bytes((first, payload): &Frame, from: Side) -> Vec<u8> {
    let (bit, mask) =
        if from == Side::Client { (0x80, [0x37, 0xfa, 0x21, 0x3d]) } else { (0, [0; 4]) };
    let mut out = vec![*first];
    match payload.len() {
        len @ ..126 => out.push(bit | len as u8),
        len @ ..0x1_0000 => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if from == Side::Client {
        out.extend(mask);
    }
    out.extend(masked(payload, mask));
    out
}

/// Applies or removes the mask (RFC 6455 §5.3). This function masks 16 bytes in one step, because
/// tests are not optimised.
fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = payload.to_vec();
    let [a, b, c, d] = mask;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (chunks, rest) = out.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (at, byte) in rest.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    out
}

/// Removes the complete frames from the front of `bytes`, and returns them. `from` is the side that
/// has sent them.
fn frames(bytes: &mut &[u8], from: Side) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = *bytes {
        assert_eq!(second & 0x80 != 0, from == Side::Client, "a client masks, and nobody else");
        let lens = match second & 0x7f {
            126 => {
                rest.split_first_chunk().map(|(len, rest)| (u16::from_be_bytes(*len).into(), rest))
            }
            127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest)),
            len => Some((len.into(), rest)),
        };
        let Some((len, rest)) = lens else { break };
        let mask = match from {
            Side::Server => Some((&[0; 4], rest)),
            Side::Client => rest.split_first_chunk(),
        };
        let Some((mask, rest)) = mask else { break };
        let len = usize::try_from(len).unwrap();
        let Some((payload, rest)) = rest.split_at_checked(len) else { break };
        frames.push((*first, masked(payload, *mask)));
        *bytes = rest;
    }
    frames
}

/// How the bytes reach the socket.
#[derive(Debug, Clone, Copy)]
enum Chop {
    Never,
    Frames,
    Bytes(usize),
}

const ALL_CHOPS: [Chop; 4] = [Chop::Never, Chop::Frames, Chop::Bytes(997), Chop::Bytes(1)];

/// Returns the frames with which a socket of `side` answers the frames `sent`, up to the end of the
/// stream.
async fn answers(side: Side, sent: &[Frame], chop: Chop) -> Vec<Frame> {
    let sent: Vec<_> = sent.iter().map(|frame| bytes(frame, !side)).collect();
    let chops: Vec<Vec<u8>> = match chop {
        Chop::Never => vec![sent.concat()],
        Chop::Frames => sent,
        Chop::Bytes(len) => sent.concat().chunks(len).map(<[u8]>::to_vec).collect(),
    };
    let (ours, theirs) = duplex(32 << 20);
    let mut ours = FramedSocket::new(ours, &[], side, LARGEST);
    let (mut reading, mut writing) = tokio::io::split(theirs);
    let peer = async move {
        for chop in chops {
            writing.write_all(&chop).await.unwrap();
            // Lets the socket run.
            tokio::task::yield_now().await;
        }
        let (mut heard, mut bytes) = (Vec::new(), Vec::new());
        while !heard.iter().any(|(first, _)| first & 0x0f == CLOSE)
            && reading.read_buf(&mut bytes).await.unwrap() > 0
        {
            let mut rest = &bytes[..];
            heard.extend(frames(&mut rest, side));
            let read = bytes.len() - rest.len();
            bytes.drain(..read);
        }
        writing.shutdown().await.unwrap();
        reading.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty(), "nothing comes behind the Close");
        heard
    };
    let ours = async move { echo(&mut ours).await };
    // The paused clock advances only when both ends wait for each other. In that case they would
    // wait for ever, so the timeout ends the test.
    let both = async { tokio::join!(ours, peer) };
    let both = tokio::time::timeout(Duration::from_secs(1), both).await;
    let (end, heard) = both.expect("one of the two has something to say");
    assert!(matches!(end, SocketError::Eof), "{end}");
    heard
}

/// The name of a case, the frames that it sends, and the frames that must come back before the
/// Close.
type Case<'a> = (&'a str, Vec<Frame>, Vec<Frame>);

async fn check(case: &str, sent: &[Frame], chops: &[Chop], expected: &[Frame]) {
    for side in SIDES {
        for &chop in chops {
            let heard = answers(side, sent, chop).await;
            // Large payloads are not printed.
            let equal = heard == expected;
            let heard: Vec<_> =
                heard.iter().map(|(first, payload)| (first, payload.len())).collect();
            assert!(equal, "case {case}, {side:?}, {chop:?}: {heard:x?}");
        }
    }
}

/// Checks that the frames are answered as expected, and that a Close with 1000 after them is
/// answered too.
async fn is_fine(case: &str, mut sent: Vec<Frame>, chops: &[Chop], mut expected: Vec<Frame>) {
    sent.push(close(1000, ""));
    expected.push(close(1000, ""));
    check(case, &sent, chops, &expected).await;
}

/// Checks that the connection fails with 1002, and that bytes after that are ignored.
async fn is_refused((case, sent, mut expected): Case<'_>, chops: &[Chop]) {
    expected.push(close(1002, ""));
    check(case, &sent, chops, &expected).await;
}

#[tokio::test(start_paused = true)]
async fn section_1_framing() {
    for (nth, len) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
        let message = fin(BINARY, vec![0xfe; len]);
        let case = format!("1.1.{0}, 1.2.{0}", nth + 1);
        let chops = if len > 1_000 { &ALL_CHOPS[..2] } else { &ALL_CHOPS[..] };
        is_fine(&case, vec![message.clone()], chops, vec![message]).await;
    }
    let message = fin(BINARY, vec![0xfe; 65_536]);
    let chops = [Chop::Bytes(997), Chop::Bytes(1)];
    is_fine("1.1.8, 1.2.8", vec![message.clone()], &chops, vec![message]).await;
}

#[tokio::test(start_paused = true)]
async fn section_2_pings_and_pongs() {
    let longest = [0xfe; 125];
    for (case, payload) in [
        ("2.1", &b""[..]),
        ("2.2", b"Hello, world!"),
        ("2.3", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        ("2.4, 2.6", &longest),
    ] {
        is_fine(case, vec![fin(PING, payload)], &ALL_CHOPS, vec![fin(PONG, payload)]).await;
    }
    is_refused(("2.5", vec![fin(PING, [0xfe; 126])], vec![]), &ALL_CHOPS).await;
    is_fine("2.7", vec![fin(PONG, "")], &ALL_CHOPS, vec![]).await;
    let unasked = fin(PONG, "unsolicited pong payload");
    is_fine("2.8", vec![unasked.clone()], &ALL_CHOPS, vec![]).await;
    let ping = fin(PING, "ping payload");
    is_fine("2.9", vec![unasked, ping], &ALL_CHOPS, vec![fin(PONG, "ping payload")]).await;
    let payloads = (0..10).map(|nth| format!("payload-{nth}"));
    let pings = payloads.clone().map(|payload| fin(PING, payload)).collect();
    let pongs = payloads.map(|payload| fin(PONG, payload)).collect();
    is_fine("2.10, 2.11", pings, &ALL_CHOPS, pongs).await;
}

#[tokio::test(start_paused = true)]
async fn section_3_reserved_bits() {
    let hello = || fin(BINARY, "Hello, world!");
    let then_ping = |bits| vec![hello(), rsv(bits, hello()), fin(PING, "")];
    for case in [
        ("3.1", vec![rsv(1, hello())], vec![]),
        ("3.2", then_ping(2), vec![hello()]),
        ("3.3", then_ping(3), vec![hello()]),
        ("3.4", then_ping(4), vec![hello()]),
        ("3.5", vec![rsv(5, fin(BINARY, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))], vec![]),
        ("3.6", vec![rsv(6, fin(PING, "Hello, world!"))], vec![]),
        ("3.7", vec![rsv(7, fin(CLOSE, ""))], vec![]),
    ] {
        is_refused(case, &ALL_CHOPS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_4_opcodes() {
    let hello = || fin(BINARY, "Hello, world!");
    let reserved = "reserved opcode payload";
    let after_message = |frame| vec![hello(), frame, fin(PING, "")];
    for case in [
        ("4.1.1", vec![fin(3, "")], vec![]),
        ("4.1.2", vec![fin(4, reserved)], vec![]),
        ("4.1.3", after_message(fin(5, "")), vec![hello()]),
        ("4.1.4", after_message(fin(6, "Hello, world!")), vec![hello()]),
        ("4.1.5", after_message(fin(7, "Hello, world!")), vec![hello()]),
        ("4.2.1", vec![fin(11, "")], vec![]),
        ("4.2.2", vec![fin(12, reserved)], vec![]),
        ("4.2.3", after_message(fin(13, "")), vec![hello()]),
        ("4.2.4", after_message(fin(14, "Hello, world!")), vec![hello()]),
        ("4.2.5", after_message(fin(15, "Hello, world!")), vec![hello()]),
    ] {
        is_refused(case, &ALL_CHOPS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_5_fragmentation_that_is_legal() {
    let [one, two] = [part(BINARY, "fragment1"), fin(CONTINUATION, "fragment2")];
    let whole = fin(BINARY, "fragment1fragment2");
    let sent = vec![one.clone(), two.clone()];
    is_fine("5.3 to 5.5", sent, &ALL_CHOPS, vec![whole.clone()]).await;
    let sent = vec![one, fin(PING, "ping payload"), two];
    is_fine("5.6 to 5.8", sent, &ALL_CHOPS, vec![fin(PONG, "ping payload"), whole]).await;
    let sent = vec![
        part(BINARY, "fragment1"),
        part(CONTINUATION, "fragment2"),
        fin(PING, "pongme 1!"),
        part(CONTINUATION, "fragment3"),
        part(CONTINUATION, "fragment4"),
        fin(PING, "pongme 2!"),
        fin(CONTINUATION, "fragment5"),
    ];
    let expected = vec![
        fin(PONG, "pongme 1!"),
        fin(PONG, "pongme 2!"),
        fin(BINARY, "fragment1fragment2fragment3fragment4fragment5"),
    ];
    is_fine("5.19, 5.20", sent, &ALL_CHOPS, expected).await;
}

#[tokio::test(start_paused = true)]
async fn section_5_fragmentation_that_is_not() {
    let hello = || fin(BINARY, "Hello, world!");
    let (stray, stray_end) = (part(CONTINUATION, "stray"), fin(CONTINUATION, "stray"));
    let [one, two] = [part(BINARY, "fragment1"), fin(CONTINUATION, "fragment2")];
    let twice = |stray: &Frame| vec![[stray.clone(), one.clone(), two.clone()]; 2].concat();
    let whole = fin(BINARY, "fragment1fragment2");
    for case in [
        ("5.1", vec![part(PING, "fragment1"), two.clone()], vec![]),
        ("5.2", vec![part(PONG, "fragment1"), two.clone()], vec![]),
        ("5.9 to 5.11", vec![stray_end.clone(), hello()], vec![]),
        ("5.12 to 5.14", vec![stray.clone(), hello()], vec![]),
        ("5.15", vec![one.clone(), two.clone(), stray.clone(), hello()], vec![whole]),
        ("5.16", twice(&stray), vec![]),
        ("5.17", twice(&stray_end), vec![]),
        ("5.18", vec![one.clone(), fin(BINARY, "fragment2")], vec![]),
    ] {
        is_refused(case, &ALL_CHOPS).await;
    }
}

/// The suite expects valid text to be echoed and invalid text to be refused. Here all text is
/// refused.
///
/// [W-2] On a text message we MUST close with PROTOCOL_VIOLATION and WebSocket code 1002, on either
/// wire.
#[tokio::test(start_paused = true)]
async fn section_6_text_is_refused_whatever_it_says() {
    let greek = "Hello-µ@ßöäüàá-UTF-8!!";
    let invalid =
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64";
    let (front, back) = greek.as_bytes().split_at(7);
    for case in [
        ("6.1.1", vec![fin(TEXT, "")], vec![]),
        ("6.1.2", vec![part(TEXT, ""), part(CONTINUATION, ""), fin(CONTINUATION, "")], vec![]),
        ("6.2.1", vec![fin(TEXT, greek)], vec![]),
        ("6.2.2", vec![part(TEXT, front), fin(CONTINUATION, back)], vec![]),
        ("6.3.1", vec![fin(TEXT, invalid)], vec![]),
        ("6.4.1", vec![part(TEXT, &invalid[..12]), part(CONTINUATION, &invalid[12..])], vec![]),
    ] {
        is_refused(case, &ALL_CHOPS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_7_what_follows_a_close_is_not_looked_at() {
    let hello = || fin(BINARY, "Hello World!");
    is_fine("7.1.1", vec![hello()], &ALL_CHOPS, vec![hello()]).await;
    let large = fin(BINARY, b"BAsd7&jh23".repeat(26_215));
    for (case, sent, mut expected) in [
        ("7.1.2", vec![close(1000, ""), fin(CLOSE, "")], vec![]),
        ("7.1.3", vec![close(1000, ""), fin(PING, "")], vec![]),
        ("7.1.4", vec![close(1000, ""), hello()], vec![]),
        (
            "7.1.5",
            vec![part(BINARY, "fragment1"), close(1000, ""), fin(CONTINUATION, "fragment2")],
            vec![],
        ),
        (
            "7.1.6",
            vec![large.clone(), hello(), close(1000, ""), fin(PING, "")],
            vec![large, hello()],
        ),
    ] {
        expected.push(close(1000, ""));
        check(case, &sent, &ALL_CHOPS[..2], &expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_7_codes_and_reasons() {
    for (case, sent, answer) in [
        ("7.3.1", fin(CLOSE, ""), fin(CLOSE, "")),
        ("7.3.2", fin(CLOSE, "a"), close(1002, "")),
        ("7.3.3", close(1000, ""), close(1000, "")),
        // The answer's reason does not matter: RFC 6455 §5.5.1 requires only the code.
        ("7.3.4", close(1000, "Hello World!"), close(1000, "")),
        ("7.3.5", close(1000, [b'*'; 123]), close(1000, "")),
        ("7.3.6", close(1000, [b'*'; 124]), close(1002, "")),
        ("7.5.1", close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80\x65"), close(1002, "")),
    ] {
        check(case, &[sent], &ALL_CHOPS, &[answer]).await;
    }
    // Cases 7.7.1 to 7.7.13, and further codes that IANA has registered.
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        check(&format!("7.7, {code}"), &[close(code, "")], &ALL_CHOPS, &[close(code, "")]).await;
    }
    // Cases 7.9.1 to 7.9.9, and also 7.13.1 and 7.13.2, for which the suite accepts either result.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&format!("7.9, {code}"), &[close(code, "")], &ALL_CHOPS, &[close(1002, "")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_9_large_messages() {
    for (nth, len) in
        [64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20].into_iter().enumerate()
    {
        let message = fin(BINARY, vec![0xfe; len]);
        let case = format!("9.1.{0}, 9.2.{0}", nth + 1);
        is_fine(&case, vec![message.clone()], &[Chop::Never], vec![message]).await;
    }
    for (nth, piece) in [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20]
        .into_iter()
        .enumerate()
    {
        let message = fin(BINARY, vec![0xfe; 4 << 20]);
        let case = format!("9.3.{0}, 9.4.{0}", nth + 1);
        is_fine(&case, in_pieces(&message.1, piece), &[Chop::Never], vec![message]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_9_chops_and_many_messages() {
    for (nth, chop) in [64, 128, 256, 512, 1_024, 2_048].into_iter().enumerate() {
        let message = fin(BINARY, vec![0xfe; 1 << 20]);
        let case = format!("9.5.{0}, 9.6.{0}", nth + 1);
        is_fine(&case, vec![message.clone()], &[Chop::Bytes(chop)], vec![message]).await;
    }
    for (nth, len) in [0, 16, 64, 256, 1_024, 4_096].into_iter().enumerate() {
        let messages = vec![fin(BINARY, vec![0xfe; len]); 1_000];
        let case = format!("9.7.{0}, 9.8.{0}", nth + 1);
        is_fine(&case, messages.clone(), &[Chop::Frames], messages).await;
    }
}

/// These cases are not part of the Autobahn suite, which does not test a size limit of messages.
///
/// [W-6] The size limit of inbound messages MUST be enforced on the sum of a message's fragments
/// while they arrive, not on the complete message afterwards.
/// [W-7] On a message above the limit we MUST close with FRAME_ENCODING_ERROR and WebSocket code
/// 1009.
#[tokio::test(start_paused = true)]
async fn section_9_the_limit_is_on_the_sum_of_the_pieces() {
    let limit = usize::try_from(LARGEST).unwrap();
    let message = fin(BINARY, vec![0xfe; limit]);
    is_fine("at the limit", in_pieces(&message.1, 4 << 20), &[Chop::Never], vec![message]).await;
    let over = vec![0xfe; limit + 1];
    for sent in [vec![fin(BINARY, &over)], in_pieces(&over, 4 << 20)] {
        check("above the limit", &sent, &[Chop::Never], &[close(1009, "")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn section_10_automatic_fragmentation() {
    let message = fin(BINARY, vec![b'*'; 65_536]);
    is_fine("10.1.1", in_pieces(&message.1, 1_300), &ALL_CHOPS[..3], vec![message]).await;
}

fn in_pieces(payload: &[u8], len: usize) -> Vec<Frame> {
    let mut frames: Vec<Frame> =
        payload.chunks(len).map(|piece| part(CONTINUATION, piece)).collect();
    frames[0].0 |= BINARY;
    frames.last_mut().unwrap().0 |= FIN;
    frames
}
