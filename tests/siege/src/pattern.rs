//! Bytes in which a reader can detect every change or shift.

use std::sync::OnceLock;

use anyhow::{Result, ensure};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// The bytes repeat after this number of bytes. The number is prime, so that the repetitions do not
/// line up with chunks, records and windows.
const PERIOD: usize = 1_048_573;
/// The longest run that is returned in one piece.
const RUN: usize = 64 * 1024;

/// Returns random bytes, followed by a copy of the first 64 KiB, so that every run is one slice.
fn block() -> &'static Bytes {
    static BLOCK: OnceLock<Bytes> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut block = vec![0; PERIOD];
        StdRng::seed_from_u64(0x57a7_e51e).fill_bytes(&mut block);
        block.extend_from_within(..RUN);
        block.into()
    })
}

/// Returns the bytes from `offset` of the stream with this seed, at most 64 KiB of them.
pub fn bytes(seed: u64, offset: u64, len: u64) -> Bytes {
    let from = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).wrapping_add(offset);
    let from = (from % PERIOD as u64) as usize;
    block().slice(from..from + len.min(RUN as u64) as usize)
}

/// Fails unless `data` are the bytes from `offset` of the stream with this seed.
pub fn check(seed: u64, offset: u64, data: &[u8]) -> Result<()> {
    let mut at = offset;
    for run in data.chunks(RUN) {
        let expected = bytes(seed, at, run.len() as u64);
        ensure!(expected == run, "wrong bytes, between {at} and {}", at + run.len() as u64);
        at += run.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_and_bytes_from_elsewhere_are_told_apart() {
        let mut data = [bytes(7, 0, 60_000), bytes(7, 60_000, 40_000)].concat();
        check(7, 0, &data).unwrap();
        check(7, 1, &data).unwrap_err();
        check(8, 0, &data).unwrap_err();
        data[99_999] ^= 1;
        check(7, 0, &data).unwrap_err();
    }
}
