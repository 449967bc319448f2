//! One HTTP/2 connection, and the places on it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Request, Response, response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};

use super::stream::Http2Stream;
use crate::{
    client::native::excerpt,
    connection::ConnectionInfo,
    error::ConnectError,
    handshake::{head::MAX_HEAD, headers::kept_headers},
};

/// Bytes that the server may send on a stream before our driver has read them, which it does as they come: so
/// much fills 640 Mbit/s over a round trip of 100 ms.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;

/// The same for all streams: the most there is (RFC 9113 §6.9.1), and never less than the windows of 255 streams
/// together, so that none of them waits for another. The memory is bounded by the streams that we open.
const CONNECTION_WINDOW: u32 = i32::MAX as u32;

/// Bytes of a stream that h2 may hold without having sent them. What is urgent waits behind them, so it is two
/// of our largest messages, as on a socket of its own.
const MAX_UNSENT: usize = 128 * 1024;

/// How long the end of a connection that nobody uses any more may take.
const LINGER: Duration = Duration::from_secs(3);

/// An HTTP/2 connection. It ends when the last place on it is given up.
#[derive(Debug)]
pub(super) struct Session {
    send: SendRequest<Bytes>,
    since: Instant,
    info: ConnectionInfo,
    /// Places that are taken.
    taken: AtomicUsize,
    /// It has ended, or takes no more streams.
    ended: Arc<AtomicBool>,
    doubts: Arc<Doubts>,
    /// Dropped with this, which tells the connection's task.
    _alive: oneshot::Sender<()>,
}

