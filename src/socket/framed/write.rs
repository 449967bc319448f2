//! The writing half: collects frames in one buffer and writes them together.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use wsmux_proto::Side;

use super::{
    frame::{Header, MAX_HEADER, Opcode, copy_masked},
    out::OutBuffer,
    poll_once,
};

/// While this many bytes wait, no further message is accepted. On a slow path it is fewer. So a
/// write contains at most two
/// messages of the largest size, and an urgent message waits for at most two messages.
pub(super) const HIGH_WATER: usize = 64 * 1024;

/// The writing half of a WebSocket.
#[derive(Debug)]
pub(super) struct Writer {
    side: Side,
    out: OutBuffer,
    /// The payload of the newest ping, which is to be returned in a pong.
    pong: Option<Bytes>,
    /// Whether a Close has been accepted, after which nothing may be sent.
    closed: bool,
    /// Bytes that were written to the stream since it was last flushed.
    unflushed: usize,
    /// How many bytes to write at most in one call. TLS makes whole records of the bytes that it
    /// gets in one call, so this number decides how many bytes leave together.
    max_write: usize,
}

impl Writer {
    pub(super) fn new(side: Side, max_write: usize) -> Self {
        Self { side, out: OutBuffer::default(), pong: None, closed: false, unflushed: 0, max_write }
    }

    /// Whether a Close has been accepted.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The size of the write buffer.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.out.held()
    }

    /// Appends a frame whose payload is the `len` bytes of `slices`.
    pub(super) fn frame<'a>(
        &mut self,
        opcode: Opcode,
        len: usize,
        slices: impl Iterator<Item = &'a [u8]>,
    ) {
        // W-11 (RFC 6455 §5.5.1): nothing follows our Close.
        if self.closed {
            return;
        }
        // A client's masks must be unpredictable (RFC 6455 §10.3). `rand::random` uses a stream
        // cipher, so its masks are unpredictable.
        let mask = (self.side == Side::Client).then(rand::random);
        let header = Header { fin: true, opcode, mask, len: len as u64 };
        let room = self.out.reserve(MAX_HEADER + len);
        let mut rest = &mut *room;
        header.encode(&mut rest);
        let header_len = MAX_HEADER + len - rest.len();
        let mut done = 0;
        for slice in slices {
            let to;
            (to, rest) = rest.split_at_mut(slice.len());
            match mask {
                Some(mask) => copy_masked(to, slice, mask, done),
                None => to.copy_from_slice(slice),
            }
            done += slice.len();
        }
        debug_assert_eq!(done, len);
        self.out.add(header_len + len);
    }

    pub(super) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        self.frame(opcode, payload.len(), std::iter::once(payload));
    }

    /// Queues a pong. Only the newest ping is answered (RFC 6455 §5.5.3).
    pub(super) fn pong(&mut self, payload: Bytes) {
        // W-9 (RFC 6455 §5.5.3): the newer payload replaces the waiting payload.
        self.pong = Some(payload);
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        self.control(Opcode::Close, &payload);
        self.closed = true;
    }

    /// Answers the peer's Close with the same code, unless we have sent a Close (RFC 6455 §5.5.1).
    pub(super) fn answer_close(&mut self, code: Option<u16>) {
        match code {
            Some(code) => self.close(code, ""),
            None => {
                self.control(Opcode::Close, &[]);
                self.closed = true;
            }
        }
    }

    /// Writes until at most `leave` bytes are left in the buffer.
    pub(super) fn poll_write_out<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        leave: usize,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.out.len() <= leave
                && let Some(payload) = self.pong.take()
            {
                self.control(Opcode::Pong, &payload);
            }
            // The waiting pong and this condition are checked again after every write, because the
            // caller may not flush again.
            if self.out.len() <= leave {
                break;
            }
            let waiting = self.out.as_slice();
            let next = &waiting[..waiting.len().min(self.max_write)];
            let written = ready!(poll_once(io.write(next), cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.remove(written);
            self.unflushed += written;
        }
        self.out.compact();
        Poll::Ready(Ok(()))
    }

    /// Flushes the stream below, which may hold back bytes, such as TLS records.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unflushed == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(poll_once(io.flush(), cx))?;
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }

    /// Frees the buffer after a period of silence.
    pub(super) fn release_buffers(&mut self) {
        if self.out.is_empty() {
            self.out = OutBuffer::default();
        }
    }
}
