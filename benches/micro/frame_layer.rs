//! The frame layer of a WebSocket, and a byte stream for it that neither waits nor ends.
//!
//! The layer is not part of the API. It is included by its path, because a hidden public module
//! would let users depend on it, and would keep the compiler from finding dead code.

#[path = "../../src/socket/framed/frame.rs"]
#[allow(dead_code, reason = "its tests, which run where it belongs")]
mod frame;
#[path = "../../src/socket/framed/out.rs"]
#[allow(dead_code, reason = "what only its tests need")]
mod out;
#[path = "../../src/socket/framed/read.rs"]
#[allow(dead_code, reason = "what only the socket needs")]
mod read;
#[path = "../../src/socket/framed/write.rs"]
#[allow(dead_code, reason = "what only the socket needs")]
mod write;

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsmux::Side;

use self::{
    frame::{Header, Opcode},
    read::{Item, Reader},
    write::Writer,
};

/// Writes frames to a stream that discards them.
pub(crate) struct Encoder {
    writer: Writer,
    io: Endless,
}

impl Encoder {
    pub(crate) fn new(side: Side) -> Self {
        Self { writer: Writer::new(side, usize::MAX), io: Endless::new(Bytes::new()) }
    }

    /// Encodes one frame, and writes it.
    pub(crate) fn write(&mut self, payload: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        self.writer.frame(Opcode::Binary, payload.len(), [payload].into_iter());
        assert!(self.writer.poll_write_out(&mut self.io, &mut cx, 0).is_ready());
    }
}

/// Reads the same frame again and again, from a stream without end. Each read copies the bytes out
/// of the stream, as a read from a socket does.
pub(crate) struct Decoder {
    reader: Reader,
    io: Endless,
}

impl Decoder {
    /// The frame comes `from` this side, and has a payload of this size.
    pub(crate) fn new(from: Side, size: usize) -> Self {
        Self { reader: Reader::new(from, &[], 1 << 20), io: Endless::new(one_frame(from, size)) }
    }

    /// Reads and decodes one frame, and returns its payload.
    pub(crate) fn read(&mut self) -> Bytes {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.reader.next() {
                Some(Item::Message(message)) => break message,
                None => assert!(self.reader.poll_fill(&mut self.io, &mut cx).is_ready()),
                Some(other) => panic!("{other:?}"),
            }
        }
    }
}

/// A stream that accepts everything that is written to it, and that repeats the same bytes to its
/// reader without end.
struct Endless {
    bytes: Bytes,
    at: usize,
}

impl Endless {
    fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 {
            let rest = &self.bytes[self.at..];
            let len = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..len]);
            self.at = (self.at + len) % self.bytes.len();
        }
        Poll::Ready(Ok(()))
    }
}

/// Encodes one frame that comes `from` this side, with a payload of this size.
fn one_frame(from: Side, size: usize) -> Bytes {
    let mask = (from == Side::Client).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let header = Header { fin: true, opcode: Opcode::Binary, mask, len: size as u64 };
    let mut out = Vec::new();
    header.encode(&mut out);
    out.resize(out.len() + size, 7);
    out.into()
}

/// The frame layer imports this function from its parent module. Here the parent is this module.
fn poll_once<T>(future: impl Future<Output = T>, cx: &mut Context<'_>) -> Poll<T> {
    pin!(future).poll(cx)
}
