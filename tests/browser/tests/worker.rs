//! Tests of the Rust API in a worker, which has no `window`. The connections are the same as in a
//! page.
#![cfg(target_family = "wasm")]

#[path = "rust_api/place.rs"]
#[allow(dead_code, reason = "what the tests in a page want of it")]
mod place;

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use wsmux::{BrowserApi, ConnectionError, VarInt};

use crate::place::{Place, Server, ask, pattern, stream, within};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn a_worker_has_its_connection_by_web_socket() {
    connects_echoes_and_closes(BrowserApi::WebSocket, 7001).await;
}

#[wasm_bindgen_test]
async fn a_worker_has_its_connection_by_web_socket_stream() {
    connects_echoes_and_closes(BrowserApi::WebSocketStream, 7002).await;
}

async fn connects_echoes_and_closes(api: BrowserApi, code: u32) {
    assert!(js_sys::Reflect::get(&js_sys::global(), &"window".into()).unwrap().is_undefined());
    let connection = Place { server: Server::QMux, api }.connect().await;
    let mut echo = stream(&connection, &b"E"[..]).await;
    let sent = pattern(5, 0, 1 << 20);
    let (send, recv) = echo.split();
    let writing = async {
        send.write_chunk(sent.clone()).await.expect("a stream that takes all");
        send.finish().expect("a stream that can be finished");
    };
    let reading = recv.read_to_end(1 << 21);
    let both = futures_util::future::join(writing, reading);
    let ((), came) = within("an echo", both).await;
    assert!(came.expect("a clean end") == sent, "other bytes came back");

    connection.close(VarInt::from_u32(code), b"from a worker");
    let end = within("the end", connection.closed()).await;
    assert!(matches!(end, ConnectionError::LocallyClosed), "{end}");
    assert_eq!(ask(&format!("saw qmux {code}")).await, "from a worker");
}
