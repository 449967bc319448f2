//! The plan for a stream, which its opener sends to its acceptor, and the outcomes that it permits.

use anyhow::{Result, bail};
use bytes::Bytes;
use rand::{RngExt, rngs::StdRng};
use wsmux::VarInt;

/// The length of the longest stream: four windows.
const LONGEST: u64 = 4 << 20;
pub const HEADER: usize = 25;

/// What the two ends do with a stream. `len` and `cut` are fields of [`Script`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The acceptor echoes the bytes.
    Echo,
    /// The acceptor counts the bytes, and sends their number at the end.
    Count,
    /// The acceptor does the same as for `Count`, but pauses once, after `cut` bytes.
    Stall,
    /// The acceptor sends `len` bytes.
    Source,
    /// The opener resets its sending half after `cut` bytes.
    Reset,
    /// The opener drops its sending half after `cut` bytes.
    DropSend,
    /// The acceptor stops its receiving half after `cut` bytes.
    Stop,
    /// The acceptor drops its receiving half after `cut` bytes.
    DropRecv,
    /// The acceptor sends, and resets its sending half after `cut` bytes.
    SourceReset,
    /// The acceptor sends, and the opener stops its receiving half after `cut` bytes.
    SourceStop,
}

pub const KINDS: [Kind; 10] = [
    Kind::Echo,
    Kind::Count,
    Kind::Stall,
    Kind::Source,
    Kind::Reset,
    Kind::DropSend,
    Kind::Stop,
    Kind::DropRecv,
    Kind::SourceReset,
    Kind::SourceStop,
];
/// The plans that need no answer, so that a unidirectional stream can carry them out.
pub const ONE_WAY: [Kind; 5] =
    [Kind::Stall, Kind::Reset, Kind::DropSend, Kind::Stop, Kind::DropRecv];

#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub kind: Kind,
    pub seed: u64,
    pub len: u64,
    pub cut: u64,
}

impl Script {
    pub fn random(rng: &mut StdRng, kinds: &[Kind]) -> Self {
        // Short and long streams are equally likely, on a logarithmic scale.
        let len = rng.random_range(0..=LONGEST) >> rng.random_range(0..22);
        Self {
            kind: kinds[rng.random_range(0..kinds.len())],
            seed: rng.random(),
            len,
            cut: rng.random_range(0..=len),
        }
    }

    pub fn header(self) -> Bytes {
        let mut header = vec![self.kind as u8];
        header.extend([self.seed, self.len, self.cut].iter().flat_map(|part| part.to_be_bytes()));
        header.into()
    }

    pub fn parse(header: [u8; HEADER]) -> Result<Self, Wrong> {
        let kind = KINDS.get(usize::from(header[0])).copied();
        let kind = kind.ok_or_else(|| Wrong(format!("a stream of kind {}", header[0])))?;
        let number = |nth: usize| {
            let bytes = header[1 + nth * 8..][..8].iter();
            bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        Ok(Self { kind, seed: number(0), len: number(1), cut: number(2) })
    }

    /// Returns the application error code for resets and stops. The js-ws wire can carry this code,
    /// too.
    pub fn code(self) -> VarInt {
        VarInt::from_u32((self.seed % 900) as u32 + 1)
    }
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset(VarInt),
    /// The reader has read as many bytes as it wanted, and has stopped reading.
    Enough,
}

/// An error that must not happen, whatever happened to the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

pub fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong(what())) }
}

/// Checks how reading ended, and returns the number of bytes that were read. An unexpected FIN is
/// always wrong. An unexpected reset is an error only while the connection is meant to continue.
/// When the handles of a connection are dropped one by one, the end of the connection may first
/// appear as a reset.
pub fn ends(
    script: Script,
    (read, end): (u64, End),
    expected: impl FnOnce(u64, &End) -> bool,
) -> Result<u64> {
    if expected(read, &end) {
        return Ok(read);
    }
    let what = format!("{script:?} after {read}: {end:?}");
    match end {
        End::Reset(_) => bail!(what),
        _ => Err(Wrong(what).into()),
    }
}
