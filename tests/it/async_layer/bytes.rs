//! Generates bytes that depend on their position in the stream, so that a missing or repeated part
//! is detected.

use std::sync::LazyLock;

use ::bytes::Bytes;
use wsmux::{RecvStream, SendStream};

/// The period of the pattern. It is prime, so it is no multiple of the size of a buffer or of a
/// frame.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let period: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(PERIOD)
    .collect();
    period.repeat(3).into()
});

/// Returns the bytes `at..at + len` of the stream with this seed; `len` is at most 128 KiB.
pub(crate) fn expected(seed: usize, at: usize, len: usize) -> Bytes {
    let start = (seed * 7_919 + at) % PERIOD;
    PATTERN.slice(start..start + len)
}

/// Writes the first `count` bytes of the stream with this seed.
pub(crate) async fn write_expected(send: &mut SendStream, seed: usize, count: usize) {
    let mut at = 0;
    while at < count {
        let len = (count - at).min(64 * 1024);
        send.write_chunk(expected(seed, at, len)).await.expect("the stream takes its bytes");
        at += len;
    }
}

/// Reads to the end, checks each byte, and returns how many there were.
pub(crate) async fn read_expected(recv: &mut RecvStream, seed: usize) -> usize {
    let mut at = 0;
    while let Some(chunk) = recv.read_chunk(64 * 1024).await.expect("the stream gives its bytes") {
        assert!(chunk == expected(seed, at, chunk.len()), "wrong bytes at {at} of stream {seed}");
        at += chunk.len();
    }
    at
}
