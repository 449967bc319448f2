//! After its handshake, a connection keeps only the parts of the HTTP request and response that its
//! [`ConnectionInfo`] shows, and none of the blocks that were read. A handshake in progress holds
//! only one copy of the request's head.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::mpsc,
};
use wsmux::{
    ConnectionInfo, Http2Client, WebSocketAcceptor, WebSocketClient, WebSocketConnection,
    WebSocketServer, Wire, async_trait,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    http::{Request, Response},
};

const CONNECTIONS: usize = 16;

/// How many header lines the tests add to a request, besides the lines that every handshake has.
const LINES: usize = 4;

/// How many bytes each connection may hold in addition, because the allocator and tables round
/// sizes up.
const SLACK: u64 = 1024;

/// How much memory hyper keeps. This is the block of the last frame that hyper has read, although
/// nothing in the block is still used.
const BLOCK_OF_HYPERS: u64 = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Our own server, and an HTTP/1.1 client that is written by hand.
    Own,
    /// A server on hyper, and the same HTTP/1.1 client.
    Hyper,
    /// A server on hyper and our own client, over HTTP/2.
    Http2,
}

type Accepted = mpsc::UnboundedSender<WebSocketConnection>;

async fn route(
    (acceptor, accepted): (WebSocketAcceptor, Accepted),
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (response, upgrading) = wsmux::hyper::upgrade(&acceptor, &mut request).await.unwrap();
    tokio::spawn(async move { accepted.send(upgrading.await.unwrap()) });
    Ok(response)
}

async fn serve(by: By, listener: TcpListener, accepted: Accepted) {
    let acceptor = WebSocketServer::builder().wires([Wire::QMux, Wire::JsWs]).build().unwrap();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            if by == By::Own {
                let _ = accepted.send(acceptor.from_io(tcp).await.unwrap());
                return;
            }
            let mut server = auto::Builder::new(TokioExecutor::new());
            wsmux::hyper::allow_http2(&mut server);
            let service = hyper::service::service_fn(move |request| {
                route((acceptor.clone(), accepted.clone()), request)
            });
            let _ = server.serve_connection_with_upgrades(TokioIo::new(tcp), service).await;
        });
    }
}

/// Returns a client on the js-ws wire, which sends nothing after its request.
async fn ask(address: std::net::SocketAddr, len: usize) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let value = "x".repeat(len / LINES);
    let lines: String = (0..LINES).map(|line| format!("X-{line}: {value}\r\n")).collect();
    let request = format!(
        "GET /path?query HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tcp.read_u8().await.unwrap());
    }
    tcp
}

/// Returns how many bytes each connection holds if the lines of its request contain `len` bytes,
/// and how many bytes its [`ConnectionInfo`] shows.
fn held(by: By, len: usize) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (accepted, mut accepting) = mpsc::unbounded_channel();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(serve(by, listener, accepted));
    let client = (0..LINES).fold(WebSocketClient::builder(), |client, line| {
        client.header(format!("x-{line}"), "x".repeat(len / LINES))
    });
    let client = Http2Client::with_prior_knowledge(client.build().unwrap());
    let mut shown = 0;
    let mut open = |runtime: &Runtime| {
        runtime.block_on(async {
            match by {
                By::Http2 => {
                    let client = client.connect(&format!("ws://{address}/path?query")).await;
                    let server = accepting.recv().await.unwrap();
                    shown = shows(server.info());
                    (None, client.ok(), server)
                }
                _ => {
                    let client = ask(address, len).await;
                    let server = accepting.recv().await.unwrap();
                    shown = shows(server.info());
                    (Some(client), None, server)
                }
            }
        })
    };
    // The first connection allocates what all connections share.
    let first = open(&runtime);
    let mut all = Vec::with_capacity(CONNECTIONS);
    let info = measure(|| {
        for _ in 0..CONNECTIONS {
            all.push(open(&runtime));
        }
    });
    drop((first, all));
    (u64::try_from(info.bytes_current).unwrap() / CONNECTIONS as u64, shown)
}

