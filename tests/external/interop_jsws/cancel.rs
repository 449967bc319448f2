//! Streams that are cancelled while their data is in flight.

use serde_json::json;
use wsmux::{ConnectionError, TransportErrorCode, WebSocketStream, WriteError};

use super::{interop::*, pair::*};

in_both_roles! {
    we_stop_in_the_middle_of_data_and_the_connection_goes_on,
    we_reset_in_the_middle_of_data_and_the_connection_goes_on,
    we_drop_a_stream_in_the_middle_of_data_and_the_connection_goes_on,
    the_peer_resets_in_the_middle_of_data_and_the_connection_goes_on,
    the_peer_stops_between_data_and_the_connection_goes_on,
    the_peer_stops_in_the_middle_of_data_and_harms_nobody_but_itself,
}

/// Far more bytes than any of these tests sends.
const ENDLESS: u64 = 1 << 40;

/// How many bytes are sent on the other half after one half was cancelled. With this number, the
/// stream ends between two grants of credit.
const REST: u64 = 1_000_000;

/// How often each test repeats its steps. The repetitions are needed because chance decides which
/// byte is the last to arrive.
const ROUNDS: u64 = 10;

/// Reads the first bytes of a stream that does not end yet, and checks them.
async fn read_first(stream: &mut WebSocketStream, seed: u8, bytes: u64) {
    let mut offset = 0;
    while offset < bytes {
        let chunk = within("reading", stream.recv().read_chunk(usize::MAX)).await.unwrap().unwrap();
        check_pattern(seed, offset, &chunk);
        offset += chunk.len() as u64;
    }
}

fn endless(stream: u64, seed: u8) -> serde_json::Value {
    json!({ "stream": stream, "seed": seed, "bytes": ENDLESS })
}

async fn we_stop_in_the_middle_of_data_and_the_connection_goes_on(role: Role) {
    let pair = Pair::with_windows(role, 64 * KIB).await;
    for opener in Opener::BOTH {
        for round in 0..ROUNDS {
            let (mut stream, there) = pair.open(opener).await;
            let write = pair.node.call_fails("write", endless(there, 5));
            read_first(&mut stream, 5, round * 50_000 + 1).await;
            stream.recv().stop(code(77)).unwrap();
            assert_eq!(write.await.code, Some(77));
            // The other half is not affected.
            let (sent, there) =
                (send_pattern(stream.send(), 6, REST), pair.node.read_pattern(there, 6, REST));
            tokio::join!(sent, there);
        }
        pair.exchange(opener, REST).await;
    }
    pair.assert_no_streams_left().await;
}

async fn we_reset_in_the_middle_of_data_and_the_connection_goes_on(role: Role) {
    let pair = Pair::with_windows(role, 64 * KIB).await;
    for opener in Opener::BOTH {
        for round in 0..ROUNDS {
            let (mut stream, there) = pair.open(opener).await;
            let first = json!({ "stream": there, "seed": 5, "max": round * 50_000 + 1 });
            let first = pair.node.call("read", first);
            let rest = tokio::select! {
                written = write_pattern(stream.send(), 5, 0, ENDLESS) => panic!("{written:?}"),
                read = first => {
                    assert_eq!(read["patternOk"], true, "{read}");
                    pair.node.call_fails("read", json!({ "stream": there }))
                }
            };
            stream.send().reset(code(4242)).unwrap();
            assert_eq!(rest.await.code, Some(4242));
            let (received, there) =
                (receive_pattern(stream.recv(), 6, REST), pair.node.write_pattern(there, 6, REST));
            tokio::join!(received, there);
        }
        pair.exchange(opener, REST).await;
    }
    pair.assert_no_streams_left().await;
}

async fn we_drop_a_stream_in_the_middle_of_data_and_the_connection_goes_on(role: Role) {
    let pair = Pair::with_windows(role, 64 * KIB).await;
    for opener in Opener::BOTH {
        for _ in 0..ROUNDS {
            let (mut stream, there) = pair.open(opener).await;
            let write = pair.node.call_fails("write", endless(there, 5));
            let read = pair.node.call_fails("read", json!({ "stream": there }));
            let (send, recv) = stream.split();
            let mut first = vec![0; 300_000];
            tokio::select! {
                written = write_pattern(send, 6, 0, ENDLESS) => panic!("{written:?}"),
                read = recv.read_exact(&mut first) => read.unwrap(),
            }
            check_pattern(5, 0, &first);
            drop(stream);
            assert_eq!((write.await.code, read.await.code), (Some(0), Some(0)));
        }
        pair.exchange(opener, REST).await;
    }
    pair.assert_no_streams_left().await;
}