impl Session {
    /// Starts HTTP/2, and waits for the server's SETTINGS.
    pub(super) async fn start<S>(
        io: S,
        since: Instant,
        info: ConnectionInfo,
    ) -> Result<Arc<Self>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(MAX_UNSENT)
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(io)
            .await
            .map_err(lost)?;
        // It is there once, and this is the first to ask.
        let mut ping_pong =
            connection.ping_pong().ok_or_else(|| io::Error::other("no HTTP/2 PING"))?;
        // SETTINGS are the first that a server sends (RFC 9113 §3.4), so they are before any answer.
        tokio::select! {
            biased;
            pong = ping_pong.ping(Ping::opaque()) => pong.map(drop).map_err(lost)?,
            end = &mut connection => {
                end.map_err(lost)?;
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let (alive, dropped) = oneshot::channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let end = EndsWith(ended.clone());
        let doubts = Arc::new(Doubts::default());
        let settling = doubts.clone();
        tokio::spawn(async move {
            let _end = end;
            // A server that reads no more would keep its socket open for ever.
            let given_up = async {
                let _ = dropped.await;
                sleep(LINGER).await;
            };
            tokio::select! {
                _ = connection => {}
                () = given_up => {}
                // Without an end: where no PING can be sent, the connection ends by itself.
                () = settling.settle(ping_pong) => {}
            }
        });
        let taken = AtomicUsize::new(0);
        Ok(Arc::new(Self { send, since, info, taken, ended, doubts, _alive: alive }))
    }

    /// RFC 8441 §3.
    pub(super) fn offers_websocket(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Whether a stream was given up on it before its answer came, and the server has not shown since that it is
    /// there. Then nothing is opened on it while that is so: see [`Doubts`].
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubts.are_open()
    }

    /// Nothing more is to be opened on it.
    pub(super) fn retire(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

/// However the connection's task ends, no more is opened on it.
struct EndsWith(Arc<AtomicBool>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Whether the path below may be dead.
///
/// A caller that gives up before its answer says nothing of the reason: it may be impatient, or the TCP connection may
/// lead nowhere, which no error ever tells while nothing is acknowledged. If only a handshake that runs into its own
/// timeout counted, callers with shorter timeouts of their own would be handed a dead connection for ever. So each
/// opens a doubt, and a PING (RFC 9113 §6.7) settles it in the background: a new caller dials meanwhile and waits for
/// nobody, so the PING needs no bound, and an impatient caller on a living path costs others at most a second TCP
/// connection. Streams that are open on it go on.
///
/// There is one PING at a time, whatever the number of doubts.
#[derive(Debug, Default)]
struct Doubts {
    raised: AtomicU64,
    /// Of those that were raised, the ones that an answer has settled.
    settled: AtomicU64,
    news: Notify,
}

impl Doubts {
    fn raise(&self) {
        self.raised.fetch_add(1, Ordering::AcqRel);
        self.news.notify_one();
    }

    fn are_open(&self) -> bool {
        self.raised.load(Ordering::Acquire) != self.settled.load(Ordering::Acquire)
    }

    /// Asks the server each time that there is a doubt. Does not end.
    async fn settle(&self, mut ping_pong: PingPong) {
        loop {
            self.news.notified().await;
            // Those that come after the PING are not settled by its answer.
            let raised = self.raised.load(Ordering::Acquire);
            match ping_pong.ping(Ping::opaque()).await {
                Ok(_) => self.settled.store(raised, Ordering::Release),
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Raises a doubt when it is dropped while an answer is waited for.
struct Unanswered<'a>(Option<&'a Doubts>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(doubts) = self.0 {
            doubts.raise();
        }
    }
}

/// Why a stream did not open.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The connection has ended, or will, and takes nothing more.
    NotSent(ConnectError),
    /// The server has not looked at the request, and another connection may serve it (RFC 9113 §8.7).
    NotProcessed(ConnectError),
    Failed(ConnectError),
}

/// A place for one stream.
#[derive(Debug)]
pub(super) struct Lease(Arc<Session>);

impl Lease {
    /// `None` where the server takes no more.
    pub(super) fn new(session: &Arc<Session>) -> Option<Self> {
        let max = session.send.current_max_send_streams();
        let place = |taken: usize| (taken < max).then_some(taken + 1);
        session.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, place).ok()?;
        Some(Self(session.clone()))
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.0
    }

    /// Asks for a WebSocket, and waits for the head of the response.
    pub(super) async fn ask(self, mut request: Request<()>) -> Result<Answer, RequestError> {
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let not_sent = |error| {
            // GOAWAY has come, or the connection has been lost.
            self.0.retire();
            RequestError::NotSent(lost(error))
        };
        let unanswered = Unanswered(Some(&self.0.doubts));
        let asked = async {
            let mut ready = self.0.send.clone().ready().await?;
            let (response, send) = ready.send_request(request, false)?;
            Ok((response, send))
        };
        let asked = asked.await;
        let answered = match asked {
            Ok((response, send)) => Ok((response.await, send)),
            Err(error) => Err(not_sent(error)),
        };
        // An error is an answer too: the server's own, or the connection's end.
        unanswered.answered();
        let (response, send) = answered?;
        let response = response.map_err(|error| {
            let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            match refused || (error.is_go_away() && error.is_remote()) {
                true => RequestError::NotProcessed(lost(error)),
                false => RequestError::Failed(lost(error)),
            }
        })?;
        let (head, recv) = response.into_parts();
        Ok(Answer { head, send, recv, lease: self })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response of which only the head has been read.
#[derive(Debug)]
pub(super) struct Answer {
    head: response::Parts,
    send: SendStream<Bytes>,
    recv: RecvStream,
    lease: Lease,
}

impl Answer {
    /// The WebSocket's stream. If the server has refused it, the error has the part of the body
    /// that arrives in the time `left`: the status is known, and a late body must not hide it.
    pub(super) async fn open(
        self,
        left: Duration,
    ) -> Result<(Response<()>, Http2Stream), ConnectError> {
        let Self { head, mut send, mut recv, lease } = self;
        if head.status.is_success() {
            return Ok((Response::from_parts(head, ()), Http2Stream::new(send, recv, lease)));
        }
        let body = excerpt::read_http2(&mut recv, head.status, &head.headers, left).await;
        // Ended and not cancelled: the server has answered the request (RFC 9113 §8.1).
        let _ = send.send_data(Bytes::new(), true);
        let headers = kept_headers(&head.headers);
        Err(ConnectError::Refused { status: head.status, headers, body })
    }
}

fn lost(error: h2::Error) -> ConnectError {
    io_error(error).into()
}

/// What HTTP/2 says of a stream, as a stream of bytes would.
pub(super) fn io_error(error: h2::Error) -> io::Error {
    // RFC 8441 §5: CANCEL is what a TCP reset is.
    if error.is_reset() && error.is_remote() {
        return io::Error::new(io::ErrorKind::ConnectionReset, error);
    }
    match error.get_io().map(io::Error::kind) {
        Some(kind) => io::Error::new(kind, error),
        None => io::Error::other(error),
    }
}
