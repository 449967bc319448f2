//! A peer that is not a connection of ours. The tests write the peer's messages byte by byte.

use std::future::poll_fn;

use ::bytes::{BufMut, Bytes};
use wsmux::{
    Config, Side, StreamId, VarInt, Wire,
    proto::{self, Frame, MessageBuf},
    socket::{Incoming, MemorySocket, Socket},
};

pub(crate) struct RawPeer {
    pub(crate) socket: MemorySocket,
    pub(crate) wire: Wire,
}

impl RawPeer {
    /// Returns a peer. If the wire has transport parameters, the peer has sent its parameters.
    pub(crate) fn new(mut socket: MemorySocket, side: Side, wire: Wire) -> Self {
        if let Some(hello) = hello(side, wire) {
            socket.inject(Incoming::Message(hello));
        }
        Self { socket, wire }
    }

    pub(crate) fn send(&mut self, message: impl Into<Bytes>) {
        self.socket.inject(Incoming::Message(message.into()));
    }

    /// Returns the next item, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        poll_fn(|cx| {
            let _ = self.socket.poll_flush(cx);
            self.socket.poll_recv(cx)
        })
        .await
        .ok()
    }

    /// Returns all frames before the WebSocket Close, and the code of the Close.
    pub(crate) async fn until_close(&mut self) -> (Vec<Frame>, Option<u16>) {
        let mut frames = Vec::new();
        loop {
            match self.next().await.expect("a Close comes") {
                Incoming::Message(message) => frames.extend(decode(self.wire, message)),
                Incoming::Close { code, .. } => return (frames, code),
                _ => {}
            }
        }
    }
}

pub(crate) fn decode(wire: Wire, mut message: Bytes) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = wire.decode(&mut message).expect("it is of the wire") {
        frames.push(frame);
    }
    frames
}

/// Returns the transport parameters of a peer with default settings, or `None` on a wire without
/// transport parameters.
pub(crate) fn hello(side: Side, wire: Wire) -> Option<Bytes> {
    // If windows could grow, this peer would send a ping, and the tests would receive the answer of
    // the other end.
    let config = Config::default().window_growth_budget(0).clone();
    let mut engine = proto::Connection::new(config, side, wire, proto::Time::EPOCH);
    let mut message = MessageBuf::new();
    engine.poll_transmit(proto::Time::EPOCH, &mut message)?;
    Some(message.to_bytes())
}

fn varint(out: &mut Vec<u8>, value: u64) {
    VarInt::from_u64(value).expect("it is small").encode(out);
}

/// Returns the stream's id as js-ws encodes it, which has no bit for the direction.
fn jsws_id(id: StreamId) -> u64 {
    id.index() << 1 | u64::from(id.initiator() == Side::Server)
}

/// Returns the messages that open a stream and carry `data`. On js-ws the first of these messages
/// is a grant.
pub(crate) fn opening_data(wire: Wire, id: StreamId, data: &[u8]) -> Vec<Bytes> {
    let mut out = Vec::new();
    match wire {
        Wire::QMux => {
            out.put_u8(0x0a);
            varint(&mut out, id.into_inner());
            varint(&mut out, data.len() as u64);
            out.put_slice(data);
            vec![out.into()]
        }
        _ => {
            let mut ack = Vec::new();
            varint(&mut ack, jsws_id(id));
            ack.put_u16(1);
            ack.put_u32(1024 * 1024);
            varint(&mut out, jsws_id(id));
            out.put_u16(0);
            out.put_slice(data);
            vec![ack.into(), out.into()]
        }
    }
}
