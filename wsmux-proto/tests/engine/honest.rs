//! Two honest endpoints with extreme settings or applications. Neither endpoint exceeds a budget of
//! the other endpoint.

use crate::support::*;
use wsmux_proto::{Config, Dir, Frame, Side, StreamId, Wire};

/// How often a test repeats an action. This is more than the burst of any budget, so a test passes
/// only if the budgets are refilled fast enough.
const MANY: usize = 12_000;

fn config(window: u64, streams: u64) -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(window)
        .max_stream_receive_window(window)
        .window_growth_budget(0)
        .max_concurrent_bidi_streams(streams)
        .max_concurrent_uni_streams(streams);
    config
}

/// Returns two ends that do not record the messages between them.
fn pair(wire: Wire, config: &Config) -> Pair {
    let mut pair = Pair::new(wire, config);
    (pair.client.record, pair.server.record) = (false, false);
    pair
}

#[track_caller]
fn assert_open(pair: &Pair, what: &str) {
    for end in [&pair.client, &pair.server] {
        assert!(end.conn.close_reason().is_none(), "{what}: {:?}", end.conn.close_reason());
    }
}

/// Accepts all streams in the direction `dir` that have arrived at `side`.
fn accept(pair: &mut Pair, side: Side, dir: Dir) -> Vec<StreamId> {
    std::iter::from_fn(|| pair.end(side).conn.accept(dir)).collect()
}

/// Lets time pass while both ends handle their timers, and discards their events.
fn pass(pair: &mut Pair, time: std::time::Duration) {
    pair.pass(time);
    pair.client.take_events();
    pair.server.take_events();
}

/// Lets `time` pass. Unlike `pass`, this works for two ends that always have something to send to
/// each other.
fn run(pair: &mut Pair, time: std::time::Duration) {
    let until = pair.now + time;
    while pair.step_until(until) {}
    pair.client.take_events();
    pair.server.take_events();
}

// ---- windows ----

/// No time passes in this test, so only useful work refills the budgets.
///
/// [C-86] Two endpoints that keep the rules of this page MUST NOT close their connection because of
/// grants or blocked frames, whatever windows and limits they declare, and however fast they are.
#[test]
fn windows_of_a_few_bytes_are_slow_and_not_fatal() {
    for wire in WIRES {
        for window in [1, 2, 7, 16, 100, 500] {
            let mut pair = pair(wire, &config(window, 10));
            let id = pair.open_bi(CLIENT);
            // Each grant is a quarter of the window, so this length takes `MANY` grants.
            let len = MANY * (window as usize / 4).max(1);
            for from in [CLIENT, SERVER] {
                let data = pattern(window, 0, len);
                assert_eq!(pair.transfer(from, id, &data), data, "{wire:?} {window} {from:?}");
            }
            assert_open(&pair, "at rest");
        }
    }
}

/// The application reads single bytes, and each grant is sent as early as the rules allow. So there
/// are more grants than the budget would allow if time alone refilled it.
///
/// [C-86] Two endpoints that keep the rules of this page MUST NOT close their connection because of
/// grants or blocked frames, whatever windows and limits they declare, and however fast they are.
#[test]
fn many_streams_with_windows_of_a_few_bytes_go_on_for_ever() {
    for wire in WIRES {
        let mut pair = pair(wire, &config(5, 50));
        pair.latency = ms(10);
        let ids: Vec<_> = (0..50).map(|_| pair.open_bi(CLIENT)).collect();
        let mut read = 0;
        let until = pair.now + secs(60);
        while pair.now < until {
            for id in &ids {
                pair.client.write(*id, &[7; 20]);
                while let (data, End::Open) = pair.server.read_up_to(*id, 1)
                    && !data.is_empty()
                {
                    read += 1;
                    pair.transmit();
                }
            }
            run(&mut pair, ms(20));
            assert_open(&pair, "windows of five bytes");
        }
        assert!(read > 500_000, "{wire:?}: {read} bytes");
    }
}

