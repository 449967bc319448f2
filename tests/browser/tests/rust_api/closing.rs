//! How connections end, and what both ends learn of the end.

use std::time::Duration;

use wsmux::{
    Config, ConnectionError, Culprit, ReadError, ReconnectEvent, ReconnectingClient, SocketError,
    Timeout, VarInt,
};

use crate::place::{Place, ask, stream, timer, with_code, within};

crate::tests_at! { everywhere:
    our_close_tells_the_server_code_and_reason;
    a_close_of_the_servers_tells_code_and_reason;
    a_drain_sends_what_was_written_first;
    a_client_that_reconnects_has_a_new_connection;
}

// In this test, Chromium 156 sometimes loses the whole page if a WebSocketStream is used. So the
// test uses only `WebSocket`.
crate::tests_at! { by_web_socket:
    a_server_that_is_killed_in_mid_stream_is_seen;
}

crate::tests_at! { on_qmux:
    a_silent_network_is_seen_within_the_idle_timeout;
    silence_that_pings_break_ends_nothing;
}

crate::tests_at! { on_js_ws:
    silence_ends_nothing;
    a_code_that_a_page_may_not_send_becomes_one_that_it_may;
}

/// This timeout is short, but long enough for a busy machine.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

fn impatient() -> Config {
    let mut config = Config::default();
    config.max_idle_timeout(Some(IDLE_TIMEOUT));
    config
}

async fn our_close_tells_the_server_code_and_reason(place: Place) {
    let connection = place.connect().await;
    let code = 100 + place.api as u32;
    connection.close(VarInt::from_u32(code), "we are done: ä".as_bytes());
    let end = within("the end", connection.closed()).await;
    assert!(matches!(end, ConnectionError::LocallyClosed), "{end}");
    assert_eq!(ask(&format!("saw {} {code}", place.name())).await, "we are done: ä");
}

async fn a_close_of_the_servers_tells_code_and_reason(place: Place) {
    let connection = place.connect().await;
    let mut stream = stream(&connection, with_code(b'C', 42)).await;
    stream.send().write_all(b"no more").await.expect("a command");
    stream.send().finish().expect("a command");
    let end = within("the end", connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = end else { panic!("{end}") };
    assert_eq!((close.error_code, &close.reason[..]), (VarInt::from_u32(42), &b"no more"[..]));
    let read = stream.recv().read(&mut [0]).await;
    assert!(matches!(read, Err(ReadError::ConnectionLost(_))), "{read:?}");
}

async fn a_drain_sends_what_was_written_first(place: Place) {
    let connection = place.connect().await;
    let (mut send, mut recv) = stream(&connection, &b"D"[..]).await.into_split();
    within("writing", send.write_all(&[5; 300_000])).await.expect("room");
    send.finish().expect("a command");
    connection.drain();
    let digest = within("the digest", recv.read_to_end(40)).await.expect("a digest");
    assert_eq!(digest[..8], 300_000_u64.to_be_bytes());
    let end = within("the end", connection.closed()).await;
    assert!(matches!(end, ConnectionError::LocallyClosed), "{end}");
}

async fn a_server_that_is_killed_in_mid_stream_is_seen(place: Place) {
    let answer = ask(&format!("mortal {}", place.name())).await;
    let (url, process) = answer.split_once(' ').expect("a URL and a process");
    let connection = place.connect_to(url, Config::default()).await;
    // Data is in flight in both directions.
    let mut stream = stream(&connection, &b"X"[..]).await;
    within("reading", stream.recv().read_exact(&mut [0; 100_000])).await.expect("zeros");
    let start = js_sys::Date::now();
    ask(&format!("kill {process}")).await;
    let error = within("the end", async {
        loop {
            match stream.recv().read(&mut [0; 1024]).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a clean end"),
                Err(error) => break error,
            }
        }
    });
    let ReadError::ConnectionLost(error) = error.await else { panic!("no loss of the connection") };
    assert_eq!(error.culprit(), Culprit::Network, "{error}");
    let end = within("the end", connection.closed()).await;
    assert!(matches!(end, ConnectionError::SocketLost(SocketError::Io(_))), "{end:?}");
    // The bound is below the default idle timeout, so that timeout did not end the connection.
    assert!(js_sys::Date::now() - start < 30_000.0);
}

