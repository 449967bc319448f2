//! A socket over a WebSocket of tungstenite.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use wsmux_proto::SocketError;

use super::{Incoming, Outgoing, Socket, unsupported};

/// How many bytes are collected before they are written to the stream below. So a large number of
/// small messages needs only a few writes. While this many bytes wait, no further message is
/// accepted. The rest of the data stays in the scheduler, where an urgent message can overtake it.
const WRITE_BUFFER: usize = 128 * 1024;

/// How far the write buffer may grow above [`WRITE_BUFFER`]. This is room for one more message (64
/// KiB), its header, and a Close. There must always be room for a Close, because tungstenite
/// discards a Close that does not fit.
const WRITE_SLACK: usize = 64 * 1024 + 1024;

/// How many bytes are read from the stream below at once. A buffer of this size is allocated at the
/// start of each connection.
const READ_BUFFER: usize = 64 * 1024;

/// The longest header of a frame, mask included (RFC 6455 §5.2).
const MAX_FRAME_HEADER: usize = 14;

/// How many bytes are discarded in one poll before the task lets other tasks run.
const DISCARD_AT_ONCE: usize = 64 * 1024;

/// A WebSocket of `tokio-tungstenite`, over any byte stream.
///
/// # How to drive it
/// One task calls all the methods of [`Socket`]. In each of its rounds, the task calls `poll_recv`
/// until it returns `Pending`, then sends, and then calls `poll_flush`. It calls `poll_flush` even
/// if it has sent nothing, because `poll_recv` queues pongs and the answer to a Close, and only the
/// flush sends them. When all of these methods are pending, the first event in either direction
/// wakes the task. This works because the stream below is polled with two wakers: one for reading
/// and one for writing. Each of the two wakers wakes both the task that last polled for reading and
/// the task that last polled for writing.
///
/// # The two directions
/// Reading never waits for writing. While a pong cannot be written, reading continues. If another
/// ping arrives meanwhile, its pong replaces the waiting pong. If the peer does not read, at most
/// `max_write_buffer_size` bytes wait for it; [`config`](Self::config) sets this limit.
///
/// # The end
/// After a protocol error, or a message that is too large, no more messages are read. `poll_recv`
/// discards received bytes until the stream ends, so that the peer can read our Close before the
/// operating system resets the connection. Sending continues. After both Closes, a server ends its
/// direction of the stream below. A client waits until the server has ended its direction, or until
/// the connection's close timeout has passed. Then the client ends its own direction (RFC 6455
/// §7.1.1). After that the stream is read to its end.
#[derive(Debug)]
pub struct TungsteniteSocket<S> {
    websocket: WebSocketStream<S>,
    reading: Reading,
    writing: Writing,
    /// The number of bytes that were queued in tungstenite since the last complete flush. This
    /// counts the bytes of accepted items and of tungstenite's pongs. Some of these bytes may have
    /// been written already.
    unflushed: usize,
    /// The number of unflushed bytes above which the next message has to wait for a flush.
    write_buffer: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Messages are received.
    Messages,
    /// The peer has sent its Close.
    PeerClosed,
    /// Received bytes are discarded.
    Discard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Messages can be sent.
    Open,
    /// A Close has been accepted. It is our own Close or the answer to the peer's Close, and may
    /// not have been sent yet.
    Closed,
    /// The Close has been sent, and our direction of the stream below has been ended.
    ShutDown,
}

impl<S> TungsteniteSocket<S> {
    /// Wraps a WebSocket whose handshake is complete, preferably with the settings that
    /// [`config`](Self::config) returns.
    pub fn new(websocket: WebSocketStream<S>) -> Self {
        let max_write_buffer_size = websocket.get_config().max_write_buffer_size;
        Self {
            write_buffer: WRITE_BUFFER.min(max_write_buffer_size.saturating_sub(WRITE_SLACK)),
            websocket,
            reading: Reading::Messages,
            writing: Writing::Open,
            unflushed: 0,
        }
    }
}

