//! The targets, from where the stable tests have them too.

mod framed;
#[path = "../../tests/engine/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what only the engine's tests need")]
mod support;
#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

// Where the files of the crate that are compiled in here look for it.
use wsmux::proto::{self, Wire};

/// Any bytes as a message of QMux.
pub fn qmux(data: &[u8]) {
    targets::codec::run(Wire::QMux, data);
}

/// Any bytes as a message of js-ws.
pub fn jsws(data: &[u8]) {
    targets::codec::run(Wire::JsWs, data);
}

/// Any bytes as WebSocket frames, cut anywhere: ours and tungstenite understand the same.
pub fn framed(data: &[u8]) {
    framed::tests::agree::run(data);
}

/// One engine against any peer and any application.
pub fn engine(data: &[u8]) {
    targets::engine::run(data);
}

/// Two engines, their applications and the link between them.
pub fn pair(data: &[u8]) {
    targets::pair::run(data);
}
