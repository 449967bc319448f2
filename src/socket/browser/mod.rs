//! The browser's WebSockets, after its own handshake.
//!
//! A page neither sends nor sees pings, and may send few close codes. The browser answers the peer's pings and its
//! Close, says nothing more after that, and gives messages in one piece only, however large they are.

mod events;
mod js_error;
mod streams;

use std::io;

use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

pub(crate) use self::{events::EventSocket, streams::StreamSocket};
use super::{Incoming, SocketCapabilities};
use crate::proto::SocketError;

/// What a page's WebSocket can do.
const CAPABILITIES: SocketCapabilities =
    SocketCapabilities::new().pings(false).all_close_codes(false);

/// What stands for a Close without a code (RFC 6455 §7.4.1).
const NO_STATUS: u16 = 1005;

/// What stands for no Close at all (RFC 6455 §7.4.1), and for a failure of TLS.
const LOST: [u16; 2] = [1006, 1015];

/// A message as the browser gives it. One that is too large stays where it is.
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

/// What the browser says of a WebSocket's end: the peer's Close, then the end of the stream; or that alone.
fn ending(code: u16, reason: String) -> (Option<Incoming>, SocketError) {
    if LOST.contains(&code) {
        let words = match &*reason {
            "" => format!("the browser says {code}"),
            reason => format!("the browser says {code}: {reason}"),
        };
        // W-29 (RFC 6455 §7.1.5): an end without a Close is a lost transport.
        return (None, io::Error::new(io::ErrorKind::UnexpectedEof, words).into());
    }
    let code = (code != NO_STATUS).then_some(code);
    (Some(Incoming::Close { code, reason }), SocketError::Eof)
}
