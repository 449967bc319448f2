//! Steps that both npm packages are tested with. Their ends under Node understand the same
//! commands.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wsmux::{WebSocketConnection, WebSocketStream, WriteError};
use wsmux_testing::{
    interop::{code, get_echo, reset_code, stop_code},
    node::Node,
};

/// Opens this many streams at once in each direction. Both ends echo, and each stream is echoed.
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

/// Opens this many streams from each end, one after the other. Both ends echo.
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

/// We reset and stop a stream. Checks that the other end sees both codes.
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

/// The other end resets and stops a stream, with these arguments. Checks that we see both codes.
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
