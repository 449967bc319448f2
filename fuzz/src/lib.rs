//! The targets, which `cargo test --test fuzz` runs too.

mod framed;

use wsmux_testing::fuzz;

/// Any bytes as a message of QMux.
pub fn qmux(data: &[u8]) {
    fuzz::codec::run(wsmux_proto::Wire::QMux, data);
}

/// Any bytes as a message of js-ws.
pub fn jsws(data: &[u8]) {
    fuzz::codec::run(wsmux_proto::Wire::JsWs, data);
}

/// Any bytes as WebSocket frames, cut anywhere: ours and tungstenite understand the same.
pub fn framed(data: &[u8]) {
    framed::tests::agree::run(data);
}

/// One engine against any peer and any application.
pub fn engine(data: &[u8]) {
    fuzz::engine::run(data);
}

/// Two engines, their applications and the link between them.
pub fn pair(data: &[u8]) {
    fuzz::pair::run(data);
}
