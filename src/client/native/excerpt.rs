//! Reads the start of the body of a refusal, for the error that reports the refusal.

use std::time::Duration;

#[cfg(feature = "http2")]
use h2::RecvStream;
use http::{HeaderMap, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How many bytes of the body are kept at most. The limit leaves room for a sentence. A proxy's
/// page may be much longer.
const MAX_EXCERPT: usize = 1024;

/// How many bytes of a chunked body are read at most. The limit leaves room for the sizes and
/// extensions of short chunks.
const MAX_CHUNKED: usize = 4 * MAX_EXCERPT;

/// How long to wait for the body. The body is not worth a longer wait, because the status is
/// already known.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Where a body ends (RFC 9112 §6.3).
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// The body ends after this number of bytes. The number is at most [`MAX_EXCERPT`], even if the
    /// body is longer.
    Length(usize),
    Chunked,
    /// The body ends at the end of the stream.
    Rest,
}

impl Body {
    const NONE: Self = Self::Length(0);

    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Self::NONE;
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            // This header overrides `Content-Length`. The client has asked for no coding except
            // chunked, and cannot read bytes in another coding.
            return match list(headers, header::TRANSFER_ENCODING) {
                Some(codings) if codings.eq_ignore_ascii_case("chunked") => Self::Chunked,
                _ => Self::NONE,
            };
        }
        if !headers.contains_key(header::CONTENT_LENGTH) {
            return Self::Rest;
        }
        // If there are several different lengths, the client can trust no length.
        let length = list(headers, header::CONTENT_LENGTH).filter(|length| {
            !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit())
        });
        // A length that is too large to be parsed is longer than the excerpt in any case.
        let length = length.map(|length| length.parse().unwrap_or(MAX_EXCERPT));
        Self::Length(length.unwrap_or(0).min(MAX_EXCERPT))
    }
}

/// Returns the element of a list header whose elements are all equal. Returns `None` if the header
/// has different elements.
fn list(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let mut elements = lines.flat_map(|line| line.split(',').map(str::trim));
    let first = elements.next()?;
    elements.all(|element| element == first).then_some(first)
}

/// Reads the start of the body from an HTTP/1.1 stream, within the time `left`. `buf` contains the
/// bytes of the body that were read together with the head.
pub(super) async fn read(
    io: &mut (impl AsyncRead + Unpin),
    mut buf: Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    left: Duration,
) -> String {
    let left = left.min(TIMEOUT);
    let limit = match Body::of(status, headers) {
        Body::Length(length) => length,
        Body::Rest => MAX_EXCERPT,
        Body::Chunked => return text(read_chunked(io, buf, left).await),
    };
    let _ = timeout(left, async {
        while buf.len() < limit
            && let Ok(1..) = io.take((limit - buf.len()) as u64).read_buf(&mut buf).await
        {}
    })
    .await;
    buf.truncate(limit);
    text(buf)
}

async fn read_chunked(
    io: &mut (impl AsyncRead + Unpin),
    mut buf: Vec<u8>,
    left: Duration,
) -> Vec<u8> {
    let mut chunks = Chunks::default();
    buf.truncate(MAX_CHUNKED);
    let mut total = buf.len();
    let _ = timeout(left, async {
        while !chunks.decode(&mut buf)
            && total < MAX_CHUNKED
            && let Ok(read @ 1..) = io.take((MAX_CHUNKED - total) as u64).read_buf(&mut buf).await
        {
            total += read;
        }
    })
    .await;
    chunks.body
}

/// The decoder of a chunked body (RFC 9112 §7.1). An error in the body ends the body, and the
/// decoder keeps the bytes before the error.
#[derive(Debug, Default)]
struct Chunks {
    /// The decoded data, at most [`MAX_EXCERPT`] bytes.
    body: Vec<u8>,
    at: At,
}

/// The part of the body that the decoder expects next.
#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Size,
    /// A chunk's data, of which this many bytes are missing.
    Data(u64),
    DataEnd,
}

impl Chunks {
    /// Decodes the received bytes as far as possible. Returns whether the excerpt is complete. The
    /// excerpt has no trailers, so this method does not wait for trailers.
    fn decode(&mut self, buf: &mut Vec<u8>) -> bool {
        let mut rest = &buf[..];
        let done = loop {
            match self.at {
                At::Size => match httparse::parse_chunk_size(rest) {
                    Ok(httparse::Status::Complete((len, size @ 1..))) => {
                        rest = &rest[len..];
                        self.at = At::Data(size);
                    }
                    Ok(httparse::Status::Partial) => break false,
                    Ok(httparse::Status::Complete(_)) | Err(_) => break true,
                },
                At::Data(left) => {
                    let room = MAX_EXCERPT - self.body.len();
                    let len = rest.len().min(room).min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.body.extend_from_slice(&rest[..len]);
                    rest = &rest[len..];
                    match left - len as u64 {
                        0 => self.at = At::DataEnd,
                        left => self.at = At::Data(left),
                    }
                    if self.body.len() == MAX_EXCERPT {
                        break true;
                    }
                    if rest.is_empty() {
                        break false;
                    }
                }
                At::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        rest = &rest[2..];
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => break false,
                    _ => break true,
                },
            }
        };
        let taken = buf.len() - rest.len();
        buf.drain(..taken);
        done
    }
}