impl TungsteniteSocket<()> {
    /// Returns the settings of tungstenite for a connection that accepts messages of at most
    /// `max_inbound_message` bytes, including the sum of a message's fragments.
    ///
    /// Both of tungstenite's limits are set to that number, because its frame limit alone would
    /// admit a larger message in many fragments. For reading, each connection uses up to 64 KiB in
    /// addition to an incomplete message. For writing, it uses up to 193 KiB, while tungstenite's
    /// default is no limit.
    pub fn config(max_inbound_message: u64) -> WebSocketConfig {
        let limit = usize::try_from(max_inbound_message).unwrap_or(usize::MAX);
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER + WRITE_SLACK)
            // W-6: tungstenite counts the fragments against this limit while they arrive.
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TungsteniteSocket<S> {
    /// Converts an item of tungstenite. Returns `None` if no more items are read. In that case
    /// received bytes have to be discarded.
    fn understand(
        &mut self,
        item: Option<Result<Message, Error>>,
    ) -> Option<Result<Incoming, SocketError>> {
        let discard = |this: &mut Self, incoming| {
            let heard_close = this.reading == Reading::PeerClosed;
            this.reading = Reading::Discard;
            // Items that arrive after the peer's Close are ignored.
            (!heard_close).then_some(Ok(incoming))
        };
        match item {
            // This message shares tungstenite's read buffer. This buffer may be as large as the
            // largest message so far, and the message would keep it allocated. So the message is
            // copied. A message of several fragments has memory of its own.
            Some(Ok(Message::Binary(message))) if !message.is_unique() => {
                Some(Ok(Incoming::Message(Bytes::copy_from_slice(&message))))
            }
            Some(Ok(Message::Binary(message))) => Some(Ok(Incoming::Message(message))),
            // W-2: the engine closes with 1002.
            Some(Ok(Message::Text(_))) => Some(Ok(Incoming::Text)),
            Some(Ok(Message::Ping(payload))) => {
                // W-8, W-9 (RFC 6455 §5.5): tungstenite answers, and keeps only the newest pong.
                self.unflushed += payload.len() + MAX_FRAME_HEADER;
                Some(Ok(Incoming::Ping))
            }
            Some(Ok(Message::Pong(payload))) => Some(Ok(Incoming::Pong(payload))),
            Some(Ok(Message::Close(frame))) => {
                // W-28 (RFC 6455 §5.5.1): tungstenite answers the Close.
                self.reading = Reading::PeerClosed;
                let (code, reason) = match frame {
                    Some(frame) => (Some(frame.code.into()), frame.reason.as_str().to_owned()),
                    None => (None, String::new()),
                };
                Some(Ok(Incoming::Close { code, reason }))
            }
            // tungstenite returns raw frames only on request.
            Some(Ok(Message::Frame(_))) => {
                discard(self, Incoming::ProtocolError("bare frame".into()))
            }
            // W-7: the engine closes with 1009.
            Some(Err(Error::Capacity(_))) => discard(self, Incoming::TooLarge),
            // Either a text message or the reason of a Close is not UTF-8; tungstenite does not say
            // which.
            Some(Err(Error::Utf8(_))) => discard(self, Incoming::Text),
            // W-29 (RFC 6455 §7.1.5): an end without a Close is a lost transport.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                Some(Err(SocketError::Eof))
            }
            Some(Err(Error::Io(error))) => Some(Err(socket_error(error))),
            Some(Err(error)) => discard(self, Incoming::ProtocolError(error.to_string())),
            // The closing handshake is complete. On a client the stream has ended; on a server our
            // answer has been written, and nothing may follow it.
            None => {
                self.reading = Reading::Discard;
                self.writing = self.writing.closed();
                None
            }
        }
    }

    /// Ends our direction of the stream below, once our Close has been sent.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        // W-56: if our Close has not been sent in full, the stream is not ended.
        if self.writing != Writing::Closed {
            return Poll::Ready(Ok(()));
        }
        let ended = match ready!(self.poll_flush_all(cx)) {
            Ok(()) => {
                ready!(Pin::new(self.websocket.get_mut()).poll_shutdown(cx)).map_err(socket_error)
            }
            failed => failed,
        };
        self.writing = Writing::ShutDown;
        Poll::Ready(ended)
    }

    /// Discards received bytes until the stream ends. Once our Close has been sent, this method
    /// ends our direction. If the peer has nothing more to send, it then ends its direction too, so
    /// the connection does not have to wait for the close timeout.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<SocketError> {
        // If this fails, reading fails too and reports the error.
        let _ = self.poll_end(cx);
        let mut discarded = 0;
        while discarded < DISCARD_AT_ONCE {
            let mut buf = [0; 4096];
            let mut buf = ReadBuf::new(&mut buf);
            match ready!(Pin::new(self.websocket.get_mut()).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => return Poll::Ready(SocketError::Eof),
                Ok(()) => discarded += buf.filled().len(),
                Err(error) => return Poll::Ready(socket_error(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if self.writing == Writing::ShutDown {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.websocket).poll_flush(cx)).map_err(write_error)?;
        if self.reading != Reading::Messages || self.writing != Writing::Open {
            // When a server's closing handshake ends, tungstenite has written the Close but has not
            // flushed it. Without this flush, the Close would stay in the TLS session.
            ready!(Pin::new(self.websocket.get_mut()).poll_flush(cx)).map_err(socket_error)?;
        }
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for TungsteniteSocket<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        while self.reading != Reading::Discard {
            let item = ready!(Pin::new(&mut self.websocket).poll_next(cx));
            if let Some(understood) = self.understand(item) {
                return Poll::Ready(understood);
            }
        }
        self.poll_discard(cx).map(Err)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        if self.unflushed > self.write_buffer {
            return self.poll_flush_all(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        let message = match item {
            // W-1: every message is binary.
            Outgoing::Message(message) => Message::Binary(message.to_bytes()),
            Outgoing::Ping(payload) => Message::Ping(Bytes::copy_from_slice(&payload)),
            Outgoing::Close { code, reason } => {
                self.writing = self.writing.closed();
                Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
            }
            _ => return Err(unsupported()),
        };
        self.unflushed += message.len() + MAX_FRAME_HEADER;
        match Pin::new(&mut self.websocket).start_send(message) {
            // The peer's Close came first, and tungstenite has answered it, so the item is
            // discarded.
            Err(
                // W-11 (RFC 6455 §5.5.1): nothing follows our Close.
                Error::Protocol(ProtocolError::SendAfterClosing)
                | Error::ConnectionClosed
                | Error::AlreadyClosed,
            ) => Ok(()),
            sent => sent.map_err(write_error),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_flush_all(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_end(cx)
    }
}

impl Writing {
    fn closed(self) -> Self {
        match self {
            Self::Open | Self::Closed => Self::Closed,
            Self::ShutDown => Self::ShutDown,
        }
    }
}

/// Converts an error of the stream. If a stream is cut short, TLS reports an error. This function
/// converts that error to the end of the stream.
fn socket_error(error: io::Error) -> SocketError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SocketError::Eof,
        _ => error.into(),
    }
}

fn write_error(error: Error) -> SocketError {
    match error {
        Error::Io(error) => socket_error(error),
        error => io::Error::other(error).into(),
    }
}

#[cfg(test)]
mod tests;
