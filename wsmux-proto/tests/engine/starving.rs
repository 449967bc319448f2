//! Streams that wait for connection credit keep their order, and each raise of MAX_DATA goes to the
//! stream whose turn it is.

use std::time::Duration;

use crate::support::*;
use wsmux_proto::{Config, Dir, Frame, StreamId, Wire};

/// A client that has no connection credit and whose streams all have data to send.
struct Starving {
    peer: ScriptedPeer,
    ids: Vec<StreamId>,
    credit: u64,
}

impl Starving {
    fn new(lens: &[usize]) -> Self {
        let parameters = scripted_peer::generous_but(|limits| limits.initial_max_data = 0);
        let mut peer =
            ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
        let ids: Vec<_> = lens.iter().map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap()).collect();
        for (&id, &len) in ids.iter().zip(lens) {
            peer.conn.send_stream(peer.now, id).write(&vec![7; len]).unwrap();
        }
        assert_eq!(peer.frames(), [Frame::DataBlocked(0)]);
        Self { peer, ids, credit: 0 }
    }

    /// Raises the connection credit by `bytes`. Returns the index of the stream and the length of
    /// the data for each STREAM frame that is then sent.
    fn raise(&mut self, bytes: u64) -> Vec<(u64, usize)> {
        self.credit += bytes;
        self.peer.send(&[Frame::MaxData(self.credit)]);
        self.data()
    }

    fn data(&mut self) -> Vec<(u64, usize)> {
        let data = |frame| match frame {
            Frame::Stream { id, data, .. } => Some((id.index(), data.len())),
            _ => None,
        };
        self.peer.frames().into_iter().filter_map(data).collect()
    }
}

/// [C-35] Of the streams that can send, those of the highest priority MUST be served first, round
/// robin. While other streams of that priority wait, a stream sends about 16 KiB in its turn.
#[test]
fn streams_that_wait_for_credit_of_the_connection_take_it_in_turns() {
    let mut starving = Starving::new(&[100; 3]);
    let order: Vec<_> = (0..6).flat_map(|_| starving.raise(10)).collect();
    assert_eq!(order, [(0, 10), (1, 10), (2, 10), (0, 10), (1, 10), (2, 10)]);
    // A larger raise is shared in one message, with one turn for each stream.
    let mut starving = Starving::new(&[40_000; 3]);
    assert_eq!(starving.raise(40_000), [(0, 16_384), (1, 16_384), (2, 7_232)]);
    assert_eq!(starving.raise(20_000), [(0, 16_384), (1, 3_616)]);
}

/// [C-35] Of the streams that can send, those of the highest priority MUST be served first, round
/// robin. While other streams of that priority wait, a stream sends about 16 KiB in its turn.
#[test]
fn among_streams_that_wait_for_credit_the_highest_priority_takes_all() {
    let mut starving = Starving::new(&[100; 4]);
    starving.peer.conn.send_stream(starving.peer.now, starving.ids[2]).set_priority(5).unwrap();
    assert_eq!(starving.raise(60), [(2, 60)]);
    // A new stream with a higher priority is served before the streams that wait. A new stream with
    // a lower priority waits.
    let late = starving.peer.conn.open(Dir::Bi).unwrap().unwrap();
    starving.peer.conn.send_stream(starving.peer.now, late).set_priority(9).unwrap();
    starving.peer.conn.send_stream(starving.peer.now, late).write(&[7; 30]).unwrap();
    starving.peer.conn.send_stream(starving.peer.now, starving.ids[0]).set_priority(-1).unwrap();
    assert_eq!(starving.raise(50), [(4, 30), (2, 20)]);
    assert_eq!(starving.raise(350), [(2, 20), (1, 100), (3, 100), (0, 100)]);
}

#[test]
fn an_end_without_data_leaves_while_data_wait_for_credit() {
    let mut starving = Starving::new(&[100; 2]);
    let empty = starving.peer.conn.open(Dir::Bi).unwrap().unwrap();
    starving.peer.conn.send_stream(starving.peer.now, empty).finish().unwrap();
    assert_eq!(starving.data(), [(2, 0)]);
    assert_eq!(starving.raise(150), [(0, 100), (1, 50)]);
}

/// If streams still wait after the limit was raised, DATA_BLOCKED is sent again with the new limit.
/// The time that streams wait is measured.
#[test]
fn the_peer_hears_of_each_limit_and_the_time_of_waiting_counts() {
    let mut starving = Starving::new(&[10; 2]);
    starving.peer.now = at(ms(100));
    starving.peer.send(&[Frame::MaxData(10)]);
    let frames = starving.peer.frames();
    assert!(matches!(frames[0], Frame::Stream { .. }), "{frames:?}");
    assert_eq!(frames[1..], [Frame::DataBlocked(10)]);
    starving.peer.now = at(ms(300));
    let blocked = |peer: &ScriptedPeer| peer.conn.stats(peer.now).blocked_by_connection_credit;
    assert_eq!(blocked(&starving.peer), ms(300));
    // Once the only waiting stream has been reset, no stream waits.
    starving.peer.conn.send_stream(starving.peer.now, starving.ids[1]).reset(code(0)).unwrap();
    starving.peer.said();
    starving.peer.now = at(ms(900));
    assert!(!starving.peer.conn.wants_transmit());
    assert!(blocked(&starving.peer) <= ms(300) + Duration::ZERO);
}