/// Reads the start of the body from an HTTP/2 stream, within the time `left`. An HTTP/2 stream may
/// end with an empty frame that comes later. If the head gives the body's length, this function
/// does not wait for that frame.
#[cfg(feature = "http2")]
pub(in crate::client) async fn read_http2(
    recv: &mut RecvStream,
    status: StatusCode,
    headers: &HeaderMap,
    left: Duration,
) -> String {
    let limit = match Body::of(status, headers) {
        Body::Length(length) => length,
        Body::Rest | Body::Chunked => MAX_EXCERPT,
    };
    let mut body = Vec::new();
    let _ = timeout(left.min(TIMEOUT), async {
        while body.len() < limit
            && let Some(Ok(bytes)) = recv.data().await
        {
            let len = bytes.len().min(limit - body.len());
            body.extend_from_slice(&bytes[..len]);
        }
    })
    .await;
    text(body)
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8_lossy(&body).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{io, pin::Pin, task};

    use tokio::io::ReadBuf;

    use super::*;

    /// A stream that returns these bytes one at a time, and stays open after the last one.
    struct Open<'a>(&'a [u8]);

    impl AsyncRead for Open<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut task::Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> task::Poll<io::Result<()>> {
            let Some((first, rest)) = self.0.split_first() else { return task::Poll::Pending };
            buf.put_slice(&[*first]);
            self.0 = rest;
            task::Poll::Ready(Ok(()))
        }
    }

    /// Returns the excerpt of a body, and whether reading has waited for more bytes.
    async fn excerpt(status: u16, head: &[(&'static str, &str)], body: &[u8]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in head {
            headers.append(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let start = tokio::time::Instant::now();
        let read_one = read(&mut Open(body), Vec::new(), status, &headers, TIMEOUT).await;
        let waited = !start.elapsed().is_zero();
        // The excerpt must be the same if the whole body is read together with the head.
        let read_at_once = read(&mut Open(b""), body.to_vec(), status, &headers, TIMEOUT).await;
        assert_eq!(read_at_once, read_one);
        (read_one, waited)
    }

    const CHUNKED: &[(&str, &str)] = &[("transfer-encoding", "Chunked")];

    #[tokio::test(start_paused = true)]
    async fn a_chunked_excerpt_has_no_sizes_in_it() {
        let body = b"6\r\nno roo\r\n00a;a=\"b\"\r\nm, so sorr\r\n1\r\ny\r\n0\r\n\r\n";
        assert_eq!(excerpt(503, CHUNKED, body).await, ("no room, so sorry".into(), false));
        // For a chunked body, the client ignores `Content-Length` and does not wait for trailers.
        let both = [CHUNKED[0], ("content-length", "3")];
        assert_eq!(excerpt(503, &both, b"2\r\nno\r\n0\r\nx").await, ("no".into(), false));
        // If a body does not end before the timeout, the client uses the bytes that have arrived.
        assert_eq!(excerpt(503, CHUNKED, b"5\r\nno").await, ("no".into(), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunked_excerpt_ends_at_a_fault_and_at_its_limit() {
        for fault in ["x\r\n", "\r\n", "2\r\nabc\r\n", "fffffffffffffffff\r\n"] {
            let (read, waited) =
                excerpt(503, CHUNKED, format!("2\r\nno\r\n{fault}").as_bytes()).await;
            assert!(read.starts_with("no") && !waited, "{fault:?}: {read:?}");
        }
        let huge = [b"ffffffffffffff\r\n".as_slice(), &[b'x'; 5_000]].concat();
        assert_eq!(excerpt(503, CHUNKED, &huge).await, ("x".repeat(MAX_EXCERPT), false));
        let small = b"1\r\nx\r\n".repeat(5_000);
        let (read, waited) = excerpt(503, CHUNKED, &small).await;
        assert!(read.len() <= MAX_CHUNKED / 6 + 1 && !waited, "{}", read.len());
        let extension = [b"1;".as_slice(), &[b'x'; 100_000]].concat();
        assert_eq!(excerpt(503, CHUNKED, &extension).await, (String::new(), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_without_a_body_is_not_waited_for() {
        let none = (String::new(), false);
        assert_eq!(excerpt(204, &[], b"").await, none);
        assert_eq!(excerpt(304, &[("content-length", "100")], b"").await, none);
        assert_eq!(excerpt(304, CHUNKED, b"").await, none);
        assert_eq!(excerpt(403, &[("content-length", "0")], b"").await, none);
        // The client does not wait for a body that it cannot read, either.
        assert_eq!(excerpt(403, &[("transfer-encoding", "gzip, chunked")], b"1\r\n").await, none);
        let twice = [("content-length", "2"), ("content-length", "3")];
        assert_eq!(excerpt(403, &twice, b"no.").await, none);
        assert_eq!(excerpt(403, &[("content-length", "-1")], b"no").await, none);
    }

    #[tokio::test(start_paused = true)]
    async fn an_excerpt_ends_with_its_length_and_else_after_a_while() {
        let length = [("content-length", "2, 2")];
        assert_eq!(excerpt(403, &length, b"no and more").await, ("no".into(), false));
        let long = [("content-length", "99999999999999999999999")];
        assert_eq!(excerpt(403, &long, &[b'x'; 2_000]).await, ("x".repeat(MAX_EXCERPT), false));
        assert_eq!(excerpt(403, &[], b"no").await, ("no".into(), true));
    }
}
