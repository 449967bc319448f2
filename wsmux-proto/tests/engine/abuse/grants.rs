//! Grants that are very small or that raise no limit.

use super::*;

/// Opens a stream without credit and writes 1 MiB to it. So there is always data that waits for the
/// peer's next grant.
fn with_waiting_data() -> (ScriptedPeer, StreamId) {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_stream_data_uni = 0);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).append_chunk(vec![0; 1 << 20].into()).unwrap();
    peer.said();
    (peer, id)
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [C-63] The budget of grants MUST be replenished as follows. Each stream that either end opens
/// adds 1. Each 64 bytes of stream data that we send add 1. If an eighth of the window that the
/// peer declared is less than 64 bytes, that eighth takes the place of the 64 bytes for each frame
/// that fits into the window. On QMux each frame of stream data adds 1 more, unless lack of credit
/// made the frame shorter. On js-ws each byte of stream data adds 1 more.
#[test]
fn a_flood_of_used_grants_of_one_byte_ends_the_connection() {
    let (peer, id) = with_waiting_data();
    let most = flood(peer, "grants", |peer, count| peer.send(&[max_stream_data(id, count + 1)]));
    // Each grant lets us send one byte, and every 64 bytes that we send refill the budget by one.
    // So the budget lasts for slightly more than the 10,000 grants that it holds.
    assert!((10_100..10_200).contains(&most), "{most}");
}

/// [C-60] When a peer has spent more than a budget holds, we MUST close with EXCESSIVE_LOAD and a
/// reason that names the budget.
/// [C-63] The budget of grants MUST be replenished as follows. Each stream that either end opens
/// adds 1. Each 64 bytes of stream data that we send add 1. If an eighth of the window that the
/// peer declared is less than 64 bytes, that eighth takes the place of the 64 bytes for each frame
/// that fits into the window. On QMux each frame of stream data adds 1 more, unless lack of credit
/// made the frame shorter. On js-ws each byte of stream data adds 1 more.
/// A MAX_STREAMS, MAX_STREAM_DATA or MAX_DATA that does not raise its limit MUST be ignored.
#[test]
fn a_flood_of_grants_that_nobody_uses_ends_the_connection() {
    let id = bidi(CLIENT, 0);
    type Grant = fn(StreamId, u64) -> Frame;
    let grants: [Grant; 4] = [
        |id, count| max_stream_data(id, (1 << 31) + (count << 20)),
        |id, _| max_stream_data(id, 1),
        |_, count| Frame::MaxData((1 << 41) + count),
        |_, count| Frame::MaxStreams { dir: Dir::Uni, count: (1 << 21) + count },
    ];
    for grant in grants {
        let mut peer = peer(Wire::QMux);
        peer.send(&[stream(id, 0, b"x", false)]);
        flood(peer, "grants", |peer, count| peer.send(&[grant(id, count)]));
    }
    let mut peer = peer(Wire::JsWs);
    peer.send(&[ack(id, 1)]);
    flood(peer, "grants", |peer, _| peer.send(&[ack(id, 1)]));
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [C-63] The budget of grants MUST be replenished as follows. Each stream that either end opens
/// adds 1. Each 64 bytes of stream data that we send add 1. If an eighth of the window that the
/// peer declared is less than 64 bytes, that eighth takes the place of the 64 bytes for each frame
/// that fits into the window. On QMux each frame of stream data adds 1 more, unless lack of credit
/// made the frame shorter. On js-ws each byte of stream data adds 1 more.
#[test]
fn a_grant_for_every_64_bytes_that_were_sent_is_let_pass() {
    let (peer, id) = with_waiting_data();
    let block = 1 << 16;
    honest(peer, |peer, count| {
        let mut send = peer.conn.send_stream(peer.now, id);
        if send.poll_room().unwrap() > 0 {
            send.append_chunk(vec![0; block].into()).unwrap();
        }
        peer.send(&[max_stream_data(id, 64 * (count + 1))]);
    });
}

/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
/// [C-63] The budget of grants MUST be replenished as follows. Each stream that either end opens
/// adds 1. Each 64 bytes of stream data that we send add 1. If an eighth of the window that the
/// peer declared is less than 64 bytes, that eighth takes the place of the 64 bytes for each frame
/// that fits into the window. On QMux each frame of stream data adds 1 more, unless lack of credit
/// made the frame shorter. On js-ws each byte of stream data adds 1 more.
#[test]
fn a_js_ws_reader_that_gives_back_each_byte_that_it_reads_is_let_pass() {
    let mut peer = peer(Wire::JsWs);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.send(&[ack(id, MANY)]);
    peer.conn.send_stream(peer.now, id).append_chunk(vec![0; 2 * MANY as usize].into()).unwrap();
    // The first window is sent in one message. After that the peer grants one byte for each byte
    // that it reads, and each such grant lets us send one more byte.
    peer.said();
    honest(peer, |peer, _| peer.send(&[ack(id, 1)]));
}

/// [C-38] A stream's credit MUST be renewed in two cases, and not for each read. First, the
/// application has read a quarter of the window since the last grant, or 1 MiB if that is less, but
/// at least one byte. Second, the window has to grow (C-56).
/// [C-61] We MUST NOT close a connection because of useless work if the budget of this work is
/// replenished faster than the work spends it, however long the work continues. This rule holds for
/// a budget that time replenishes, and for a budget that useful work replenishes at any speed.
#[test]
fn a_reader_of_single_bytes_with_a_window_of_a_few_kib_meets_no_budget() {
    for wire in WIRES {
        let mut config = Config::default();
        config.stream_receive_window(4_096).window_growth_budget(0);
        let mut pair = Pair::new(wire, &config);
        let id = pair.open_bi(CLIENT);
        let mut left = 60_000;
        while left > 0 {
            pair.client.write(id, &[0; 10_000]);
            pair.drive();
            loop {
                let (data, _) = pair.server.read_up_to(id, 1);
                if data.is_empty() {
                    break;
                }
                left -= 1;
                pair.step();
            }
        }
        for end in [&pair.client, &pair.server] {
            assert!(end.conn.close_reason().is_none(), "{wire:?}");
        }
    }
}
