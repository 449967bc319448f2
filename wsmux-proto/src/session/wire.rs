//! What a session puts on the wire: two private transport parameters and two private frames.
//!
//! The number of each parameter and frame is the start of the SHA-256 of a text, so it is as good
//! as random (RFC 9000 §22.1.2). The text stands in the comment above the number. No number has the
//! form 31 * N + 27, which is reserved for parameters without a meaning (RFC 9000 §18.1).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use super::keys::{ID_LEN, PROOF_LEN, Proof, Prover, SECRET_LEN, SessionId, SessionKeys};
use crate::{
    MessageBuf, QMuxVersion, Side, TransportError, VarInt,
    config::{Config, MIN_REPLAY_BUDGET},
    transport_error::violation,
};

/// The transport parameter that offers resumption: `wsmux session parameter`.
const SESSION: u64 = 0x29ac_e57f_4e2d_b89d;

/// The transport parameter that asks to resume a session: `wsmux resume parameter`.
const RESUME: u64 = 0x19b7_d1ae_caaa_fe0c;

/// The frame that acknowledges messages: `wsmux SESSION_ACK frame`.
const SESSION_ACK: u64 = 0x0949_50dd_8be4_aa2a;

/// The frame that answers a request: `wsmux SESSION_RESUMED frame`.
const SESSION_RESUMED: u64 = 0x2bcb_da4e_a5da_429d;

/// The longest SESSION_ACK frame, in bytes: its type and its count.
pub(super) const MAX_ACK: usize = 8 + 8;

/// What an end declares about the sessions that it can resume.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// How long the end waits for a new socket.
    pub(super) timeout: Duration,
    /// How many bytes of sent messages the end keeps.
    pub(super) budget: u64,
    /// The session's keys, which only the server sends.
    pub(super) keys: Option<SessionKeys>,
}

impl Offer {
    /// Returns the offer of an end with these settings. Returns `None` if the settings turn
    /// resumption off.
    pub(super) fn of(config: &Config, keys: Option<SessionKeys>) -> Option<Self> {
        let timeout = config.resume_timeout?;
        Some(Self { timeout, budget: config.replay_budget, keys })
    }

    /// Returns the transport parameter, encoded.
    pub(super) fn encode(&self) -> Bytes {
        let mut value = Vec::with_capacity(2 * 8 + ID_LEN + SECRET_LEN);
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        VarInt::saturating(timeout).encode(&mut value);
        VarInt::saturating(self.budget).encode(&mut value);
        //
        if let Some(keys) = &self.keys {
            value.extend_from_slice(&keys.id.0);
            value.extend_from_slice(&keys.secret);
        }
        parameter(SESSION, &value).into()
    }

    /// Decodes the value of the transport parameter that `sender` has sent. Ignores what follows
    /// the known fields, so that a later version can add fields.
    fn decode(mut value: Bytes, sender: Side) -> Option<Self> {
        let timeout = Duration::from_millis(VarInt::decode(&mut value)?.into_inner());
        let budget = VarInt::decode(&mut value)?.into_inner();
        let keys = match sender {
            Side::Client => None,
            Side::Server => {
                Some(SessionKeys { id: SessionId(take(&mut value)?), secret: take(&mut value)? })
            }
        };
        (budget >= MIN_REPLAY_BUDGET).then_some(Self { timeout, budget, keys })
    }
}

/// A client's request to continue a connection on a new socket. The first message that the client
/// sends on that socket contains the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRequest {
    pub(super) id: SessionId,
    /// The number of the attempt, which rises with each request of the session.
    pub(super) attempt: u64,
    /// How many messages the client has received.
    pub(super) received: u64,
    pub(super) proof: Proof,
}

impl ResumeRequest {
    /// Returns the request in the first message of a new connection; `None` if the message does not
    /// consist of a valid request. A server calls this before any [`Session`](crate::Session)
    /// handles the message. If this returns `None`, the server passes the message to a new session.
    /// The session begins an ordinary connection, or refuses the message if it contains a request
    /// and something else.
    pub fn from_first_message(message: &Bytes) -> Option<Self> {
        let (mut body, rest) = parameters(message)?;
        let (id, value) = next_parameter(&mut body)?;
        //
        let is_alone = body.is_empty() && rest.is_empty();
        Self::decode(value).filter(|_| id == RESUME && is_alone)
    }

