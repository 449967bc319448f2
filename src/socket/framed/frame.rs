//! WebSocket frames: their headers, and the mask (RFC 6455 §5).

use bytes::BufMut;
use wsmux_proto::Side;

/// The longest header of a frame, mask included (RFC 6455 §5.2).
pub(super) const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// The type of a frame (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_wire(value: u8) -> Option<Self> {
        Some(match value {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    fn to_wire(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) fn is_control(self) -> bool {
        self.to_wire() & 0x8 != 0
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) len: u64,
}

/// The result of parsing a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A header, and its length in bytes.
    Header(Header, usize),
    /// The header is incomplete.
    Partial,
}

impl Header {
    /// Parses the header at the start of `input`, which `from` has sent.
    pub(super) fn parse(input: &[u8], from: Side) -> Result<Parsed, &'static str> {
        let &[first, second, ref rest @ ..] = input else { return Ok(Parsed::Partial) };
        if first & 0x70 != 0 {
            return Err("reserved bits without an extension");
        }
        let opcode = Opcode::from_wire(first & 0x0f).ok_or("reserved opcode")?;
        let (fin, masked) = (first & 0x80 != 0, second & 0x80 != 0);
        // RFC 6455 §5.1: a client masks, a server does not.
        match (masked, from) {
            (false, Side::Client) => return Err("frame of a client without a mask"),
            (true, Side::Server) => return Err("frame of a server with a mask"),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && !fin {
            return Err("control frame in pieces");
        }
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err("control frame longer than 125 bytes");
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(Parsed::Partial),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(Parsed::Partial),
            },
            short => (u64::from(short), rest),
        };
        // RFC 6455 §5.2: a length is encoded in the fewest bytes, and its most significant bit is
        // 0.
        if (short == 126 && len < 126) || (short == 127 && len < 1 << 16) || len >> 63 != 0 {
            return Err("payload length not as it must be encoded");
        }
        let (mask, rest) = match (masked, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((mask, rest))) => (Some(*mask), rest),
            (true, None) => return Ok(Parsed::Partial),
        };
        let header = Self { fin, opcode, mask, len };
        Ok(Parsed::Header(header, input.len() - rest.len()))
    }

    /// Writes the header to `out`.
    #[inline]
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = self.opcode.to_wire() | if self.fin { 0x80 } else { 0 };
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut len = match self.len {
            short @ 0..126 => {
                bytes[1] = masked | short as u8;
                2
            }
            long @ 126..0x1_0000 => {
                bytes[1] = masked | 126;
                bytes[2..4].copy_from_slice(&(long as u16).to_be_bytes());
                4
            }
            longer => {
                bytes[1] = masked | 127;
                bytes[2..10].copy_from_slice(&longer.to_be_bytes());
                10
            }
        };
        if let Some(mask) = self.mask {
            bytes[len..len + 4].copy_from_slice(&mask);
            len += 4;
        }
        out.put_slice(&bytes[..len]);
    }
}

/// Returns a word that is filled with the repeated mask. The word's first byte masks the payload
/// byte at `offset`. The compiler vectorises loops over such words.
fn mask_word(mask: [u8; 4], offset: usize) -> u64 {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let word = u64::from(u32::from_ne_bytes(turned));
    word | word << 32
}

/// Masks or unmasks `data`, which begins `offset` bytes into the payload (RFC 6455 §5.3).
pub(super) fn apply_mask(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let word = mask_word(mask, offset);
    let mut words = data.chunks_exact_mut(size_of::<u64>());
    for bytes in &mut words {
        let masked = word_at(bytes) ^ word;
        bytes.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= mask;
    }
}

