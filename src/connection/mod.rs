//! A connection: its handles, its task, and the state that they share.

mod alarm;
pub(crate) mod arrival;
mod backlog;
mod builder;
mod closing;
mod driver;
pub(crate) mod events;
mod finish;
pub(crate) mod info;
mod recv_stream;
pub(crate) mod resume;
mod send_stream;
pub(crate) mod shared;
mod stream;
mod task;
mod waiters;
mod wakeups;

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    self as proto, Config, ConnectionError, ConnectionStats, Dir, OpenError, QMuxVersion,
    SendDatagramError, SessionState, SessionStats, Side, StreamId, Wire,
};

pub use self::{
    builder::WebSocketConnectionBuilder,
    events::{ConnectionEvent, ConnectionEvents},
    info::ConnectionInfo,
    recv_stream::RecvStream,
    send_stream::SendStream,
    stream::{JoinError, WebSocketStream},
};
use self::{
    resume::{NewSocket, Resume},
    shared::{ConnectionRef, Queue, QueuePosition, Shared, State, wait_for},
    task::{Records, Task},
};
use crate::{
    observe::trace,
    runtime::{Instant, sync},
    socket::Socket,
};

/// A handle to a connection: one WebSocket that carries many streams, as a QUIC connection does.
///
/// A handle is cheap to clone. The handle of a stream contains a handle to the connection, so the
/// connection stays open while a stream's handle exists. When the last handle is dropped, the
/// connection is closed with code 0.
#[derive(Debug, Clone)]
pub struct WebSocketConnection(ConnectionRef);

impl WebSocketConnection {
    /// Makes a connection over a WebSocket whose opening handshake is complete. Call this function
    /// in the context of a tokio runtime, which then runs the connection's task. In a web page, the
    /// browser runs the task. The call does not wait for the peer. To wait, use
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

    /// Returns a builder that makes a connection over a WebSocket whose opening handshake is
    /// complete. `WebSocketClient` and `WebSocketServer` use this builder for the connections that
    /// they make.
    pub fn builder() -> WebSocketConnectionBuilder {
        WebSocketConnectionBuilder::default()
    }