/// The peer grants 100 bytes of connection credit, and then raises this limit by 25 bytes at a
/// time.
#[test]
fn a_small_credit_of_the_connection_that_is_renewed_in_parts_is_no_abuse() {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_data = 100);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    let grants = 2 * MANY;
    let mut left = 25 * grants;
    for grant in 1..grants as u64 {
        let taken = peer.conn.send_stream(peer.now, id).write(&vec![0; left]).unwrap();
        left -= taken;
        peer.said();
        peer.send(&[Frame::MaxData(100 + 25 * grant)]);
        peer.assert_open(&format!("after {grant} grants"));
    }
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [C-63] The budget of grants MUST be replenished as follows. Each stream that either end opens
/// adds 1. Each 64 bytes of stream data that we send add 1. If an eighth of the window that the
/// peer declared is less than 64 bytes, that eighth takes the place of the 64 bytes for each frame
/// that fits into the window. On QMux each frame of stream data adds 1 more, unless lack of credit
/// made the frame shorter. On js-ws each byte of stream data adds 1 more.
#[test]
fn a_declared_window_excuses_no_grants_that_are_smaller_or_useless() {
    let most = |window: u64, grant: fn(u64, StreamId, u64) -> Frame| {
        let parameters =
            scripted_peer::generous_but(|limits| limits.initial_max_stream_data_uni = window);
        let mut peer =
            ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
        let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
        peer.conn.send_stream(peer.now, id).append_chunk(vec![0; 4 << 20].into()).unwrap();
        peer.said();
        for count in 1..10 * MANY as u64 {
            peer.send(&[grant(window, id, count)]);
            if peer.conn.close_reason().is_some() {
                return count;
            }
            peer.said();
        }
        panic!("a window of {window}: nothing stops it");
    };
    let single: fn(u64, StreamId, u64) -> Frame =
        |window, id, count| max_stream_data(id, window + count);
    // Every 64 bytes that are sent refill the budget by one, including the bytes of the first
    // window. With a window of 100 bytes, every 12 bytes refill the budget by one, because 12 is an
    // eighth of the window.
    for (window, at_most) in [(1 << 16, 11_300), (512, 10_200), (100, 11_000)] {
        let most = most(window, single);
        assert!((10_000..at_most).contains(&most), "a window of {window}: {most}");
    }
    let unused: fn(u64, StreamId, u64) -> Frame = |_, _, count| Frame::MaxData((1 << 41) + count);
    assert!((10_000..10_100).contains(&most(1, unused)));
}

// ---- limits ----

/// Each call uses up the stream limit, so the next call has to wait. On QMux the client then sends
/// STREAMS_BLOCKED.
///
/// [C-86] Two endpoints that keep the rules of this page MUST NOT close their connection because of
/// grants or blocked frames, whatever windows and limits they declare, and however fast they are.
#[test]
fn a_limit_of_one_stream_serves_one_call_after_the_other() {
    for wire in WIRES {
        let mut pair = pair(wire, &config(1 << 16, 1));
        for call in 0..MANY {
            let id = pair.client.open(Dir::Bi);
            pair.client.write(id, b"?");
            pair.client.finish(id);
            if wire == Wire::QMux {
                assert_eq!(pair.client.conn.open(Dir::Bi).unwrap(), None);
                pair.client.conn.report_streams_blocked(Dir::Bi);
            }
            pair.drive();
            assert_eq!(pair.server.accept(Dir::Bi), id);
            assert_eq!(pair.server.read(id), (b"?".to_vec(), End::Fin));
            pair.server.write(id, b"!");
            pair.server.finish(id);
            pair.drive();
            assert_eq!(pair.client.read(id), (b"!".to_vec(), End::Fin));
            pair.drive();
            assert_open(&pair, &format!("after {call} calls"));
        }
    }
}

// ---- streams that are given up ----

/// A media sender opens 300 streams a second. It resets nine of ten before they are read, because
/// their data is out of date by then.
///
/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn media_whose_sender_gives_up_nine_of_ten_streams_as_stale_goes_on() {
    let mut pair = pair(Wire::QMux, &config(1 << 20, 100));
    pair.latency = ms(5);
    let (mut delivered, mut given_up) = (0, 0);
    for frame in 0..300 * 180 {
        let id = pair.client.open(Dir::Uni);
        pair.client.write(id, &[7; 100]);
        pair.client.conn.send_stream(pair.now, id).announce();
        let stale = frame % 10 != 0;
        // The first bytes are in flight when the sender gives up the stream, before the application
        // reads them.
        pair.transmit();
        if stale {
            pair.client.conn.send_stream(pair.now, id).reset(code(1)).unwrap();
        } else {
            pair.client.finish(id);
        }
        run(&mut pair, std::time::Duration::from_micros(3_333));
        for id in accept(&mut pair, SERVER, Dir::Uni) {
            match pair.server.read(id) {
                (data, End::Fin) => {
                    assert_eq!(data.len(), 100);
                    delivered += 1;
                }
                (_, end) => {
                    assert_eq!(end, End::Reset(1));
                    given_up += 1;
                }
            }
            pair.server.conn.recv_stream(pair.now, id).release();
        }
        assert_open(&pair, &format!("after {frame} frames"));
    }
    assert!(delivered >= 5_000 && given_up >= 48_000, "{delivered} and {given_up}");
}

