//! How a [`World`] ends. After that, its two engines must have no live stream, no unsent data, and
//! no grown window.

use wsmux_proto::{Time, Wire};

use super::{Ending, MAX_STEPS, Op, World, writes};
use crate::engine::{CLIENT, End, SERVER, code, ms};

impl World {
    /// Runs until nothing is in flight.
    fn drive(&mut self) {
        let mut steps = 0;
        while self.pair.step() {
            // This is checked after each step, because what one end sends next may depend on what
            // the other end sent in this step.
            self.observe();
            steps += 1;
            assert!(steps < MAX_STEPS, "the two never come to rest");
        }
        self.observe();
    }

    fn open_pipes(&mut self) {
        for side in [CLIENT, SERVER] {
            let end = self.pair.end(side);
            (end.stalled, end.capacity) = (false, None);
        }
    }

    /// Ends the world in the given way, and asserts that nothing is left.
    pub fn end(mut self, ending: Ending) {
        let now = self.pair.now;
        match ending {
            Ending::WindUp => return self.wind_up(),
            Ending::Cut => {
                self.ended = true;
                self.pair.cut();
            }
            Ending::Close(side) => {
                self.ended = true;
                self.pair.end(side).of(|conn| conn.close(now, code(5), "enough".into()));
                self.open_pipes();
                self.pair.drive();
            }
            Ending::Drain(side) => {
                self.open_pipes();
                self.drive();
                [CLIENT, SERVER].into_iter().for_each(|side| self.accept(side));
                // On QMux the peer learns of the drain in time, so it opens no stream that would be
                // refused.
                (self.ended, self.refuses) = (true, self.pair.wire == Wire::JsWs);
                let now = self.pair.now;
                self.pair.end(side).of(|conn| conn.drain(now, Some(now + ms(1_000))));
                for side in [CLIENT, SERVER] {
                    for id in self.held[side as usize].clone() {
                        self.apply_to(&Op::Finish(side, 0), side, id);
                    }
                }
                self.pair.pass(ms(10_000));
            }
        }
        self.read_out();
    }

    /// Reads all streams after the connection has ended. Asserts that the bytes that arrived can be
    /// read in order. Also asserts that a stream ends cleanly only if its writer finished it.
    fn read_out(mut self) {
        for side in [CLIENT, SERVER] {
            assert!(self.pair.end(side).conn.close_reason().is_some(), "{side:?} has not heard");
            self.accept(side);
            for id in self.held[side as usize].clone() {
                self.read(side, id, usize::MAX);
            }
            for id in std::mem::take(&mut self.held[side as usize]) {
                self.pair.end(side).release(id);
            }
        }
        self.pair.pass(ms(10_000));
        for side in [CLIENT, SERVER] {
            let conn = &self.pair.end(side).conn;
            assert!(
                conn.is_closed() && !conn.wants_transmit(),
                "{side:?} has more to say: {conn:?}"
            );
            let stats = conn.stats(Time::EPOCH);
            let left = (stats.live_streams, stats.send_buffered, stats.window_growth);
            assert_eq!(left, (0, 0, 0), "{side:?}: {conn:?}");
        }
    }

    /// Both applications finish their streams and read everything. Asserts that nothing is left.
    fn wind_up(mut self) {
        self.open_pipes();
        for round in 0.. {
            assert!(round < 100_000, "it never ends: {:?}", self.halves);
            self.drive();
            for side in [CLIENT, SERVER] {
                self.accept(side);
                for id in self.held[side as usize].clone() {
                    if writes(id, side) {
                        self.apply_to(&Op::Finish(side, 0), side, id);
                    }
                    let half = self.halves.get(&(id, !side));
                    if half.is_some_and(|half| half.end.is_none() && !half.stopped) {
                        self.read(side, id, usize::MAX);
                    }
                }
            }
            if self.halves.values().all(|half| half.end.is_some() || half.stopped) {
                break;
            }
        }
        for (&(id, writer), half) in &self.halves {
            let clean = half.finished && !half.given_up && !half.stopped;
            assert!(!clean || half.end == Some(End::Fin), "{id} from {writer:?}: {half:?}");
            assert!(
                half.end.is_some() || half.stopped,
                "{id} from {writer:?} has no end: {half:?}"
            );
        }
        for side in [CLIENT, SERVER] {
            for id in std::mem::take(&mut self.held[side as usize]) {
                self.pair.end(side).release(id);
            }
        }
        self.pair.drive();
        for side in [CLIENT, SERVER] {
            self.accept(side);
            assert!(self.held[side as usize].is_empty(), "all had been accepted");
            let conn = &self.pair.end(side).conn;
            assert_eq!(conn.stats(Time::EPOCH).live_streams, 0, "{side:?}: {conn:?}");
            assert_eq!(conn.stats(Time::EPOCH).send_buffered, 0);
            assert_eq!(conn.stats(Time::EPOCH).window_growth, 0);
            assert!(!conn.wants_transmit(), "all has been said");
        }
    }
}
