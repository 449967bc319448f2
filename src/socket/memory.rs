//! A WebSocket without a network.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use wsmux_proto::SocketError;

use super::{Incoming, Outgoing, Socket, unsupported};
use crate::runtime::sync::{Mutex, MutexGuard};

/// The size of an item without a payload, in bytes.
const ITEM_OVERHEAD: usize = 2;

/// Makes the two ends of one WebSocket within this process.
///
/// In each direction at most `capacity` bytes wait for the reader. A message that is larger than
/// `capacity` is sent when nothing else waits. In addition, each end may hold one item that it has
/// accepted, and one answer to a ping or a Close.
pub fn memory_pair(capacity: usize) -> (MemorySocket, MemorySocket) {
    let [to_right, to_left] =
        [(), ()].map(|()| Pipe(Arc::new(Mutex::new(PipeState::new(capacity)))));
    let left = MemorySocket::new(to_right.clone(), to_left.clone());
    (left, MemorySocket::new(to_left, to_right))
}

/// One end of a WebSocket within this process, made by [`memory_pair`].
///
/// The two ends carry everything that a real WebSocket carries: messages, pings with their pongs,
/// and the closing handshake. After one end has been dropped, the other end reads the items that
/// were sent before the drop, and then [`SocketError::Eof`].
#[derive(Debug)]
pub struct MemorySocket {
    incoming: Pipe,
    outgoing: Pipe,
    /// An item that was accepted from the connection and is not yet in the pipe.
    held: Option<Item>,
    /// The newest pong, or the answer to the peer's Close, which is not yet in the pipe.
    answer: Option<Item>,
    close: CloseState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseState {
    Open,
    /// This end has sent a Close and has not received the peer's Close.
    ClosedByUs,
    /// The peer's Close has been received, and this end's Close has been sent or queued.
    Closed,
}

/// Pauses and resumes a [`MemorySocket`] while a connection uses it.
#[derive(Debug, Clone)]
pub struct MemoryStall {
    incoming: Pipe,
    outgoing: Pipe,
}

impl MemoryStall {
    /// Pauses or resumes reading. While reading is paused, items that have arrived are not read.
    pub fn pause_reads(&self, paused: bool) {
        self.incoming.change(|state| state.reads_paused = paused);
    }

