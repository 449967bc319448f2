//! How streams end, at both ends.

use wsmux::{ReadError, VarInt, WriteError};

use crate::place::{Place, log, stream, with_code, within};

crate::tests_at! { everywhere:
    a_reset_carries_its_code_to_the_server;
    a_reset_carries_its_code_from_the_server;
    a_stop_carries_its_code_to_the_server;
    a_stop_carries_its_code_from_the_server;
    a_stream_that_is_dropped_unfinished_is_reset;
    streams_are_what_tokio_reads_and_writes;
    streams_are_what_futures_read_and_write;
}

fn code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

async fn a_reset_carries_its_code_to_the_server(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, &b"Wsome"[..]).await;
    // A reset discards unread data. So the test first waits until the server has read the command.
    within("an answer", stream.recv().read_exact(&mut [0])).await.expect("an answer");
    stream.send().reset(code(7)).expect("a stream that can be reset");
    assert_eq!(log(&connection).await, "reset 7");
}

async fn a_reset_carries_its_code_from_the_server(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, with_code(b'R', 11)).await;
    let read = within("a reset", stream.recv().read_to_end(1024)).await;
    let Err(wsmux::ReadToEndError::Read(ReadError::Reset(reset))) = read else {
        panic!("{read:?}")
    };
    assert_eq!(reset, code(11));
}

async fn a_stop_carries_its_code_to_the_server(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, &b"X"[..]).await;
    within("reading", stream.recv().read_exact(&mut [0; 100])).await.expect("zeros");
    stream.recv().stop(code(13)).expect("a stream that can be stopped");
    assert_eq!(log(&connection).await, "stopped 13");
}

async fn a_stop_carries_its_code_from_the_server(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, with_code(b'T', 12)).await;
    assert_eq!(within("a stop", stream.send().stopped()).await.expect("a stop"), Some(code(12)));
    let written = stream.send().write(b"more").await;
    assert!(matches!(written, Err(WriteError::Stopped(stop)) if stop == code(12)), "{written:?}");
    let rest = within("reading", stream.recv().read_to_end(100)).await.expect("a clean end");
    assert_eq!(rest, b"stopped");
}

async fn a_stream_that_is_dropped_unfinished_is_reset(place: Place) {
    let connection = place.connect().await;
    let mut dropped = stream(&connection, &b"W"[..]).await;
    within("an answer", dropped.recv().read_exact(&mut [0])).await.expect("an answer");
    drop(dropped);
    assert_eq!(log(&connection).await, "reset 0");
}

async fn streams_are_what_tokio_reads_and_writes(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, &b"E"[..]).await;
    within("writing", tokio::io::AsyncWriteExt::write_all(&mut stream, b"tokio")).await.unwrap();
    within("the end", tokio::io::AsyncWriteExt::shutdown(&mut stream)).await.unwrap();
    let mut came = Vec::new();
    within("reading", tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut came)).await.unwrap();
    assert_eq!(came, b"tokio");
}

async fn streams_are_what_futures_read_and_write(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, &b"E"[..]).await;
    within("writing", futures_util::AsyncWriteExt::write_all(&mut stream, b"futures"))
        .await
        .unwrap();
    within("the end", futures_util::AsyncWriteExt::close(&mut stream)).await.unwrap();
    let mut came = Vec::new();
    within("reading", futures_util::AsyncReadExt::read_to_end(&mut stream, &mut came))
        .await
        .unwrap();
    assert_eq!(came, b"futures");
}
