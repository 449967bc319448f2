//! How much memory a page holds while the network is slow.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use wasm_bindgen::JsValue;
use wsmux::{BrowserApi, Config};

use crate::{
    live,
    place::{Place, ask, pattern, stream, timer, within},
};

crate::tests_at! { everywhere:
    a_slow_network_slows_the_writers_and_fills_no_memory;
}

// This test does not run with `WebSocketStream`, because only a `WebSocket` reports how many bytes
// wait in it. This test does not run against crate `qmux` either, because that crate grants fewer
// bytes than the system's buffers hold, so no bytes would wait in the browser.
crate::tests_at! { of_ours_by_web_socket:
    what_waits_for_a_silent_network_is_seldom_looked_after;
}

/// The size of each stream's send buffer, in bytes.
const SEND_BUFFER: usize = 256 * 1024;

/// The number of bytes in each write.
const CHUNK: usize = 16 * 1024;

/// How many bytes may wait in the browser before this end stops giving the browser more bytes.
const HIGH_WATER_MARK: f64 = 128.0 * 1024.0;

/// Records how many bytes wait in the page's WebSockets, until the spy is dropped.
struct Spy;

impl Spy {
    fn new() -> Self {
        run("const Real = globalThis.WebSocket;
            globalThis.spy = { Real, message: 0, buffered: 0, waits: 0, looks: 0 };
            globalThis.WebSocket = class WebSocket extends Real {
                send(data) {
                    super.send(data);
                    spy.message = Math.max(spy.message, data.byteLength);
                    spy.buffered = Math.max(spy.buffered, super.bufferedAmount);
                }
                get bufferedAmount() {
                    spy.looks += 1;
                    return spy.waits = super.bufferedAmount;
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

/// Four streams write as much as possible into a network of 256 KiB/s.
async fn a_slow_network_slows_the_writers_and_fills_no_memory(place: Place) {
    let url = ask(&format!("slow {} 262144", place.name())).await;
    let spy = Spy::new();
    let mut config = Config::default();
    config.send_buffer(SEND_BUFFER);
    let connection = place.connect_to(&url, config).await;
    let before = live::bytes();
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(stream(&connection, &b"D"[..]).await);
    }
    let chunk = pattern(1, 0, CHUNK);
    let writers = streams.iter_mut().map(|stream| {
        let chunk = &chunk;
        async move {
            loop {
                // Each chunk is a copy, because shared memory would be counted only once.
                let chunk = Bytes::copy_from_slice(chunk);
                stream.send().write_chunk(chunk).await.expect("a stream that lives");
            }
        }
    });
    let writing = futures_util::future::join_all(writers);
    let Either::Right(_) = select(std::pin::pin!(writing), timer(Duration::from_secs(6))).await
    else {
        unreachable!("writers that never end")
    };
    let grown = live::bytes() - before;
    let waiting: u64 =
        streams.iter_mut().map(|stream| stream.send().stats().expect("a stream").buffered).sum();
    assert!(waiting > 4 * 128 * 1024, "the network was not slow: {waiting} bytes wait");
    let most = 4 * (SEND_BUFFER + CHUNK);
    assert!(waiting <= most as u64, "{waiting} bytes wait");
    // The bound is twice `most`, to allow for the overhead of chunks and messages.
    assert!(grown <= 2 * most as isize, "{grown} bytes more are held");

    let (buffered, message) = (spy.seen("buffered"), spy.seen("message"));
    match place.api {
        BrowserApi::WebSocket => {
            assert!(buffered > HIGH_WATER_MARK / 2.0, "no more than {buffered} bytes ever waited");
            assert!(
                buffered <= HIGH_WATER_MARK + message,
                "{buffered} bytes waited in the browser, with messages of {message}"
            );
        }
        // A `WebSocketStream` does not say how many bytes wait in it, so the spy records nothing.
        _ => assert_eq!(message, 0.0),
    }
}

async fn what_waits_for_a_silent_network_is_seldom_looked_after(place: Place) {
    let answer = ask(&format!("hole {}", place.name())).await;
    let (url, number) = answer.split_once(' ').expect("a URL and a number");
    let spy = Spy::new();
    let connection = place.connect_to(url, Config::default()).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = stream(&connection, &b"E!"[..]).await;
        within("reading", stream.recv().read_exact(&mut [0])).await.expect("an echo");
        streams.push(stream);
    }
    ask(&format!("silence {number}")).await;
    // Together, the streams write more bytes than the system's buffers between the browser and the
    // network can hold. On Linux these buffers hold 4 MiB.
    let writers = streams.iter_mut().map(|stream| async {
        loop {
            stream.send().write_chunk(pattern(1, 0, CHUNK)).await.expect("a stream that lives");
        }
    });
    let writing = futures_util::future::join_all(writers);
    let Either::Right(_) = select(std::pin::pin!(writing), timer(Duration::from_secs(3))).await
    else {
        unreachable!("writers that never end")
    };
    let before = spy.seen("looks");
    timer(Duration::from_secs(4)).await;
    assert!(spy.seen("waits") > 0.0, "the network took all");
    // The driver reads the number of waiting bytes at most twice in each of its rounds. If it had a
    // round every 4 ms, it would read the number a thousand times or more.
    let looks = spy.seen("looks") - before;
    assert!((1.0..=100.0).contains(&looks), "{looks} looks in 4 s");
}
