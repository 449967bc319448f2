//! Checks the rules that must hold after each step, and the rules that must hold at the end.

use bytes::Bytes;
use wsmux_proto::{MessageBuf, Outgoing, VarInt};

use super::{Case, DATAGRAMS};
use crate::engine::{ms, scripted_peer::decode};

/// The most events and messages that one step may cause. No step comes near these bounds.
const MAX_EVENTS: usize = 10_000;
const MAX_TRANSMITS: usize = 10_000;

/// Bounds, in bytes, of the state of a stream and of a connection. SPEC.md §10 allows the same for
/// a stream, and more for a connection.
const STREAM_STATE: u64 = 4 * 1024;
const CONNECTION_STATE: u64 = 32 * 1024;

/// How much memory our refusals and answers occupy at most if the peer does not read them. The
/// state of the peer's streams is not included.
const ANSWERS: u64 = 64 * 1024;

impl Case {
    /// Sends one item. Returns `false` if there was no item to send.
    pub(super) fn transmit(&mut self) -> bool {
        let wanted = self.conn.wants_transmit();
        let mut out = MessageBuf::new();
        let transmit = self.heap.of(|| self.conn.poll_transmit(self.now, &mut out));
        assert!(wanted || transmit.is_none(), "wants_transmit hid {transmit:?}");
        assert!(!self.has_closed || transmit.is_none(), "{transmit:?} behind the Close");
        match &transmit {
            Some(Outgoing::Message(message)) => {
                assert!((1..=65_536).contains(&message.len()), "{} bytes", message.len());
                // The decoder panics if the engine sent something that is not valid on its wire.
                decode(self.wire, message.slices().collect::<Vec<_>>().concat().into());
            }
            Some(Outgoing::Close { reason, .. }) => {
                assert!(reason.len() <= 123, "a Close has no more room (RFC 6455 §5.5)");
                self.has_closed = true;
            }
            _ => {}
        }
        let more = transmit.is_some();
        self.heap.give_back(transmit);
        self.heap.give_back(out);
        more
    }

    fn drain(&mut self) {
        for sent in 0.. {
            assert!(sent < MAX_TRANSMITS, "it never has said all");
            if !self.transmit() {
                return;
            }
        }
    }

    pub(super) fn check(&mut self) {
        for told in 0.. {
            assert!(told < MAX_EVENTS, "it never has told all");
            if self.heap.of(|| self.conn.poll()).is_none() {
                break;
            }
        }
        let stats = self.conn.stats(self.now);
        let streams = self.opened + 2 * self.largest_limit;
        assert!(stats.live_streams <= streams, "{stats:?}");
        assert!(stats.window_growth <= self.budget, "{stats:?}");
        let sending = self.opened + self.largest_limit;
        assert!(stats.send_buffered <= sending * (self.send_buffer + self.largest_chunk));
        for &id in &self.held {
            if let Ok(recv) = self.conn.recv_stream(self.now, id).stats() {
                assert!(recv.buffered <= self.largest_window, "{id}: {recv:?}");
            }
        }
        let most = self.formula(sending, streams);
        assert!(self.heap.held() <= most as i64, "{} of {most}: {:?}", self.heap.held(), self.conn);
    }

    /// Returns the bound of SPEC.md §10, without what the socket holds.
    fn formula(&self, sending: u64, streams: u64) -> u64 {
        // A window that is small now may have been larger before, so the largest window counts.
        let receiving = self.opened + 2 * self.largest_limit;
        let windows = receiving * self.largest_initial_window;
        let receive = (windows + self.budget) * 4 + DATAGRAMS as u64;
        let send = sending * (self.send_buffer + self.largest_chunk) * 3 / 2 + DATAGRAMS as u64;
        let message = self.conn.max_inbound_message();
        receive + send + message + streams * STREAM_STATE + CONNECTION_STATE + ANSWERS
    }

    /// Drops all handles and closes the connection, whatever state the peer is in. Asserts that
    /// nothing is left.
    pub(super) fn end(mut self) {
        self.drain();
        self.check();
        for id in std::mem::take(&mut self.held) {
            self.release(id);
        }
        self.accept();
        for id in std::mem::take(&mut self.held) {
            self.release(id);
        }
        while self.heap.of(|| self.conn.read_datagram()).is_some() {}
        self.conn.close(self.now, VarInt::default(), Bytes::new());
        // Each call that waited for the end of a stream is made again, and now returns, because the
        // connection has ended.
        for id in std::mem::take(&mut self.watched) {
            self.heap.of(|| self.conn.send_stream(self.now, id).poll_end());
        }
        self.drain();
        self.now += ms(100_000);
        self.fire();
        self.check();
        let stats = self.conn.stats(self.now);
        let left = (stats.live_streams, stats.send_buffered, stats.window_growth);
        assert_eq!(left, (0, 0, 0), "{:?}", self.conn);
        assert!(self.conn.is_closed(), "{:?}", self.conn);
    }
}
