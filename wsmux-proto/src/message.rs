//! An outgoing message, built without copying large payloads.

use bytes::{BufMut, Bytes};

/// Payloads shorter than this, in bytes, are copied next to their header, because following a
/// pointer costs more than the copy.
const INLINE_BELOW: usize = 512;

/// The pieces of one outgoing message, in order. Small ones are gathered, and large ones are held
/// by reference.
///
/// [`Connection::poll_transmit`](super::Connection::poll_transmit) fills a buffer, and the socket
/// reads it. Use the same buffer again, because it keeps its memory and then allocates nothing.
#[derive(Debug, Default)]
pub struct MessageBuf {
    inline: Vec<u8>,
    parts: Vec<Part>,
    len: usize,
    frames: u64,
}

#[derive(Debug)]
enum Part {
    /// The bytes of `inline` up to here, from the end of the last such part.
    InlineUpTo(usize),
    Chunk(Bytes),
}

impl MessageBuf {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The length of the message in bytes.
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

    /// Counts a frame, which begins here.
    pub(crate) fn begin_frame(&mut self) {
        self.frames += 1;
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Appends what `write` writes. Returns how many bytes that is.
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

    /// Appends bytes. Many bytes are not copied.
    pub fn put_chunk(&mut self, chunk: Bytes) {
        if chunk.len() < INLINE_BELOW {
            self.put(|out| out.put_slice(&chunk));
        } else {
            self.len += chunk.len();
            self.parts.push(Part::Chunk(chunk));
        }
    }

    /// The pieces of the message, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.parts.iter().map(move |part| match part {
            Part::InlineUpTo(end) => {
                let slice = &self.inline[start..*end];
                start = *end;
                slice
            }
            Part::Chunk(chunk) => chunk,
        })
    }

    /// The message in one piece. This is a copy, unless the message is a single chunk.
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
}
