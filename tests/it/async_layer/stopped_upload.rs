//! When the peer has stopped one direction of a stream, shutting that direction down does not
//! affect the other direction.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use wsmux::{Config, VarInt, WebSocketConnection, WebSocketStream, WriteError};

use super::{
    bytes::expected,
    pair::{WIRES, memory, quiet},
};

const SEVEN: VarInt = VarInt::from_u32(7);

/// Returns both ends of a stream. The second end has stopped the data that the first end sends.
async fn stopped(
    (client, server): &(WebSocketConnection, WebSocketConnection),
) -> (WebSocketStream, WebSocketStream) {
    let mut near = client.open_bi().await.unwrap();
    near.send().announce();
    let mut far = server.accept_bi().await.unwrap();
    far.recv().stop(SEVEN).unwrap();
    quiet().await;
    (near, far)
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_on_after_the_peer_stopped_the_upload() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut near, mut far) = stopped(&pair).await;
        let (mut local, mut relayed) = duplex(64 * 1024);
        let relay =
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut relayed).await.unwrap() });
        // The local program has nothing to upload, and shuts its direction down before the download
        // begins.
        local.shutdown().await.unwrap();
        quiet().await;
        let data: Vec<u8> = (0..30).flat_map(|part| expected(1, part * 100_000, 100_000)).collect();
        let download = async {
            AsyncWriteExt::write_all(&mut far, &data).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        tokio::join!(download, async { local.read_to_end(&mut got).await.unwrap() });
        assert!(got == data, "{wire:?}: {} bytes", got.len());
        assert_eq!(relay.await.unwrap(), (data.len() as u64, 0), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_of_a_stopped_stream_is_harmless_and_finish_is_not() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut near, _far) = stopped(&pair).await;
        for _ in 0..2 {
            near.shutdown().await.unwrap();
        }
        // The stream is still stopped.
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe, "{wire:?}");
        let finished = near.send().finish();
        assert!(matches!(finished, Err(WriteError::Stopped(SEVEN))), "{wire:?}: {finished:?}");
        assert_eq!(near.send().stopped().await.unwrap(), Some(SEVEN), "{wire:?}");
        near.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_of_a_stream_that_this_end_reset_stays_an_error() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut near, _far) = stopped(&pair).await;
        // The peer's request to stop came first, so there is nothing left to reset.
        assert!(near.send().reset(SEVEN).is_err(), "{wire:?}");
        let mut other = pair.0.open_bi().await.unwrap();
        other.send().reset(SEVEN).unwrap();
        assert_eq!(other.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[cfg(feature = "futures-io")]
#[tokio::test(start_paused = true)]
async fn closing_a_stopped_stream_is_harmless_in_the_faces_of_futures() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (near, _far) = stopped(&pair).await;
        let (mut send, _recv) = near.into_split();
        futures_util::AsyncWriteExt::close(&mut send).await.unwrap();
        futures_util::SinkExt::close(&mut send).await.unwrap();
        let sent = futures_util::SinkExt::send(&mut send, "x".into()).await;
        assert!(matches!(sent, Err(WriteError::Stopped(SEVEN))), "{wire:?}: {sent:?}");
    }
}

#[cfg(feature = "web-transport")]
#[tokio::test(start_paused = true)]
async fn finishing_a_stopped_stream_of_web_transport_is_harmless() {
    use web_transport_trait::{Error, SendStream};

    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (near, _far) = stopped(&pair).await;
        let (mut send, _recv) = near.into_split();
        SendStream::finish(&mut send).unwrap();
        let closed = SendStream::closed(&mut send).await.unwrap_err();
        assert_eq!(closed.stream_error(), Some(7), "{wire:?}: {closed}");
    }
}
