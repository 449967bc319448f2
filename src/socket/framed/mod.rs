//! wsmux's own WebSocket over any byte stream. When sending, it copies each payload once, and masks
//! it in the same pass. When receiving, it copies only messages that are small or fragmented.

mod frame;
mod out;
mod read;
mod write;

use std::{
    io,
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wsmux_proto::{Side, SocketError};

use self::{
    frame::Opcode,
    read::{Item, Reader},
    write::Writer,
};
use super::{Incoming, Outgoing, Socket, SocketCapabilities, quantum::Quantum, tcp, unsupported};

/// The largest number of bytes that a message takes on TCP, including its header and the bytes that
/// TLS adds. This is the largest multiple of 64 that fits into one packet of Linux's loopback,
/// which carries 65,483 bytes over IPv4 and 65,463 over IPv6. A message of this size also fits into
/// the largest packet that the kernel passes to a network card (64 KiB with headers).
///
/// A message that is one byte longer than a packet needs a second packet, and wakes the peer twice.
/// With multiples of 64, data stays aligned to cache lines in the kernel's buffers, which makes
/// copying faster. A loop that only writes and reads TCP carried 3,860 MiB/s in writes of 65,408
/// bytes, 2,850 MiB/s in writes of 65,483 bytes, and 2,100 MiB/s in writes of 65,550 bytes.
const PACKET: usize = 65_408;

/// The length of the header of a frame of 126 to 65,535 bytes, without a mask (RFC 6455 §5.2).
const LONG_HEADER: usize = 4;

/// The length of a mask (RFC 6455 §5.2).
const MASK: usize = 4;

/// How many bytes are discarded in one poll before other tasks get their turn.
const DISCARD_AT_ONCE: usize = 256 * 1024;

/// A WebSocket after its handshake.
///
/// Reading never waits for writing. While a pong cannot be written, reading continues, and the pong
/// for a newer ping replaces the waiting pong. After a protocol error, a text message, or a message
/// that is too large, sending continues, but received bytes are discarded until the stream ends. If
/// these bytes were not read, the operating system would reset the TCP connection, and the peer
/// might not be able to read our Close. After both Closes, a server ends its direction of the
/// stream. A client waits until the server has ended its direction or the connection's close
/// timeout has passed, and then ends its own direction (RFC 6455 §7.1.1).
#[derive(Debug)]
pub(crate) struct FramedSocket<S> {
    io: S,
    side: Side,
    reader: Reader,
    writer: Writer,
    reading: Reading,
    /// What the path carries in about a millisecond.
    quantum: Quantum,
    /// While the writer holds more bytes than this, no further message is accepted.
    high_water: usize,
    /// Whether the peer's Close has been received.
    peer_closed: bool,
    /// Whether this end has ended its direction of the stream, or has tried to and failed.
    shut_down: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Messages,
    /// Received bytes are discarded.
    Discard,
}

impl<S: 'static> FramedSocket<S> {
    /// Wraps the stream `io` after the handshake. `rest` contains the bytes after the handshake
    /// that have already been read. A message of the peer may have at most `max_message` bytes.
    pub(crate) fn new(io: S, rest: &[u8], side: Side, max_message: u64) -> Self {
        tcp::limit_unsent(&io, tcp::MAX_UNSENT);
        let max_write = match tcp::tls_overhead(&io) {
            0 => usize::MAX,
            records => PACKET - records,
        };
        Self {
            io,
            side,
            reader: Reader::new(!side, rest, max_message),
            writer: Writer::new(side, max_write),
            reading: Reading::Messages,
            quantum: Quantum::new(write::HIGH_WATER),
            high_water: write::HIGH_WATER,
            peer_closed: false,
            shut_down: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FramedSocket<S> {
    fn understand(&mut self, item: Item) -> Incoming {
        match item {
            Item::Message(message) => Incoming::Message(message),
            Item::Ping(payload) => {
                // W-8 (RFC 6455 §5.5.2): the pong carries the payload of its ping.
                self.writer.pong(payload);
                Incoming::Ping
            }
            Item::Pong(payload) => Incoming::Pong(payload),
            Item::Close { code, reason } => {
                self.peer_closed = true;
                self.reading = Reading::Discard;
                // W-28 (RFC 6455 §5.5.1): a Close is answered.
                self.writer.answer_close(code);
                Incoming::Close { code, reason }
            }
            // W-2: the engine closes with 1002.
            Item::Text => self.give_up(Incoming::Text),
            // W-7: the engine closes with 1009.
            Item::TooLarge => self.give_up(Incoming::TooLarge),
            Item::ProtocolError(words) => self.give_up(Incoming::ProtocolError(words.to_owned())),
        }
    }

    fn give_up(&mut self, incoming: Incoming) -> Incoming {
        self.reading = Reading::Discard;
        incoming
    }

    /// Ends our direction of the stream, once our Close has been sent.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // W-56: if our Close has not been sent in full, the stream is not ended.
        if self.shut_down || !self.writer.is_closed() {
            return Poll::Ready(Ok(()));
        }
        let ended = match ready!(self.writer.poll_write_out(&mut self.io, cx, 0)) {
            // W-55 (RFC 8446 §6.1, RFC 8441 §5): this call ends our direction of the stream.
            Ok(()) => ready!(poll_once(self.io.shutdown(), cx)),
            failed => failed,
        };
        self.shut_down = true;
        Poll::Ready(ended)
    }

    /// Discards received bytes until the stream ends. Once our Close has been sent, this function
    /// ends our direction, unless the peer has to end its direction first.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<SocketError> {
        // W-57 (RFC 6455 §7.1.1): a server ends its direction first, and a client waits for the
        // server.
        let ours_to_end = self.side == Side::Server || !self.peer_closed;
        if ours_to_end {
            // If this fails, reading fails too and reports the error.
            let _ = self.poll_end(cx);
        }
        let mut discarded = 0;
        // W-58 (RFC 6455 §7.1.1): bytes that arrive before the peer ends its direction are
        // discarded.
        while discarded < DISCARD_AT_ONCE {
            match ready!(self.reader.poll_fill(&mut self.io, cx)) {
                Ok(0) => return Poll::Ready(SocketError::Eof),
                Ok(len) => discarded += len,
                Err(error) => return Poll::Ready(socket_error(error)),
            }
            self.reader.forget();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for FramedSocket<S> {
    fn capabilities(&self) -> SocketCapabilities {
        let header = match self.side {
            Side::Client => LONG_HEADER + MASK,
            Side::Server => LONG_HEADER,
        };
        let records = tcp::tls_overhead(&self.io);
        SocketCapabilities::new().max_message(PACKET - header - records)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        while self.reading == Reading::Messages {
            if let Some(item) = self.reader.next() {
                return Poll::Ready(Ok(self.understand(item)));
            }
            match ready!(self.reader.poll_fill(&mut self.io, cx)) {
                // W-29 (RFC 6455 §7.1.5): if the stream ends without a Close, the transport was
                // lost.
                Ok(0) => return Poll::Ready(Err(SocketError::Eof)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(socket_error(error))),
            }
        }
        self.poll_discard(cx).map(Err)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.writer.poll_write_out(&mut self.io, cx, self.high_water).map_err(socket_error)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        match item {
            Outgoing::Message(message) => {
                // W-1: every message is binary.
                self.writer.frame(Opcode::Binary, message.len(), message.slices());
            }
            Outgoing::Ping(payload) => self.writer.control(Opcode::Ping, &payload),
            Outgoing::Close { code, reason } => self.writer.close(code, &reason),
            _ => return Err(unsupported()),
        }
        Ok(())
    }

    fn bytes_received(&self) -> u64 {
        self.reader.bytes_received()
    }

    fn rtt(&self) -> Option<Duration> {
        tcp::path(&self.io).map(|(_, rtt)| rtt)
    }

    fn send_quantum(&mut self) -> Option<usize> {
        let (window, rtt) = tcp::path(&self.io)?;
        let quantum = self.quantum.update(window, rtt);
        if std::mem::replace(&mut self.high_water, quantum) != quantum {
            tcp::limit_unsent(&self.io, quantum.max(tcp::MIN_UNSENT));
        }
        Some(quantum)
    }

    fn release_buffers(&mut self) {
        self.reader.release_buffers();
        tcp::release_read_ahead(&mut self.io);
        self.writer.release_buffers();
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        ready!(self.writer.poll_write_out(&mut self.io, cx, 0)).map_err(socket_error)?;
        self.writer.poll_flush(&mut self.io, cx).map_err(socket_error)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_end(cx).map_err(socket_error)
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

/// Polls a future once and drops it. The future must not keep state between two polls.
fn poll_once<T>(future: impl Future<Output = T>, cx: &mut Context<'_>) -> Poll<T> {
    pin!(future).poll(cx)
}

#[cfg(test)]
mod tests;
