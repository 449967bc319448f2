//! A WebSocket of tungstenite.

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

use super::{Incoming, Outgoing, Socket, unsupported};
use crate::proto::SocketError;

/// Bytes that are gathered before the stream below is asked to take them, and that it may leave with us
/// before no more messages are taken: few writes for many small messages, and no long queue below the
/// scheduler.
const WRITE_BUFFER: usize = 128 * 1024;

/// Of the write buffer beyond [`WRITE_BUFFER`]: the one message more that may be taken (64 KiB), its header,
/// and a Close. tungstenite forgets a Close for which it has no room, so there always is some.
const WRITE_SLACK: usize = 64 * 1024 + 1024;

/// Bytes asked of the stream below at once, and allocated for each connection from its start.
const READ_BUFFER: usize = 64 * 1024;

/// The longest header of a frame, mask included (RFC 6455 §5.2).
const MAX_FRAME_HEADER: usize = 14;

/// Bytes that are thrown away before other tasks get their turn.
const DISCARD_AT_ONCE: usize = 64 * 1024;

/// A WebSocket of `tokio-tungstenite`, over any stream of bytes.
///
/// # How to drive it
/// One task calls all the methods of [`Socket`]. In each of its rounds it calls `poll_recv` until that is
/// pending, then sends, and calls `poll_flush` even if it has sent nothing: pongs and the answer to a Close
/// are queued by `poll_recv` and leave with the flush. Then a round that ends with all of them pending is
/// woken by whatever comes first: the stream below is polled with one waker for reading and another for
/// writing, each of which wakes the tasks that polled last in either direction.
///
/// # The two directions
/// Reading never waits for writing: while a pong cannot be written, reading goes on, and a newer ping's
/// pong takes the place of the one that waits. What waits for a peer that does not read is at most the
/// `max_write_buffer_size` of [`config`](Self::config).
///
/// # The end
/// After something that is not WebSocket, or a message too large, nothing more is understood; `poll_recv`
/// throws away what comes until the stream ends, so that the peer can read our Close before the operating
/// system resets the connection. Sending goes on. After both Closes a server ends the stream below for
/// writing and a client waits for that, as long as its connection does, before it ends it too (RFC 6455 §7.1.1);
/// the stream is then read to its end.
#[derive(Debug)]
pub struct TungsteniteSocket<S> {
    websocket: WebSocketStream<S>,
    reading: Reading,
    writing: Writing,
    /// At least the bytes that tungstenite holds: what it took, and queued itself, since it was last flushed.
    unflushed: usize,
    /// How many those may be before the next message has to wait for a flush.
    write_buffer: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Messages come.
    Messages,
    /// The peer has sent its Close.
    PeerClosed,
    /// Whatever comes is thrown away.
    Discard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Messages go.
    Open,
    /// A Close has been taken, ours or the answer to the peer's. It may not have left.
    Closed,
    /// It has left, and the stream below has been ended.
    ShutDown,
}

impl<S> TungsteniteSocket<S> {
    /// A WebSocket whose handshake is done, best with the settings that [`config`](Self::config) gives.
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
    /// The settings of tungstenite for a connection that takes messages of at most `max_inbound_message`
    /// bytes, the sum of a message's fragments included.
    ///
    /// Both of tungstenite's limits are that number: by its frame limit alone a message of many fragments
    /// would pass. Of each connection's memory up to 64 KiB are for reading, besides a message that is not
    /// complete, and up to 193 KiB for writing, which tungstenite does not limit by default.
    pub fn config(max_inbound_message: u64) -> WebSocketConfig {
        let limit = usize::try_from(max_inbound_message).unwrap_or(usize::MAX);
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER + WRITE_SLACK)
            // W-6: tungstenite counts the fragments against this while they arrive.
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TungsteniteSocket<S> {
    /// What an item of tungstenite means; `None` when the stream is to be discarded from here.
    fn understand(
        &mut self,
        item: Option<Result<Message, Error>>,
    ) -> Option<Result<Incoming, SocketError>> {
        let discard = |this: &mut Self, incoming| {
            let heard_close = this.reading == Reading::PeerClosed;
            this.reading = Reading::Discard;
            // Nobody asks what a peer says after its Close.
            (!heard_close).then_some(Ok(incoming))
        };
        match item {
            // It would keep alive the block that it was read into, which may be one for the largest message so far.
            // One of several fragments was gathered in memory of its own.
            Some(Ok(Message::Binary(message))) if !message.is_unique() => {
                Some(Ok(Incoming::Message(Bytes::copy_from_slice(&message))))
            }
            Some(Ok(Message::Binary(message))) => Some(Ok(Incoming::Message(message))),
            // W-2: the engine closes with 1002.
            Some(Ok(Message::Text(_))) => Some(Ok(Incoming::Text)),
            Some(Ok(Message::Ping(payload))) => {
                // W-8, W-9 (RFC 6455 §5.5): tungstenite answers, and keeps the newest pong alone.
                self.unflushed += payload.len() + MAX_FRAME_HEADER;
                Some(Ok(Incoming::Ping))
            }
            Some(Ok(Message::Pong(payload))) => Some(Ok(Incoming::Pong(payload))),
            Some(Ok(Message::Close(frame))) => {
                // W-28 (RFC 6455 §5.5.1): tungstenite answers it.
                self.reading = Reading::PeerClosed;
                let (code, reason) = match frame {
                    Some(frame) => (Some(frame.code.into()), frame.reason.as_str().to_owned()),
                    None => (None, String::new()),
                };
                Some(Ok(Incoming::Close { code, reason }))
            }
            // tungstenite gives these only to those who ask for them.
            Some(Ok(Message::Frame(_))) => {
                discard(self, Incoming::ProtocolError("bare frame".into()))
            }
            // W-7: the engine closes with 1009.
            Some(Err(Error::Capacity(_))) => discard(self, Incoming::TooLarge),
            // Of a text message, or of a Close's reason: tungstenite does not say which.
            Some(Err(Error::Utf8(_))) => discard(self, Incoming::Text),
            // W-29 (RFC 6455 §7.1.5): an end without a Close is a lost transport.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                Some(Err(SocketError::Eof))
            }
            Some(Err(Error::Io(error))) => Some(Err(socket_error(error))),
            Some(Err(error)) => discard(self, Incoming::ProtocolError(error.to_string())),
            // The closing handshake is done: for a client the stream has ended, for a server our answer has
            // been written and nothing may follow it.
            None => {
                self.reading = Reading::Discard;
                self.writing = self.writing.closed();
                None
            }
        }
    }

    /// Ends the stream below for writing, once our Close has left.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        // W-56: a stream whose Close has not left in full is not ended.
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

    /// Throws away what comes, until the stream ends. Once our Close has left, the stream is ended for
    /// writing: a peer that has nothing to say then ends it too, and nobody waits for the close timeout.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<SocketError> {
        // If it fails, reading reports it.
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
            // When a server's closing handshake ends, tungstenite has written the Close and not flushed
            // it: it would stay in the TLS session.
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
            // The peer's Close came first, tungstenite has answered it, and nothing may follow.
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

/// Distinguishes a stream that was cut short from one that failed, however TLS reports it.
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