    /// Returns the id of the session that the client asks for.
    pub fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn new(keys: &SessionKeys, attempt: u64, received: u64) -> Self {
        let proof = keys.proof(Prover::Client, attempt, received);
        Self { id: keys.id, attempt, received, proof }
    }

    /// Writes the first message of a client on a new socket.
    pub(super) fn encode(&self, version: QMuxVersion, out: &mut MessageBuf) {
        let mut value = Vec::with_capacity(ID_LEN + 2 * 8 + PROOF_LEN);
        value.extend_from_slice(&self.id.0);
        VarInt::saturating(self.attempt).encode(&mut value);
        VarInt::saturating(self.received).encode(&mut value);
        value.extend_from_slice(&self.proof);
        // No other parameter follows, so the message permits no streams. If a server that
        // does not know sessions takes this message for the start of a new connection, the server
        // can open no stream.
        let body = parameter(RESUME, &value);
        out.clear();
        out.begin_frame();
        out.put(|out| {
            VarInt::saturating(version.parameters).encode(out);
            VarInt::saturating(body.len() as u64).encode(out);
            out.extend_from_slice(&body);
        });
    }

    fn decode(mut value: Bytes) -> Option<Self> {
        let id = SessionId(take(&mut value)?);
        let attempt = VarInt::decode(&mut value)?.into_inner();
        let received = VarInt::decode(&mut value)?.into_inner();
        let proof = take(&mut value)?;
        value.is_empty().then_some(Self { id, attempt, received, proof })
    }
}

/// The private transport parameters in the first message of an end.
#[derive(Debug, Default)]
pub(super) struct FirstMessage {
    pub(super) offer: Option<Offer>,
    pub(super) request: Option<ResumeRequest>,
}

impl FirstMessage {
    /// Returns the private parameters in the first message of `sender`. If another part of the
    /// message is malformed, returns the private parameters before that part. The engine then
    /// reports the fault.
    ///
    /// # Errors
    /// A [`TransportError`] if one of the two parameters is malformed or appears twice.
    pub(super) fn decode(message: &Bytes, sender: Side) -> Result<Self, TransportError> {
        let mut first = Self::default();
        let Some((mut body, _)) = parameters(message) else { return Ok(first) };
        while let Some((id, value)) = next_parameter(&mut body) {
            let is_valid = match id {
                SESSION if first.offer.is_none() => {
                    first.offer = Offer::decode(value, sender);
                    first.offer.is_some()
                }
                RESUME if first.request.is_none() => {
                    first.request = ResumeRequest::decode(value);
                    first.request.is_some()
                }
                id => id != SESSION && id != RESUME,
            };
            //
            if !is_valid {
                return Err(violation::transport_parameter("a parameter of sessions is malformed"));
            }
        }
        Ok(first)
    }

    /// Whether a message begins with transport parameters.
    pub(super) fn is_valid(message: &Bytes) -> bool {
        parameters(message).is_some()
    }
}

/// The server's answer to a [`ResumeRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// How many messages the server has received.
    pub(super) received: u64,
    pub(super) proof: Proof,
}

impl Answer {
    pub(super) fn new(keys: &SessionKeys, attempt: u64, received: u64) -> Self {
        Self { received, proof: keys.proof(Prover::Server, attempt, received) }
    }

    /// Writes a message that contains only the answer.
    pub(super) fn encode(&self, out: &mut MessageBuf) {
        out.clear();
        out.begin_frame();
        out.put(|out| {
            VarInt::saturating(SESSION_RESUMED).encode(out);
            VarInt::saturating(self.received).encode(out);
            out.extend_from_slice(&self.proof);
        });
    }

    /// Decodes a message that contains only an answer; `None` if it contains anything else.
    pub(super) fn decode(mut message: Bytes) -> Option<Self> {
        if VarInt::decode(&mut message)?.into_inner() != SESSION_RESUMED {
            return None;
        }
        let received = VarInt::decode(&mut message)?.into_inner();
        let proof = take(&mut message)?;
        message.is_empty().then_some(Self { received, proof })
    }
}