/// Returns the number of bytes of the target and of the headers.
fn shows(info: &ConnectionInfo) -> u64 {
    let (request, response) = (info.request().unwrap(), info.response_headers().unwrap());
    let headers = request.headers().iter().chain(response);
    let bytes = headers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    (bytes + request.uri().to_string().len()) as u64
}

#[test]
fn a_connection_holds_the_head_that_it_shows_and_no_more() {
    let (small, least) = held(By::Own, 64);
    for (by, large) in [(By::Own, 62 * 1024), (By::Hyper, 62 * 1024), (By::Http2, 14 * 1024)] {
        let (base, few) = held(by, 64);
        let (held, shown) = held(by, large);
        assert!(shown > large as u64);
        let slack = if by == By::Http2 { BLOCK_OF_HYPERS + SLACK } else { SLACK };
        assert!(held <= base + (shown - few) + slack, "{by:?}: {held} bytes, {shown} shown");
        // Over HTTP/2, `base` also contains the two ends of HTTP/2 and their streams, so it is not
        // compared.
        if by == By::Hyper {
            assert!(base <= small + (few - least) + SLACK, "{by:?}: {base}, and {small} of ours");
        }
    }
}

/// The length in bytes of the longest head that a server reads.
const MAX_HEAD: usize = 64 * 1024;
/// The largest number of lines in a head that a server reads.
const MAX_LINES: usize = 128;

/// A client that sends `said` in pieces of `at_once` bytes, and then nothing.
struct Mute {
    said: &'static [u8],
    at_once: usize,
}

impl AsyncRead for Mute {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.said.len().min(self.at_once).min(buf.remaining());
        if len == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&self.said[..len]);
        self.said = &self.said[len..];
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mute {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A hook. If the field is true, the hook never answers.
struct Slow(bool);

#[async_trait]
impl Authorize for Slow {
    async fn authorize(&self, _: &UpgradeRequest) -> Result<Accept, Refuse> {
        match self.0 {
            true => std::future::pending().await,
            false => Ok(Accept::new()),
        }
    }
}

/// Returns a head with [`MAX_HEAD`] bytes and [`MAX_LINES`] lines.
fn largest_head() -> &'static [u8] {
    let mut head =
        "GET /path?query HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: qmux-02\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_owned();
    let lines = MAX_LINES - head.lines().count() + 1;
    for line in 0..lines {
        let name = format!("X-{line}: ");
        let len = (MAX_HEAD - 2 - head.len()) / (lines - line) - name.len() - 2;
        head.extend([&name, &*"x".repeat(len), "\r\n"]);
    }
    head.push_str("\r\n");
    assert_eq!(head.len(), MAX_HEAD);
    head.leak().as_bytes()
}

/// A handshake without TLS may hold at most this much memory while it waits. This is enough for
/// three things. The first is the head, either unparsed or parsed. The second is 20 kB of tables
/// for the lines. The third is the state of the handshake and of the connection after it.
const MAX_HELD: u64 = 110_000;

#[test]
fn a_handshake_under_way_holds_its_head_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let head = largest_head();
    // The three handshakes wait, in this order, for the end of the head, for a hook, and for the
    // client's transport parameters.
    for (said, is_slow) in [(&head[..head.len() - 1], true), (head, true), (head, false)] {
        let acceptor = WebSocketServer::builder().authorizer(Slow(is_slow)).build().unwrap();
        for at_once in [usize::MAX, 1000] {
            let mut handshake = None;
            let held = measure(|| {
                let future = acceptor.from_io(Mute { said, at_once });
                let future = handshake.insert(Box::pin(future));
                runtime.block_on(async {
                    for _ in 0..16 {
                        let mut cx = Context::from_waker(Waker::noop());
                        assert!(future.as_mut().poll(&mut cx).is_pending());
                        tokio::task::yield_now().await;
                    }
                });
            });
            let what = format!("{} bytes, {at_once} at once: {held:?}", said.len());
            assert!(held.bytes_current <= MAX_HELD as i64, "{what}");
            // While the head is parsed, it exists both unparsed and parsed.
            assert!(held.bytes_max <= MAX_HELD + MAX_HEAD as u64, "{what}");
        }
    }
}
