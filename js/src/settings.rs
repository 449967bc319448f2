//! A page's settings: a plain object whose values the modules have checked.

use std::time::Duration;

use js_sys::{Array, Object, Reflect};
use wsmux::{BrowserApi, BuildError, Config, WebSocketClient, Wire};

/// Returns the value of a property, if it exists and is a number.
fn number(settings: &Object, name: &str) -> Option<f64> {
    Reflect::get(settings, &name.into()).ok()?.as_f64()
}

/// Converts milliseconds. Returns `None` if they are infinite, or too long for a `Duration`.
fn milliseconds(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1e3).ok()
}

fn config(settings: &Object) -> Config {
    type Set = fn(&mut Config, f64);
    // A number beyond the range of its integer type becomes the nearest integer in this range.
    let sets: [(&str, Set); 21] = [
        ("streamReceiveWindow", |config, n| _ = config.stream_receive_window(n as u64)),
        ("maxStreamReceiveWindow", |config, n| _ = config.max_stream_receive_window(n as u64)),
        ("windowGrowthBudget", |config, n| _ = config.window_growth_budget(n as u64)),
        ("maxConcurrentBidirectionalStreams", |config, n| {
            config.max_concurrent_bidi_streams(n as u64);
        }),
        ("maxConcurrentUnidirectionalStreams", |config, n| {
            config.max_concurrent_uni_streams(n as u64);
        }),
        ("maxWaitingStreams", |config, n| _ = config.max_waiting_streams(n as u64)),
        ("cancelledStreamsPerSecond", |config, n| {
            config.cancelled_streams_per_second(n.is_finite().then_some(n as u64));
        }),
        ("maxLocalStreams", |config, n| _ = config.max_local_streams(n as u64)),
        ("sendBuffer", |config, n| _ = config.send_buffer(n as usize)),
        ("sendWindow", |config, n| _ = config.send_window(n as usize)),
        ("maxMessageSent", |config, n| _ = config.max_message_sent(n as usize)),
        ("maxRecordSize", |config, n| _ = config.max_record_size(n as u64)),
        ("maxIdleTimeout", |config, ms| _ = config.max_idle_timeout(milliseconds(ms))),
        ("keepAliveInterval", |config, ms| _ = config.keep_alive_interval(milliseconds(ms))),
        ("writeStallTimeout", |config, ms| _ = config.write_stall_timeout(milliseconds(ms))),
        ("handshakeTimeout", |config, ms| {
            config.handshake_timeout(milliseconds(ms).unwrap_or(Duration::MAX));
        }),
        ("closeTimeout", |config, ms| {
            config.close_timeout(milliseconds(ms).unwrap_or(Duration::MAX));
        }),
        ("resumeTimeout", |config, ms| {
            config.resume_timeout(Some(milliseconds(ms).unwrap_or(Duration::MAX)));
        }),
        ("replayBudget", |config, n| _ = config.replay_budget(n as u64)),
        ("datagramReceiveBufferSize", |config, n| {
            config.datagram_receive_buffer_size(n as usize);
        }),
        ("datagramSendBufferSize", |config, n| _ = config.datagram_send_buffer_size(n as usize)),
    ];
    let mut config = Config::default();
    for (name, set) in sets {
        if let Some(value) = number(settings, name) {
            set(&mut config, value);
        }
    }
    config
}

pub(crate) fn client(settings: &Object) -> Result<WebSocketClient, BuildError> {
    let get = |name: &str| Reflect::get(settings, &name.into()).unwrap_or_default();
    let named = |wire: &&Wire| get("wire") == wire.name();
    let wire = Wire::ALL.iter().find(named).copied().unwrap_or(Wire::QMux);
    let mut builder = WebSocketClient::builder().wire(wire).config(config(settings));
    for name in Array::from(&get("protocols")).iter().filter_map(|name| name.as_string()) {
        builder = builder.protocol(name);
    }
    for name in Array::from(&get("bareProtocols")).iter().filter_map(|name| name.as_string()) {
        builder = builder.bare_protocol(name);
    }
    if let Some(timeout) = number(settings, "connectTimeout").and_then(milliseconds) {
        builder = builder.connect_timeout(timeout);
    }
    match get("browserApi").as_string().as_deref() {
        Some("WebSocket") => builder = builder.browser_api(BrowserApi::WebSocket),
        Some("WebSocketStream") => builder = builder.browser_api(BrowserApi::WebSocketStream),
        _ => {}
    }
    builder.build()
}
