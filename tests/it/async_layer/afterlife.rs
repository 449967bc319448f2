//! What still works after the connection has ended.

use std::time::Duration;

use wsmux::{ConnectionError, Side, StoppedError, VarInt, Wire, socket::memory_pair};

use super::pair::{config, connection, memory, quiet, soon};

const NINE: VarInt = VarInt::from_u32(9);

/// A server that is slow to accept must not lose the streams of a client that left quickly.
#[tokio::test(start_paused = true)]
async fn what_a_peer_said_before_it_went_away_at_once_can_be_accepted_and_read() {
    for wire in super::pair::WIRES {
        let (left, right) = memory_pair(256 * 1024);
        let client = connection(left, Side::Client, wire, &Default::default());
        let server = connection(right, Side::Server, wire, &Default::default());
        client.established().await.unwrap();
        let mut stream = client.open_bi().await.unwrap();
        // On the js-ws wire the client has no credit before the server's first message, so this
        // write waits for that message.
        stream.send().write_all(b"all of it").await.unwrap();
        stream.send().finish().unwrap();
        quiet().await;
        client.close(NINE, b"bye");
        client.closed().await;
        quiet().await;
        assert!(server.close_reason().is_some());
        soon(server.established()).await.unwrap();
        let mut stream = soon(server.accept_bi()).await.unwrap();
        assert_eq!(soon(stream.recv().read_to_end(100)).await.unwrap(), b"all of it");
        let error = soon(server.accept_bi()).await.unwrap_err();
        assert!(
            matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == NINE)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_end_was_not_sent_did_not_finish_without_its_handle() {
    let (client, server) =
        memory(Wire::QMux, &config(|config| _ = config.stream_receive_window(1_000))).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[7; 50_000]).await.unwrap();
    send.finish().unwrap();
    let stopped = tokio::spawn(send.stopped());
    quiet().await;
    drop(send);
    quiet().await;
    server.close(NINE, b"");
    let outcome = stopped.await.unwrap();
    assert!(matches!(outcome, Err(StoppedError::ConnectionLost(_))), "{outcome:?}");
    client.closed().await;
    assert_eq!(client.stats().send_buffered, 0);
}

#[tokio::test(start_paused = true)]
async fn time_spent_without_credit_is_counted_while_it_lasts_and_no_longer() {
    let (client, server) =
        memory(Wire::QMux, &config(|config| _ = config.stream_receive_window(1_000))).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[7; 5_000]).await.unwrap();
    quiet().await;
    let before = client.stats().blocked_by_stream_credit;
    tokio::time::advance(Duration::from_secs(3)).await;
    let three = Duration::from_secs(3);
    assert_eq!(client.stats().blocked_by_stream_credit - before, three);
    assert!(send.stats().unwrap().blocked >= three);
    let mut recv = server.accept_uni().await.unwrap();
    recv.read_exact(&mut [0; 4_500]).await.unwrap();
    quiet().await;
    let after = client.stats().blocked_by_stream_credit;
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(
        client.stats().blocked_by_stream_credit,
        after,
        "it has credit, and nothing to send"
    );
    assert!(after < three + Duration::from_millis(100), "{after:?}");
}