/// A page opens ten thousand streams, and the server sends an event on some of them. Then the page
/// is closed and opened again.
#[test]
fn a_page_may_cancel_ten_thousand_streams_each_time_it_closes() {
    for wire in WIRES {
        let mut pair = pair(wire, &config(1 << 16, 10_000));
        for visit in 0..3 {
            let ids: Vec<_> = (0..10_000).map(|_| pair.client.open(Dir::Bi)).collect();
            for id in &ids {
                pair.client.conn.send_stream(pair.now, *id).announce();
                match id.index() % 4 {
                    0 => assert_eq!(pair.client.write(*id, b"?"), 1),
                    1 => pair.client.finish(*id),
                    _ => {}
                }
            }
            pair.drive();
            assert_eq!(accept(&mut pair, SERVER, Dir::Bi), ids);
            for id in ids.iter().filter(|id| id.index() % 3 == 0) {
                pair.server.write(*id, b"an event");
            }
            pair.drive();
            // Each stream has data in flight when the page is closed.
            for id in &ids {
                pair.server.write(*id, b"another");
                pair.client.release(*id);
            }
            pair.drive();
            for id in &ids {
                pair.server.release(*id);
            }
            pass(&mut pair, secs(40));
            assert_open(&pair, &format!("{wire:?}, visit {visit}"));
            assert_eq!((pair.client.live_streams(), pair.server.live_streams()), (0, 0));
        }
    }
}

/// Some peers open a stream with an empty STREAM frame. Such a frame has an effect, so it is not
/// charged to the budget of frames without effect. This end sends at most one such frame for each
/// stream.
///
/// An empty STREAM frame without FIN MUST open its stream if the stream is not open yet, and
/// has no other effect.
#[test]
fn an_empty_frame_that_opens_a_stream_is_not_charged_and_not_repeated() {
    let mut pair = pair(Wire::QMux, &config(1 << 16, 1_000));
    let id = pair.open_bi(CLIENT);
    assert_eq!(pair.server.conn.stats(pair.now).useless_received, 0);
    pair.client.record = true;
    pair.release_both(id);
    let sent = pair.client.take_sent().into_iter().flat_map(|item| match item {
        Item::Message(message) => scripted_peer::decode(Wire::QMux, message),
        other => panic!("{other:?}"),
    });
    let frames: Vec<_> = sent.collect();
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Stream { .. })), "{frames:?}");
    assert!(frames.iter().any(|frame| matches!(frame, Frame::StopSending { .. })), "{frames:?}");
}

/// Some implementations may reset every stream that they drop, even a stream that they have
/// finished.
#[test]
fn a_reset_after_the_end_of_each_of_ten_thousand_streams_is_no_abuse() {
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config(1 << 16, 10_000));
    let ids: Vec<_> = (0..10_000).map(|index| bidi(CLIENT, index)).collect();
    ids.iter().for_each(|&id| peer.send(&[stream(id, 0, b"?", true)]));
    for id in &ids {
        peer.send(&[reset(*id, 8, 1)]);
        peer.send(&[stop(*id, 8)]);
    }
    peer.said();
    peer.assert_open("after a reset of each");
}

