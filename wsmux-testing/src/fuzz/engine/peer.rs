//! The peer, which sends any bytes and any frames.

use bytes::{Bytes, BytesMut};
use wsmux_proto::{
    Close, Credit, Dir, Frame, Incoming, SocketError, StreamId, TransportErrorCode,
    TransportParameters, VarInt, Wire,
};

use super::{Case, MAX, MAX_COUNT, SIZES, varint};
use crate::{
    engine::{encode, ms, scripted_peer::generous},
    fuzz::input::Input,
};

impl Case {
    pub(super) fn message(&mut self, message: Vec<u8>) {
        // The message counts as the engine's memory, as a message from a socket does. Its block may
        // be up to twice as large as the message (C-72), so this function uses a block of twice the
        // size.
        self.heap.of(|| {
            let mut block = BytesMut::with_capacity(2 * message.len());
            block.extend_from_slice(&message);
            self.conn.handle(self.now, Incoming::Message(block.split().freeze()));
        });
        self.last_message = message;
    }

    pub(super) fn say(&mut self, frames: &[Frame]) {
        let encoded = frames.iter().map(|frame| encode::encode(self.wire, frame, false));
        if self.wire.capabilities().messages.are_records() {
            self.message(encoded.flatten().collect());
        } else {
            encoded.collect::<Vec<_>>().into_iter().for_each(|message| self.message(message));
        }
    }

    /// Returns a stream id. Most of the ids are from a small set, so that the same ids occur again
    /// and again.
    fn stream_id(&self, input: &mut Input<'_>) -> StreamId {
        let initiator = input.pick(&[!self.side, !self.side, self.side]);
        let uni = self.wire == Wire::QMux && input.below(4) == 0;
        let index = match input.below(12) {
            11 => input.between(0, MAX_COUNT - 1),
            few => few as u64 % 6,
        };
        StreamId::new(initiator, if uni { Dir::Uni } else { Dir::Bi }, index)
    }

    /// Returns the offset of the peer's next byte on the stream, and now and then a wrong offset.
    fn offset(&self, id: StreamId, input: &mut Input<'_>) -> u64 {
        let sent = self.sent.get(&id).copied().unwrap_or(0);
        let offset = match input.below(16) {
            13 => sent + 1,
            14 => sent.saturating_sub(1),
            15 => input.between(0, MAX),
            _ => sent,
        };
        // An offset above the largest integer cannot be encoded.
        offset.min(MAX)
    }

    pub(super) fn frame(&mut self, input: &mut Input<'_>) -> Frame {
        let id = self.stream_id(input);
        let qmux = self.wire == Wire::QMux;
        match input.below(if qmux { 22 } else { 14 }) {
            0..6 => {
                let (offset, fin) = (self.offset(id, input), input.below(8) == 0);
                // On js-ws a message has either data or an end.
                let len = if fin && !qmux { 0 } else { data_len(input) };
                self.sent.insert(id, offset + len as u64);
                let data = Bytes::from(vec![7; len]);
                Frame::Stream { id, offset: qmux.then_some(offset), data, fin }
            }
            6 | 7 => Frame::MaxStreamData {
                id,
                credit: match qmux {
                    true => Credit::Total(number(input)),
                    false => Credit::More(number(input).min(u32::MAX.into())),
                },
            },
            8 | 9 => Frame::StopSending { id, code: varint(number(input)) },
            10 | 11 => {
                let final_size = self.offset(id, input);
                let at = qmux && input.flag();
                let reliable_size = if at { number(input).min(final_size) } else { 0 };
                let final_size = qmux.then_some(final_size);
                Frame::ResetStream { id, code: varint(number(input)), final_size, reliable_size }
            }
            12 if qmux => Frame::StreamDataBlocked { id, limit: number(input) },
            12 | 13 if !qmux => Frame::FinReceived { id },
            13 => Frame::Padding(1 + input.below(300)),
            14 => Frame::MaxData(number(input)),
            15 => Frame::MaxStreams { dir: id.dir(), count: count(input) },
            16 => Frame::StreamsBlocked { dir: id.dir(), limit: count(input) },
            17 => Frame::DataBlocked(number(input)),
            18 => Frame::Ping(varint(number(input))),
            19 => Frame::Pong(varint(number(input))),
            20 => Frame::Datagram(vec![1; data_len(input)].into()),
            _ if input.below(4) > 0 => Frame::Padding(1),
            _ if input.below(4) == 0 => Frame::GoingAway,
            _ if input.flag() => Frame::TransportParameters(parameters(input)),
            _ => Frame::ConnectionClose(Close::Transport {
                code: TransportErrorCode::NO_ERROR,
                frame: VarInt::default(),
                reason: Bytes::copy_from_slice(input.bytes(40)),
            }),
        }
    }

