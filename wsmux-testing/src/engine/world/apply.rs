//! What the two applications do, one [`Op`] at a time.

use bytes::Bytes;
use wsmux_proto::{Connection, Dir, Side, StreamId, Wire};

use super::{MAX_STEPS, Op, World, seed, writes};
use crate::engine::{End, code, ms, pattern};

impl World {
    fn write(&mut self, side: Side, id: StreamId, len: usize, chunk: bool) {
        if !writes(id, side) {
            return;
        }
        let (ended, now) = (self.ended, self.pair.now);
        let data = pattern(seed(id, side), self.half(id, side).written as u64, len);
        // The engine keeps the chunk's memory, so that memory counts as the engine's.
        let taken = self.pair.end(side).of(|conn| match chunk {
            true => conn.send_stream(now, id).write_chunk(&mut Bytes::from(data.clone())),
            false => conn.send_stream(now, id).write(&data),
        });
        let half = self.half(id, side);
        match taken {
            Ok(taken) => {
                assert!(!half.finished && !half.given_up, "{id} takes bytes behind its end");
                half.written += taken;
            }
            Err(_) if ended => {}
            Err(_) => assert!(half.finished || half.given_up || half.stopped, "{id} refused bytes"),
        }
    }

    pub(super) fn read(&mut self, side: Side, id: StreamId, max: usize) {
        if !writes(id, !side) {
            return;
        }
        let (ended, refuses) = (self.ended, self.refuses);
        let (data, end) = self.pair.end(side).read_up_to(id, max);
        let half = self.half(id, !side);
        assert!(
            data == pattern(seed(id, !side), half.read as u64, data.len()),
            "{id}: other bytes than were written, from {}",
            half.read
        );
        half.read += data.len();
        assert!(half.read <= half.written, "{id}: more than was written");
        match end {
            End::Open => {}
            End::Fin => {
                assert!(half.finished && !half.given_up, "{id}: an end that nobody made");
                assert_eq!(half.read, half.written, "{id}: a clean end before all bytes");
                half.end = Some(end);
            }
            End::Reset(_) => {
                assert!(half.given_up || refuses, "{id}: a reset that nobody made");
                let reliable = half.reliable.min(half.written);
                assert!(half.read >= reliable, "{id}: {} bytes before the reset", half.read);
                half.end = Some(end);
            }
            End::Closed => {
                assert!(half.stopped || half.end.is_some(), "{id}: no reason to be closed")
            }
            End::Lost if ended => half.end = Some(end),
            End::Lost => panic!("{id}: {:?}", self.pair.end(side).conn.close_reason()),
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open(side, dir) => {
                if let Ok(Some(id)) = self.pair.end(side).of(|conn| conn.open(dir)) {
                    self.hold(side, id);
                }
            }
            Op::Accept(side) => self.accept(side),
            Op::Pipe(side, width) => {
                let end = self.pair.end(side);
                end.stalled = width.is_none();
                end.capacity = width;
            }
            Op::Steps(count) => {
                for _ in 0..count {
                    self.pair.step();
                    self.observe();
                }
            }
            Op::Pass(milliseconds) => {
                let until = self.pair.now + ms(milliseconds);
                let mut steps = 0;
                while self.pair.step_until(until) {
                    self.observe();
                    steps += 1;
                    assert!(steps < MAX_STEPS, "the two never come to rest");
                }
            }
            Op::Window(side, bytes) => {
                self.largest_window = self.largest_window.max(bytes);
                self.pair.end(side).of(|conn| conn.set_stream_receive_window(bytes));
            }
            // On js-ws, streams above the limit would wait or be refused. This model does not cover
            // that, but the tests of the engine in `limits.rs` and `waiting.rs` do.
            Op::Limit(..) if self.pair.wire == Wire::JsWs => {}
            Op::Limit(side, count) => {
                for dir in [Dir::Bi, Dir::Uni] {
                    self.pair.end(side).of(|conn| conn.set_max_concurrent(dir, count));
                }
            }
            Op::Datagram(side, len) => {
                let sent = |conn: &mut Connection| conn.send_datagram(vec![1; len].into()).is_ok();
                self.pair.end(side).of(sent);
                while self.pair.end(!side).of(|conn| conn.read_datagram().is_some()) {}
            }
            Op::Write(side, nth, _)
            | Op::WriteChunk(side, nth, _)
            | Op::Read(side, nth, _)
            | Op::Finish(side, nth)
            | Op::Reset(side, nth)
            | Op::Stop(side, nth)
            | Op::Priority(side, nth, _)
            | Op::DropSender(side, nth)
            | Op::DropReceiver(side, nth)
            | Op::Announce(side, nth)
            | Op::ResetAt(side, nth, _) => {
                if let Some(id) = self.pick(side, nth) {
                    self.apply_to(op, side, id);
                }
            }
        }
        self.observe();
    }

    pub(super) fn apply_to(&mut self, op: &Op, side: Side, id: StreamId) {
        let (sends, receives) = (writes(id, side), writes(id, !side));
        let now = self.pair.now;
        match *op {
            Op::Write(_, _, len) => self.write(side, id, len, false),
            Op::WriteChunk(_, _, len) => {
                self.largest_chunk = self.largest_chunk.max(len);
                self.write(side, id, len, true);
            }
            Op::Read(_, _, max) => self.read(side, id, max),
            Op::Finish(..) if sends => {
                let done =
                    self.pair.end(side).of(|conn| conn.send_stream(now, id).finish().is_ok());
                self.half(id, side).finished |= done;
            }
            Op::Reset(..) if sends => {
                let end = self.pair.end(side);
                let done = end.of(|conn| conn.send_stream(now, id).reset(code(1)).is_ok());
                let half = self.half(id, side);
                half.given_up |= done;
                half.reliable = if done { 0 } else { half.reliable };
            }
            Op::ResetAt(_, _, reliable) if sends => {
                let reset =
                    |conn: &mut Connection| conn.send_stream(now, id).reset_at(code(1), reliable);
                if self.pair.end(side).of(reset).is_ok() {
                    let half = self.half(id, side);
                    half.given_up = true;
                    half.reliable = reliable as usize;
                }
            }
            Op::DropSender(..) if sends => {
                self.pair.end(side).of(|conn| conn.send_stream(now, id).release());
                let half = self.half(id, side);
                half.given_up |= !half.finished;
            }
            Op::Stop(..) if receives => {
                let end = self.pair.end(side);
                let done = end.of(|conn| conn.recv_stream(now, id).stop(code(2)).is_ok());
                self.half(id, !side).stopped |= done;
            }
            Op::DropReceiver(..) if receives => {
                self.pair.end(side).of(|conn| conn.recv_stream(now, id).release());
                self.half(id, !side).stopped = true;
            }
            Op::Priority(_, _, priority) => {
                let end = self.pair.end(side);
                let _ = end.of(|conn| conn.send_stream(now, id).set_priority(priority));
            }
            Op::Announce(..) if sends => {
                self.pair.end(side).of(|conn| conn.send_stream(now, id).announce());
            }
            _ => {}
        }
    }

    pub(super) fn accept(&mut self, side: Side) {
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = self.pair.end(side).of(|conn| conn.accept(dir)) {
                assert_eq!(id.initiator(), !side);
                self.hold(side, id);
            }
        }
    }
}
