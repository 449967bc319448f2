//! QUIC's variable-length integers (RFC 9000 §16).

use std::fmt;

use bytes::{Buf, BufMut};

/// An integer that QUIC can encode: 0 to 2^62 - 1 (RFC 9000 §16).
///
/// Error codes, stream ids and all other numbers on a wire are in this range.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarInt(u64);

impl VarInt {
    /// The largest value, 2^62 - 1.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// Converts a `u32`. Every `u32` is in the range.
    pub const fn from_u32(value: u32) -> Self {
        Self(value as u64)
    }

    /// Converts a `u64`, if it is in the range.
    ///
    /// # Errors
    /// [`VarIntBoundsExceeded`] if `value` is 2^62 or more.
    pub const fn from_u64(value: u64) -> Result<Self, VarIntBoundsExceeded> {
        if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(VarIntBoundsExceeded) }
    }

    /// Returns the nearest integer in the range.
    pub(crate) const fn saturating(value: u64) -> Self {
        if value <= Self::MAX.0 { Self(value) } else { Self::MAX }
    }

    /// Returns the value as a `u64`.
    pub const fn into_inner(self) -> u64 {
        self.0
    }

    /// Returns the length of the shortest encoding in bytes: 1, 2, 4 or 8.
    pub const fn size(self) -> usize {
        match self.0 {
            0..=0x3f => 1,
            0x40..=0x3fff => 2,
            0x4000..=0x3fff_ffff => 4,
            _ => 8,
        }
    }

    /// Appends the shortest encoding to `out`.
    pub fn encode<B: BufMut + ?Sized>(self, out: &mut B) {
        // J-4
        match self.size() {
            1 => out.put_u8(self.0 as u8),
            2 => out.put_u16(0x4000 | self.0 as u16),
            4 => out.put_u32(0x8000_0000 | self.0 as u32),
            _ => out.put_u64(0xc000_0000_0000_0000 | self.0),
        }
    }

    /// Removes one integer from the front of the input, and returns it. If the input ends within
    /// the integer, returns `None` and removes nothing.
    pub fn decode<B: Buf + ?Sized>(input: &mut B) -> Option<Self> {
        if !input.has_remaining() {
            return None;
        }
        let first = input.chunk()[0];
        // Q-11 (RFC 9000 §16)
        let size = 1usize << (first >> 6);
        if input.remaining() < size {
            return None;
        }
        Some(Self(match size {
            1 => u64::from(input.get_u8()),
            2 => u64::from(input.get_u16()) & 0x3fff,
            4 => u64::from(input.get_u32()) & 0x3fff_ffff,
            _ => input.get_u64() & Self::MAX.0,
        }))
    }
}

impl From<VarInt> for u64 {
    fn from(value: VarInt) -> Self {
        value.0
    }
}

impl From<u8> for VarInt {
    fn from(value: u8) -> Self {
        Self(value.into())
    }
}

impl From<u16> for VarInt {
    fn from(value: u16) -> Self {
        Self(value.into())
    }
}

impl From<u32> for VarInt {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl TryFrom<u64> for VarInt {
    type Error = VarIntBoundsExceeded;

    fn try_from(value: u64) -> Result<Self, Self::Error> {
        Self::from_u64(value)
    }
}

impl TryFrom<usize> for VarInt {
    type Error = VarIntBoundsExceeded;

    fn try_from(value: usize) -> Result<Self, Self::Error> {
        Self::from_u64(value as u64)
    }
}

impl fmt::Debug for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The value is 2^62 or more, so no [`VarInt`] can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("value is 2^62 or more")]
pub struct VarIntBoundsExceeded;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_1_decode() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            let mut input = bytes;
            assert_eq!(VarInt::decode(&mut input).map(VarInt::into_inner), Some(value));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn every_size_survives_a_round_trip_and_every_truncation_is_none() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, (1 << 62) - 1] {
            let value = VarInt::from_u64(value).unwrap();
            let mut out = Vec::new();
            value.encode(&mut out);
            assert_eq!(out.len(), value.size());
            for cut in 0..out.len() {
                let mut input = &out[..cut];
                assert_eq!(VarInt::decode(&mut input), None);
                assert_eq!(input.len(), cut, "a failed decode takes nothing");
            }
            assert_eq!(VarInt::decode(&mut &out[..]), Some(value));
        }
        assert!(VarInt::from_u64(1 << 62).is_err());
    }
}
