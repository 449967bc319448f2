//! RESET_STREAM_AT: a stream is reset, and the part below its reliable size is still delivered.

use crate::support::*;
use wsmux_proto::{Config, Dir, Event, ResetAtError, Wire};

const LEN: usize = 5_000;

fn pair(window: u64) -> Pair {
    let mut config = Config::default();
    config.stream_receive_window(window);
    Pair::new(Wire::QMux, &config)
}

/// Returns what the server reads of a stream of `LEN` bytes that the client resets at
/// `reliable_size`, before or after the bytes have been sent.
fn delivered(window: u64, reliable_size: u64, send_first: bool) -> (Vec<u8>, End) {
    let mut pair = pair(window);
    let id = pair.client.open(Dir::Uni);
    assert_eq!(pair.client.write(id, &pattern(1, 0, LEN)), LEN);
    if send_first {
        pair.drive();
    }
    pair.client.conn.send_stream(pair.now, id).reset_at(code(7), reliable_size).unwrap();
    pair.client.release(id);
    pair.drive();
    let id = pair.server.accept(Dir::Uni);
    let (mut read, mut end) = (Vec::new(), End::Open);
    while end == End::Open {
        let (more, now) = pair.server.read(id);
        assert!(!more.is_empty() || now != End::Open, "it goes on");
        read.extend(more);
        end = now;
        pair.drive();
    }
    pair.server.release(id);
    pair.drive();
    assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
    (read, end)
}

#[test]
fn the_first_bytes_are_delivered_and_then_the_reset() {
    for window in [600, 1 << 20] {
        for reliable in [1, 599, 600, 601, 4_999, 5_000] {
            let (read, end) = delivered(window, reliable, false);
            assert_eq!(read, pattern(1, 0, reliable as usize), "window {window}");
            assert_eq!(end, End::Reset(7));
        }
    }
}

#[test]
fn of_what_has_left_already_only_the_first_bytes_are_delivered() {
    let (read, end) = delivered(1 << 20, 100, true);
    assert_eq!((read.len(), end), (100, End::Reset(7)));
}

#[test]
fn more_than_was_written_is_all_that_was_written() {
    let (read, end) = delivered(600, 1 << 40, false);
    assert_eq!((read, end), (pattern(1, 0, LEN), End::Reset(7)));
}

#[test]
fn a_stop_takes_back_what_the_reset_promised() {
    let mut pair = pair(600);
    let id = pair.client.open(Dir::Uni);
    pair.client.write(id, &pattern(1, 0, LEN));
    pair.client.conn.send_stream(pair.now, id).reset_at(code(7), 4_000).unwrap();
    pair.client.release(id);
    pair.drive();
    let id = pair.server.accept(Dir::Uni);
    pair.server.conn.recv_stream(pair.now, id).stop(code(8)).unwrap();
    pair.drive();
    assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
}

#[test]
fn a_peer_that_does_not_take_it_is_not_sent_it() {
    let mut pair = Pair::new(Wire::JsWs, &Config::default());
    let id = pair.client.open(Dir::Bi);
    let refused = pair.client.conn.send_stream(pair.now, id).reset_at(code(7), 1);
    assert_eq!(refused, Err(ResetAtError::UnsupportedByPeer));
    assert!(pair.client.conn.send_stream(pair.now, id).write(b"goes on").is_ok());
    assert!(!pair.client.take_events().contains(&Event::Closed));
}
