//! Reads the head of an HTTP message, up to the empty line that ends the head. The size of the head
//! is limited.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest head of a request or a response, in bytes. Cookies and tokens need a few KiB, and
/// nginx and other servers accept up to 32 KiB.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The largest number of header lines.
pub(crate) const MAX_HEADERS: usize = 128;

const READ_AT_ONCE: usize = 8 * 1024;

/// Why no head could be read.
#[derive(Debug)]
pub(crate) enum HeadError<E> {
    /// The head does not end within [`MAX_HEAD`] bytes.
    TooLarge,
    Invalid(E),
    Io(io::Error),
}

/// Reads until `parse` finds a whole head at the start of `buf`. The bytes after the head stay in
/// `buf`.
///
/// `parse` returns the head with its length, or `None` if the head is not complete. `parse` is
/// called each time the number of bytes has doubled, and when the head ends. Thus a head that
/// arrives byte by byte is not parsed after each byte, and bytes that are not HTTP are rejected
/// early.
pub(crate) async fn read_head<T, E>(
    io: &mut (impl AsyncRead + Unpin),
    buf: &mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Result<Option<(usize, T)>, E>,
) -> Result<T, HeadError<E>> {
    let mut total = buf.len();
    let mut next_parse = 1;
    let mut scanned = 0;
    loop {
        if scanned == 0 {
            // RFC 9112 §2.2: empty lines before the head are ignored.
            let blank = buf.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            buf.drain(..blank);
        }
        if buf.len() >= next_parse || has_end(&buf[scanned..]) {
            if let Some((len, head)) = parse(buf).map_err(HeadError::Invalid)? {
                // `split_off` makes a new block for the rest, and the block of the head is freed.
                // The head has already been copied out of that block.
                *buf = buf.split_off(len);
                return Ok(head);
            }
            next_parse = 2 * buf.len();
        }
        // The end of the head may be split between two reads, so the last two bytes are scanned
        // again.
        scanned = buf.len().saturating_sub(2);
        let room = MAX_HEAD.saturating_sub(total).min(READ_AT_ONCE);
        if room == 0 {
            return Err(HeadError::TooLarge);
        }
        buf.reserve(room);
        match io.take(room as u64).read_buf(buf).await {
            Ok(0) => return Err(HeadError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => total += read,
            Err(error) => return Err(HeadError::Io(error)),
        }
    }
}

fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn read(
        mut input: impl AsyncRead + Unpin,
        parses: &Cell<usize>,
    ) -> Result<(String, Vec<u8>), HeadError<httparse::Error>> {
        let mut buf = Vec::new();
        let parse = |bytes: &[u8]| {
            parses.set(parses.get() + 1);
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            Ok(match request.parse(bytes)? {
                httparse::Status::Complete(len) => {
                    Some((len, request.path.unwrap_or_default().to_owned()))
                }
                httparse::Status::Partial => None,
            })
        };
        let path = read_head(&mut input, &mut buf, parse).await?;
        Ok((path, buf))
    }

    /// A stream that returns one byte for each read.
    struct Drip<'a>(&'a [u8]);

    impl AsyncRead for Drip<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            if let Some((first, rest)) = self.0.split_first() {
                buf.put_slice(&[*first]);
                self.0 = rest;
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_follows_the_head_is_kept() {
        let input = b"\r\n\r\nGET /path HTTP/1.1\r\nHost: x\r\n\r\n\x82\x00";
        let (path, rest) = read(&input[..], &Cell::default()).await.unwrap();
        assert_eq!((path.as_str(), &rest[..]), ("/path", &b"\x82\x00"[..]));
    }

    #[tokio::test]
    async fn a_head_of_single_bytes_is_parsed_a_few_times_only() {
        let head = format!("\r\nGET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(60_000));
        let parses = Cell::default();
        read(Drip(head.as_bytes()), &parses).await.unwrap();
        assert!(parses.get() < 20, "{}", parses.get());
        // During a flood of empty lines, `parse` is never called.
        let parses = Cell::default();
        let flood = "\r\n".repeat(MAX_HEAD);
        assert!(matches!(read(Drip(flood.as_bytes()), &parses).await, Err(HeadError::TooLarge)));
        assert_eq!(parses.get(), 0);
    }

    #[tokio::test]
    async fn a_head_may_have_64_kib_and_no_more() {
        for (len, fits) in [(MAX_HEAD, true), (MAX_HEAD + 1, false)] {
            let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
            head.resize(len - 4, b'x');
            head.extend(b"\r\n\r\n");
            let read = read(&head[..], &Cell::default()).await;
            assert_eq!(read.is_ok(), fits, "{read:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_found_out_before_it_ends() {
        // These bytes are the start of a TLS ClientHello.
        let endless =
            tokio::io::AsyncReadExt::chain(&b"\x16\x03\x01\x02\x00"[..], tokio::io::empty());
        assert!(matches!(read(endless, &Cell::default()).await, Err(HeadError::Invalid(_))));
    }

    #[tokio::test]
    async fn a_head_cut_short_is_an_eof() {
        let cut = read(&b"GET / HTTP/1.1\r\nHost"[..], &Cell::default()).await;
        assert!(
            matches!(cut, Err(HeadError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
    }
}
