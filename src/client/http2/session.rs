//! One HTTP/2 connection, and the places on it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest, ext::Protocol};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::http::{Request, Response};

use super::{
    super::{EXCERPT_TIMEOUT, MAX_EXCERPT},
    ConnectError,
    stream::Http2Stream,
};
use crate::{
    ConnectionInfo,
    handshake::{head::MAX_HEAD, kept_headers},
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
        let ping_pong = connection.ping_pong();
        let (alive, dropped) = oneshot::channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let end = EndsWith(ended.clone());
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
            }
        });
        if let Some(mut ping_pong) = ping_pong {
            // SETTINGS are the first that a server sends (RFC 9113 §3.4), so they are before any answer.
            ping_pong.ping(h2::Ping::opaque()).await.map_err(lost)?;
        }
        let taken = AtomicUsize::new(0);
        Ok(Arc::new(Self { send, since, info, taken, ended, _alive: alive }))
    }

    /// RFC 8441 §3.
    pub(super) fn offers_websocket(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
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

/// Why a stream did not open.
#[derive(Debug)]
pub(super) enum OpenError {
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

    /// Asks for a WebSocket.
    pub(super) async fn open(
        self,
        mut request: Request<()>,
    ) -> Result<(Response<()>, Http2Stream), OpenError> {
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let not_sent = |error| {
            // GOAWAY has come, or the connection has been lost.
            self.0.retire();
            OpenError::NotSent(lost(error))
        };
        let mut ready = self.0.send.clone().ready().await.map_err(not_sent)?;
        let (response, mut send) = ready.send_request(request, false).map_err(not_sent)?;
        let response = response.await.map_err(|error| {
            let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            match refused || (error.is_go_away() && error.is_remote()) {
                true => OpenError::NotProcessed(lost(error)),
                false => OpenError::Failed(lost(error)),
            }
        })?;
        let (head, mut recv) = response.into_parts();
        if !head.status.is_success() {
            let body = excerpt(&mut recv).await;
            // Nothing is cancelled: the server has answered, and there is no more to say (RFC 9113 §8.1).
            let _ = send.send_data(Bytes::new(), true);
            let headers = kept_headers(&head.headers);
            let refused = ConnectError::Refused { status: head.status, headers, body };
            return Err(OpenError::Failed(refused));
        }
        Ok((Response::from_parts(head, ()), Http2Stream::new(send, recv, self)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The start of a refusal's body.
async fn excerpt(recv: &mut RecvStream) -> String {
    let mut body = Vec::new();
    let _ = timeout(EXCERPT_TIMEOUT, async {
        while body.len() < MAX_EXCERPT
            && let Some(Ok(bytes)) = recv.data().await
        {
            body.extend_from_slice(&bytes);
        }
    })
    .await;
    body.truncate(MAX_EXCERPT);
    String::from_utf8_lossy(&body).trim().to_owned()
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
