//! How many bytes a session keeps so that it can send them again over a new socket.

use wsmux_proto::{
    Config, ConnectionError, Dir, Link, MemoryUse, SessionState, Time, Timeout, Wire,
};

use crate::{
    net::{Item, Net, hand_over, resumable, session, transmit},
    support::*,
};

const BUDGET: u64 = 64 * 1024;

fn config() -> Config {
    let mut config = resumable();
    config
        .replay_budget(BUDGET)
        .max_idle_timeout(None)
        .keep_alive_interval(None)
        .write_stall_timeout(Some(secs(60)));
    config
}

/// Lets the client send until it stops. Nothing arrives at the server. Returns the number of
/// messages.
fn fill(net: &mut Net, piece: usize) -> usize {
    let id = net.client.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    let mut sent = 0;
    loop {
        let now = net.now;
        let mut send = net.client.session.engine_mut().send_stream(now, id);
        if send.poll_room().expect("the stream is open") > piece {
            send.append_chunk(pattern(0, 0, piece).into()).expect("the stream is open");
        }
        if !net.send_one(CLIENT) {
            return sent;
        }
        sent += 1;
    }
}

/// When the counted messages that the peer has not acknowledged use up our replay budget, we
/// MUST NOT send another counted message until the peer acknowledges some. SESSION_ACK may still be
/// sent. Until the peer acknowledges some, the socket counts as full for the write-stall timeout
/// (C-78).
#[test]
fn a_full_budget_stops_everything_but_acknowledgements() {
    for piece in [1, 100, 5_000] {
        let mut net = Net::new(&config());
        // The server sends something that has to be acknowledged.
        let id = net.server.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
        let now = net.now;
        net.server.session.engine_mut().send_stream(now, id).write(&[1; 100]).unwrap();
        net.send_one(SERVER);
        net.deliver_one(CLIENT);
        let sent = fill(&mut net, piece);
        let held = net.client.session.session_stats().replay_held;
        assert!((BUDGET..BUDGET + 65_536 + 64).contains(&held), "{held}");
        assert!(sent as u64 >= BUDGET / (65_536 + 64) && !net.client.session.wants_transmit());
        net.now += secs(1);
        net.client.session.handle_timeout(net.now);
        assert!(net.send_one(CLIENT), "the acknowledgement");
        assert_eq!(net.client.in_flight.back().map(size), Some(9));
        assert!(!net.send_one(CLIENT) && !net.client.session.wants_transmit());
        // The peer acknowledges the messages that arrive, and this makes room in the budget.
        net.settle();
        assert!(net.client.session.session_stats().replay_held < BUDGET);
        assert!(net.client.session.engine().close_reason().is_none());
        net.assert_live();
    }
}

fn size(item: &Item) -> usize {
    match item {
        Item::Message(message) => message.len(),
        Item::Close(_) => 0,
    }
}

/// When the counted messages that the peer has not acknowledged use up our replay budget, we
/// MUST NOT send another counted message until the peer acknowledges some. SESSION_ACK may still be
/// sent. Until the peer acknowledges some, the socket counts as full for the write-stall timeout
/// (C-78).
#[test]
fn a_peer_that_acknowledges_nothing_is_given_up() {
    let mut config = config();
    config.window_growth_budget(0);
    let mut net = Net::new(&config);
    fill(&mut net, 5_000);
    let start = net.now;
    assert_eq!(net.client.session.poll_timeout(), Some(start + secs(60)));
    net.now += secs(60);
    net.client.session.handle_timeout(net.now);
    assert_eq!(net.client.session.state(), SessionState::Suspended);
    net.cut();
    net.dial();
    // These three lines carry the server's parameters, the request, and the answer.
    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT));
    assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
    assert!(net.send_one(SERVER) && net.deliver_one(CLIENT));
    while net.send_one(CLIENT) {}
    assert_eq!(net.client.session.poll_timeout(), Some(start + secs(120)));
    net.client.session.handle_timeout(start + secs(120));
    assert!(matches!(
        net.client.session.engine().close_reason(),
        Some(ConnectionError::TimedOut(Timeout::WriteStall))
    ));
    // The Close is sent although the budget is full.
    assert!(net.send_one(CLIENT));
    assert_eq!(net.client.in_flight.back(), Some(&Item::Close(1001)));
}

#[test]
fn two_ends_with_full_budgets_do_not_block_each_other() {
    let mut net = Net::new(&config());
    net.capacity = 2;
    let ids = [CLIENT, SERVER].map(|side| {
        let conn = net.end(side).session.engine_mut();
        conn.open(Dir::Uni).unwrap().unwrap()
    });
    let mut read = [0; 2];
    for _ in 0..10_000 {
        for (side, id) in [CLIENT, SERVER].into_iter().zip(ids) {
            let now = net.now;
            let mut send = net.end(side).session.engine_mut().send_stream(now, id);
            if send.poll_room().unwrap() > 20_000 {
                send.append_chunk(pattern(0, 0, 20_000).into()).unwrap();
            }
            net.send_one(side);
            net.deliver_one(side);
            let other = net.end(!side).session.engine_mut();
            while let Ok(wsmux_proto::Read::Data(bytes)) = other.recv_stream(now, id).read(9_000) {
                read[side as usize] += bytes.len();
            }
        }
        if read.iter().all(|&read| read > 2_000_000) {
            return;
        }
    }
    panic!("{read:?}");
}

/// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at any
/// time.
#[test]
fn what_is_kept_takes_no_more_memory_than_the_formula_says() {
    let bound = config().memory_bound(Wire::QMux, &MemoryUse::default());
    assert_eq!(Config::default().memory_bound(Wire::QMux, &MemoryUse::default()).replay, 0);
    assert_eq!(resumable().memory_bound(Wire::JsWs, &MemoryUse::default()).replay, 0);
    // The formula also allows memory for blocks of which a part was acknowledged. That memory does
    // not count here.
    let send = bound.send - 256 * 1024;
    let most = (bound.replay - send) as i64;
    for piece in [1, 40, 511, 512, 700, 4_096, 5_000, 60_000] {
        let mut client = session(&config(), CLIENT, 0);
        let mut server = session(&config(), SERVER, 0);
        let (now, link) = (Time::EPOCH, Link::default());
        let hello = transmit(&mut server, now, link).expect("parameters");
        transmit(&mut client, now, link).expect("parameters");
        hand_over(&mut client, now, link, hello);
        let id = client.engine_mut().open(Dir::Uni).unwrap().unwrap();
        let mut heap = Heap::default();
        loop {
            // Each round gives one piece to the stream, and sends that piece in a message.
            let data: bytes::Bytes = heap.of(|| pattern(0, 0, piece).into());
            heap.of(|| client.engine_mut().send_stream(now, id).append_chunk(data).unwrap());
            if heap.of(|| {
                let mut out = wsmux_proto::MessageBuf::new();
                client.poll_transmit(now, link, &mut out).is_none()
            }) {
                break;
            }
            assert!(heap.held() <= most, "{piece}: {} of {most}", heap.held());
        }
        let held = client.session_stats().replay_held;
        assert!(held >= BUDGET, "{held}");
    }
}

/// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at any
/// time.
#[test]
fn pieces_of_large_chunks_take_no_more_memory_than_the_formula_says() {
    const CHUNK: usize = 200_000;
    const STREAMS: usize = 4;
    let mut peer = config();
    peer.stream_receive_window(30_000).window_growth_budget(0);
    let application =
        MemoryUse { open_uni: STREAMS as u64, largest_chunk: CHUNK as u64, ..MemoryUse::default() };
    let mut own = config();
    own.max_concurrent_bidi_streams(0).max_local_streams(STREAMS as u64);
    let bound = own.memory_bound(Wire::QMux, &application);
    let most = (bound.replay + bound.send) as i64;
    for delay in [1, 3, 7, 20] {
        let mut client = session(&own, CLIENT, 0);
        let mut server = session(&peer, SERVER, 0);
        let (now, link) = (Time::EPOCH, Link::default());
        let hello = transmit(&mut server, now, link).expect("parameters");
        let ours = transmit(&mut client, now, link).expect("parameters");
        hand_over(&mut client, now, link, hello);
        hand_over(&mut server, now, link, ours);
        let mut heap = Heap::default();
        let (mut accepted, mut peak, mut read) = (Vec::new(), 0, 0);
        for step in 0..600 {
            // Each stream carries one chunk, which is sent in several messages.
            heap.of(|| {
                let conn = client.engine_mut();
                while let Some(id) = conn.open(Dir::Uni).expect("the connection lives") {
                    let mut send = conn.send_stream(now, id);
                    send.append_chunk(vec![1; CHUNK].into()).expect("the stream is open");
                    send.finish().expect("the stream is open");
                    send.release();
                }
                while conn.poll().is_some() {}
            });
            let sent = heap.of(|| {
                let mut out = wsmux_proto::MessageBuf::new();
                let sent = client.poll_transmit(now, link, &mut out).is_some();
                sent.then(|| bytes::Bytes::copy_from_slice(&out.to_bytes()))
            });
            if let Some(message) = sent {
                // The receiver gets a copy of the message. The memory of this copy does not count.
                let copy = bytes::Bytes::copy_from_slice(&message);
                heap.give_back(message);
                hand_over(&mut server, now, link, Item::Message(copy));
            }
            peak = peak.max(heap.held());
            assert!(heap.held() <= most, "{} of {most}", heap.held());
            if step % delay != 0 {
                continue;
            }
            while let Some(id) = server.engine_mut().accept(Dir::Uni) {
                accepted.push(id);
            }
            for &id in &accepted {
                while let Ok(wsmux_proto::Read::Data(bytes)) =
                    server.engine_mut().recv_stream(now, id).read(CHUNK)
                {
                    read += bytes.len();
                }
            }
            while let Some(item) = transmit(&mut server, now, link) {
                heap.of(|| hand_over(&mut client, now, link, item));
            }
        }
        assert!(read > 5 * CHUNK && peak > 2 * CHUNK as i64, "{read} {peak}");
    }
}
