//! An outgoing message, built without copying large payloads.

use bytes::{BufMut, Bytes};

/// A payload with fewer bytes than this is copied next to its header, because the copy costs less
/// than following a pointer.
const INLINE_BELOW: usize = 512;

/// The pieces of one outgoing message, in order. Small pieces are copied into one buffer, and large
/// pieces are held by reference.
///
/// [`Connection::poll_transmit`](super::Connection::poll_transmit) fills a buffer, and the socket
/// reads it. Reuse the same buffer for the next message. The buffer keeps its memory, so filling it
/// again usually allocates nothing.
#[derive(Debug, Default)]
pub struct MessageBuf {
    inline: Vec<u8>,
    parts: Vec<Part>,
    len: usize,
    frames: u64,
}

#[derive(Debug)]
enum Part {
    /// Bytes of `inline`. The part ends at this index, and begins where the previous part of this
    /// kind ends.
    InlineUpTo(usize),
    Chunk(Bytes),
}

/// A piece of a message.
pub(crate) enum Piece<'a> {
    /// Bytes that the buffer itself holds.
    Inline(&'a [u8]),
    /// Bytes that are held by reference.
    Chunk(&'a Bytes),
}

impl MessageBuf {
    /// Returns an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the length of the message in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.inline.clear();
        self.parts.clear();
        self.len = 0;
        self.frames = 0;
    }

    /// Counts the frame that begins at the present end of the message.
    pub(crate) fn begin_frame(&mut self) {
        self.frames += 1;
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends what `write` writes. Returns the number of bytes that were appended.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.inline.len();
        write(&mut self.inline);
        let added = self.inline.len() - before;
        self.len += added;
        match self.parts.last_mut() {
            Some(Part::InlineUpTo(end)) => *end = self.inline.len(),
            _ => self.parts.push(Part::InlineUpTo(self.inline.len())),
        }
        added
    }

    /// Appends a chunk. Only a short chunk is copied.
    pub fn put_chunk(&mut self, chunk: Bytes) {
        if chunk.len() < INLINE_BELOW {
            self.put(|out| out.put_slice(&chunk));
        } else {
            self.len += chunk.len();
            self.parts.push(Part::Chunk(chunk));
        }
    }

    /// Puts the frame that `write` writes in front of the message.
    pub(crate) fn prepend_frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::with_capacity(16);
        write(&mut frame);
        self.frames += 1;
        self.len += frame.len();
        for part in &mut self.parts {
            if let Part::InlineUpTo(end) = part {
                *end += frame.len();
            }
        }
        if !matches!(self.parts.first(), Some(Part::InlineUpTo(_))) {
            self.parts.insert(0, Part::InlineUpTo(frame.len()));
        }
        self.inline.splice(..0, frame);
    }

    /// Returns the pieces of the message, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces().map(|piece| match piece {
            Piece::Inline(bytes) => bytes,
            Piece::Chunk(chunk) => chunk,
        })
    }

    /// Returns the pieces of the message, in order, and how each of them is held.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut start = 0;
        self.parts.iter().map(move |part| match part {
            Part::InlineUpTo(end) => {
                let slice = &self.inline[start..*end];
                start = *end;
                Piece::Inline(slice)
            }
            Part::Chunk(chunk) => Piece::Chunk(chunk),
        })
    }

    /// Returns the message in one piece. The bytes are copied, unless the message is a single
    /// chunk.
    pub fn to_bytes(&self) -> Bytes {
        if let [Part::Chunk(chunk)] = &self.parts[..] {
            return chunk.clone();
        }
        let mut out = Vec::with_capacity(self.len);
        self.slices().for_each(|slice| out.extend_from_slice(slice));
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_in_the_order_they_went_in() {
        let mut buf = MessageBuf::new();
        let large = Bytes::from(vec![7; INLINE_BELOW]);
        for _ in 0..2 {
            buf.put(|out| out.put_u8(1));
            buf.put_chunk(Bytes::from_static(b"small"));
            buf.put_chunk(large.clone());
            buf.put(|out| out.put_u8(2));
            let expected = [b"\x01small", &large[..], b"\x02"].concat();
            assert_eq!(buf.len(), expected.len());
            assert_eq!(buf.to_bytes(), expected);
            assert_eq!(buf.slices().count(), 3);
            buf.clear();
            assert!(buf.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_put_in_front_precedes_every_piece() {
        let large = Bytes::from(vec![7; INLINE_BELOW]);
        for begins_with_chunk in [false, true] {
            let mut buf = MessageBuf::new();
            if !begins_with_chunk {
                buf.put_chunk(Bytes::from_static(b"small"));
            }
            buf.put_chunk(large.clone());
            buf.put_chunk(Bytes::from_static(b"end"));
            let expected = [b"front", &buf.to_bytes()[..]].concat();
            buf.prepend_frame(|out| out.put_slice(b"front"));
            assert_eq!((buf.to_bytes(), buf.len()), (expected.clone().into(), expected.len()));
        }
    }
}
