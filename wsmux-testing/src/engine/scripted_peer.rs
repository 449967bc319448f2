//! One engine, and a peer whose frames a test writes by hand.

use bytes::Bytes;
use wsmux_proto::{
    Close, Config, Connection, ConnectionError, Event, Frame, Incoming, MessageBuf, Outgoing, Side,
    Time, TransportErrorCode, TransportParameters, Wire,
};

use super::encode::encode;

/// What the engine sent: either the frames of a message, or an item that is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Frames(Vec<Frame>),
    Ping([u8; 8]),
    Close { code: u16, reason: String },
}

/// The engine, and the functions with which a test plays its peer.
pub struct ScriptedPeer {
    pub conn: Connection,
    pub now: Time,
    pub wire: Wire,
    out: MessageBuf,
}

impl ScriptedPeer {
    /// Returns an engine that has just been started on the given side.
    pub fn fresh(wire: Wire, side: Side, config: &Config) -> Self {
        let conn = Connection::new(config.clone(), side, wire, Time::EPOCH);
        Self { conn, now: Time::EPOCH, wire, out: MessageBuf::new() }
    }

    /// Returns an engine whose handshake is complete and whose peer has declared generous limits.
    pub fn new(wire: Wire, side: Side, config: &Config) -> Self {
        Self::with_parameters(wire, side, config, generous())
    }

    pub fn with_parameters(
        wire: Wire,
        side: Side,
        config: &Config,
        parameters: TransportParameters,
    ) -> Self {
        let mut peer = Self::fresh(wire, side, config);
        if wire == Wire::QMux {
            peer.send(&[Frame::TransportParameters(parameters)]);
            assert!(matches!(peer.said()[..], [Said::Frames(_)]), "our parameters");
        }
        assert!(peer.conn.is_established());
        peer
    }

    /// Sends one message with these bytes to the engine.
    pub fn send_bytes(&mut self, message: impl Into<Bytes>) {
        self.conn.handle(self.now, Incoming::Message(message.into()));
    }

    /// Sends these frames to the engine, in one message where the wire permits it.
    pub fn send(&mut self, frames: &[Frame]) {
        let frames = frames.iter().map(|frame| encode(self.wire, frame, false));
        if self.wire.capabilities().messages.are_records() {
            let message: Vec<_> = frames.flatten().collect();
            self.conn.handle(self.now, Incoming::Message(message.into()));
        } else {
            frames.for_each(|frame| self.conn.handle(self.now, Incoming::Message(frame.into())));
        }
    }

    /// Returns the next item that the engine sends.
    pub fn said_next(&mut self) -> Option<Said> {
        loop {
            return Some(match self.conn.poll_transmit(self.now, &mut self.out)? {
                Outgoing::Message(message) => Said::Frames(decode(self.wire, message.to_bytes())),
                Outgoing::Ping(payload) => Said::Ping(payload),
                Outgoing::Close { code, reason } => Said::Close { code, reason },
                // A flush has an effect only on a real socket.
                _ => continue,
            });
        }
    }

    /// Returns the bytes of the next message that the engine sends.
    pub fn said_bytes(&mut self) -> Option<Bytes> {
        self.said_next().map(|said| match said {
            Said::Frames(_) => self.out.to_bytes(),
            other => panic!("{other:?} is no message"),
        })
    }

    /// Returns the length of the last message that the engine sent.
    pub fn last_len(&self) -> usize {
        self.out.len()
    }

    /// Returns all items that the engine has to send.
    pub fn said(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.said_next()).collect()
    }

    /// Returns the frames of all messages that the engine has to send. Fails if the engine sends
    /// anything else.
    pub fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for said in self.said() {
            match said {
                Said::Frames(more) => frames.extend(more),
                other => panic!("{other:?} is no frame"),
            }
        }
        frames
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.conn.poll()).collect()
    }

    /// Asserts that the connection is established and has not been closed.
    pub fn assert_open(&self, what: &str) {
        assert!(self.conn.is_established(), "{what}: {:?}", self.conn.close_reason());
    }

    /// Asserts that the engine closed with this error. The engine must have reported the error in
    /// the WebSocket Close and, if the wire has such a frame, in a CONNECTION_CLOSE. Returns the
    /// frame type that the engine named.
    pub fn assert_violation(
        &mut self,
        what: &str,
        code: TransportErrorCode,
        websocket: u16,
    ) -> u64 {
        let mut blamed = 0;
        let reason = self.conn.close_reason().cloned();
        let Some(reason) = reason else { panic!("{what}: the connection lives") };
        if let ConnectionError::TransportError(error) = &reason {
            assert_eq!(error.code, code, "{what}: {error}");
        }
        let mut said = self.said();
        let Some(Said::Close { code: sent, reason }) = said.pop() else {
            panic!("{what}: no Close")
        };
        assert_eq!(sent, websocket, "{what}: {reason}");
        assert!(reason.starts_with(&code.to_string()), "{what}: {reason}");
        if self.wire.capabilities().close.is_frame() {
            let Some(Said::Frames(frames)) = said.pop() else { panic!("{what}: no frame") };
            match &frames[..] {
                [Frame::ConnectionClose(Close::Transport { code: sent, frame, .. })] => {
                    assert_eq!(*sent, code, "{what}");
                    blamed = frame.into_inner();
                }
                frames => panic!("{what}: {frames:?}"),
            }
        }
        assert_eq!(self.said(), [], "{what}: the Close is the last");
        blamed
    }
}

/// Decodes all frames of a message. Fails if the engine sent something that cannot be decoded.
pub fn decode(wire: Wire, mut message: Bytes) -> Vec<Frame> {
    std::iter::from_fn(|| wire.decode(&mut message).expect("the engine speaks its wire")).collect()
}

/// Returns limits that no test reaches.
pub fn generous() -> TransportParameters {
    let mut limits = TransportParameters::default();
    limits.initial_max_data = 1 << 40;
    limits.initial_max_stream_data_bidi_local = 1 << 30;
    limits.initial_max_stream_data_bidi_remote = 1 << 30;
    limits.initial_max_stream_data_uni = 1 << 30;
    limits.initial_max_streams_bidi = 1 << 20;
    limits.initial_max_streams_uni = 1 << 20;
    limits.max_datagram_frame_size = 65_536;
    limits.max_record_size = 65_536;
    limits
}

/// Returns the limits of [`generous`] with the changes that `set` makes.
pub fn generous_but(set: impl FnOnce(&mut TransportParameters)) -> TransportParameters {
    let mut limits = generous();
    set(&mut limits);
    limits
}