/// A frame of a session, as a log shows it. It can only be the first frame of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionFrame {
    /// SESSION_ACK.
    #[non_exhaustive]
    Ack {
        /// How many messages the sender has received.
        received: u64,
    },
    /// SESSION_RESUMED.
    #[non_exhaustive]
    Resumed {
        /// How many messages the server has received.
        received: u64,
    },
}

impl SessionFrame {
    /// If the message begins with a frame of a session, removes this frame and returns it. If the
    /// message begins with another frame, or if the frame is malformed, returns `None` and leaves
    /// the message unchanged.
    pub fn take_from(message: &mut Bytes) -> Option<Self> {
        let mut rest = message.clone();
        if let Some(received) = take_ack(&mut rest).ok()? {
            *message = rest;
            return Some(Self::Ack { received });
        }
        let Answer { received, .. } = Answer::decode(rest)?;
        message.clear();
        Some(Self::Resumed { received })
    }
}

/// If the message begins with a SESSION_ACK frame, removes this frame and returns its count.
/// Returns `None` if the message begins with another frame.
///
/// # Errors
/// A [`TransportError`] if the frame is cut short.
pub(super) fn take_ack(message: &mut Bytes) -> Result<Option<u64>, TransportError> {
    const TYPE: [u8; 8] = (SESSION_ACK | 0b11 << 62).to_be_bytes();
    if !message.starts_with(&TYPE) {
        return Ok(None);
    }
    message.advance(TYPE.len());
    match VarInt::decode(message) {
        Some(count) => Ok(Some(count.into_inner())),
        None => Err(violation::frame_encoding("SESSION_ACK is cut short")),
    }
}

/// Writes a SESSION_ACK frame.
pub(super) fn put_ack(count: u64, out: &mut Vec<u8>) {
    VarInt::saturating(SESSION_ACK).encode(out);
    VarInt::saturating(count).encode(out);
}

/// The error of a SESSION_ACK whose count is impossible.
pub(super) fn bad_ack() -> TransportError {
    let frame = Some(VarInt::saturating(SESSION_ACK));
    let error = violation::protocol("SESSION_ACK with an impossible count");
    TransportError { frame, ..error }
}

fn parameter(id: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * 8 + value.len());
    VarInt::saturating(id).encode(&mut out);
    VarInt::saturating(value.len() as u64).encode(&mut out);
    out.put_slice(value);
    out
}

/// If the message begins with a QX_TRANSPORT_PARAMETERS frame, returns the body of this frame and
/// the bytes after the frame.
fn parameters(message: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut message = message.clone();
    let kind = VarInt::decode(&mut message)?.into_inner();
    let len = usize::try_from(VarInt::decode(&mut message)?.into_inner()).ok()?;
    let is_known = QMuxVersion::ALL.iter().any(|version| version.parameters == kind);
    (is_known && len <= message.len()).then(|| (message.split_to(len), message))
}

fn next_parameter(body: &mut Bytes) -> Option<(u64, Bytes)> {
    let id = VarInt::decode(body)?.into_inner();
    let len = usize::try_from(VarInt::decode(body)?.into_inner()).ok()?;
    (len <= body.len()).then(|| (id, body.split_to(len)))
}

/// Removes an array from the front of a value.
fn take<const N: usize>(value: &mut Bytes) -> Option<[u8; N]> {
    let array = *value.first_chunk::<N>()?;
    value.advance(N);
    Some(array)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_values_are_the_hashes_that_the_specification_says() {
        for (value, input) in [
            (SESSION, "wsmux session parameter"),
            (RESUME, "wsmux resume parameter"),
            (SESSION_ACK, "wsmux SESSION_ACK frame"),
            (SESSION_RESUMED, "wsmux SESSION_RESUMED frame"),
        ] {
            let hash = Sha256::digest(input);
            let start = u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"));
            assert_eq!(value, start & VarInt::MAX.into_inner(), "{input}");
            assert_ne!(value % 31, 27, "reserved (RFC 9000 §18.1)");
            assert_eq!(VarInt::saturating(value).size(), 8);
        }
    }
}