    /// Pauses or resumes writing. While writing is paused, no item is sent even if there is room.
    pub fn pause_writes(&self, paused: bool) {
        self.outgoing.change(|state| state.writes_paused = paused);
    }
}

/// An item in the pipe. A ping carries its payload only because the pong has to return it. The
/// connection that reads the ping does not see the payload.
#[derive(Debug)]
enum Item {
    Ping([u8; 8]),
    Other(Incoming),
}

impl Item {
    fn size(&self) -> usize {
        ITEM_OVERHEAD
            + match self {
                Self::Ping(payload) => payload.len(),
                Self::Other(Incoming::Message(bytes) | Incoming::Pong(bytes)) => bytes.len(),
                Self::Other(
                    Incoming::ProtocolError(text) | Incoming::Close { reason: text, .. },
                ) => text.len(),
                Self::Other(_) => 0,
            }
    }
}

#[derive(Debug, Clone)]
struct Pipe(Arc<Mutex<PipeState>>);

/// One direction of the WebSocket. It holds at most `capacity` bytes, or one item that is larger
/// than `capacity`.
#[derive(Debug)]
struct PipeState {
    items: VecDeque<Item>,
    bytes: usize,
    capacity: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether at least one end has been dropped.
    ended: bool,
    reads_paused: bool,
    writes_paused: bool,
}

impl PipeState {
    fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            capacity,
            reader: None,
            writer: None,
            ended: false,
            reads_paused: false,
            writes_paused: false,
        }
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        // Nothing panics while the lock is held, so the state is always consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes both ends.
    fn change(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Puts the item into the pipe if there is room.
    fn poll_put(
        &self,
        item: &mut Option<Item>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SocketError>> {
        let Some(next) = item.take() else { return Poll::Ready(Ok(())) };
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
        }
        let room = state.items.is_empty() || state.bytes + next.size() <= state.capacity;
        if state.writes_paused || !room {
            let before = state.writer.replace(cx.waker().clone());
            drop(state);
            // The replaced waker is dropped outside the lock. The waker may be the last owner of
            // the task that owns the other end, and dropping that end takes the lock.
            drop(before);
            *item = Some(next);
            return Poll::Pending;
        }
        state.bytes += next.size();
        state.items.push_back(next);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Result<Item, SocketError>> {
        let mut state = self.lock();
        if !state.reads_paused {
            if let Some(item) = state.items.pop_front() {
                state.bytes -= item.size();
                let writer = state.writer.take();
                drop(state);
                writer.into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(item));
            }
            if state.ended {
                return Poll::Ready(Err(SocketError::Eof));
            }
        }
        let before = state.reader.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl MemorySocket {
    fn new(outgoing: Pipe, incoming: Pipe) -> Self {
        Self { incoming, outgoing, held: None, answer: None, close: CloseState::Open }
    }

    /// Returns a handle that can pause this end even when a connection owns the end.
    pub fn stall(&self) -> MemoryStall {
        MemoryStall { incoming: self.incoming.clone(), outgoing: self.outgoing.clone() }
    }

    /// Sends an item that no connection would send, such as a text message. Does not wait for room
    /// in the pipe.
    pub fn inject(&mut self, item: Incoming) {
        self.push(match item {
            Incoming::Ping => Item::Ping([0; 8]),
            item => Item::Other(item),
        });
    }

    fn push(&mut self, item: Item) {
        self.outgoing.change(|state| {
            state.bytes += item.size();
            state.items.push_back(item);
        });
    }
}

impl Socket for MemorySocket {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        if self.close == CloseState::Closed {
            // Both Closes have been exchanged. A real socket would now wait for the end of the TCP
            // connection.
            return self.poll_flush(cx).map(|_| Err(SocketError::Eof));
        }
        let item = match ready!(self.incoming.poll_take(cx))? {
            Item::Ping(payload) => {
                if self.close == CloseState::Open {
                    let payload = Bytes::copy_from_slice(&payload);
                    self.answer = Some(Item::Other(Incoming::Pong(payload)));
                }
                Incoming::Ping
            }
            Item::Other(item) => item,
        };
        if let Incoming::Close { .. } = item {
            if self.close == CloseState::Open {
                self.answer = Some(Item::Other(item.clone()));
            }
            self.close = CloseState::Closed;
        }
        Poll::Ready(Ok(item))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.outgoing.poll_put(&mut self.held, cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        // Discards items after a Close, as tungstenite does.
        if self.close == CloseState::Open {
            self.held = Some(match item {
                Outgoing::Message(message) => Item::Other(Incoming::Message(message.to_bytes())),
                Outgoing::Ping(payload) => Item::Ping(payload),
                Outgoing::Close { code, reason } => {
                    self.close = CloseState::ClosedByUs;
                    Item::Other(Incoming::Close { code: Some(code), reason })
                }
                _ => return Err(unsupported()),
            });
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        ready!(self.outgoing.poll_put(&mut self.held, cx))?;
        self.outgoing.poll_put(&mut self.answer, cx)
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        // Still delivers the accepted items, as TCP does after a socket is closed.
        for item in [self.held.take(), self.answer.take()].into_iter().flatten() {
            self.push(item);
        }
        self.outgoing.change(|state| state.ended = true);
        self.incoming.change(|state| state.ended = true);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;
    use wsmux_proto::MessageBuf;

    fn message(len: usize) -> MessageBuf {
        let mut message = MessageBuf::new();
        message.put_chunk(vec![7; len].into());
        message
    }

    async fn recv(socket: &mut MemorySocket) -> Result<Incoming, SocketError> {
        poll_fn(|cx| socket.poll_recv(cx)).await
    }

    /// Sends an item, and returns whether there is room for more.
    async fn send(socket: &mut MemorySocket, item: Outgoing<'_>) -> bool {
        poll_fn(|cx| socket.poll_ready(cx)).await.unwrap();
        socket.start_send(item).unwrap();
        poll_fn(|cx| Poll::Ready(socket.poll_flush(cx).is_ready())).await
    }

    #[tokio::test]
    async fn a_direction_holds_its_capacity_or_one_larger_message() {
        let (mut left, mut right) = memory_pair(100);
        assert!(send(&mut left, Outgoing::Message(&message(1000))).await);
        assert!(!send(&mut left, Outgoing::Message(&message(1))).await);
        assert_eq!(recv(&mut right).await.unwrap(), Incoming::Message(vec![7; 1000].into()));
        assert!(send(&mut left, Outgoing::Message(&message(50))).await);
        assert!(!send(&mut left, Outgoing::Message(&message(50))).await);
        // The other direction has its own capacity.
        assert!(send(&mut right, Outgoing::Message(&message(50))).await);
    }

    #[tokio::test]
    async fn pings_and_closes_are_answered() {
        let (mut left, mut right) = memory_pair(100);
        send(&mut left, Outgoing::Ping(*b"12345678")).await;
        assert_eq!(recv(&mut right).await.unwrap(), Incoming::Ping);
        poll_fn(|cx| right.poll_flush(cx)).await.unwrap();
        assert_eq!(recv(&mut left).await.unwrap(), Incoming::Pong("12345678".into()));
        let close = Incoming::Close { code: Some(1000), reason: "bye".into() };
        send(&mut left, Outgoing::Close { code: 1000, reason: "bye".into() }).await;
        assert_eq!(recv(&mut right).await.unwrap(), close);
        poll_fn(|cx| right.poll_flush(cx)).await.unwrap();
        assert_eq!(recv(&mut left).await.unwrap(), close);
        assert!(matches!(recv(&mut left).await, Err(SocketError::Eof)));
        assert!(matches!(recv(&mut right).await, Err(SocketError::Eof)));
    }

    #[tokio::test]
    async fn what_was_sent_outlives_its_sender() {
        let (mut left, mut right) = memory_pair(10);
        send(&mut left, Outgoing::Message(&message(8))).await;
        send(&mut left, Outgoing::Message(&message(9))).await;
        drop(left);
        assert_eq!(recv(&mut right).await.unwrap(), Incoming::Message(vec![7; 8].into()));
        assert_eq!(recv(&mut right).await.unwrap(), Incoming::Message(vec![7; 9].into()));
        assert!(matches!(recv(&mut right).await, Err(SocketError::Eof)));
        right.start_send(Outgoing::Ping([0; 8])).unwrap();
        assert!(poll_fn(|cx| right.poll_flush(cx)).await.is_err());
    }

    #[tokio::test]
    async fn either_side_can_be_stalled() {
        let (mut left, mut right) = memory_pair(100);
        let stall = left.stall();
        stall.pause_writes(true);
        assert!(!send(&mut left, Outgoing::Message(&message(1))).await);
        let flushed = tokio::spawn(async move {
            poll_fn(|cx| left.poll_flush(cx)).await.unwrap();
            left
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        stall.pause_writes(false);
        let mut left = flushed.await.unwrap();
        recv(&mut right).await.unwrap();

        stall.pause_reads(true);
        right.inject(Incoming::Text);
        let received = tokio::spawn(async move { recv(&mut left).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!received.is_finished());
        stall.pause_reads(false);
        assert_eq!(received.await.unwrap().unwrap(), Incoming::Text);
    }
}
