//! Two engines on a synthetic wire, joined by a pipe that delivers everything at once.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Capabilities, Config, Connection, Dir, Event, Frame, Incoming, MessageBuf, Outgoing, Read,
    ReadError, RecvStream, SendEnd, SendStream, Side, StreamId, Time, VarInt, Wire,
};

/// An item that an engine gave to its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Message(Vec<Frame>),
    Ping,
    Flush,
    Close,
}

/// Why a reader has no more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Blocked,
    Finished,
    Reset(u64),
}

pub(super) struct Pair {
    pub(super) now: Time,
    pub(super) wire: Wire,
    ends: [Connection; 2],
    sent: [Vec<Sent>; 2],
    events: [Vec<Event>; 2],
    out: MessageBuf,
}

impl Pair {
    /// Creates two engines, and exchanges their transport parameters if the wire has any.
    pub(super) fn new(caps: Capabilities, config: &Config) -> Self {
        let wire = Wire::Synthetic(caps);
        let end = |side| Connection::new(config.clone(), side, wire, Time::EPOCH);
        let mut pair = Self {
            now: Time::EPOCH,
            wire,
            ends: [Side::Client, Side::Server].map(end),
            sent: Default::default(),
            events: Default::default(),
            out: MessageBuf::new(),
        };
        pair.drive();
        assert!(pair.ends.iter().all(Connection::is_established), "{caps:?}");
        pair.sent = Default::default();
        pair
    }

    pub(super) fn end(&mut self, side: Side) -> &mut Connection {
        &mut self.ends[side as usize]
    }

    /// Returns what this end has sent since the last call.
    pub(super) fn take_sent(&mut self, side: Side) -> Vec<Sent> {
        std::mem::take(&mut self.sent[side as usize])
    }

    /// Returns the frames that this end has sent since the last call.
    pub(super) fn take_frames(&mut self, side: Side) -> Vec<Frame> {
        let sent = self.take_sent(side).into_iter();
        sent.flat_map(|sent| if let Sent::Message(frames) = sent { frames } else { vec![] })
            .collect()
    }

    /// Returns the events of this end since the last call.
    pub(super) fn take_events(&mut self, side: Side) -> Vec<Event> {
        std::mem::take(&mut self.events[side as usize])
    }

    /// Sends and delivers messages until neither end has anything to send.
    pub(super) fn drive(&mut self) {
        for _ in 0..10_000 {
            let client = self.transmit(Side::Client);
            let server = self.transmit(Side::Server);
            if !client && !server {
                return;
            }
        }
        panic!("the two ends never come to rest");
    }

    /// Lets `time` pass, and handles all timers that fire during this time.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drive();
            let timeouts = self.ends.iter().filter_map(Connection::poll_timeout);
            let Some(next) = timeouts.min().filter(|&next| next <= until) else { break };
            self.now = self.now.max(next);
            for end in &mut self.ends {
                if end.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
        }
        self.now = until;
    }

    pub(super) fn send_stream(&mut self, side: Side, id: StreamId) -> SendStream<'_> {
        self.ends[side as usize].send_stream(self.now, id)
    }

    pub(super) fn recv_stream(&mut self, side: Side, id: StreamId) -> RecvStream<'_> {
        self.ends[side as usize].recv_stream(self.now, id)
    }

    pub(super) fn open(&mut self, side: Side, dir: Dir) -> StreamId {
        self.end(side).open(dir).expect("the connection is open").expect("the limit allows one")
    }

    pub(super) fn accept(&mut self, side: Side, dir: Dir) -> StreamId {
        self.end(side).accept(dir).expect("a stream was opened")
    }

    /// Sends all of `data` and then the end, while the other end reads. Returns what the other end
    /// has read.
    pub(super) fn send_all(&mut self, from: Side, id: StreamId, data: &[u8]) -> Vec<u8> {
        let (mut written, mut read) = (0, Vec::new());
        for _ in 0..1_000 {
            if written < data.len() {
                let stream = &mut self.send_stream(from, id);
                written += stream.write(&data[written..]).expect("the stream is open");
                if written == data.len() {
                    stream.finish().expect("the stream is open");
                }
            }
            self.drive();
            if self.read(!from, id, &mut read) == Progress::Finished {
                assert_eq!(self.send_stream(from, id).poll_end(), SendEnd::Finished);
                return read;
            }
        }
        panic!("{:?}: stuck after {} of {} bytes", self.wire, read.len(), data.len());
    }

    /// Reads everything that was received.
    pub(super) fn read(&mut self, side: Side, id: StreamId, into: &mut Vec<u8>) -> Progress {
        loop {
            match self.recv_stream(side, id).read(usize::MAX) {
                Ok(Read::Data(bytes)) => into.extend_from_slice(&bytes),
                Ok(Read::Blocked) => return Progress::Blocked,
                Ok(Read::Finished) => return Progress::Finished,
                Err(ReadError::Reset(code)) => return Progress::Reset(code.into_inner()),
                Err(error) => panic!("{:?}: {error}", self.wire),
            }
        }
    }

    /// Drops the handles of a stream at both ends.
    pub(super) fn release(&mut self, id: StreamId) {
        for end in &mut self.ends {
            end.send_stream(self.now, id).release();
            end.recv_stream(self.now, id).release();
        }
        self.drive();
    }

    pub(super) fn close(&mut self, side: Side, code: u32, reason: &'static str) {
        let now = self.now;
        self.end(side).close(now, VarInt::from_u32(code), Bytes::from_static(reason.as_bytes()));
        self.drive();
    }

    fn transmit(&mut self, from: Side) -> bool {
        let now = self.now;
        let [client, server] = &mut self.ends;
        let (end, peer) = match from {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let transmit = end.poll_transmit(now, &mut self.out);
        let sent = match transmit {
            None => None,
            Some(Outgoing::Message(message)) => {
                let message = message.to_bytes();
                assert!(message.len() as u64 <= peer.max_inbound_message());
                let mut rest = message.clone();
                let decode = || self.wire.decode(&mut rest).expect("the wire's own frames");
                let frames: Vec<_> = std::iter::from_fn(decode).collect();
                peer.handle(now, Incoming::Message(message));
                Some(Sent::Message(frames))
            }
            Some(Outgoing::Ping(payload)) => {
                peer.handle(now, Incoming::Ping);
                end.handle(now, Incoming::Pong(Bytes::copy_from_slice(&payload)));
                Some(Sent::Ping)
            }
            Some(Outgoing::Flush) => Some(Sent::Flush),
            Some(Outgoing::Close { code, reason }) => {
                peer.handle(now, Incoming::Close { code: Some(code), reason });
                Some(Sent::Close)
            }
        };
        for (end, events) in self.ends.iter_mut().zip(&mut self.events) {
            events.extend(std::iter::from_fn(|| end.poll()));
        }
        let moved = sent.is_some();
        self.sent[from as usize].extend(sent);
        moved
    }
}
