//! What `stopped` returns, whether it is called early or late. It never reports that a stream was
//! delivered if the stream was not delivered.

use wsmux::{
    Config, ConnectionError, SendStream, Side, StoppedError, StreamId, VarInt, WebSocketConnection,
    WebSocketStream, Wire, proto::Dir, socket::MemoryStall, socket::memory_pair,
};

use super::{
    hand::Hand,
    pair::{WIRES, config, connection, over, quiet},
    raw::RawPeer,
};

type Outcome = Result<Option<VarInt>, StoppedError>;

/// Two connections, and a stream that both ends know.
struct Scene {
    client: WebSocketConnection,
    send: Option<SendStream>,
    _recv: wsmux::RecvStream,
    server: WebSocketConnection,
    accepted: WebSocketStream,
    stall: MemoryStall,
}

/// A way to end the stream: its name, the action, and a check of the outcome.
type Case = (&'static str, fn(&mut Scene), fn(&Outcome) -> bool);

const SEVEN: VarInt = VarInt::from_u32(7);

fn send(scene: &mut Scene) -> &mut SendStream {
    scene.send.as_mut().expect("it is there yet")
}

const CASES: [Case; 8] = [
    ("finished", |scene| send(scene).finish().unwrap(), |end| matches!(end, Ok(None))),
    (
        "reset",
        |scene| send(scene).reset(SEVEN).unwrap(),
        |end| matches!(end, Err(StoppedError::ClosedStream)),
    ),
    ("dropped", |scene| scene.send = None, |end| matches!(end, Err(StoppedError::ClosedStream))),
    (
        "stopped by the peer",
        |scene| scene.accepted.recv().stop(SEVEN).unwrap(),
        |end| matches!(end, Ok(Some(SEVEN))),
    ),
    (
        "stopped by the peer before the end has left",
        |scene| {
            scene.stall.pause_writes(true);
            send(scene).finish().unwrap();
            scene.accepted.recv().stop(SEVEN).unwrap();
        },
        |end| matches!(end, Ok(Some(SEVEN))),
    ),
    (
        "finished, and reset before the end has left",
        |scene| {
            send(scene).finish().unwrap();
            send(scene).reset(SEVEN).unwrap();
        },
        |end| matches!(end, Err(StoppedError::ClosedStream)),
    ),
    (
        "the connection is closed",
        |scene| scene.client.close(SEVEN, b""),
        |end| matches!(end, Err(StoppedError::ConnectionLost(ConnectionError::LocallyClosed))),
    ),
    (
        "finished, and the connection is closed by the peer before the end has left",
        |scene| {
            scene.stall.pause_writes(true);
            send(scene).finish().unwrap();
            scene.server.close(SEVEN, b"");
        },
        |end| {
            matches!(end, Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(_))))
        },
    ),
];

async fn scene(wire: Wire) -> Scene {
    let (left, right) = memory_pair(64 * 1024);
    let stall = left.stall();
    let (client, server) = over((left, right), wire, &Config::default()).await;
    let mut stream = client.open_bi().await.unwrap();
    stream.send().write_all(b"some data").await.unwrap();
    let (send, recv) = stream.into_split();
    let accepted = server.accept_bi().await.unwrap();
    quiet().await;
    Scene { client, send: Some(send), _recv: recv, server, accepted, stall }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_learns_how_the_stream_ended() {
    for wire in WIRES {
        for (name, end_it, is_right) in CASES {
            let mut scene = scene(wire).await;
            let mut waiting = Hand::waiting(send(&mut scene).stopped());
            end_it(&mut scene);
            quiet().await;
            assert!(waiting.wakes() > 0, "{wire:?}: {name}");
            let end = waiting.ready();
            assert!(is_right(&end), "{wire:?}: {name}: {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_late_learns_the_same_although_the_stream_is_forgotten() {
    for wire in WIRES {
        for (name, end_it, is_right) in CASES {
            for polled in [false, true] {
                let mut scene = scene(wire).await;
                let mut late = Hand::new(send(&mut scene).stopped());
                if polled {
                    assert!(late.poll().is_pending());
                }
                end_it(&mut scene);
                quiet().await;
                scene.stall.pause_writes(false);
                scene.send = None;
                quiet().await;
                let Scene { client, send, _recv, server, accepted, .. } = scene;
                drop((send, _recv, accepted));
                quiet().await;
                let end = late.ready();
                assert!(is_right(&end), "{wire:?}: {name}: polled before: {polled}: {end:?}");
                drop((client, server));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn asking_after_the_end_gives_the_same_and_asking_twice_too() {
    for wire in WIRES {
        for (name, end_it, is_right) in CASES {
            let mut scene = scene(wire).await;
            end_it(&mut scene);
            quiet().await;
            let Some(send) = &scene.send else { continue };
            for _ in 0..2 {
                let end = Hand::new(send.stopped()).ready();
                assert!(is_right(&end), "{wire:?}: {name}: {end:?}");
            }
        }
    }
}

/// A STOP_SENDING and a CONNECTION_CLOSE arrive in the same message.
#[tokio::test(start_paused = true)]
async fn a_stream_stopped_just_before_the_end_was_not_finished() {
    let config = config(|_| ());
    let (socket, other) = memory_pair(64 * 1024);
    let mut peer = RawPeer::new(other, Side::Server, Wire::QMux);
    let client = connection(socket, Side::Client, Wire::QMux, &config);
    client.established().await.unwrap();
    let (mut send, recv) = client.open_bi().await.unwrap().into_split();
    send.write_all(&[7; 400_000]).await.unwrap();
    send.finish().unwrap();
    let stopped = send.stopped();
    drop((send, recv));
    quiet().await;
    assert!(client.stats().send_buffered > 200_000, "the socket is full");
    let id = StreamId::new(Side::Client, Dir::Bi, 0).into_inner() as u8;
    // STOP_SENDING with code 7, and a CONNECTION_CLOSE from the application.
    peer.send(vec![0x05, id, 7, 0x1d, 1, 0]);
    let outcome = stopped.await;
    assert!(!matches!(outcome, Ok(None)), "{outcome:?}, and {:?}", client.in_flight());
}
