//! How much memory a connection allocates to send to a peer that grants everything and reads
//! nothing.

use allocation_counter::measure;
use bytes::Bytes;
use wsmux::{
    Config,
    proto::{Connection, Dir, Incoming, MessageBuf, Side, Time, Wire},
};

const NOW: Time = Time::EPOCH;

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

/// The length of an event that the application sends to each listener, on a stream of its own.
const EVENT: usize = 10_000;

/// The state of one stream takes at most this many bytes. This includes the spare room in tables,
/// because a table doubles when it grows.
const STATE: usize = 2 * 1024;

/// How many bytes a stream may always hold, even if the send window is full (C-75).
const ALWAYS: usize = 1024;

/// Returns a client whose peer allows 2^60 streams.
fn client(wire: Wire, config: &Config) -> Connection {
    let mut out = MessageBuf::new();
    let mut server = Connection::new(Config::default(), Side::Server, wire, NOW);
    let mut client = Connection::new(config.clone(), Side::Client, wire, NOW);
    if wire == Wire::QMux {
        server.poll_transmit(NOW, &mut out).expect("the parameters");
        client.handle(NOW, Incoming::Message(out.to_bytes()));
        client.poll_transmit(NOW, &mut out).expect("the parameters");
        // MAX_STREAMS for both kinds of streams.
        client.handle(
            NOW,
            Incoming::Message(Bytes::from_static(b"\x12\xd0\0\0\0\0\0\0\0\x13\xd0\0\0\0\0\0\0\0")),
        );
    }
    assert!(client.is_established());
    client
}

/// Opens a stream for each event, and finishes and drops the stream once all of the event is
/// written. Returns how many streams were opened, and on how many of them the whole event was
/// written.
fn fan_out(client: &mut Connection, events: usize, whole: bool) -> (usize, usize) {
    let (mut opened, mut done) = (0, 0);
    for _ in 0..events {
        let Some(id) = client.open(Dir::Bi).unwrap() else { continue };
        opened += 1;
        let mut send = client.send_stream(NOW, id);
        let taken = match whole {
            true => send.write_chunk(&mut vec![7; EVENT].into()).unwrap(),
            false => send.write(&[7; EVENT]).unwrap(),
        };
        if taken == EVENT {
            done += 1;
            send.finish().unwrap();
            send.release();
            client.recv_stream(NOW, id).release();
        }
    }
    (opened, done)
}

#[test]
fn a_fan_out_to_a_peer_that_reads_nothing_stays_within_the_formula() {
    for wire in WIRES {
        for whole in [false, true] {
            for (window, streams, events) in [(1 << 20, 1_000, 5_000), (64 << 20, 65_536, 100_000)]
            {
                let mut config = Config::default();
                if streams == 1_000 {
                    config.send_window(window).max_local_streams(streams as u64);
                }
                let mut client = client(wire, &config);
                let mut result = (0, 0);
                let info = measure(|| result = fan_out(&mut client, events, whole));
                let (opened, done) = result;
                let held = client.stats(NOW).send_buffered as usize;
                let what = format!("{wire:?}, whole {whole}: {done} of {opened}, {held}, {info:?}");
                assert_eq!(opened, streams, "our own limit: {what}");
                assert!(done < window / EVENT + 3, "calls wait: {what}");
                let bytes = window + 2 * EVENT + if whole { 0 } else { opened * ALWAYS };
                assert!(held <= bytes, "{what}");
                assert!(info.bytes_max as usize <= bytes + opened * STATE, "{what}");
            }
        }
    }
}

/// If calls are dropped before anything was sent, their state is bounded too. It is freed when
/// their frames have been sent.
#[test]
fn calls_that_are_dropped_allocate_no_more_than_their_number_permits() {
    const STREAMS: usize = 1_000;
    for wire in WIRES {
        let config = Config::default().max_local_streams(STREAMS as u64).clone();
        let mut client = client(wire, &config);
        let info = measure(|| {
            for _ in 0..100_000 {
                let Some(id) = client.open(Dir::Bi).unwrap() else { continue };
                let _ = client.send_stream(NOW, id).write(b"a call");
                client.send_stream(NOW, id).release();
                client.recv_stream(NOW, id).release();
            }
        });
        assert!(info.bytes_max as usize <= STREAMS * STATE, "{wire:?}: {info:?}");
    }
}
