//! Measures the frame layer of a WebSocket: headers, masks, and copies of the payload.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsmux::Side;

/// The frame layer itself, which is not part of the API. It is included by its path, because a
/// hidden public module would let users depend on it, and would keep the compiler from finding dead
/// code.
#[path = "../../src/socket/framed/frame.rs"]
#[allow(dead_code, reason = "its tests, which run where it belongs")]
mod frame;
#[path = "../../src/socket/framed/read.rs"]
#[allow(dead_code, reason = "what only the socket needs")]
mod read;
#[path = "../../src/socket/framed/write.rs"]
#[allow(dead_code, reason = "what only the socket needs")]
mod write;

use frame::Opcode;
use read::{Item, Reader};
use write::Writer;

/// The frame layer imports this function from its parent module, which is this one here.
fn poll_once<T>(future: impl Future<Output = T>, cx: &mut Context<'_>) -> Poll<T> {
    pin!(future).poll(cx)
}

/// A stream that accepts everything that is written to it, and that repeats the same bytes to its
/// reader without end.
struct Endless {
    bytes: Bytes,
    at: usize,
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

pub(crate) fn benches(c: &mut Criterion) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut group = c.benchmark_group("framing");
    for (from, masked) in [(Side::Client, "masked"), (Side::Server, "plain")] {
        for size in [64, 16 * 1024, 64 * 1024] {
            group.throughput(Throughput::Bytes(size as u64));
            let payload = vec![7; size];
            let mut writer = Writer::new(from);
            let mut io = Endless { bytes: Bytes::new(), at: 0 };
            group.bench_function(BenchmarkId::new(format!("encode, {masked}"), size), |b| {
                b.iter(|| {
                    writer.frame(Opcode::Binary, size, [&payload[..]].into_iter());
                    writer.poll_write_out(&mut io, &mut cx, 0)
                });
            });
            // The figure includes the copy out of `Endless`. A read from a socket copies the bytes
            // too.
            let mut reader = Reader::new(from, &[], 1 << 20);
            let mut io = Endless { bytes: one_frame(from, size), at: 0 };
            group.bench_function(
                BenchmarkId::new(format!("read and decode, {masked}"), size),
                |b| {
                    b.iter(|| {
                        loop {
                            match reader.next() {
                                Some(Item::Message(message)) => break message,
                                None => assert!(reader.poll_fill(&mut io, &mut cx).is_ready()),
                                Some(other) => panic!("{other:?}"),
                            }
                        }
                    });
                },
            );
        }
    }
    group.finish();
}

fn one_frame(from: Side, size: usize) -> Bytes {
    let mask = (from == Side::Client).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let header = frame::Header { fin: true, opcode: Opcode::Binary, mask, len: size as u64 };
    let mut out = Vec::new();
    header.encode(&mut out);
    out.resize(out.len() + size, 7);
    out.into()
}
