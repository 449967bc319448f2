//! What has arrived is read, even where writing has failed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that tells a failure to write by its reading side, after everything that had arrived.
///
/// tungstenite answers pings while it reads, and a read that cannot write its pong fails and ends reading for
/// good. What the peer had sent before it went away, and the operating system still holds, would be lost. So a
/// writer whose write failed waits here for ever, and the reader is told in its place: never before it has
/// read what there is, and at once after that.
#[derive(Debug)]
pub(crate) struct ReadsFirst<S> {
    inner: S,
    write_failure: Option<io::Error>,
}

impl<S> ReadsFirst<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, write_failure: None }
    }

    /// Keeps a failure for the reader, which may be asleep.
    fn keep<T>(&mut self, cx: &mut Context<'_>, result: io::Result<T>) -> Poll<io::Result<T>> {
        match result {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(error) => {
                self.write_failure = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadsFirst<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (Pin::new(&mut self.inner).poll_read(cx, buf), &self.write_failure) {
            (Poll::Pending, Some(failure)) => {
                Poll::Ready(Err(io::Error::new(failure.kind(), failure.to_string())))
            }
            (polled, _) => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadsFirst<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_failure.is_some() {
            return Poll::Pending;
        }
        // `Ok(0)` is what some streams say once they are closed; tungstenite would take it for a reset.
        let written = match ready!(Pin::new(&mut self.inner).poll_write(cx, buf)) {
            Ok(0) if !buf.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        };
        self.keep(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_failure.is_some() {
            return Poll::Pending;
        }
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        self.keep(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// What is left of a connection whose peer has gone: bytes to read, and no way to write.
    struct Broken(&'static [u8]);

    impl AsyncRead for Broken {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Broken {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_failed_write_is_told_after_what_had_arrived() {
        let mut stream = ReadsFirst::new(Broken(b"arrived"));
        let write = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_write(cx, b"pong")));
        assert!(write.await.is_pending());
        let mut arrived = [0; 7];
        stream.read_exact(&mut arrived).await.unwrap();
        assert_eq!(&arrived, b"arrived");
        let error = stream.read(&mut arrived).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_task_that_waits_for_reading_is_woken_by_a_write_that_fails() {
        let mut stream = ReadsFirst::new(Broken(b""));
        let mut written = false;
        let error = poll_fn(|cx| {
            let mut buf = [0; 1];
            let read = Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut buf));
            // Only the failure brings the task back here.
            if !std::mem::replace(&mut written, true) {
                assert!(read.is_pending());
                assert!(Pin::new(&mut stream).poll_write(cx, b"pong").is_pending());
            }
            read
        });
        assert_eq!(error.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
