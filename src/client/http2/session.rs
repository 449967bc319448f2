//! One HTTP/2 connection, and the leases of its streams.

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

/// How many bytes the server may send on a stream before the connection's driver has read them. The
/// driver reads them as they arrive, so this allows 640 Mbit/s at a round trip of 100 ms.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;

/// The window of all streams together, which is the largest possible (RFC 9113 §6.9.1). The windows
/// of 255 streams fit into this window, so with at most 255 streams no stream waits for another.
/// The memory is bounded, because this end chooses how many streams it opens.
const CONNECTION_WINDOW: u32 = i32::MAX as u32;

/// How many unsent bytes of a stream h2 may hold. Urgent frames wait behind these bytes, so the
/// limit is only two messages of the largest size, as on a socket without HTTP/2.
const MAX_UNSENT: usize = 128 * 1024;

/// How long a connection may take to end once it has no more users.
const LINGER: Duration = Duration::from_secs(3);

/// An HTTP/2 connection. The connection ends when the last lease of it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    send: SendRequest<Bytes>,
    since: Instant,
    info: ConnectionInfo,
    /// The number of leases.
    taken: AtomicUsize,
    /// Whether the connection has ended, or opens no more streams.
    ended: Arc<AtomicBool>,
    doubts: Arc<Doubts>,
    /// This sender is dropped together with the session. The drop tells the connection's task that
    /// the connection has no more users.
    _alive: oneshot::Sender<()>,
}

impl Session {
    /// Starts HTTP/2 and waits for the server's SETTINGS.
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
        // This is never `None`, because `ping_pong` is called only once.
        let mut ping_pong =
            connection.ping_pong().ok_or_else(|| io::Error::other("no HTTP/2 PING"))?;
        // A server sends its SETTINGS first (RFC 9113 §3.4). So once a pong has arrived, the
        // SETTINGS have arrived, too.
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
            // The socket stays open for at most `LINGER` after the last use. Otherwise a server that
            // no longer reads would keep it open for ever.
            let unused = async {
                let _ = dropped.await;
                sleep(LINGER).await;
            };
            tokio::select! {
                _ = connection => {}
                () = unused => {}
                // `settle` never ends, so this branch is never taken. If no PING can be sent, the
                // connection itself ends.
                () = settling.settle(ping_pong) => {}
            }
        });
        let taken = AtomicUsize::new(0);
        Ok(Arc::new(Self { send, since, info, taken, ended, doubts, _alive: alive }))
    }

    /// Whether the server offers WebSocket over HTTP/2 (RFC 8441 §3).
    pub(super) fn offers_websocket(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Whether the connection may be dead. It may be dead if a caller gave up before its request
    /// was answered, and the server has not answered a PING after that. While the connection may be
    /// dead, no stream is opened on it; see [`Doubts`].
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubts.are_open()
    }

    /// Raises a doubt: the connection may be dead. A PING settles the doubt.
    pub(super) fn doubt(&self) {
        self.doubts.raise();
    }

    /// Marks the connection as ended, so that no more streams are opened on it.
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

/// Marks the connection as ended when its task ends in any way.
struct EndsWith(Arc<AtomicBool>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Records whether the TCP connection below may be dead.
///
/// If a caller gives up before its request is answered, the reason is unknown. The caller may be
/// impatient, or the TCP connection may be dead. A dead TCP connection causes no error until TCP
/// gives up its retransmissions. Suppose that only an expired handshake timeout counted as a sign
/// of a dead TCP connection. Then callers with shorter timeouts of their own would be given the
/// same dead connection for ever.
///
/// Therefore each caller that gives up raises a doubt, and a PING (RFC 9113 §6.7) settles the doubt
/// in the background. Meanwhile a new caller dials and does not wait for the PING, so the PING
/// needs no timeout. If the connection works, an impatient caller costs the other callers at most a
/// second TCP connection, and the streams on the first TCP connection go on.
///
/// There is one PING at a time, even for several doubts.
#[derive(Debug, Default)]
struct Doubts {
    raised: AtomicU64,
    /// How many of the raised doubts have been settled by an answer to a PING.
    settled: AtomicU64,
    changed: Notify,
}

impl Doubts {
    fn raise(&self) {
        self.raised.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    fn are_open(&self) -> bool {
        self.raised.load(Ordering::Acquire) != self.settled.load(Ordering::Acquire)
    }

    /// Sends a PING each time that there is a doubt. This never ends.
    async fn settle(&self, mut ping_pong: PingPong) {
        loop {
            self.changed.notified().await;
            // The count is read before the PING is sent, because the answer settles no doubt that
            // was raised later.
            let raised = self.raised.load(Ordering::Acquire);
            match ping_pong.ping(Ping::opaque()).await {
                Ok(_) => self.settled.store(raised, Ordering::Release),
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Raises a doubt if this value is dropped before the request is answered.
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
    /// The connection has ended or is ending, and opens no more streams.
    NotSent(ConnectError),
    /// The server has not processed the request, and another connection may serve it (RFC 9113
    /// §8.7).
    NotProcessed(ConnectError),
    Failed(ConnectError),
}

/// The right to one stream on a connection.
#[derive(Debug)]
pub(super) struct Lease(Arc<Session>);

impl Lease {
    /// Takes a lease. Returns `None` if the server allows no further stream.
    pub(super) fn new(session: &Arc<Session>) -> Option<Self> {
        let max = session.send.current_max_send_streams();
        let lease = |taken: usize| (taken < max).then_some(taken + 1);
        session.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, lease).ok()?;
        Some(Self(session.clone()))
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.0
    }

    /// Asks for a WebSocket, and waits for the head of the response.
    pub(super) async fn ask(self, mut request: Request<()>) -> Result<Answer, RequestError> {
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let not_sent = |error| {
            // A GOAWAY was received, or the connection has been lost.
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
        // An error counts as an answer as well: either the server has sent it, or the connection
        // has ended.
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
    /// Returns the WebSocket's stream. If the server has refused the request, the error contains
    /// the part of the body that arrives within the time `left`. The client does not wait for a
    /// late body, because the status is known and must be reported in any case.
    pub(super) async fn open(
        self,
        left: Duration,
    ) -> Result<(Response<()>, Http2Stream), ConnectError> {
        let Self { head, mut send, mut recv, lease } = self;
        if head.status.is_success() {
            return Ok((Response::from_parts(head, ()), Http2Stream::new(send, recv, lease)));
        }
        let body = excerpt::read_http2(&mut recv, head.status, &head.headers, left).await;
        // The stream is ended with END_STREAM and not reset with CANCEL, because the server has
        // answered the request (RFC 9113 §8.1).
        let _ = send.send_data(Bytes::new(), true);
        let headers = kept_headers(&head.headers);
        Err(ConnectError::Refused { status: head.status, headers, body })
    }
}

fn lost(error: h2::Error) -> ConnectError {
    io_error(error).into()
}

/// Converts the error of an HTTP/2 stream to the error of a stream of bytes.
pub(super) fn io_error(error: h2::Error) -> io::Error {
    // RFC 8441 §5: a reset with CANCEL stands for a TCP reset. This client treats a reset with any
    // other code as a TCP reset, too.
    if error.is_reset() && error.is_remote() {
        return io::Error::new(io::ErrorKind::ConnectionReset, error);
    }
    match error.get_io().map(io::Error::kind) {
        Some(kind) => io::Error::new(kind, error),
        None => io::Error::other(error),
    }
}
