//! Opening streams at the peer's limit. Waiting calls are served in order, and a call that is
//! dropped lets the next call proceed.

use wsmux::{
    Config, Side, VarInt, WebSocketConnection, WebSocketStream, Wire, proto::Frame,
    socket::memory_pair,
};

use super::{
    hand::{Dice, Hand, give_up_after},
    pair::{config, connection, memory, quiet, soon},
    raw::RawPeer,
};

/// Returns a client and a server that lets the client open `limit` streams.
async fn limited(limit: u64) -> (WebSocketConnection, WebSocketConnection) {
    let config = config(|config| {
        // Without pings, the two ends do something only when the test asks for it.
        config.max_concurrent_bidi_streams(limit).keep_alive_interval(None);
    });
    memory(Wire::QMux, &config).await
}

/// Ends the oldest stream, first on the server's side and then on the client's.
async fn end_oldest(server: &WebSocketConnection, open: &mut Vec<WebSocketStream>) {
    let mut client_end = open.remove(0);
    client_end.send().finish().unwrap();
    let mut server_end = server.accept_bi().await.unwrap();
    assert_eq!(server_end.id(), client_end.id());
    server_end.send().finish().unwrap();
    assert_eq!(server_end.recv().read_to_end(0).await.unwrap(), b"");
    drop(server_end);
    assert_eq!(client_end.recv().read_to_end(0).await.unwrap(), b"");
    drop(client_end);
    quiet().await;
}

#[tokio::test(start_paused = true)]
async fn opens_at_the_limit_succeed_in_order_and_a_dropped_one_frees_its_place() {
    let (client, server) = limited(2).await;
    let mut open = vec![client.open_bi().await.unwrap(), client.open_bi().await.unwrap()];
    let [first, second, mut third, fourth] = [(); 4].map(|()| Hand::waiting(client.open_bi()));
    drop(second);
    end_oldest(&server, &mut open).await;
    assert_eq!([first.wakes(), third.wakes(), fourth.wakes()], [1, 0, 0]);

    // The first call was woken. Neither the third call, which was not woken, nor a new call may
    // overtake the first call.
    let newcomer = Hand::waiting(client.open_bi());
    assert!(third.poll().is_pending());

    // The call that was woken is dropped, so the next call is woken in its place.
    drop(first);
    assert_eq!([third.wakes(), fourth.wakes(), newcomer.wakes()], [1, 0, 0]);
    open.push(third.ready().unwrap());
    assert_eq!(open[1].id().index(), 2);

    for (mut waiting, index) in [(fourth, 3), (newcomer, 4)] {
        assert_eq!(waiting.wakes(), 0);
        end_oldest(&server, &mut open).await;
        assert_eq!(waiting.wakes(), 1);
        open.push(waiting.ready().unwrap());
        assert_eq!(open[1].id().index(), index);
    }
    // No call is left in the queue.
    end_oldest(&server, &mut open).await;
    open.push(soon(client.open_bi()).await.unwrap());
    assert_eq!(open[1].id().index(), 5);
}

#[tokio::test(start_paused = true)]
async fn opens_that_are_given_up_at_the_limit_open_nothing() {
    let (client, server) = limited(3).await;
    let mut dice = Dice(5);
    let mut open = Vec::new();
    for index in 0..200 {
        for _ in 0..dice.below(4) {
            let polls = dice.below(3);
            if let Some(stream) = give_up_after(polls, client.open_bi()).await {
                open.push(stream.unwrap());
            }
        }
        if open.is_empty() {
            open.push(soon(client.open_bi()).await.unwrap());
        }
        assert_eq!(open[0].id().index(), index, "no stream is skipped");
        end_oldest(&server, &mut open).await;
    }
    open.clear();
    quiet().await;
    while give_up_after(1, server.accept_bi()).await.is_some() {}
    quiet().await;
    assert_eq!((client.stats().live_streams, server.stats().live_streams), (0, 0));
    // As many streams as the limit allows can be opened again.
    for index in 200..203 {
        open.push(soon(client.open_bi()).await.unwrap());
        assert_eq!(open.last().unwrap().id().index(), index);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_still_waits_at_a_raised_limit_tells_the_peer_again() {
    let (left, right) = memory_pair(64 * 1024);
    let mut server = RawPeer::new(right, Side::Server, Wire::QMux);
    // MAX_STREAMS allows one bidirectional stream.
    server.send(&b"\x12\x01"[..]);
    let client = connection(left, Side::Client, Wire::QMux, &Config::default());
    client.established().await.unwrap();
    let all: Vec<_> = (0..100).map(|_| client.open_bi()).collect();
    let _all = futures_util::future::join_all(all).await;
    let (mut first, second) = (Hand::waiting(client.open_bi()), Hand::waiting(client.open_bi()));
    quiet().await;
    server.send(&b"\x12\x40\x65"[..]);
    quiet().await;
    first.ready().unwrap();
    assert_eq!(second.wakes(), 0);
    quiet().await;
    client.close(VarInt::default(), b"");
    let (frames, _) = server.until_close().await;
    let blocked: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::StreamsBlocked { limit, .. } => Some(*limit),
            _ => None,
        })
        .collect();
    assert_eq!(blocked, [100, 101]);
}
