//! An echo that uses the socket in place of the engine. The echo sends messages back, and refuses
//! the messages that an engine refuses.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite};
use wsmux_proto::MessageBuf;

use super::super::*;

/// Runs until the byte stream has ended. The echo flushes before each read, so each ping is
/// answered.
pub(super) async fn echo<S>(socket: &mut FramedSocket<S>) -> SocketError
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        let incoming = poll_fn(|cx| {
            let _ = socket.poll_flush(cx);
            socket.poll_recv(cx)
        });
        let mut message = MessageBuf::new();
        let answer = match incoming.await {
            Ok(Incoming::Message(echo)) => {
                message.put_chunk(echo);
                Outgoing::Message(&message)
            }
            // W-2, W-7 and RFC 6455 §7.1.7 require these closes.
            Ok(Incoming::Text | Incoming::ProtocolError(_)) => close(1002),
            Ok(Incoming::TooLarge) => close(1009),
            Ok(_) => continue,
            Err(error) => return error,
        };
        if let Err(error) = poll_fn(|cx| socket.poll_ready(cx)).await {
            return error;
        }
        socket.start_send(answer).expect("it was ready");
    }
}

fn close(code: u16) -> Outgoing<'static> {
    Outgoing::Close { code, reason: String::new() }
}