    /// Waits until the peer's transport parameters have arrived. The js-ws wire has no transport
    /// parameters, so on that wire this returns at once. `WebSocketClient` and `WebSocketServer`
    /// wait for the parameters before they return a connection.
    ///
    /// # Errors
    /// [`ConnectionError`] if the connection ended before the parameters arrived.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn established(&self) -> Result<(), ConnectionError> {
        // A peer may send its parameters, open streams, send datagrams, and end the connection at
        // once. Then this method returns `Ok`, because the streams and datagrams can still be
        // accepted and read.
        let check = |state: &mut State| match state.engine().parameters_received() {
            true => Some(Ok(())),
            false => state.close_reason().map(Err),
        };
        wait_for(&self.0, Queue::Established, check).await
    }

    /// Opens a bidirectional stream. If the peer's stream limit or the [local
    /// limit](Config::max_local_streams) is reached, this waits until the limit allows another
    /// stream. Waiting tasks are served first come, first served.
    ///
    /// On the QMux wire the peer sees the stream when the stream's first frame arrives. That frame
    /// is sent once the application writes to the stream, finishes it, or
    /// [announces](SendStream::announce) it. On the js-ws wire the first frame is sent at once.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Cancel safety
    /// If the future is dropped, no stream is opened, and the future's position in the queue is
    /// lost.
    pub async fn open_bi(&self) -> Result<WebSocketStream, OpenError> {
        let id = self.open(Dir::Bi).await?;
        Ok(WebSocketStream::new(id, &self.0))
    }

    /// Opens a unidirectional stream. Apart from the kind of stream, this method works like
    /// [`open_bi`](Self::open_bi).
    ///
    /// # Errors
    /// [`OpenError`]; it is [`Unsupported`](OpenError::Unsupported) on the js-ws wire, which has no
    /// unidirectional streams.
    ///
    /// # Cancel safety
    /// Same as for [`open_bi`](Self::open_bi).
    pub async fn open_uni(&self) -> Result<SendStream, OpenError> {
        let id = self.open(Dir::Uni).await?;
        Ok(SendStream::new(id, self.0.clone()))
    }

    /// Opens a bidirectional stream without waiting. Returns `None` if [`open_bi`](Self::open_bi)
    /// would wait, because a limit is reached or other tasks already wait.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn try_open_bi(&self) -> Result<Option<WebSocketStream>, OpenError> {
        Ok(self.try_open(Dir::Bi)?.map(|id| WebSocketStream::new(id, &self.0)))
    }

    /// Opens a unidirectional stream without waiting. Returns `None` if
    /// [`open_uni`](Self::open_uni) would wait, because a limit is reached or other tasks already
    /// wait.
    ///
    /// # Errors
    /// The same as for [`open_uni`](Self::open_uni).
    pub fn try_open_uni(&self) -> Result<Option<SendStream>, OpenError> {
        Ok(self.try_open(Dir::Uni)?.map(|id| SendStream::new(id, self.0.clone())))
    }

    /// Waits for the next bidirectional stream that the peer opens. Several tasks may wait at once.
    /// Each stream goes to one of them, first come first served.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every stream that the peer opened
    /// before the end has been accepted.
    ///
    /// # Cancel safety
    /// Dropping the future loses no stream, because the stream goes to the next task that waits.
    pub async fn accept_bi(&self) -> Result<WebSocketStream, ConnectionError> {
        let id = self.accept(Dir::Bi).await?;
        Ok(WebSocketStream::new(id, &self.0))
    }

    /// Waits for the next unidirectional stream that the peer opens. Apart from the kind of stream,
    /// this method works like [`accept_bi`](Self::accept_bi).
    ///
    /// # Errors
    /// The same as for [`accept_bi`](Self::accept_bi).
    ///
    /// # Cancel safety
    /// The same as for [`accept_bi`](Self::accept_bi).
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let id = self.accept(Dir::Uni).await?;
        Ok(RecvStream::new(id, self.0.clone()))
    }

    /// Queues a datagram to be sent (RFC 9221 §5). If the queue has no room, the oldest datagrams
    /// in it are dropped.
    ///
    /// A wsmux peer counts empty datagrams as useless work. It allows a burst of 1,000 empty
    /// datagrams and then 100 empty datagrams per second. If more arrive, it closes the connection
    /// with `EXCESSIVE_LOAD`.
    ///
    /// # Errors
    /// [`SendDatagramError`]. The js-ws wire has no datagrams.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let mut state = self.0.lock();
        state.engine_mut().send_datagram(datagram)?;
        state.wake_driver();
        Ok(())
    }

    /// Waits until the queue has room for a datagram, and queues it. Older datagrams are not
    /// dropped to make room.
    ///
    /// Several tasks may wait at once. They get room first come, first served: a small datagram
    /// does not overtake a large one. A call to [`send_datagram`](Self::send_datagram) does not
    /// wait, and may take the room for which a waiting task was woken. Then the woken task goes on
    /// waiting at its old position.
    ///
    /// # Errors
    /// The same as for [`send_datagram`](Self::send_datagram).
    ///
    /// # Cancel safety
    /// If the future is dropped, the datagram is not sent, and the future's position in the queue
    /// is lost.
    pub async fn send_datagram_wait(&self, datagram: Bytes) -> Result<(), SendDatagramError> {
        let mut position = QueuePosition::new(&self.0, Queue::DatagramSenders);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let cost = state.engine().datagram_cost(&datagram)?;
            if position.may_take(&mut state, cost) {
                let sent = state.engine_mut().send_datagram(datagram.clone());
                position.leave(&mut state);
                state.wake_driver();
                return Poll::Ready(sent);
            }
            position.wait(&mut state, cost, cx);
            Poll::Pending
        })
        .await
    }

    /// Waits for a datagram. Several tasks may wait at once. Each datagram goes to one of them,
    /// first come first served.
    ///
    /// # Errors
    /// [`ConnectionError`] once the connection has ended and every datagram that arrived before the
    /// end has been read.
    ///
    /// # Cancel safety
    /// Dropping the future loses no datagram, because the datagram goes to the next task that
    /// waits.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.take_in_turn(Queue::DatagramReaders, proto::Connection::read_datagram).await
    }

    /// Returns the size of the largest datagram that can be sent, in bytes: the smaller of the
    /// peer's limit and [this end's](Config::max_message_sent), less the 5 bytes of the frame's
    /// header. Returns `None` if the peer accepts no datagrams.
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.0.lock().engine().max_datagram_size()
    }

    /// Sets how many bidirectional streams the peer may have open at once; see
    /// [`Config::max_concurrent_bidi_streams`]. A lower limit takes effect as streams end.
    pub fn set_max_concurrent_bi_streams(&self, count: u64) {
        self.set_max_concurrent(Dir::Bi, count);
    }

    /// Sets how many unidirectional streams the peer may have open at once; see
    /// [`Config::max_concurrent_uni_streams`]. A lower limit takes effect as streams end.
    pub fn set_max_concurrent_uni_streams(&self, count: u64) {
        self.set_max_concurrent(Dir::Uni, count);
    }

    /// Sets how many bytes the peer may send on a stream before they are read; see
    /// [`Config::stream_receive_window`]. A smaller window takes effect as data is read. On the
    /// js-ws wire the window cannot exceed the window with which the connection started, because
    /// that window bounds the size of messages.
    ///
    /// Set a window of at least a few hundred bytes, unless the connection started with a smaller
    /// window. With a much smaller window, this end grants credit in many small pieces. The peer
    /// knows the window with which the connection started, and treats a flood of much smaller
    /// grants as an attack.
    pub fn set_stream_receive_window(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.engine_mut().set_stream_receive_window(bytes);
        state.wake_driver();
    }

    /// Returns statistics of the connection.
    pub fn stats(&self) -> ConnectionStats {
        let mut state = self.0.lock();
        let now = state.time(self.0.now());
        state.engine().stats(now)
    }

    /// Returns how often the connection was [resumed](Config::resume_timeout), and at what cost.
    pub fn session_stats(&self) -> SessionStats {
        self.0.lock().session.session_stats()
    }

    /// Returns whether the connection has a socket, and whether the connection would outlive its
    /// socket.
    pub fn session_state(&self) -> SessionState {
        self.0.lock().session.state()
    }

    /// Returns the smoothed round-trip time of keep-alive pings, or `None` before the first answer
    /// to a ping. This time includes how long pings wait in queues, and how long they wait until
    /// the peer's tasks run.
    pub fn rtt(&self) -> Option<Duration> {
        self.0.lock().engine().rtt()
    }

    /// Returns the round-trip time that the kernel's TCP has measured. Unlike [`rtt`](Self::rtt),
    /// this time covers the network path alone. While the connection is active, the time is
    /// measured again every second.
    ///
    /// Returns a time only on Linux, and only if the connection is over TCP, with or without TLS,
    /// and was made by a client or a server of this crate. Otherwise returns `None`.
    pub fn socket_rtt(&self) -> Option<Duration> {
        self.0.lock().socket_rtt
    }

    /// Returns which end of the connection this is.
    pub fn side(&self) -> Side {
        self.0.lock().engine().side()
    }

    /// Returns the connection's wire protocol.
    pub fn wire(&self) -> Wire {
        self.0.lock().engine().wire()
    }

    /// Returns the peer's address; see [`ConnectionInfo::remote_address`].
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.info.remote_address()
    }

    /// Returns what is known from the opening handshake: addresses, headers, certificates.
    pub fn info(&self) -> &ConnectionInfo {
        &self.0.info
    }

    /// Returns the negotiated WebSocket subprotocol, such as `qmux-02.app`, or `None` on the js-ws
    /// wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.0.info.subprotocol()
    }

    /// Returns the negotiated application protocol; see [`ConnectionInfo::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.0.info.protocol()
    }

    /// Returns the peer's certificate chain; see [`ConnectionInfo::peer_certificates`].
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.0.info.peer_certificates()
    }

    /// Returns the value of type `T` that the server's
    /// [`authorize`](crate::authorize::Accept::data) hook has attached to the connection, or `None`
    /// if there is none.
    pub fn application_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.info.application_data()
    }

    pub(crate) fn start(
        socket: NewSocket,
        side: Side,
        wire: Wire,
        settings: WebSocketConnectionBuilder,
    ) -> Self {
        let (mut config, info, resume) = (settings.config, settings.info, settings.resume);
        let keys = match &resume {
            Resume::Never => {
                config.resume_timeout(None);
                None
            }
            Resume::Redial(_) => None,
            #[cfg(not(target_family = "wasm"))]
            Resume::Accept(_) => Some(proto::SessionKeys::new(rand::random(), rand::random())),
        };
        let mut engine = proto::Connection::new(config, side, wire, proto::Time::EPOCH);
        engine.set_socket_capabilities(socket.capabilities);
        if let Some(subprotocol) = info.subprotocol() {
            engine.set_qmux_version(QMuxVersion::of_subprotocol(subprotocol));
        }
        let session = proto::Session::new(engine, keys);
        let shared = Shared::new(session, Instant::now(), info);
        let handle = ConnectionRef::new(shared.clone());
        let records = Records {
            #[cfg(feature = "qlog")]
            qlog: settings.qlog.and_then(|qlog| qlog.start(&shared)),
            ..Records::default()
        };
        let task = Task::new(shared, socket, records, resume);
        #[cfg(feature = "tracing")]
        let task = tracing::Instrument::instrument(task, handle.span.0.clone());
        sync::spawn(task);
        let connection = Self(handle);
        #[cfg(feature = "blocking")]
        crate::blocking::carry(&connection);
        connection
    }

    /// Returns the shared part of the connection. The shared part is not a handle, so holding it
    /// does not keep the connection open.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.0.without_handle()
    }

    /// Whether the connection's socket belongs to an earlier connection, which goes on over this
    /// socket.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn has_moved(&self) -> bool {
        self.0.lock().moved_to.is_some()
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, OpenError> {
        let mut position = QueuePosition::new(&self.0, Queue::Openers(dir));
        poll_fn(|cx| {
            let mut state = self.0.lock();
            state.engine().openable(dir)?;
            if position.may_take(&mut state, 1)
                && let Some(id) = state.engine_mut().open(dir)?
            {
                position.leave(&mut state);
                state.wake_driver();
                trace::event!(self.0.span, TRACE, "stream.opened", stream = id.into_inner());
                return Poll::Ready(Ok(id));
            }
            position.wait(&mut state, 1, cx);
            if state.engine_mut().report_streams_blocked(dir) {
                state.wake_driver();
            }
            Poll::Pending
        })
        .await
    }

    fn try_open(&self, dir: Dir) -> Result<Option<StreamId>, OpenError> {
        let mut state = self.0.lock();
        state.engine().openable(dir)?;
        if !QueuePosition::new(&self.0, Queue::Openers(dir)).may_take(&mut state, 1) {
            return Ok(None);
        }
        let id = state.engine_mut().open(dir)?;
        state.wake_driver();
        #[cfg(feature = "tracing")]
        if let Some(id) = id {
            trace::event!(self.0.span, TRACE, "stream.opened", stream = id.into_inner());
        }
        Ok(id)
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

    /// Waits until this call's turn in `queue` has come, and takes one item. Once the connection
    /// has ended, the order of the queue no longer matters, and a call that finds no item returns
    /// the reason for the end at once.
    async fn take_in_turn<T>(
        &self,
        queue: Queue,
        mut take: impl FnMut(&mut proto::Connection) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        let mut position = QueuePosition::new(&self.0, queue);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            let taken = match position.may_take(&mut state, 1) {
                true => take(state.engine_mut()).map(Ok).or_else(|| state.close_reason().map(Err)),
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

    fn set_max_concurrent(&self, dir: Dir, count: u64) {
        let mut state = self.0.lock();
        state.engine_mut().set_max_concurrent(dir, count);
        state.wake_driver();
    }
}
