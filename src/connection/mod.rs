//! The connection: its handles, and the task that drives it.

mod alarm;
mod builder;
mod driver;
pub(crate) mod info;
mod recv_stream;
mod send_stream;
pub(crate) mod shared;
mod stream;
mod waiters;
mod wakeups;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

pub use self::{
    builder::WebSocketConnectionBuilder,
    info::ConnectionInfo,
    recv_stream::RecvStream,
    send_stream::SendStream,
    stream::{JoinError, WebSocketStream},
};
use self::{
    driver::Driver,
    shared::{ConnectionRef, Queue, QueuePosition, Shared, State, wait_for},
};
use crate::{
    observe::trace,
    proto::{
        self, Config, ConnectionError, ConnectionStats, Dir, InFlight, OpenError, QMuxVersion,
        SendDatagramError, Side, StreamId, VarInt, Wire,
    },
    runtime::{Instant, sync},
    socket::Socket,
};

/// One WebSocket as a QUIC-shaped connection of many streams.
///
/// The handle is cheap to clone. The connection is closed with code 0 when the last handle is dropped, the
/// handles of its streams included.
#[derive(Debug, Clone)]
pub struct WebSocketConnection(ConnectionRef);

impl WebSocketConnection {
    /// A connection over a WebSocket whose handshake is done. To be called within a tokio runtime, in which
    /// the connection's task then runs; in a web page it is the browser's. It does not wait for the peer: see
    /// [`established`](Self::established).
    pub fn from_socket(
        socket: impl Socket + Unpin,
        side: Side,
        wire: Wire,
        config: Config,
        info: ConnectionInfo,
    ) -> Self {
        Self::builder().config(config).info(info).build(socket, side, wire)
    }

    /// What to set before a connection is made of a WebSocket whose handshake is done; a client and a server do this
    /// themselves.
    pub fn builder() -> WebSocketConnectionBuilder {
        WebSocketConnectionBuilder::default()
    }

    pub(crate) fn start(
        socket: impl Socket + Unpin,
        side: Side,
        wire: Wire,
        settings: WebSocketConnectionBuilder,
    ) -> Self {
        let (config, info) = (settings.config, settings.info);
        let mut engine = proto::Connection::new(config, side, wire, proto::Time::EPOCH);
        engine.set_socket_capabilities(socket.capabilities());
        if let Some(subprotocol) = info.subprotocol() {
            engine.set_qmux_version(QMuxVersion::of_subprotocol(subprotocol));
        }
        let shared = Shared::new(engine, Instant::now(), info);
        let handle = ConnectionRef::new(shared.clone());
        #[cfg(feature = "qlog")]
        let qlog = settings.qlog.and_then(|qlog| qlog.start(&shared));
        let driver = Driver::new(shared, socket);
        #[cfg(feature = "qlog")]
        let driver = driver.with_qlog(qlog);
        #[cfg(feature = "tracing")]
        let driver = tracing::Instrument::instrument(driver, handle.span.0.clone());
        sync::spawn(driver);
        let connection = Self(handle);
        #[cfg(feature = "blocking")]
        crate::blocking::carry(&connection);
        connection
    }