/// Copies `from` to `to`, which has the same length, and masks the copy. `from` begins `offset`
/// bytes into the payload (RFC 6455 §5.3). This function passes over the memory once. Copying first
/// and masking afterwards would need two passes.
pub(super) fn copy_masked(to: &mut [u8], from: &[u8], mask: [u8; 4], offset: usize) {
    debug_assert_eq!(to.len(), from.len());
    let word = mask_word(mask, offset);
    let mut to_words = to.chunks_exact_mut(size_of::<u64>());
    let from_words = from.chunks_exact(size_of::<u64>());
    let from_rest = from_words.remainder();
    for (to, from) in (&mut to_words).zip(from_words) {
        to.copy_from_slice(&(word_at(from) ^ word).to_ne_bytes());
    }
    let rest = to_words.into_remainder().iter_mut().zip(from_rest);
    for ((to, from), mask) in rest.zip(word.to_ne_bytes()) {
        *to = from ^ mask;
    }
}

/// Returns the word that consists of the first eight bytes of `bytes`.
fn word_at(bytes: &[u8]) -> u64 {
    let mut word = [0; size_of::<u64>()];
    word.copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Parses the payload of a Close frame into its code and its reason.
pub(super) fn parse_close(payload: &[u8]) -> Result<(Option<u16>, String), &'static str> {
    match payload {
        [] => Ok((None, String::new())),
        [_] => Err("close code of one byte"),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // RFC 6455 §7.4: some codes must not be sent, and some have no meaning yet.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err("close code that cannot be sent");
            }
            let reason = std::str::from_utf8(reason).map_err(|_| "close reason is not UTF-8")?;
            Ok((Some(code), reason.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u64, mask: Option<[u8; 4]>) -> Header {
        Header { fin: true, opcode: Opcode::Binary, mask, len }
    }

    #[test]
    fn a_header_survives_a_round_trip_and_every_truncation_is_partial() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, u64::MAX >> 1] {
            for (mask, side) in [(None, Side::Server), (Some([1, 2, 3, 4]), Side::Client)] {
                let mut out = Vec::new();
                header(len, mask).encode(&mut out);
                for cut in 0..out.len() {
                    assert_eq!(Header::parse(&out[..cut], side), Ok(Parsed::Partial));
                }
                let parsed = Header::parse(&out, side);
                assert_eq!(parsed, Ok(Parsed::Header(header(len, mask), out.len())));
                assert!(Header::parse(&out, !side).is_err(), "masked by the wrong side");
            }
        }
    }

    #[test]
    fn what_rfc_6455_forbids_is_an_error() {
        for bytes in [
            &[0xc2, 0x00][..],
            &[0x83, 0x00],
            &[0x8b, 0x00],
            &[0x09, 0x00],
            &[0x89, 0x7e, 0x00, 0x7e],
            &[0x82, 0x7e, 0x00, 0x7d],
            &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x82, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0],
        ] {
            assert!(Header::parse(bytes, Side::Server).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn the_mask_falls_on_each_byte_by_its_place_in_the_payload() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        for split in 0..plain.len() {
            let mut data = plain.clone();
            let (front, back) = data.split_at_mut(split);
            apply_mask(front, mask, 0);
            apply_mask(back, mask, split);
            assert_eq!(data, expected);
            let mut copy = vec![0; plain.len()];
            let (front, back) = copy.split_at_mut(split);
            copy_masked(front, &plain[..split], mask, 0);
            copy_masked(back, &plain[split..], mask, split);
            assert_eq!(copy, expected);
        }
    }

    #[test]
    fn close_codes_are_those_that_may_travel() {
        for code in [1000, 1003, 1007, 1011, 3000, 4999] {
            let payload = [&u16::to_be_bytes(code)[..], b"why"].concat();
            assert_eq!(parse_close(&payload), Ok((Some(code), "why".to_owned())));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(parse_close(&code.to_be_bytes()).is_err(), "{code}");
        }
        assert_eq!(parse_close(&[]), Ok((None, String::new())));
        assert!(parse_close(&[3]).is_err());
        assert!(parse_close(&[3, 232, 0xff]).is_err());
    }
}
