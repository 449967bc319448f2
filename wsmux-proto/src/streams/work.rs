//! These tests do not measure time. They count how many entries of its queues a connection looks
//! at.

use super::{priority_queue::PriorityQueue, *};
use crate::{MessageBuf, VarInt};

const STREAMS: u64 = if cfg!(miri) { 100 } else { 4_000 };

/// A client whose streams all have data to send, and whose connection has no credit.
struct ConnectionBlocked {
    streams: Streams,
    ids: Vec<StreamId>,
    events: Events,
    out: MessageBuf,
    credit: u64,
}

impl ConnectionBlocked {
    fn new() -> Self {
        let parameters = TransportParameters {
            initial_max_stream_data_uni: 1 << 30,
            initial_max_streams_uni: STREAMS,
            ..TransportParameters::default()
        };
        let config = Config::default();
        let mut streams = Streams::new(&config, Side::Client, Wire::QMux, Time::EPOCH);
        let mut events = Events::default();
        streams.set_peer_parameters(parameters, &mut events);
        let open = |_| streams.open(Dir::Uni).expect("it lives").expect("the limit permits");
        let ids: Vec<_> = (0..STREAMS).map(open).collect();
        for id in &ids {
            streams.send_stream(Time::EPOCH, *id, None).write(&[7; 100]).expect("it is open");
        }
        let mut blocked = Self { streams, ids, events, out: MessageBuf::new(), credit: 0 };
        blocked.transmit();
        blocked
    }

    /// Sends everything that can be sent. Returns how many bytes were sent.
    fn transmit(&mut self) -> usize {
        let mut sent = 0;
        while self.streams.has_something_to_send() {
            self.out.clear();
            self.streams.write_control(Time::EPOCH, &mut self.out, 65_536, &mut self.events);
            self.streams.write_data(Time::EPOCH, &mut self.out, 65_536, &mut self.events);
            if self.out.is_empty() {
                break;
            }
            sent += self.out.len();
        }
        sent
    }

    fn raise(&mut self, bytes: u64) {
        self.credit += bytes;
        self.streams.on_max_data(Time::EPOCH, self.credit).expect("it is within the budget");
    }

    fn visited(&self) -> u64 {
        self.streams.scheduler.visited()
    }
}

/// [C-85] On average, the cost of a frame, a call or an event MUST NOT grow faster than the
/// logarithm of the number of streams. The number includes streams that wait (J-31). The rule holds
/// for all ids that a peer may choose. Events that concern all streams, such as the connection's
/// end, are exempt.
#[test]
fn a_raise_of_the_connections_credit_costs_as_much_as_it_lets_through() {
    let mut blocked = ConnectionBlocked::new();
    let before = blocked.visited();
    for _ in 0..STREAMS {
        blocked.raise(1);
        assert!(blocked.transmit() > 1, "a byte and a header");
    }
    let visited = blocked.visited() - before;
    assert!(visited <= 8 * STREAMS, "{visited} entries for {STREAMS} bytes");
}

#[test]
fn streams_that_are_reset_while_they_wait_for_credit_leave_nothing() {
    let mut blocked = ConnectionBlocked::new();
    for id in std::mem::take(&mut blocked.ids) {
        blocked
            .streams
            .send_stream(Time::EPOCH, id, None)
            .reset(VarInt::default())
            .expect("it is open");
    }
    blocked.raise(1);
    blocked.transmit();
    assert_eq!(blocked.streams.scheduler.entries(), 0);
    assert_eq!(blocked.streams.len(), 0);
}

/// Entries of streams that no longer exist must not look like something to send.
#[test]
fn a_queue_without_streams_has_no_entries() {
    let mut blocked = ConnectionBlocked::new();
    assert!(blocked.streams.scheduler.has_next(true) && !blocked.streams.scheduler.has_next(false));
    for id in std::mem::take(&mut blocked.ids) {
        let mut send = blocked.streams.send_stream(Time::EPOCH, id, None);
        send.reset(VarInt::default()).expect("it is open");
    }
    assert!(!blocked.streams.scheduler.has_next(true));
    assert_eq!(blocked.streams.scheduler.entries(), 0);
}

/// Each change of priority leaves a void entry in a queue.
#[test]
fn void_entries_of_streams_that_wait_for_credit_are_bounded() {
    let mut blocked = ConnectionBlocked::new();
    for round in 1..20 {
        for &id in &blocked.ids {
            blocked
                .streams
                .send_stream(Time::EPOCH, id, None)
                .set_priority(round)
                .expect("it is open");
        }
        blocked.transmit();
        let entries = blocked.streams.scheduler.entries();
        assert!(entries as u64 <= 4 * STREAMS + 2 * 64, "{entries}");
    }
}

/// An application may give each stream a priority of its own. Even in this case, the queue looks at
/// a stream only when the stream's turn has come.
///
/// [C-85] On average, the cost of a frame, a call or an event MUST NOT grow faster than the
/// logarithm of the number of streams. The number includes streams that wait (J-31). The rule holds
/// for all ids that a peer may choose. Events that concern all streams, such as the connection's
/// end, are exempt.
#[test]
fn thousands_of_priorities_cost_as_much_as_one() {
    let mut queue = PriorityQueue::default();
    // Each priority is alternately higher and lower than all priorities before it.
    let priority = |nth: u64| if nth.is_multiple_of(2) { nth as i32 } else { -(nth as i32) };
    for nth in 0..STREAMS {
        queue.push(nth, priority(nth));
    }
    let mut order = Vec::new();
    while let Some(nth) = queue.pop() {
        order.push(priority(nth));
    }
    assert_eq!(order.len() as u64, STREAMS);
    assert!(order.is_sorted_by(|before, after| before > after), "the highest first");
    assert!(queue.visited <= 2 * STREAMS, "{}", queue.visited);
}

/// A message may wake very many readers, and may repeat an event of the connection after each of
/// them. If the whole queue were searched for each event, this test would take hours.
///
/// [C-85] On average, the cost of a frame, a call or an event MUST NOT grow faster than the
/// logarithm of the number of streams. The number includes streams that wait (J-31). The rule holds
/// for all ids that a peer may choose. Events that concern all streams, such as the connection's
/// end, are exempt.
#[test]
fn an_event_that_repeats_is_not_looked_for_among_all_others() {
    const READERS: u64 = if cfg!(miri) { 100 } else { 1_000_000 };
    let mut events = Events::default();
    for index in 0..READERS {
        events.push(Event::Readable { id: StreamId::new(Side::Server, Dir::Bi, index) });
        // The first `Opened` is near the front of the queue. `Available` comes after half of the
        // readers. So a search from the front would be slow for `Available`, and a search from the
        // back would be slow for `Opened`.
        events.push(Event::Opened { dir: Dir::Bi });
        if index >= READERS / 2 {
            events.push(Event::Available { dir: Dir::Bi });
        }
    }
    assert_eq!(std::iter::from_fn(|| events.pop()).count() as u64, READERS + 2);
}