async fn a_client_that_reconnects_has_a_new_connection(place: Place) {
    let client = place.client().build().expect("a client");
    let url = ask(&format!("url {}", place.name())).await;
    let mut builder = ReconnectingClient::builder(client, url);
    builder = builder.initial_delay(Duration::from_millis(10));
    let (client, mut events) = builder.start();
    let first = within("connecting", client.connection()).await.expect("a connection");
    // The server closes the connection.
    let mut closing = stream(&first, with_code(b'C', 1)).await;
    closing.send().finish().expect("a command");
    drop(closing);
    let lost = within("the loss", async {
        loop {
            let event = events.next().await.expect("an event");
            if let ReconnectEvent::Lost { error, .. } = event {
                break error;
            }
        }
    });
    assert!(matches!(lost.await, ConnectionError::ApplicationClosed(_)));
    let second = within("connecting", client.connection()).await.expect("a connection");
    assert!(first.close_reason().is_some() && second.close_reason().is_none());
    stream(&second, &b"E"[..]).await;
}

async fn a_silent_network_is_seen_within_the_idle_timeout(place: Place) {
    let answer = ask(&format!("hole {}", place.name())).await;
    let (url, number) = answer.split_once(' ').expect("a URL and a number");
    let connection = place.connect_to(url, impatient()).await;
    let mut stream = stream(&connection, &b"E!"[..]).await;
    within("reading", stream.recv().read_exact(&mut [0])).await.expect("an echo");
    ask(&format!("silence {number}")).await;
    let start = js_sys::Date::now();
    let read = within("the end", stream.recv().read(&mut [0])).await;
    // The bound is ten times the expected time, because the machine may be busy. The connection has
    // no other timeout.
    assert!(js_sys::Date::now() - start < 10.0 * IDLE_TIMEOUT.as_millis() as f64);
    let Err(ReadError::ConnectionLost(error)) = read else { panic!("{read:?}") };
    let timeouts = [Timeout::Idle, Timeout::KeepAlive];
    assert!(
        matches!(error, ConnectionError::TimedOut(timeout) if timeouts.contains(&timeout)),
        "{error}"
    );
    // This end stops waiting for the answer to its Close, while the browser still waits.
    within("the end", connection.closed()).await;
}

async fn silence_that_pings_break_ends_nothing(place: Place) {
    let url = ask(&format!("url {}", place.name())).await;
    let connection = place.connect_to(&url, impatient()).await;
    timer(Duration::from_secs(7)).await;
    assert!(connection.close_reason().is_none(), "{:?}", connection.close_reason());
    assert!(connection.rtt().is_some(), "a ping was answered");
}

/// C-47: the network carries nothing for twice the idle timeout, while a stream waits.
async fn silence_ends_nothing(place: Place) {
    let answer = ask(&format!("hole {}", place.name())).await;
    let (url, number) = answer.split_once(' ').expect("a URL and a number");
    let connection = place.connect_to(url, impatient()).await;
    let mut stream = stream(&connection, &b"E!"[..]).await;
    within("reading", stream.recv().read_exact(&mut [0])).await.expect("an echo");
    ask(&format!("silence {number}")).await;
    timer(Duration::from_secs(7)).await;
    assert!(connection.close_reason().is_none(), "{:?}", connection.close_reason());
}

/// W-27: the peer's text message is a protocol error, for which a connection closes with code 1002.
/// A connection in a page closes with 4999 instead, because a page may not send 1002.
async fn a_code_that_a_page_may_not_send_becomes_one_that_it_may(place: Place) {
    let connection = place.connect_to(&ask("url rude").await, Config::default()).await;
    let end = within("the end", connection.closed()).await;
    assert!(matches!(end, ConnectionError::TextMessage), "{end}");
    assert_eq!(ask("saw rude 4999").await, "PROTOCOL_VIOLATION: text message");
}
