//! Datagrams that nobody reads, or that the socket does not accept.

use bytes::{Bytes, BytesMut};
use wsmux::{
    Config,
    proto::{Connection, Frame, Incoming, MessageBuf, Time, Wire},
};

use super::{
    PATTERNS, Sizes,
    support::{Heap, SERVER, encode, scripted_peer::generous},
};

const BUFFER: usize = 256 * 1024;
/// Room for the first entries of the queue.
const SLACK: i64 = 1024;

fn connection(heap: &mut Heap) -> Connection {
    let mut config = Config::default();
    config.datagram_receive_buffer_size(BUFFER).datagram_send_buffer_size(BUFFER);
    let mut conn = heap.of(|| Connection::new(config, SERVER, Wire::QMux, Time::EPOCH));
    let message = encode(Wire::QMux, &Frame::TransportParameters(generous()), false);
    let mut out = MessageBuf::new();
    heap.of(|| {
        conn.handle(Time::EPOCH, Incoming::Message(Bytes::copy_from_slice(&message)));
        while conn.poll_transmit(Time::EPOCH, &mut out).is_some() {}
        while conn.poll().is_some() {}
    });
    conn
}

/// [C-71] Everything that a datagram in a queue costs in memory MUST count against the queue's
/// limit: its bytes, its entry in the queue, and the overhead of its block. The message in which it
/// arrived MUST NOT stay allocated because of it.
#[test]
fn datagrams_hold_no_more_memory_than_their_buffers() {
    for pattern in PATTERNS {
        for message_is_larger_by in [0, 900, 4_000] {
            let (mut heap, mut sizes) = (Heap::default(), Sizes::new(pattern));
            let mut conn = connection(&mut heap);
            let idle = heap.held();
            let mut most = 0;
            for round in 0..3_000 {
                // The padding is at most as long as the datagram. So the datagram is at least half
                // of its message.
                let len = sizes.next() % 16_000;
                let frame = Frame::Datagram(vec![7; len].into());
                let mut message = encode(Wire::QMux, &frame, false);
                message.resize(message.len() + message_is_larger_by.min(len), 0);
                heap.of(|| {
                    let mut block = BytesMut::with_capacity(2 * message.len());
                    block.extend_from_slice(&message);
                    conn.handle(Time::EPOCH, Incoming::Message(block.split().freeze()));
                    while conn.poll().is_some() {}
                });
                let data = vec![7; len];
                let _ = heap.of(|| conn.send_datagram(Bytes::copy_from_slice(&data)));
                if round % 1_000 == 999 {
                    heap.of(|| while conn.read_datagram().is_some() {});
                }
                most = most.max(heap.held() - idle);
            }
            assert!(most <= 2 * BUFFER as i64 + SLACK, "{pattern:?}: {most}");
        }
    }
}

/// An echo sends the same `Bytes` that it has received.
#[test]
fn a_datagram_that_is_sent_back_keeps_nothing_but_itself() {
    let mut heap = Heap::default();
    let mut conn = connection(&mut heap);
    let idle = heap.held();
    for _ in 0..2_000 {
        let frame = Frame::Datagram(vec![7; 1_000].into());
        let mut message = encode(Wire::QMux, &frame, false);
        message.resize(message.len() + 900, 0);
        heap.of(|| {
            let mut block = BytesMut::with_capacity(2 * message.len());
            block.extend_from_slice(&message);
            conn.handle(Time::EPOCH, Incoming::Message(block.split().freeze()));
            while conn.poll().is_some() {}
            let datagram = conn.read_datagram().expect("it came");
            conn.send_datagram(datagram).expect("it fits");
        });
    }
    let held = heap.held() - idle;
    println!("datagrams that wait to be sent back: {held} bytes of {BUFFER}");
    assert!(held <= BUFFER as i64 + SLACK, "{held}");
}