    /// Waits until the peer's transport parameters have come; on the js-ws wire, which has none, it is done
    /// at once. A client's or a server's connection has waited already.
    ///
    /// # Errors
    /// [`ConnectionError`] when the connection ended first.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn established(&self) -> Result<(), ConnectionError> {
        // What a peer says and does before it goes away at once is there to be accepted and read.
        let check = |state: &mut State| match state.engine.parameters_received() {
            true => Some(Ok(())),
            false => state.end_of().map(Err),
        };
        wait_for(&self.0, Queue::Established, check).await
    }

    /// Opens a bidirectional stream. At the peer's limit, and at
    /// [this end's own](Config::max_local_streams), it waits for its turn, first come first served.
    ///
    /// On the QMux wire the peer sees the stream with its first frame, which is sent once something
    /// is written, or the stream is finished or [announced](SendStream::announce). On the js-ws
    /// wire the peer sees it at once.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// No stream is opened, and the place in the queue is given up, when the future is dropped.
    pub async fn open_bi(&self) -> Result<WebSocketStream, OpenError> {
        let id = self.open(Dir::Bi).await?;
        Ok(WebSocketStream::new(id, &self.0))
    }

    /// Opens a unidirectional stream; else as [`open_bi`](Self::open_bi).
    ///
    /// # Errors
    /// [`OpenError`]; the js-ws wire has no such streams.
    ///
    /// # Cancel safety
    /// As [`open_bi`](Self::open_bi).
    pub async fn open_uni(&self) -> Result<SendStream, OpenError> {
        let id = self.open(Dir::Uni).await?;
        Ok(SendStream::new(id, self.0.clone()))
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, OpenError> {
        let mut position = QueuePosition::new(&self.0, Queue::Openers(dir));
        poll_fn(|cx| {
            let mut state = self.0.lock();
            state.engine.openable(dir)?;
            if position.may_take(&mut state, 1)
                && let Some(id) = state.engine.open(dir)?
            {
                position.leave(&mut state);
                state.wake_driver();
                trace::event!(self.0.span, TRACE, "stream.opened", stream = id.into_inner());
                return Poll::Ready(Ok(id));
            }
            position.wait(&mut state, 1, cx);
            if state.engine.report_streams_blocked(dir) {
                state.wake_driver();
            }
            Poll::Pending
        })
        .await
    }

    /// [`open_bi`](Self::open_bi) without waiting: `None` at either limit, or when others wait there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_bi(&self) -> Result<Option<WebSocketStream>, OpenError> {
        Ok(self.try_open(Dir::Bi)?.map(|id| WebSocketStream::new(id, &self.0)))
    }

    /// [`open_uni`](Self::open_uni) without waiting: `None` at either limit, or when others wait there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_uni(&self) -> Result<Option<SendStream>, OpenError> {
        Ok(self.try_open(Dir::Uni)?.map(|id| SendStream::new(id, self.0.clone())))
    }

    fn try_open(&self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        let mut state = self.0.lock();
        state.engine.openable(dir)?;
        if !QueuePosition::new(&self.0, Queue::Openers(dir)).may_take(&mut state, 1) {
            return Ok(None);
        }
        let id = state.engine.open(dir)?;
        state.wake_driver();
        #[cfg(feature = "tracing")]
        if let Some(id) = id {
            trace::event!(self.0.span, TRACE, "stream.opened", stream = id.into_inner());
        }
        Ok(id)
    }

    /// Waits for the next bidirectional stream that the peer opens. Several may wait at once; each stream goes to one
    /// of them, first come first served.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every stream that came before has been accepted.
    ///
    /// # Cancel safety
    /// No stream is lost when the future is dropped: it goes to the next who waits.
    pub async fn accept_bi(&self) -> Result<WebSocketStream, ConnectionError> {
        let id = self.accept(Dir::Bi).await?;
        Ok(WebSocketStream::new(id, &self.0))
    }

    /// Waits for the next unidirectional stream that the peer opens; else as [`accept_bi`](Self::accept_bi).
    ///
    /// # Errors
    /// As [`accept_bi`](Self::accept_bi).
    ///
    /// # Cancel safety
    /// As [`accept_bi`](Self::accept_bi).
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let id = self.accept(Dir::Uni).await?;
        Ok(RecvStream::new(id, self.0.clone()))
    }

    async fn accept(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        let queue = Queue::Acceptors(dir);
        let accepted = self.take_in_turn(queue, |engine| engine.accept(dir)).await;
        #[cfg(feature = "tracing")]
        if let Ok(id) = &accepted {
            trace::event!(self.0.span, TRACE, "stream.accepted", stream = id.into_inner());
        }
        accepted
    }

    /// Waits for its turn in `queue`, and takes one of what there is; after the end of the connection out of turn.
    async fn take_in_turn<T>(
        &self,
        queue: Queue,
        mut take: impl FnMut(&mut proto::Connection) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        let mut position = QueuePosition::new(&self.0, queue);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let taken = match position.may_take(&mut state, 1) {
                true => take(&mut state.engine).map(Ok).or_else(|| state.end_of().map(Err)),
                false => None,
            };
            match taken {
                Some(taken) => {
                    position.leave(&mut state);
                    Poll::Ready(taken)
                }
                None => {
                    position.wait(&mut state, 1, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Sends a datagram, or drops an older one that still waits to be sent (RFC 9221 §5).
    ///
    /// An empty datagram is useless work to a peer that is wsmux: it closes the connection with `EXCESSIVE_LOAD` for
    /// more than 1,000 of them at once, or 100 each second.
    ///
    /// # Errors
    /// [`SendDatagramError`]; the js-ws wire has no datagrams.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let mut state = self.0.lock();
        state.engine.send_datagram(datagram)?;
        state.wake_driver();
        Ok(())
    }

    /// Sends a datagram once there is room, so that no older one is dropped for it. Several may wait at once; they get
    /// room first come first served, so that a small one does not overtake a large one that waits. Room that
    /// [`send_datagram`](Self::send_datagram), which does not wait, has taken from one that was woken for it, that one
    /// waits for again, where it stood.
    ///
    /// # Errors
    /// As [`send_datagram`](Self::send_datagram).
    ///
    /// # Cancel safety
    /// The datagram is not sent when the future is dropped, and the place in the queue is given up.
    pub async fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let mut position = QueuePosition::new(&self.0, Queue::DatagramSenders);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let cost = state.engine.datagram_cost(&datagram)?;
            if position.may_take(&mut state, cost) {
                let sent = state.engine.send_datagram(datagram.clone());
                position.leave(&mut state);
                state.wake_driver();
                return Poll::Ready(sent);
            }
            position.wait(&mut state, cost, cx);
            Poll::Pending
        })
        .await
    }

    /// Waits for a datagram. Several may wait at once; each datagram goes to one of them, first come first served.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every datagram that came before has been read.
    ///
    /// # Cancel safety
    /// No datagram is lost when the future is dropped: it goes to the next who waits.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.take_in_turn(Queue::DatagramReaders, proto::Connection::read_datagram).await
    }

    /// The largest datagram that the peer takes and this end [sends](Config::max_message_sent), in bytes; `None`
    /// when the peer takes none.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.lock().engine.max_datagram_size()
    }

    /// Closes the connection now. What has not been sent is lost, and every operation fails from here on;
    /// what has come stays readable. The peer is told code and reason, of the reason at most 1,024 bytes (123
    /// on the js-ws wire, which also has no codes of 1,000 and above but 3000 to 3999).
    ///
    /// A program that ends right after this may end before the peer is told:
    /// [`closed`](Self::closed) waits for that.
    pub fn close(&self, code: VarInt, reason: &[u8]) {
        self.0.close(code, Bytes::copy_from_slice(reason));
    }

    /// Ends the connection once its streams have ended: every byte that a write accepted and every datagram that is
    /// queued is sent, every stream that is open can be read and written to its end, those that the peer opened
    /// before can be accepted; then the connection is closed with code 0. New streams fail here with
    /// [`OpenError::ShuttingDown`], and those of the peer are refused.
    ///
    /// It starts with the call; the future waits for the end as [`closed`](Self::closed) does, and can be dropped.
    /// But keep it, or another handle, until then: with the last handle the connection is closed at once, and what
    /// has not been sent is lost.
    pub fn shutdown(&self) -> impl Future<Output = ConnectionError> + Send + 'static {
        self.shut_down(None)
    }

    /// [`shutdown`](Self::shutdown) that waits for the streams no longer than `timeout`. Past that the
    /// connection is closed: reads and writes fail with [`ConnectionError::LocallyClosed`], the peer's with
    /// [`ConnectionError::ApplicationClosed`], code 0 and reason `shutdown deadline`.
    pub fn shutdown_timeout(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = ConnectionError> + Send + 'static {
        self.shut_down(Some(timeout))
    }

    fn shut_down(
        &self,
        timeout: Option<Duration>,
    ) -> impl Future<Output = ConnectionError> + Send + 'static {
        self.0.shut_down(timeout);
        let connection = self.clone();
        async move { connection.closed().await }
    }

    /// The peer may have so many bidirectional streams open at once from now on; see
    /// [`Config::max_concurrent_bidi_streams`]. Fewer than before takes effect as streams end.
    pub fn set_max_concurrent_bi_streams(&self, count: u64) {
        self.set_max_concurrent(Dir::Bi, count);
    }

    /// The peer may have so many unidirectional streams open at once from now on; see
    /// [`Config::max_concurrent_uni_streams`]. Fewer than before takes effect as streams end.
    pub fn set_max_concurrent_uni_streams(&self, count: u64) {
        self.set_max_concurrent(Dir::Uni, count);
    }

    fn set_max_concurrent(&self, dir: Dir, count: u64) {
        let mut state = self.0.lock();
        state.engine.set_max_concurrent(dir, count);
        state.wake_driver();
    }

    /// The peer may send so many bytes on a stream before they are read, from now on; see
    /// [`Config::stream_receive_window`]. Less than before takes effect as data is read. On the js-ws wire it cannot
    /// grow past what the connection began with, which bounds its messages.
    ///
    /// Some hundred bytes or more, unless the connection began with fewer: the peer knows the first window, and
    /// treats a flood of much smaller grants as an attack.
    pub fn set_stream_receive_window(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.engine.set_stream_receive_window(bytes);
        state.wake_driver();
    }

    /// Waits until the connection has ended and its socket is gone, and says why it ended. After a close on
    /// either side that is when the closing handshake is done and both ends have ended the stream below (a client waits
    /// for its server to do so first), or when that has taken too long ([`Config::close_timeout`]).
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn closed(&self) -> ConnectionError {
        let check = |state: &mut State| state.end_of().filter(|_| state.finished);
        wait_for(&self.0, Queue::Finished, check).await
    }

    /// Waits as [`closed`](Self::closed) does, and is no handle that would keep the connection open.
    #[cfg(feature = "blocking")]
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.0.without_handle();
        async move { wait_for(&shared, Queue::Finished, |state| state.finished.then_some(())).await }
    }

    /// Waits until the connection has ended, whatever becomes of its socket.
    pub(crate) async fn ended(&self) -> ConnectionError {
        // Whoever waits to be established is told of the end as well.
        wait_for(&self.0, Queue::Established, |state| state.end_of()).await
    }

    /// Waits until no more streams can be opened here: until the connection has ended, or a
    /// [`shutdown`](Self::shutdown) has begun.
    pub(crate) async fn spent(&self) {
        wait_for(&self.0, Queue::Established, |state| is_spent(state).then_some(())).await;
    }

    /// Whether no more streams can be opened here.
    pub(crate) fn is_spent(&self) -> bool {
        is_spent(&self.0.lock())
    }

    /// What was under way when the connection ended, as it was at that moment; nothing while it has not. Each
    /// stream's own handle tells its own error besides.
    pub fn in_flight(&self) -> InFlight {
        self.0.lock().engine.in_flight().clone()
    }

    /// Why the connection has ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.lock().end_of()
    }

    /// What the connection has done.
    pub fn stats(&self) -> ConnectionStats {
        let mut state = self.0.lock();
        let now = state.time(self.0.now());
        state.engine.stats(now)
    }

    /// The smoothed time from a keep-alive ping to its answer; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.0.lock().engine.rtt()
    }

    /// The round-trip time that TCP has measured, bare or under TLS, not older than a second of activity; on
    /// Linux, for connections of a client or a server over TCP. Unlike [`rtt`](Self::rtt) it is the path's alone:
    /// the peer's tasks and what waits in queues have no part in it.
    pub fn socket_rtt(&self) -> Option<Duration> {
        self.0.lock().socket_rtt
    }

    /// Which end of the connection this is.
    pub fn side(&self) -> Side {
        self.0.lock().engine.side()
    }

    /// Which language the two ends speak.
    pub fn wire(&self) -> Wire {
        self.0.lock().engine.wire()
    }

    /// The peer's address, where the socket has one.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.info.remote_address()
    }

    /// What the handshake said: addresses, headers, certificates.
    pub fn info(&self) -> &ConnectionInfo {
        &self.0.info
    }

    /// The WebSocket subprotocol that was agreed on, such as `qmux-02.app`; `None` on the js-ws wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.info.subprotocol()
    }

    /// The application protocol that was agreed on; see [`ConnectionInfo::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.0.info.protocol()
    }

    /// The peer's certificate chain in DER, its own certificate first, as TLS has verified it; `None` where it
    /// showed none. A client that accepts any certificate has verified nothing.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.0.info.peer_certificates()
    }

    /// What an [authorising hook](crate::authorize::Accept::data) of the server has attached to the connection,
    /// of this type; `None` where it has attached none.
    pub fn application_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.info.application_data()
    }

    /// What the handles share, for whoever is no handle that would keep the connection open.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.0.without_handle()
    }
}

fn is_spent(state: &State) -> bool {
    state.engine.close_reason().is_some() || state.engine.is_draining()
}
