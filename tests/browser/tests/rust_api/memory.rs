//! What a page holds while the network is slow.

use std::time::Duration;

use futures_util::future::{Either, select};
use wasm_bindgen::JsValue;
use wsmux::{BrowserApi, Config};

use crate::place::{Place, ask, pattern, stream, timer};

crate::tests_at! { everywhere:
    a_slow_network_slows_the_writers_and_fills_no_memory;
}

/// Bytes that may wait in the browser before it is given no more.
const HIGH_WATER_MARK: f64 = 128.0 * 1024.0;

/// Counts what WebSockets hold, until it is dropped.
struct Spy;

impl Spy {
    fn new() -> Self {
        run("const Real = globalThis.WebSocket;
            globalThis.spy = { Real, message: 0, buffered: 0 };
            globalThis.WebSocket = class WebSocket extends Real {
                send(data) {
                    super.send(data);
                    spy.message = Math.max(spy.message, data.byteLength);
                    spy.buffered = Math.max(spy.buffered, this.bufferedAmount);
                }
            };");
        Self
    }

    fn seen(&self, what: &str) -> f64 {
        run(&format!("return spy.{what}")).as_f64().expect("a number")
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        run("globalThis.WebSocket = spy.Real");
    }
}

fn run(script: &str) -> JsValue {
    js_sys::Function::new_no_args(script).call0(&JsValue::NULL).expect("a script")
}

/// Bytes of the page's memory.
fn memory() -> usize {
    core::arch::wasm32::memory_size(0) * 64 * 1024
}

/// Four streams write all they can into a network of 256 KiB/s.
async fn a_slow_network_slows_the_writers_and_fills_no_memory(place: Place) {
    let url = ask(&format!("slow {} 262144", place.name())).await;
    let spy = Spy::new();
    let mut config = Config::default();
    config.send_buffer(256 * 1024);
    let connection = place.connect_to(&url, config).await;
    let before = memory();
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(stream(&connection, &b"D"[..]).await);
    }
    let chunk = pattern(1, 0, 16 * 1024);
    let writers = streams.iter_mut().map(|stream| {
        let chunk = &chunk;
        async move {
            loop {
                stream.send().write_chunk(chunk.clone()).await.expect("a stream that lives");
            }
        }
    });
    let writing = futures_util::future::join_all(writers);
    let Either::Right(_) = select(std::pin::pin!(writing), timer(Duration::from_secs(6))).await
    else {
        unreachable!("writers that never end")
    };
    let grown = memory() - before;
    assert!(grown <= 8 << 20, "the page's memory grew by {grown} bytes");
    let waiting: u64 =
        streams.iter_mut().map(|stream| stream.send().stats().expect("a stream").buffered).sum();
    assert!(waiting > 4 * 128 * 1024, "the network was not slow: {waiting} bytes wait");

    let (buffered, message) = (spy.seen("buffered"), spy.seen("message"));
    match place.api {
        BrowserApi::WebSocket => {
            assert!(buffered > HIGH_WATER_MARK / 2.0, "no more than {buffered} bytes ever waited");
            assert!(
                buffered <= HIGH_WATER_MARK + message,
                "{buffered} bytes waited in the browser, with messages of {message}"
            );
        }
        // It has no such number.
        _ => assert_eq!(message, 0.0),
    }
}