/// Each poll of the client is a stream with an end and no bytes. After two seconds without an
/// answer the client cancels the poll and sends another.
///
/// [C-62] When a bidirectional stream that the peer opened is over, it MUST count as cancelled if
/// two conditions hold. First, nothing of the stream was read, not even its end. Second, the peer
/// reset the stream, or stopped our half, before anything was sent on our half. A stream of either
/// kind that the peer opened MUST count as served in two cases. First, something was sent on our
/// half, and the peer had neither reset the stream nor stopped our half before. Second, the end of
/// the stream and at least one byte of the stream were read. All other streams of the peer count
/// neither as cancelled nor as served. A stream that we opened MUST NOT count as cancelled or as
/// served.
#[test]
fn long_polls_that_end_without_news_go_on_for_minutes() {
    for wire in WIRES {
        let mut pair = pair(wire, &config(1 << 16, 500));
        pair.latency = ms(20);
        for round in 0..90 {
            let polls: Vec<_> = (0..500).map(|_| pair.client.open(Dir::Bi)).collect();
            polls.iter().for_each(|&id| pair.client.finish(id));
            pass(&mut pair, ms(1_000));
            let accepted = accept(&mut pair, SERVER, Dir::Bi);
            assert_eq!(accepted, polls);
            for id in &accepted {
                assert_eq!(pair.server.read(*id), (vec![], End::Fin));
            }
            pass(&mut pair, ms(1_000));
            polls.iter().for_each(|&id| pair.client.release(id));
            pass(&mut pair, ms(100));
            accepted.iter().for_each(|&id| pair.server.release(id));
            pass(&mut pair, ms(100));
            assert_open(&pair, &format!("{wire:?}, round {round}"));
        }
    }
}

// ---- small messages ----

/// A gateway forwards a chat to a thousand subscribers. Every second it sends one line to each
/// subscriber, who reads the line at once.
#[test]
fn a_chat_that_fans_out_over_a_thousand_streams_goes_on_for_minutes() {
    for wire in WIRES {
        let mut pair = pair(wire, &config(1 << 16, 1_000));
        pair.latency = ms(20);
        let ids: Vec<_> = (0..1_000).map(|_| pair.client.open(Dir::Bi)).collect();
        ids.iter().for_each(|&id| pair.client.conn.send_stream(pair.now, id).announce());
        pair.drive();
        assert_eq!(accept(&mut pair, SERVER, Dir::Bi), ids);
        for second in 0..120 {
            for id in &ids {
                assert_eq!(pair.server.write(*id, &[7; 40]), 40);
            }
            pass(&mut pair, ms(1_000));
            for id in &ids {
                assert_eq!(pair.client.read(*id).0.len(), 40);
            }
            assert_open(&pair, &format!("{wire:?}, second {second}"));
        }
    }
}

/// The peer sends an Ack for each read, as `@matrixai/ws` does with a small `streamBufferSize`.
#[test]
fn js_ws_peers_with_buffers_of_a_few_bytes_that_ack_each_read_go_on() {
    for buffer in [1, 10, 100] {
        let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
        let ids: Vec<_> = (0..100).map(|index| bidi(CLIENT, index)).collect();
        for id in &ids {
            peer.send(&[ack(*id, buffer)]);
        }
        // The peer sends 20,000 Acks with each size of the buffer.
        let rounds = 20 * buffer.min(10);
        for round in 0..rounds {
            for id in &ids {
                peer.conn.send_stream(peer.now, *id).write(&[7; 10]).unwrap();
            }
            let mut taken = peer.frames();
            while !taken.is_empty() {
                for frame in std::mem::take(&mut taken) {
                    if let Frame::Stream { id, data, .. } = frame {
                        peer.send(&[ack(id, data.len() as u64)]);
                    }
                }
                peer.events();
                taken = peer.frames();
            }
            peer.assert_open(&format!("a buffer of {buffer}, round {round}"));
        }
    }
}

/// The application writes to many streams byte by byte. Each byte is sent and read by itself.
#[test]
fn a_scraper_may_write_single_bytes_on_many_streams_for_minutes() {
    for wire in WIRES {
        for window in [64, 1 << 20] {
            let mut pair = pair(wire, &config(window, 200));
            pair.latency = ms(20);
            for round in 0..6 {
                let ids: Vec<_> = (0..200).map(|_| pair.client.open(Dir::Bi)).collect();
                for byte in 0..40 {
                    for id in &ids {
                        assert_eq!(pair.client.write(*id, b"x"), 1);
                        pair.transmit();
                    }
                    pass(&mut pair, ms(500));
                    if byte == 0 {
                        assert_eq!(accept(&mut pair, SERVER, Dir::Bi), ids);
                    }
                    for id in &ids {
                        assert_eq!(pair.server.read(*id), (b"x".to_vec(), End::Open));
                        pair.transmit();
                    }
                    assert_open(&pair, &format!("{wire:?}, a window of {window}, round {round}"));
                }
                for id in ids {
                    pair.client.release(id);
                    pair.server.release(id);
                }
                pass(&mut pair, ms(500));
            }
        }
    }
}
