//! All the orderly ways to end a connection. The function [`pass`] is one direction of a relay, and
//! passes on the end of a stream as it arrived.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wsmux::WebSocketConnection;

/// Ends a connection between a client and a server, and returns the handles that are left.
pub type Way = fn(WebSocketConnection, WebSocketConnection) -> Vec<WebSocketConnection>;

/// All the orderly ways to end a connection.
pub const WAYS: [Way; 7] = [
    |client, server| {
        client.close(5u32.into(), b"bye");
        vec![client, server]
    },
    |client, server| {
        server.close(5u32.into(), b"bye");
        vec![client, server]
    },
    // Both ends send their Close at the same time.
    |client, server| {
        client.close(5u32.into(), b"bye");
        server.close(6u32.into(), b"bye");
        vec![client, server]
    },
    |client, server| {
        client.drain();
        vec![client, server]
    },
    |client, server| {
        server.drain();
        vec![client, server]
    },
    // The last handle of one end is dropped.
    |client, server| {
        drop(client);
        vec![server]
    },
    |client, server| {
        drop(server);
        vec![client]
    },
];

/// Passes on all bytes, shows them to `look`, and passes on the end of the stream. Returns an error
/// if the stream was cut off.
pub async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buf = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buf).await? {
            0 => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            len => {
                // The other end may be gone. Even then, everything that arrives is read.
                drop(to.write_all(&buf[..len]).await.and(to.flush().await));
                look(&buf[..len]);
            }
        }
    }
}
