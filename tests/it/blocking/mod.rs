//! The connection for threads without a runtime, over local TCP.

mod endings;
mod runtimes;
mod streams;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;

use std::{
    io::{self, ErrorKind, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use wsmux::{
    Config, ConnectionError, VarInt, Wire,
    blocking::{
        SendStream, WebSocketClient, WebSocketConnection, WebSocketServer, WebSocketStream,
    },
};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

/// If a wait takes longer than this, it counts as endless. The time is enough for a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// How long a test waits for something that should not happen.
const SHORT: Duration = Duration::from_millis(30);

/// Runs `test` on each wire. A test that never ends fails.
fn on_both_wires(test: impl Fn(Wire) + Send + Copy + 'static) {
    for wire in WIRES {
        in_time(move || test(wire));
    }
}

fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel::<()>();
    let running = thread::spawn(move || {
        test();
        drop(done);
    });
    if finished.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it waits for ever");
    }
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

fn client(wire: Wire, config: &Config) -> WebSocketClient {
    let builder = wsmux::WebSocketClient::builder().wire(wire).config(config.clone());
    WebSocketClient::new(builder.build().unwrap()).unwrap()
}

fn server(config: &Config) -> (WebSocketServer, String) {
    let builder = wsmux::WebSocketServer::builder().wires(WIRES).config(config.clone());
    let server = WebSocketServer::bind("127.0.0.1:0", builder.build().unwrap()).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    (server, url)
}

/// Returns both ends of a connection. The client and the server that created it have been dropped.
fn pair(wire: Wire, config: &Config) -> (WebSocketConnection, WebSocketConnection) {
    let (server, url) = server(config);
    let accepting = thread::spawn(move || server.accept().unwrap().wait().unwrap());
    let client = client(wire, config).connect(&url).unwrap();
    (client, accepting.join().unwrap())
}

/// Opens a stream, and returns both ends of it.
fn stream(
    client: &WebSocketConnection,
    server: &WebSocketConnection,
) -> (WebSocketStream, WebSocketStream) {
    let mut left = client.open_bi().unwrap();
    left.send().announce();
    (left, server.accept_bi().unwrap())
}

/// Sends back all that arrives on any stream, with a thread for each stream, until the connection
/// ends.
fn echo(connection: &WebSocketConnection) -> ConnectionError {
    thread::scope(|scope| {
        loop {
            let (mut send, mut recv) = match connection.accept_bi() {
                Ok(stream) => stream.into_split(),
                Err(end) => return end,
            };
            scope.spawn(move || {
                io::copy(&mut recv, &mut send).unwrap();
                send.finish().unwrap();
            });
        }
    })
}

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mix = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed * 0x51) >> 29;
    (0..len as u64).map(|at| mix(at) as u8).collect()
}

/// Writes from another thread while this one reads, and checks what comes back.
fn round_trip(connection: &WebSocketConnection, seed: u64, len: usize) {
    let (mut send, mut recv) = connection.open_bi().unwrap().into_split();
    let data = pattern(seed, len);
    let sum = Sha256::digest(&data);
    let writing = thread::spawn(move || {
        send.write_all(&data).unwrap();
        send.finish().unwrap();
    });
    let mut sink = Sha256::new();
    assert_eq!(io::copy(&mut recv, &mut sink).unwrap(), len as u64);
    assert_eq!(sink.finalize(), sum);
    writing.join().unwrap();
}

/// Writes until there has been no room for a while. Returns how many bytes were accepted.
fn fill(send: &mut SendStream, data: &[u8]) -> usize {
    send.set_write_timeout(Some(SHORT)).unwrap();
    let mut taken = 0;
    loop {
        match send.write(&data[taken..]) {
            Ok(len) => taken += len,
            Err(error) if error.kind() == ErrorKind::TimedOut => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns the error that an [`io::Error`] wraps.
fn cause<E: std::error::Error + 'static>(error: &io::Error) -> &E {
    error.get_ref().and_then(|cause| cause.downcast_ref()).expect("a cause of this type")
}

fn is_close(end: &ConnectionError, code: u32, reason: &[u8]) -> bool {
    matches!(end, ConnectionError::ApplicationClosed(close)
        if close.error_code == VarInt::from_u32(code) && close.reason == reason)
}
