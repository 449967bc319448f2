//! Steps that the tests of both npm packages share. The Node processes of both packages understand
//! the same commands.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wsmux::{WebSocketConnection, WebSocketStream, WriteError};
use wsmux_testing::{
    interop::{code, get_echo, reset_code, stop_code},
    node::Node,
};

/// Opens `streams` streams at once at each end, and sends `bytes` bytes on each stream. The
/// accepting end echoes the bytes, and the opening end checks the echo.
pub(crate) async fn many_echoes_at_once(
    ours: &WebSocketConnection,
    node: &Node,
    streams: u64,
    bytes: u64,
) {
    let theirs = node.call("manyEcho", json!({ "streams": streams, "bytes": bytes }));
    let mut tasks = JoinSet::new();
    for seed in 0..streams {
        let ours = ours.clone();
        tasks.spawn(async move { get_echo(&ours, seed as u8, bytes).await });
    }
    tasks.join_all().await;
    assert_eq!(theirs.await["bytes"], streams * bytes);
}

/// Opens `our_streams` streams at our end, one after the other. At the same time, the Node end
/// opens `their_streams` streams, one after the other. Each stream carries `bytes` bytes, which the
/// accepting end echoes.
pub(crate) async fn echoes_in_sequence(
    ours: &WebSocketConnection,
    node: &Node,
    our_streams: u64,
    their_streams: u64,
    bytes: u64,
) {
    let theirs = node.call("sequential", json!({ "streams": their_streams, "bytes": bytes }));
    for seed in 0..our_streams {
        get_echo(ours, seed as u8, bytes).await;
    }
    assert_eq!(theirs.await["streams"], their_streams);
}

/// Resets and stops a stream at our end, and checks that the other end sees both codes.
pub(crate) async fn our_reset_and_stop(
    stream: &mut WebSocketStream,
    node: &Node,
    there: u64,
    number: u64,
) {
    let read = node.call_fails("read", json!({ "stream": there }));
    stream.send().reset(code(number)).unwrap();
    assert_eq!(read.await.code, Some(number));
    let write = node.call("waitWriteError", json!({ "stream": there }));
    stream.recv().stop(code(number)).unwrap();
    assert_eq!(write.await["code"], number);
}

/// Makes the other end reset and stop a stream with these arguments, and checks that our end sees
/// both codes.
pub(crate) async fn their_reset_and_stop(
    stream: &mut WebSocketStream,
    node: &Node,
    arguments: Value,
    number: u64,
) {
    let reset = node.call("reset", arguments.clone());
    assert_eq!(reset_code(stream.recv()).await, number);
    assert_eq!(reset.await["sent"], true);
    let stop = node.call("stop", arguments);
    assert_eq!(stop_code(stream.send()).await, number);
    let written = stream.send().write(b"more").await;
    assert!(matches!(written, Err(WriteError::Stopped(stopped)) if stopped == code(number)));
    stop.await;
}
