//! The checks of what must hold after each step.

use std::collections::BTreeMap;

use wsmux_proto::{Credit, Frame, Side, StreamId, Time, Wire};

use super::{DATAGRAMS, Half, World};
use crate::engine::{CLIENT, Item, SERVER, encode, scripted_peer};

/// Bounds, in bytes, of the state of a stream and of a connection while no message is handled.
/// SPEC.md §10 allows more for both.
const STREAM_STATE: u64 = 1024;
const CONNECTION_STATE: u64 = 8 * 1024;

impl World {
    /// Checks that everything that was sent since the previous call was allowed. Also checks how
    /// much memory each engine holds.
    pub(super) fn observe(&mut self) {
        for side in [CLIENT, SERVER] {
            for item in self.pair.end(side).take_sent() {
                let Item::Message(message) = item else { panic!("{item:?}") };
                let frames = scripted_peer::decode(self.pair.wire, message.clone());
                assert_is_canonical(self.pair.wire, &frames, &message);
                frames.iter().for_each(|frame| self.account(side, frame));
            }
            self.pair.end(side).take_events();
            let conn = &self.pair.end(side).conn;
            assert!(conn.close_reason().is_none(), "{:?}", conn.close_reason());
            let stats = conn.stats(Time::EPOCH);
            self.check_growth(side, stats.window_growth);
            self.check_memory(side);
            // Chunks are accepted as a whole, so the last chunk may exceed the limit of the send
            // buffer.
            let most = stats.live_streams * (self.send_buffer + self.largest_chunk) as u64;
            assert!(stats.send_buffered <= most, "{stats:?}");
            let mine = |(key, half): (&(StreamId, Side), &Half)| {
                (key.1 == side).then_some(half.written as u64 - half.sent)
            };
            let unsent: u64 = self.halves.iter().filter_map(mine).sum();
            assert!(
                stats.send_buffered <= unsent,
                "bytes that nobody wrote, or that left: {stats:?}"
            );
        }
    }

    /// Checks the memory of a connection against SPEC.md §10, without the memory that a socket
    /// holds (C-53). The formula counts whole windows and buffers. This check is stricter for a
    /// stream that an application still holds. For such a stream it counts only the largest number
    /// of unread bytes and the largest number of unsent bytes that the stream has had (C-70).
    fn check_memory(&mut self, side: Side) {
        let most_chunk = self.largest_chunk as u64;
        let now = self.pair.now;
        let conn = &mut self.pair.end(side).conn;
        let live = conn.stats(now).live_streams;
        let (mut receive, mut send, mut seen) = (0, 0, 0);
        let peaks = std::mem::take(&mut self.peaks[side as usize]);
        let mut still = BTreeMap::new();
        for &id in &self.held[side as usize] {
            let conn = &mut self.pair.end(side).conn;
            let unread = conn.recv_stream(now, id).stats().map(|stats| stats.buffered).ok();
            let unsent = conn.send_stream(now, id).stats().map(|stats| stats.buffered).ok();
            if unread.is_none() && unsent.is_none() {
                continue;
            }
            let (received, written) = peaks.get(&id).copied().unwrap_or_default();
            let peak = (received.max(unread.unwrap_or(0)), written.max(unsent.unwrap_or(0)));
            (receive, send, seen) = (receive + peak.0, send + peak.1, seen + 1);
            still.insert(id, peak);
        }
        self.peaks[side as usize] = still;
        let hidden = live.saturating_sub(seen);
        receive += hidden * self.largest_window.max(self.max_window);
        send += hidden * (self.send_buffer as u64 + most_chunk);
        let queues = receive * 4 + send * 3 / 2 + 2 * DATAGRAMS as u64;
        let state = self.most_streams(side, live) * STREAM_STATE + CONNECTION_STATE;
        let (most, held) = (queues + state, self.pair.end(side).heap.held());
        let conn = &self.pair.end(side).conn;
        assert!(held <= most as i64, "{side:?} holds {held} of {most}: {conn:?}");
    }

    /// Returns the largest number of live streams so far. The tables keep capacity for this many
    /// streams.
    fn most_streams(&mut self, side: Side, live: u64) -> u64 {
        let most = &mut self.most_streams[side as usize];
        *most = live.max(*most);
        *most
    }

    /// Checks the credit that a reader has granted beyond the initial windows of the streams. The
    /// growth budget must cover this credit (C-57).
    fn check_growth(&self, reader: Side, growth: u64) {
        assert!(growth <= self.budget, "{growth} of {}", self.budget);
        let beyond = |(key, half): (&(StreamId, Side), &Half)| {
            let over = half.given_up || half.stopped || half.end.is_some() || key.1 == reader;
            // Credit beyond the end of a stream cannot be used, so it does not count.
            let most = if half.finished { half.written as u64 } else { u64::MAX };
            let limit = half.granted.min(most);
            (!over).then(|| limit.saturating_sub(half.read as u64 + self.largest_window))
        };
        let beyond: u64 = self.halves.iter().filter_map(beyond).sum();
        assert!(beyond <= growth, "{beyond} bytes of credit that come from nowhere");
    }

    fn account(&mut self, from: Side, frame: &Frame) {
        let grown = if self.budget > 0 { self.max_window } else { 0 };
        let window = self.largest_window.max(grown);
        match frame {
            Frame::Stream { id, data, offset, .. } => {
                let half = self.half(*id, from);
                assert!(
                    offset.is_none_or(|offset| offset == half.sent),
                    "{frame:?} after {}",
                    half.sent
                );
                half.sent += data.len() as u64;
                assert!(half.sent <= half.granted, "{id}: {} of {}", half.sent, half.granted);
                assert!(half.sent <= half.written as u64);
            }
            Frame::ResetStream { id, final_size: Some(size), .. } => {
                assert_eq!(
                    *size,
                    self.half(*id, from).sent,
                    "the final size is what was sent (C-24)"
                );
            }
            Frame::MaxStreamData { id, credit } => {
                let half = self.half(*id, !from);
                match credit {
                    Credit::Total(total) => {
                        assert!(*total > half.granted, "{id}: a grant that grants nothing");
                        half.granted = *total;
                    }
                    Credit::More(more) => half.granted += more,
                    _ => panic!("a credit of an unknown kind"),
                }
                // The following assertion implies that the unread bytes of a stream never exceed
                // one window (C-53, C-56).
                assert!(
                    half.granted <= half.read as u64 + window,
                    "{id}: more than a window ahead"
                );
            }
            _ => {}
        }
    }
}

/// Asserts that the tests' own encoder encodes these frames to the same message. The encoder writes
/// each frame in its shortest form. Only the last frame may have no length.
fn assert_is_canonical(wire: Wire, frames: &[Frame], message: &[u8]) {
    let (last, others) = frames.split_last().expect("no message is empty");
    let head: Vec<_> = others.iter().flat_map(|frame| encode::encode(wire, frame, false)).collect();
    let either = [true, false].map(|end| [&head[..], &encode::encode(wire, last, end)].concat());
    assert!(either.iter().any(|either| either == message), "{wire:?} {frames:?} in {message:x?}");
}
