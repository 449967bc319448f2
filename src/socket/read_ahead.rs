//! Reads more from a stream than its reader asks for, so that many small reads need few system
//! calls.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

/// The size of the smallest reads from the stream, which is also the most that rustls asks for at
/// once. A read of this size goes directly into the memory of rustls. A connection with little to
/// read makes only such reads, so it never allocates the buffer.
const MIN: usize = 4 * 1024;

/// The size of the largest reads. The kernel carries about this many bytes in one packet on
/// loopback. The kernel also merges the packets of a network card into packets of up to this size.
const MAX: usize = 64 * 1024;

/// A stream below TLS. rustls asks for at most 4 KiB at a time, so it needs five reads for each
/// record of 16 KiB. This type reads more bytes at once from the stream, as long as the stream
/// delivers them. The buffer is freed when the stream delivers fewer bytes.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    io: S,
    buffer: Vec<u8>,
    /// Where the unread bytes of the buffer begin. The reader has not asked for these bytes yet.
    start: usize,
    /// Where the unread bytes end.
    end: usize,
    /// How many bytes to read next.
    size: usize,
}

impl<S> ReadAhead<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, buffer: Vec::new(), start: 0, end: 0, size: MIN }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }

    /// Frees the buffer if it is empty.
    pub(crate) fn release_buffer(&mut self) {
        if self.start == self.end {
            (self.buffer, self.size) = (Vec::new(), MIN);
        }
    }

    /// Chooses the size of the next read, after a read of `len` bytes.
    fn adapt(&mut self, len: usize) {
        if len >= self.size {
            self.size = (self.size * 2).min(MAX);
        } else if len < self.size / 8 {
            self.size = (self.size / 2).max(MIN);
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() != self.size {
            // The old buffer is freed first, so that there is never more than one buffer.
            self.buffer = Vec::new();
            self.buffer = vec![0; self.size];
        }
        let mut read = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        (self.start, self.end) = (0, read.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            if out.remaining() >= this.size {
                this.buffer = Vec::new();
                let before = out.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, out))?;
                this.adapt(out.filled().len() - before);
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_fill(cx))?;
            this.adapt(this.end);
        } else {
            // rustls reads until it has plaintext. tokio's budget bounds how long one task does so.
            // tokio itself counts only reads from the stream, so this line counts a read from the
            // buffer.
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let waiting = &this.buffer[this.start..this.end];
        let len = waiting.len().min(out.remaining());
        out.put_slice(&waiting[..len]);
        this.start += len;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A stream that counts how often it is read.
    struct Counted<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, out)
        }
    }

    #[tokio::test]
    async fn small_reads_of_much_data_need_few_reads_below() {
        let (mut near, far) = duplex(1 << 20);
        let sent: Vec<u8> = (0..1 << 20).map(|n: u32| (n / 7) as u8).collect();
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut reader = ReadAhead::new(Counted(far, 0));
        let (mut received, mut piece) = (Vec::new(), [0; MIN]);
        loop {
            let len = reader.read(&mut piece).await.unwrap();
            if len == 0 {
                break;
            }
            received.extend_from_slice(&piece[..len]);
        }
        assert!(received == sent);
        assert!(reader.io.1 < 25, "{} reads", reader.io.1);
    }

    #[tokio::test]
    async fn a_stream_with_little_to_read_has_no_buffer() {
        let (mut near, far) = duplex(1 << 20);
        let mut reader = ReadAhead::new(far);
        let mut piece = [0; MIN];
        for _ in 0..10 {
            near.write_all(&[1; 100]).await.unwrap();
            assert_eq!(reader.read(&mut piece).await.unwrap(), 100);
        }
        assert_eq!(reader.buffer.capacity(), 0);
        // Much data makes the buffer grow, and the next small reads free the buffer.
        near.write_all(&[1; 500_000]).await.unwrap();
        for _ in 0..50 {
            reader.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(reader.buffer.capacity(), MAX);
        reader.read_exact(&mut [0; 500_000 - 50 * MIN]).await.unwrap();
        for _ in 0..10 {
            near.write_all(&[1; 100]).await.unwrap();
            assert_eq!(reader.read(&mut piece).await.unwrap(), 100);
        }
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn an_empty_buffer_is_freed_on_request_and_a_full_one_is_kept() {
        let (mut near, far) = duplex(1 << 20);
        let mut reader = ReadAhead::new(far);
        near.write_all(&[1; 100_000]).await.unwrap();
        let mut piece = [0; MIN];
        for _ in 0..10 {
            reader.read_exact(&mut piece).await.unwrap();
        }
        reader.release_buffer();
        assert_ne!(reader.buffer.capacity(), 0, "unread bytes were dropped");
        reader.read_exact(&mut [0; 100_000 - 10 * MIN]).await.unwrap();
        reader.release_buffer();
        assert_eq!(reader.buffer.capacity(), 0);
    }
}
