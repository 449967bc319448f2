//! The browser's WebSockets. The browser itself performs their opening handshake.
//!
//! A page neither sends nor sees pings, and may send only a few close codes. The browser answers
//! the peer's pings and the peer's Close, and sends nothing after the Close. It delivers every
//! message in one piece, however large the message is.

mod events;
mod js_error;
mod streams;

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wsmux_proto::SocketError;

pub(crate) use self::{events::EventSocket, streams::StreamSocket};
use super::{Incoming, Outgoing, Socket, SocketCapabilities};

/// The capabilities of a page's WebSocket.
const CAPABILITIES: SocketCapabilities =
    SocketCapabilities::new().pings(false).all_close_codes(false);

/// The code with which the browser reports that the peer's Close had no code (RFC 6455 §7.4.1).
const NO_STATUS: u16 = 1005;

/// The codes with which the browser reports a WebSocket that ended without a Close. 1006 stands for
/// a lost WebSocket, and 1015 for a failure of TLS (RFC 6455 §7.4.1).
const LOST: [u16; 2] = [1006, 1015];

/// A WebSocket of either of the browser's two interfaces. The driver is generic over the socket, so
/// with two socket types a page would download the driver's code twice.
pub(crate) type AnySocket = Box<dyn Socket + Unpin>;

impl Socket for AnySocket {
    fn capabilities(&self) -> SocketCapabilities {
        (**self).capabilities()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        (**self).poll_recv(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        (**self).poll_ready(cx)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        (**self).start_send(item)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        (**self).poll_shutdown(cx)
    }

    fn release_buffers(&mut self) {
        (**self).release_buffers();
    }

    fn bytes_received(&self) -> u64 {
        (**self).bytes_received()
    }

    fn rtt(&self) -> Option<Duration> {
        (**self).rtt()
    }
}

/// Converts a message from the browser. A message that is too large is not copied.
fn incoming(data: &JsValue, max: u64) -> Incoming {
    let bytes = match data.dyn_ref::<ArrayBuffer>() {
        Some(buffer) => Uint8Array::new(buffer),
        None => match data.dyn_ref::<Uint8Array>() {
            Some(bytes) => bytes.clone(),
            // W-2: the engine closes with 1002.
            None => return Incoming::Text,
        },
    };
    match u64::from(bytes.length()) > max {
        // W-7: the engine closes with 1009.
        true => Incoming::TooLarge,
        false => Incoming::Message(Bytes::from(bytes.to_vec())),
    }
}

/// Converts the browser's report of a WebSocket's end. Returns the peer's Close, if the peer has
/// sent one, and the error with which reading ends.
fn ending(code: u16, reason: String) -> (Option<Incoming>, SocketError) {
    if LOST.contains(&code) {
        let words = match &*reason {
            "" => format!("the browser reports close code {code}"),
            reason => format!("the browser reports close code {code}: {reason}"),
        };
        // W-29 (RFC 6455 §7.1.5): an end without a Close is a lost transport.
        return (None, io::Error::new(io::ErrorKind::UnexpectedEof, words).into());
    }
    let code = (code != NO_STATUS).then_some(code);
    (Some(Incoming::Close { code, reason }), SocketError::Eof)
}
