//! The reading half: turns received bytes into whole messages.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use wsmux_proto::Side;

use super::{
    frame::{Header, Opcode, Parsed, apply_mask, parse_close},
    poll_once,
};

/// The smallest size of a read. A quiet connection holds a block of this size until its buffers are
/// released.
const MIN_READ: usize = 1024;

/// The largest size of a read. A read of this size has room for two messages of the largest size
/// that we send, and for the beginning of a third message, which is moved to the next block. Larger
/// reads would gain nothing, and a block stays allocated as long as any message in it is unread.
const MAX_READ: usize = 132 * 1024;

/// How many blocks are kept besides the current block. These blocks are filled again once the
/// application has read their content. Allocating a new block would take as much time as the read
/// itself. If the application keeps up, two blocks are enough, because only the newest two blocks
/// are unread when a block is full.
const MAX_SPARE_BLOCKS: usize = 2;

/// The largest block that is kept. Only messages of other implementations may need larger blocks.
const MAX_SPARE_BLOCK: usize = 2 * MAX_READ;

/// A message is copied out of its block if it is shorter than the block's size divided by this
/// number. Otherwise an unread message would keep the whole block allocated, and a peer could make
/// us hold a multiple of its credit.
const SHARE_AT_LEAST_ONE_IN: usize = 2;

/// A full buffer of fragments grows by its size divided by this number.
const GROW_BY_ONE_IN: usize = 4;

/// How many empty fragments are allowed in one message. The limit on a message's size does not
/// bound the number of empty fragments, because they add nothing to the size. A writer that flushes
/// an empty buffer may send a few empty fragments. Only an attacker sends more than this number.
const MAX_EMPTY_FRAGMENTS: u32 = 1_000;

