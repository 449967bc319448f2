//! Bytes that one end writes are read and echoed by the other end, and none are lost.

use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use sha2::{Digest, Sha256};
use wsmux::{RecvStream, SendStream, WebSocketConnection, WebSocketStream};

use crate::place::{Place, pattern, stream, timer, within};

const MIB: u64 = 1024 * 1024;

/// The number of bytes in each write.
const CHUNK: u64 = 64 * 1024;

/// How long a write may wait before the test checks whether its stream has stalled.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The stream counts as stalled if this many consecutive checks find that the write still waits.
const LOOKS: u32 = 5;

crate::tests_at! { everywhere:
    an_echo_of_64_mib_on_one_stream_is_the_same_bytes;
    an_echo_of_64_mib_on_50_streams_is_the_same_bytes;
    a_stalled_stream_of_10_stops_none_of_the_others;
    a_server_reads_what_was_written_and_where_it_ends;
}

crate::tests_at! { on_qmux:
    unidirectional_streams_and_datagrams_come_back;
}

async fn write(send: &mut SendStream, seed: u8, length: u64) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < length {
        let chunk = pattern(seed, at, (length - at).min(CHUNK) as usize);
        at += chunk.len() as u64;
        hash.update(&chunk);
        within("writing", send.write_chunk(chunk)).await.expect("a stream that takes all");
    }
    send.finish().expect("a stream that can be finished");
    hash.finalize().to_vec()
}

async fn read(recv: &mut RecvStream) -> (u64, Vec<u8>) {
    let (mut length, mut hash) = (0, Sha256::new());
    while let Some(chunk) =
        within("reading", recv.read_chunk(usize::MAX)).await.expect("a clean end")
    {
        length += chunk.len() as u64;
        hash.update(&chunk);
    }
    (length, hash.finalize().to_vec())
}

async fn echo(connection: &WebSocketConnection, seed: u8, length: u64) {
    let mut stream = stream(connection, &b"E"[..]).await;
    let (send, recv) = stream.split();
    let (sent, (came, hash)) =
        futures_util::future::join(write(send, seed, length), read(recv)).await;
    assert_eq!(came, length);
    assert!(sent == hash, "other bytes came back");
}

async fn an_echo_of_64_mib_on_one_stream_is_the_same_bytes(place: Place) {
    let connection = place.connect().await;
    echo(&connection, 1, 64 * MIB).await;
}

async fn an_echo_of_64_mib_on_50_streams_is_the_same_bytes(place: Place) {
    let connection = place.connect().await;
    // The last of the 50 streams also carries the bytes that the division by 50 leaves over.
    let length = |i| 64 * MIB / 50 + if i == 49 { 64 * MIB % 50 } else { 0 };
    join_all((0..50).map(|i| echo(&connection, i as u8, length(i)))).await;
}

/// Writes until the other end no longer reads, and returns how many bytes were accepted.
async fn write_until_it_stalls(
    connection: &WebSocketConnection,
    stream: &mut WebSocketStream,
) -> u64 {
    let (mut written, mut looks) = (0, 0);
    loop {
        let wrote = {
            let chunk = pattern(0, written, 1024);
            let writing = std::pin::pin!(stream.send().write_chunk(chunk));
            match select(writing, timer(LOOK_EVERY)).await {
                Either::Left((wrote, _)) => Some(wrote),
                Either::Right(_) => None,
            }
        };
        if let Some(wrote) = wrote {
            wrote.expect("a stream that lives");
            (written, looks) = (written + 1024, 0);
            continue;
        }
        // If the server is only slow, it reads more of the stream before it answers this echo.
        echo(connection, 0, CHUNK).await;
        looks += 1;
        let stats = stream.send().stats().expect("a stream");
        if stats.credit == 0 && stats.buffered > 0 && looks >= LOOKS {
            return written;
        }
    }
}

/// The server cannot write because this end does not read, so the server stops reading too. Both
/// directions stall.
async fn a_stalled_stream_of_10_stops_none_of_the_others(place: Place) {
    let connection = place.connect().await;
    let mut stalled = stream(&connection, &b"E"[..]).await;
    let written = within("stalling", write_until_it_stalls(&connection, &mut stalled)).await;
    let before = stalled.send().stats().expect("a stream");
    join_all((1..10).map(|i| echo(&connection, i, 32 * MIB / 9 + 1))).await;
    let after = stalled.send().stats().expect("a stream");
    assert_eq!((after.sent, after.credit), (before.sent, 0));

    // Once this end reads, the server can echo the rest.
    let (send, recv) = stalled.split();
    let rest = async {
        send.finish().expect("a stream that can be finished");
    };
    let (_, (came, _)) = futures_util::future::join(rest, read(recv)).await;
    assert_eq!(came, written);
}

async fn a_server_reads_what_was_written_and_where_it_ends(place: Place) {
    let connection = place.connect().await;
    for length in [0, 1, 100_000, 3 * MIB + 1] {
        let mut stream = stream(&connection, &b"D"[..]).await;
        let hash = write(stream.send(), 3, length).await;
        let answer = within("the digest", stream.recv().read_to_end(40)).await.expect("a digest");
        assert_eq!(answer, [&length.to_be_bytes()[..], &hash].concat());
    }
}

async fn unidirectional_streams_and_datagrams_come_back(place: Place) {
    let connection = place.connect().await;
    let sent = pattern(9, 0, 100_000);
    let mut send = within("opening", connection.open_uni()).await.expect("a stream");
    within("writing", send.write_chunk(sent.clone())).await.expect("room");
    send.finish().expect("a stream that can be finished");
    let mut recv = within("accepting", connection.accept_uni()).await.expect("a stream");
    let came = within("reading", recv.read_to_end(1 << 20)).await.expect("a clean end");
    assert!(came == sent);

    assert!(connection.max_datagram_size().is_some_and(|size| size >= 1000));
    let datagram = pattern(4, 0, 1000);
    connection.send_datagram(datagram.clone()).expect("a datagram");
    let came = within("a datagram", connection.read_datagram()).await.expect("a datagram");
    assert_eq!(came, datagram);
}
