//! A program written only against `web_transport_trait` runs on a connection of ours and on a
//! connection of the crate `qmux`.

use bytes::Bytes;
use web_transport_trait::{Error as _, RecvStream, SendStream, Session, Stats as _};
use wsmux::{Config, WebSocketConnection};

use super::{
    foreign::Pair,
    interop::{Role, within},
    theirs::their_config,
};

const BYE: u32 = 77;

fn body(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(31) as u8) ^ seed).collect()
}

/// Echoes a bidirectional stream, answers a unidirectional stream with a unidirectional stream of
/// its own, returns a datagram, resets a stream with a code, and waits for the end.
async fn serve<S: Session>(session: S) {
    let (mut send, mut recv) = session.accept_bi().await.unwrap();
    let request = recv.read_all().await.unwrap();
    send.write_all(&request).await.unwrap();
    send.finish().unwrap();

    let mut recv = session.accept_uni().await.unwrap();
    let request = recv.read_all().await.unwrap();
    let mut send = session.open_uni().await.unwrap();
    send.set_priority(5);
    send.write_chunk(request).await.unwrap();
    send.finish().unwrap();

    let datagram = session.recv_datagram().await.unwrap();
    session.send_datagram(datagram).unwrap();

    let (mut send, mut recv) = session.accept_bi().await.unwrap();
    assert_eq!(recv.read_chunk(1).await.unwrap().unwrap(), "!");
    send.reset(11);
    recv.stop(12);

    let end = session.closed().await;
    assert_eq!(end.session_error(), Some((BYE, "bye".to_owned())));
}

async fn call<S: Session>(session: S) {
    let (mut send, mut recv) = session.open_bi().await.unwrap();
    send.write_all(&body(1)).await.unwrap();
    send.finish().unwrap();
    assert!(recv.read_all().await.unwrap() == body(1));

    let mut send = session.open_uni().await.unwrap();
    send.write_chunk(body(2).into()).await.unwrap();
    send.finish().unwrap();
    let mut recv = session.accept_uni().await.unwrap();
    assert!(recv.read_all().await.unwrap() == body(2));

    assert!(session.max_datagram_size() >= 1_000);
    session.send_datagram(Bytes::from_static(b"ping")).unwrap();
    assert_eq!(session.recv_datagram().await.unwrap(), "ping");

    let (mut send, mut recv) = session.open_bi().await.unwrap();
    send.write_all(b"!").await.unwrap();
    let reset = recv.read_all().await.unwrap_err();
    assert_eq!(reset.stream_error(), Some(11));
    let stopped = send.closed().await.unwrap_err();
    assert_eq!(stopped.stream_error(), Some(12));

    assert!(session.stats().bytes_sent().is_none_or(|sent| sent > 600_000));
    session.close(BYE, "bye");
    session.closed().await;
}

async fn connected(role: Role) -> (WebSocketConnection, qmux::Session) {
    let theirs = their_config(|config| config.max_datagram_frame_size = 16_000);
    let Pair { ours, theirs, .. } = Pair::new(role, Config::default(), theirs).await;
    (ours, theirs)
}

#[tokio::test]
async fn a_program_for_web_transport_runs_on_either_side_of_either_library() {
    for role in [Role::WeServe, Role::WeConnect] {
        let (ours, theirs) = connected(role).await;
        within("we call", async { tokio::join!(serve(theirs), call(ours)) }).await;
        let (ours, theirs) = connected(role).await;
        within("they call", async { tokio::join!(serve(ours), call(theirs)) }).await;
    }
}