/// An item that was read.
#[derive(Debug)]
pub(super) enum Item {
    Message(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    Close { code: Option<u16>, reason: String },
    Text,
    TooLarge,
    ProtocolError(&'static str),
}

/// The reading half of a WebSocket.
#[derive(Debug)]
pub(super) struct Reader {
    /// The side that sends the bytes that are read here.
    from: Side,
    max_message: u64,
    buffer: BytesMut,
    /// Blocks that were filled, the newest first, each with its actual size. The size is stored
    /// because a block that is reclaimed may report a smaller capacity.
    spare: VecDeque<(BytesMut, usize)>,
    /// The size of the block that `buffer` is a part of.
    block: usize,
    /// How many bytes to read at once. This size doubles when a read has filled the buffer, and
    /// halves after a small read.
    read_size: usize,
    /// The frame whose header has been removed from the buffer.
    frame: Option<Header>,
    /// The payloads of those fragments of the current message that have arrived.
    pieces: Option<BytesMut>,
    /// How many fragments of the message in `pieces` were empty.
    empty: u32,
    /// Bytes received in total.
    received: u64,
}

impl Reader {
    pub(super) fn new(from: Side, rest: &[u8], max_message: u64) -> Self {
        let mut buffer = BytesMut::new();
        if !rest.is_empty() {
            // The first read continues in this block.
            buffer.reserve(rest.len().max(MIN_READ));
            buffer.extend_from_slice(rest);
        }
        Self {
            from,
            max_message,
            block: buffer.capacity(),
            buffer,
            spare: VecDeque::new(),
            read_size: MIN_READ,
            frame: None,
            pieces: None,
            empty: 0,
            received: 0,
        }
    }

    /// The size of the read buffer.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes received in total.
    pub(super) fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Discards the bytes in the buffer.
    pub(super) fn forget(&mut self) {
        self.buffer.clear();
    }

    /// Reads once. Returns 0 at the end of the stream.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // For a large frame, the memory grows with the bytes that have arrived. The additional room
        // is never larger than the number of bytes that have arrived.
        let missing = self.frame.map_or(0, |frame| {
            usize::try_from(frame.len).unwrap_or(usize::MAX).saturating_sub(self.buffer.len())
        });
        let wanted = self.read_size.max(missing.min(self.buffer.len()));
        let room = self.buffer.capacity() - self.buffer.len();
        // A read into the last few bytes of a block costs as much as a read into a whole block, so
        // a nearly full block is replaced. But if the rest of the current frame fits into the
        // block, the block is kept, because a replacement would require moving the start of the
        // frame.
        if room < wanted / 4 && !(1..=room).contains(&missing) {
            self.next_block(wanted);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let polled = poll_once(io.read_buf(&mut self.buffer), cx);
        if let Poll::Ready(Ok(len)) = &polled {
            self.received += *len as u64;
        }
        match &polled {
            Poll::Ready(Ok(len)) if *len == room => {
                self.read_size = (self.read_size * 2).min(MAX_READ);
            }
            Poll::Ready(Ok(len)) if *len < self.read_size / 8 => {
                self.read_size = (self.read_size / 2).max(MIN_READ);
            }
            _ => {}
        }
        polled
    }

    /// Frees the blocks after a period of silence, because an idle connection needs none.
    pub(super) fn release_buffers(&mut self) {
        self.spare = VecDeque::new();
        self.read_size = MIN_READ;
        if self.buffer.is_empty() {
            (self.buffer, self.block) = (BytesMut::new(), 0);
        }
    }

    /// Continues in another block. The other block gets the unprocessed bytes of the current block,
    /// and has room for `wanted` more bytes.
    fn next_block(&mut self, wanted: usize) {
        if self.buffer.try_reclaim(wanted) {
            return;
        }
        let len = self.buffer.len() + wanted;
        let free = self.spare.iter_mut().position(|(block, _)| block.try_reclaim(len));
        let (mut next, size) = free.and_then(|free| self.spare.remove(free)).unwrap_or_else(|| {
            let new = BytesMut::with_capacity(len);
            let size = new.capacity();
            (new, size)
        });
        next.extend_from_slice(&self.buffer);
        let mut last = std::mem::replace(&mut self.buffer, next);
        let size = std::mem::replace(&mut self.block, size);
        if (1..=MAX_SPARE_BLOCK).contains(&size) {
            last.clear();
            self.spare.truncate(MAX_SPARE_BLOCKS - 1);
            self.spare.push_front((last, size));
        }
    }

    /// Returns the next complete item, or `None` if more bytes have to be read. The method must not
    /// be called again after it has returned an item that ends reading.
    pub(super) fn next(&mut self) -> Option<Item> {
        loop {
            let header = match self.frame {
                Some(header) => header,
                None => match Header::parse(&self.buffer, self.from) {
                    Ok(Parsed::Header(header, len)) => {
                        self.buffer.advance(len);
                        if let Some(item) = self.check(&header) {
                            return Some(item);
                        }
                        *self.frame.insert(header)
                    }
                    Ok(Parsed::Partial) => return None,
                    Err(words) => return Some(Item::ProtocolError(words)),
                },
            };
            let len = usize::try_from(header.len).unwrap_or(usize::MAX);
            if self.buffer.len() < len {
                return None;
            }
            self.frame = None;
            if let Some(mask) = header.mask {
                apply_mask(&mut self.buffer[..len], mask, 0);
            }
            let item = match header.opcode {
                Opcode::Binary | Opcode::Continuation => self.data(&header, len),
                _ => {
                    let item = control(header.opcode, &self.buffer[..len]);
                    self.buffer.advance(len);
                    Some(item)
                }
            };
            if item.is_some() {
                return item;
            }
        }
    }

    /// Checks a header before the payload has arrived. If the header is a reason to end reading,
    /// returns the item that reports the reason.
    fn check(&mut self, header: &Header) -> Option<Item> {
        let gathered = self.pieces.as_ref().map_or(0, |pieces| pieces.len() as u64);
        match (header.opcode, &self.pieces) {
            // W-2: a text message is refused by its header alone.
            (Opcode::Text, None) => Some(Item::Text),
            (Opcode::Continuation, None) => Some(Item::ProtocolError("continuation of nothing")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Some(Item::ProtocolError("message within a message"))
            }
            (Opcode::Binary | Opcode::Continuation, _)
                // W-6: the limit applies to the sum of the fragments so far.
                if header.len > self.max_message.saturating_sub(gathered) =>
            {
                Some(Item::TooLarge)
            }
            (Opcode::Binary, _) => {
                self.empty = 0;
                None
            }
            (Opcode::Continuation, _) if header.len == 0 => {
                self.empty += 1;
                // W-30: the number of empty fragments is limited.
                (self.empty > MAX_EMPTY_FRAGMENTS)
                    .then_some(Item::ProtocolError("too many empty fragments"))
            }
            _ => None,
        }
    }

    /// Processes a complete data frame at the front of the buffer. Returns `None` if the frame's
    /// message is incomplete.
    fn data(&mut self, header: &Header, len: usize) -> Option<Item> {
        if let Some(pieces) = &mut self.pieces {
            let (gathered, room) = (pieces.len(), pieces.capacity() - pieces.len());
            if len > room {
                // The buffer grows by a part of its size instead of doubling, and never beyond the
                // size of the largest message (C-73).
                let most = usize::try_from(self.max_message).unwrap_or(usize::MAX);
                let roomy = (gathered + gathered / GROW_BY_ONE_IN).min(most);
                let mut larger = BytesMut::with_capacity(roomy.max(gathered + len));
                larger.extend_from_slice(pieces);
                *pieces = larger;
            }
            pieces.extend_from_slice(&self.buffer[..len]);
            self.leave_block(len);
            let whole = self.pieces.take_if(|_| header.fin)?;
            return Some(Item::Message(whole.freeze()));
        }
        if !header.fin {
            // The first piece is copied out of its block. Each further piece is copied once, when
            // it is appended to the first.
            self.pieces = Some(BytesMut::from(&self.buffer[..len]));
            self.leave_block(len);
            return None;
        }
        // C-72: a small message is copied out of its block.
        let small = len.saturating_mul(SHARE_AT_LEAST_ONE_IN) < self.block;
        if !small {
            return Some(Item::Message(self.buffer.split_to(len).freeze()));
        }
        let copy = Bytes::copy_from_slice(&self.buffer[..len]);
        self.buffer.advance(len);
        Some(Item::Message(copy))
    }

    /// Removes from the buffer `len` bytes that have been copied to the pieces of a message. If the
    /// buffer's block was allocated for a large fragment, the block is freed. If the block were
    /// kept, there could be three buffers of the message's size: this block, the pieces and the
    /// next fragment.
    fn leave_block(&mut self, len: usize) {
        self.buffer.advance(len);
        if self.block > MAX_SPARE_BLOCK && self.buffer.len() <= self.block / 2 {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.block = self.buffer.len();
        }
    }
}

/// Converts a complete control frame.
fn control(opcode: Opcode, payload: &[u8]) -> Item {
    match opcode {
        Opcode::Ping => Item::Ping(Bytes::copy_from_slice(payload)),
        Opcode::Pong => Item::Pong(Bytes::copy_from_slice(payload)),
        _ => match parse_close(payload) {
            Ok((code, reason)) => Item::Close { code, reason },
            Err(words) => Item::ProtocolError(words),
        },
    }
}

#[cfg(test)]
mod tests {
    /// A reclaimed block may report less capacity than it has. If the reported capacity were taken
    /// for the block's size, a small message would seem to fill most of the block, and would keep
    /// the whole block allocated.
    #[test]
    fn a_block_that_is_filled_again_counts_with_all_its_memory() {
        use super::{MAX_READ, MIN_READ, Reader, Side};

        let mut reader = Reader::new(Side::Client, &[], u64::MAX);
        let take = |reader: &mut Reader, len| {
            reader.buffer.resize(len, 0);
            reader.buffer.split_to(len).freeze()
        };
        reader.next_block(MAX_READ);
        let first = reader.block;
        let read_soon = take(&mut reader, MAX_READ / 2);
        reader.next_block(MAX_READ);
        drop(read_soon);
        let rest = reader.block;
        let _unread = take(&mut reader, rest);
        reader.next_block(MIN_READ);
        assert_eq!(reader.block, first, "and not what was asked of it");
    }
}
