//! Bytes that are right at one place only, so that a hole or a double shows.

use std::sync::LazyLock;

use ::bytes::Bytes;
use wsmux::{RecvStream, SendStream};

/// A prime, so that no buffer, frame or turn repeats with it.
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

/// Bytes `at..at + len` of the stream that `seed` names; `len` is at most 128 KiB.
pub(crate) fn expected(seed: usize, at: usize, len: usize) -> Bytes {
    let start = (seed * 7_919 + at) % PERIOD;
    PATTERN.slice(start..start + len)
}

/// Writes `count` bytes of the stream that `seed` names.
pub(crate) async fn write_expected(send: &mut SendStream, seed: usize, count: usize) {
    let mut at = 0;
    while at < count {
        let len = (count - at).min(64 * 1024);
        send.write_chunk(expected(seed, at, len)).await.expect("the stream takes its bytes");
        at += len;
    }
}

/// Reads to the end, and says how many bytes there were; each is the right one at its place.
pub(crate) async fn read_expected(recv: &mut RecvStream, seed: usize) -> usize {
    let mut at = 0;
    while let Some(chunk) = recv.read_chunk(64 * 1024).await.expect("the stream gives its bytes") {
        assert!(chunk == expected(seed, at, chunk.len()), "wrong bytes at {at} of stream {seed}");
        at += chunk.len();
    }
    at
}
