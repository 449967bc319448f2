//! A byte stream that both readers can use: tungstenite's blocking reader and our asynchronous
//! reader.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that returns its bytes in pieces of given sizes, and then ends. It keeps the bytes that
/// are written to it.
#[derive(Debug, Default)]
pub(super) struct Chopped {
    input: VecDeque<u8>,
    /// The sizes of the reads. After the last size, the first one is used again.
    chops: Vec<usize>,
    reads: usize,
    pub(super) written: Vec<u8>,
}

impl Chopped {
    pub(super) fn new(input: &[u8], chops: &[usize]) -> Self {
        Self { input: input.to_vec().into(), chops: chops.to_vec(), ..Self::default() }
    }
}

impl Read for Chopped {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let chop = self.chops.get(self.reads % self.chops.len().max(1)).copied();
        self.reads += 1;
        let len = buf.len().min(chop.unwrap_or(usize::MAX));
        self.input.read(&mut buf[..len])
    }
}

impl Write for Chopped {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Chopped {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.get_mut().read(buf.initialize_unfilled())?;
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chopped {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