async fn the_peer_resets_in_the_middle_of_data_and_the_connection_goes_on(role: Role) {
    let pair = Pair::with_windows(role, 64 * KIB).await;
    for opener in Opener::BOTH {
        for round in 0..ROUNDS {
            let (mut stream, there) = pair.open(opener).await;
            let _write = pair.node.call_fails("write", endless(there, 5));
            read_first(&mut stream, 5, round * 50_000 + 1).await;
            let reset = pair.node.call("reset", json!({ "stream": there, "code": 4242 }));
            // The package delays its reset while one of its writes waits for credit, so we go on
            // reading.
            assert_eq!(reset_code(stream.recv()).await, 4242);
            reset.await;
            let (sent, there) =
                (send_pattern(stream.send(), 6, REST), pair.node.read_pattern(there, 6, REST));
            tokio::join!(sent, there);
        }
        pair.exchange(opener, REST).await;
    }
    pair.assert_no_streams_left().await;
}

/// The package can cope with this stop, because everything that we sent has arrived, and we send
/// nothing more.
async fn the_peer_stops_between_data_and_the_connection_goes_on(role: Role) {
    let pair = Pair::with_windows(role, 64 * KIB).await;
    for opener in Opener::BOTH {
        for _ in 0..ROUNDS {
            let (mut stream, there) = pair.open(opener).await;
            let sent = write_pattern(stream.send(), 5, 0, 100_000);
            let read = json!({ "stream": there, "seed": 5, "max": 100_000 });
            let (sent, read) = tokio::join!(sent, pair.node.call("read", read));
            sent.unwrap();
            assert_eq!((&read["bytes"], &read["patternOk"]), (&100_000.into(), &true.into()));
            let stop = pair.node.call("stop", json!({ "stream": there, "code": 77 }));
            assert_eq!(stop_code(stream.send()).await, 77);
            let written = stream.send().write(b"more").await;
            assert!(matches!(written, Err(WriteError::Stopped(stopped)) if stopped == code(77)));
            stop.await;
            let (received, there) =
                (receive_pattern(stream.recv(), 6, REST), pair.node.write_pattern(there, 6, REST));
            tokio::join!(received, there);
        }
        pair.exchange(opener, REST).await;
    }
    pair.assert_no_streams_left().await;
}

/// The package determines whether the connection survives this test. If the package receives data
/// after its application has stopped reading, the package closes the connection with 1002. If the
/// package opened the stream, it also throws an uncaught exception, which would end its process. No
/// sender can avoid this fault, because the data is sent before the request to stop is received. In
/// some rounds no data arrives after the stop, and the connection survives. This test checks our
/// end. Our writer must report either a stop with the package's code, or the loss of the
/// connection. If the package has not closed the connection, the connection must still work.
async fn the_peer_stops_in_the_middle_of_data_and_harms_nobody_but_itself(role: Role) {
    for opener in Opener::BOTH {
        let pair = Pair::with_windows(role, MIB).await;
        let (mut stream, there) = pair.open(opener).await;
        let first = pair.node.call("read", json!({ "stream": there, "seed": 5, "max": 2 * MIB }));
        let stop = async {
            assert_eq!(first.await["patternOk"], true);
            pair.node.try_call("stop", json!({ "stream": there, "code": 9 })).await
        };
        let (written, _) = tokio::join!(write_pattern(stream.send(), 5, 0, ENDLESS), stop);
        let told = match written {
            Err(WriteError::Stopped(told)) => Some(told),
            Err(WriteError::ConnectionLost(_)) => None,
            other => panic!("neither stopped nor closed: {other:?}"),
        };
        assert!(told.is_none_or(|told| told == code(9)), "{told:?}");

        let survived = still_works(&pair).await;
        let uncaught = pair.node.uncaught();
        assert!(uncaught.iter().all(|message| message == OVERFLOW), "{uncaught:?}");
        assert!(opener == Opener::Them || uncaught.is_empty(), "{uncaught:?}");
        if !survived {
            let end = within("the end", pair.ours.closed()).await;
            let ConnectionError::ConnectionClosed(close) = end else { panic!("{end:?}") };
            assert_eq!(close.error_code, TransportErrorCode::PROTOCOL_VIOLATION);
            assert_eq!(close.reason, format!("WebSocket close 1002: {OVERFLOW}"));
        }
    }
}

const OVERFLOW: &str = "Peer has overflowed the buffer of the ReadableStream";

/// Returns whether a new stream carries data.
async fn still_works(pair: &Pair) -> bool {
    let accepted = pair.node.try_call("accept", json!({}));
    let Ok(mut stream) = within("opening", pair.ours.open_bi()).await else { return false };
    let Ok(accepted) = accepted.await else { return false };
    let read = json!({ "stream": accepted["stream"], "seed": 8, "max": 1_000 });
    let written = write_pattern(stream.send(), 8, 0, 1_000).await;
    written.is_ok()
        && pair.node.try_call("read", read).await.is_ok_and(|read| read["patternOk"] == true)
}