    /// Opens and cancels streams one after another, without regard to the stream limit.
    pub(super) fn flood(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.pick(&[1, 100, 50_000]) {
            if self.conn.close_reason().is_some() {
                return;
            }
            let id = StreamId::new(!self.side, Dir::Bi, self.flooded);
            self.flooded += 1;
            let (code, qmux) = (VarInt::default(), self.wire == Wire::QMux);
            let open = match qmux {
                true => Frame::Stream { id, offset: Some(0), data: Bytes::new(), fin: false },
                false => Frame::MaxStreamData { id, credit: Credit::More(9) },
            };
            let final_size = qmux.then_some(0);
            let reset = Frame::ResetStream { id, code, final_size, reliable_size: 0 };
            self.say(&[open, reset, Frame::StopSending { id, code }]);
        }
    }

    /// Sends pieces of two alternating sizes on one stream, as far as there is credit. The
    /// application reads some of the pieces.
    pub(super) fn pieces(&mut self, input: &mut Input<'_>) {
        let id = StreamId::new(!self.side, Dir::Bi, input.below(3) as u64);
        let sizes = [input.pick(&SIZES), input.pick(&SIZES)];
        let (rounds, padding) = (input.below(80), input.pick(&[0, 1, 5_000]));
        let (read_every, read) = (1 + input.below(40), input.pick(&SIZES));
        let qmux = self.wire == Wire::QMux;
        for round in 0..rounds {
            let (len, offset) = (sizes[round % 2], self.sent.get(&id).copied().unwrap_or(0));
            let Ok(stats) = self.conn.recv_stream(self.now, id).stats() else { return };
            if stats.credit < len as u64 || stats.received != offset {
                return;
            }
            self.sent.insert(id, offset + len as u64);
            let data = Bytes::from(vec![7; len]);
            let frame = Frame::Stream { id, offset: qmux.then_some(offset), data, fin: false };
            match qmux && padding > 0 {
                true => self.say(&[frame, Frame::Padding(padding.min(2 * len))]),
                false => self.say(&[frame]),
            }
            if round % read_every == read_every - 1 {
                self.heap.of(|| drop(self.conn.recv_stream(self.now, id).read(read)));
            }
            self.check();
        }
    }

    pub(super) fn peer_socket(&mut self, input: &mut Input<'_>) {
        let what = input.below(60);
        let (conn, now) = (&mut self.conn, self.now);
        self.heap.of(|| match what {
            0..20 => conn.handle(now, Incoming::Ping),
            20..40 => {
                conn.handle(now, Incoming::Pong((what as u64 - 20).to_be_bytes().to_vec().into()))
            }
            40..45 => conn.handle(now, Incoming::Pong(b"unasked".to_vec().into())),
            45..50 => conn.handle_socket_full(now),
            50 => conn.handle(now, Incoming::Text),
            51 => conn.handle(now, Incoming::TooLarge),
            52 => conn.handle(now, Incoming::ProtocolError("what is this".into())),
            53 => conn.handle(now, Incoming::Close { code: Some(4_005), reason: "enough".into() }),
            54 => conn.handle(now, Incoming::Close { code: None, reason: String::new() }),
            55 => conn.handle_socket_end(now, SocketError::Eof),
            _ => {}
        });
    }
}

fn number(input: &mut Input<'_>) -> u64 {
    match input.below(8) {
        0 => 0,
        1 => 1,
        2 => MAX,
        3 => 1 << 32,
        4 => input.between(0, MAX),
        _ => input.between(0, 50_000),
    }
}

/// Returns a count within the limit of RFC 9000 §19.11. A larger count would be an error at once,
/// so the later checks of the engine would not be reached.
fn count(input: &mut Input<'_>) -> u64 {
    number(input).min(MAX_COUNT)
}

fn data_len(input: &mut Input<'_>) -> usize {
    match input.below(4) {
        0 => input.below(3),
        1 => input.below(16_000),
        _ => input.below(600),
    }
}

pub(super) fn parameters(input: &mut Input<'_>) -> TransportParameters {
    if input.flag() {
        return generous();
    }
    let mut limits = TransportParameters::default();
    limits.max_idle_timeout = ms(number(input));
    limits.initial_max_data = number(input);
    limits.initial_max_stream_data_bidi_local = number(input);
    limits.initial_max_stream_data_bidi_remote = number(input);
    limits.initial_max_stream_data_uni = number(input);
    limits.initial_max_streams_bidi = count(input);
    limits.initial_max_streams_uni = count(input);
    limits.max_datagram_frame_size = number(input);
    limits.max_record_size = number(input).max(16_382);
    limits.reset_stream_at = input.flag();
    limits.going_away = input.flag();
    limits
}
