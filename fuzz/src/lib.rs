//! The fuzz targets. `cargo test --test fuzz` runs most of them too, on the stored inputs and on
//! random bytes.

mod framed;

use wsmux_testing::fuzz;

/// Decodes any bytes as a message of QMux.
pub fn qmux(data: &[u8]) {
    fuzz::codec::run(wsmux_proto::Wire::QMux, data);
}

/// Decodes any bytes as a message of js-ws.
pub fn jsws(data: &[u8]) {
    fuzz::codec::run(wsmux_proto::Wire::JsWs, data);
}

/// Decodes any bytes as WebSocket frames, cut anywhere: our frame layer and tungstenite must agree.
pub fn framed(data: &[u8]) {
    framed::tests::agree::run(data);
}

/// Runs one engine with any peer and any application.
pub fn engine(data: &[u8]) {
    fuzz::engine::run(data);
}

/// Runs two engines with their applications and the link between them.
pub fn pair(data: &[u8]) {
    fuzz::pair::run(data);
}
