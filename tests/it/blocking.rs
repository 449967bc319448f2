//! The connection for threads without a runtime, over TCP on this machine.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wsmux::{
    Config, ConnectError, ConnectionError, OpenError, ReadError, ReadToEndError, VarInt, Wire,
    WriteError,
    blocking::{
        RecvStream, SendStream, WaitError, WebSocketClient, WebSocketConnection, WebSocketServer,
        WebSocketStream,
    },
};

const WIRES: [Wire; 2] = [Wire::QMux, Wire::JsWs];

/// Long enough for any wait that ends, however busy the machine is.
const LONG: Duration = Duration::from_secs(120);

/// Short enough to wait for in vain.
const SHORT: Duration = Duration::from_millis(30);

/// Runs `test` on each wire. A test that waits for ever fails.
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

/// Both ends of one connection. What made them is gone already.
fn pair(wire: Wire, config: &Config) -> (WebSocketConnection, WebSocketConnection) {
    let (server, url) = server(config);
    let accepting = thread::spawn(move || server.accept().unwrap().wait().unwrap());
    let client = client(wire, config).connect(&url).unwrap();
    (client, accepting.join().unwrap())
}

/// A stream at both ends.
fn stream(
    client: &WebSocketConnection,
    server: &WebSocketConnection,
) -> (WebSocketStream, WebSocketStream) {
    let mut left = client.open_bi().unwrap();
    left.send().announce();
    (left, server.accept_bi().unwrap())
}

/// Sends back all that comes on all streams, in a thread for each, until the connection ends.
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

/// Writes from a thread of its own while this one reads, and checks what comes back.
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

/// Writes until there has been no room for a while. Says how much was taken.
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

/// The error that an [`io::Error`] is made of.
fn cause<E: std::error::Error + 'static>(error: &io::Error) -> &E {
    error.get_ref().and_then(|cause| cause.downcast_ref()).expect("a cause of this type")
}

fn is_close(end: &ConnectionError, code: u32, reason: &[u8]) -> bool {
    matches!(end, ConnectionError::ApplicationClosed(close)
        if close.error_code == VarInt::from_u32(code) && close.reason == reason)
}

#[test]
fn the_handles_go_to_other_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<WebSocketClient>();
    shared::<WebSocketServer>();
    shared::<WebSocketConnection>();
    shared::<WebSocketStream>();
    shared::<SendStream>();
    shared::<RecvStream>();
}

#[test]
fn eight_mebibytes_come_back_as_they_were() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let serving = thread::spawn(move || echo(&server));
        round_trip(&client, 1, 8 * 1024 * 1024);
        client.drain();
        assert!(matches!(client.closed(), ConnectionError::LocallyClosed));
        assert!(is_close(&serving.join().unwrap(), 0, b""));
    });
}

#[test]
fn fifty_threads_use_one_connection_at_once() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let serving = thread::spawn(move || echo(&server));
        thread::scope(|scope| {
            for seed in 0..50 {
                let client = client.clone();
                scope.spawn(move || round_trip(&client, seed, 100_000));
            }
        });
        client.drain();
        client.closed();
        serving.join().unwrap();
    });
}

#[test]
fn a_stalled_reader_pauses_nobody_else_and_loses_nothing() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let (mut stalled, mut reader) = stream(&client, &server);
        let serving = thread::spawn(move || echo(&server));

        let data = pattern(2, 8 * 1024 * 1024);
        let taken = fill(stalled.send(), &data);
        assert!(taken < data.len(), "the writer stands still");
        round_trip(&client, 3, 4 * 1024 * 1024);

        // What the timeout interrupted goes on where it was.
        let rest = data[taken..].to_vec();
        let writing = thread::spawn(move || {
            stalled.set_write_timeout(None).unwrap();
            stalled.write_all(&rest).unwrap();
            stalled.send().finish().unwrap();
        });
        assert!(reader.recv().read_to_end(data.len()).unwrap() == data);
        writing.join().unwrap();
        drop(reader);
        client.drain();
        client.closed();
        serving.join().unwrap();
    });
}

#[test]
fn a_dropped_writer_is_a_reset_and_no_end() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let (mut left, mut right) = stream(&client, &server);
        left.write_all(b"half a messa").unwrap();
        drop(left);
        let error = Read::read_to_end(&mut right, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(matches!(cause(&error), ReadError::Reset(code) if *code == VarInt::from_u32(0)));
    });
}

#[test]
fn a_reset_and_a_stop_bring_their_codes() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let (mut left, mut right) = stream(&client, &server);
        left.send().reset(VarInt::from_u32(5)).unwrap();
        assert_eq!(right.recv().received_reset().unwrap(), VarInt::from_u32(5));
        left.recv().stop(VarInt::from_u32(6)).unwrap();
        assert_eq!(right.send().stopped().unwrap(), Some(VarInt::from_u32(6)));
        let error = right.write(b"too late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(cause(&error), WriteError::Stopped(_)));
    });
}

/// Sends a piece whenever the reader has waited in vain, then the end.
fn send_when_told(mut send: SendStream, data: Vec<u8>, told: mpsc::Receiver<()>) {
    for piece in data.chunks(1_000) {
        told.recv().unwrap();
        send.write_all(piece).unwrap();
    }
    told.recv().unwrap();
    send.finish().unwrap();
    // The reader may be told to wait once more than there are pieces.
    while told.recv().is_ok() {}
}

#[test]
fn a_read_timeout_loses_nothing() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let (left, right) = stream(&client, &server);
        let (mut recv, data) = (right.into_split().1, pattern(4, 30_000));
        let ((send, _back), (tell, told)) = (left.into_split(), mpsc::channel());
        let sending = thread::spawn({
            let data = data.clone();
            move || send_when_told(send, data, told)
        });
        recv.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let (mut all, mut buf, mut timeouts) = (Vec::new(), [0; 700], 0);
        loop {
            // All ways to read, in turn. The one to the end keeps what it has read for the others.
            let read = match timeouts % 3 {
                0 => recv.read(&mut buf).map(|len| buf[..len].to_vec()),
                1 => recv
                    .read_chunk(300)
                    .map(Option::unwrap_or_default)
                    .map(Vec::from)
                    .map_err(Into::into),
                _ => recv.read_to_end(100_000).map_err(Into::into),
            };
            match read {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => all.extend(bytes),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                    timeouts += 1;
                    tell.send(()).unwrap();
                }
            }
        }
        assert!(timeouts > 30, "{timeouts}");
        assert!(all == data);
        drop(tell);
        sending.join().unwrap();
    });
}

#[test]
fn what_a_read_to_the_end_had_read_when_its_time_ran_out_is_read_first() {
    in_time(|| {
        let (client, server) = pair(Wire::QMux, &Config::default());
        let (mut left, right) = stream(&client, &server);
        let mut recv = right.into_split().1;
        left.write_all(b"hello").unwrap();
        recv.set_read_timeout(Some(SHORT)).unwrap();
        assert!(matches!(recv.read_to_end(10), Err(WaitError::TimedOut)));
        // Where the machine was too busy for the bytes to come in time, they come now.
        recv.set_read_timeout(None).unwrap();
        let mut start = [0; 2];
        recv.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"he");
        left.write_all(b", world").unwrap();
        left.send().finish().unwrap();
        assert_eq!(recv.read_to_end(10).unwrap(), b"llo, world");

        let (mut left, mut right) = stream(&client, &server);
        left.write_all(b"hello").unwrap();
        let recv = right.recv();
        let long = recv.read_to_end(4);
        assert!(matches!(long, Err(WaitError::Failed(ReadToEndError::TooLong))));
    });
}

#[test]
fn a_timeout_of_zero_is_refused_as_std_does() {
    in_time(|| {
        let (client, _server) = pair(Wire::QMux, &Config::default());
        let mut stream = client.open_bi().unwrap();
        let zero = Some(Duration::ZERO);
        assert_eq!(stream.set_read_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(stream.set_write_timeout(zero).unwrap_err().kind(), ErrorKind::InvalidInput);
        stream.set_read_timeout(Some(Duration::MAX)).unwrap();
        assert_eq!(stream.recv().read_timeout(), Some(Duration::MAX));
        assert_eq!(stream.send().write_timeout(), None);
    });
}

#[test]
fn a_timeout_of_the_connections_waits_loses_nothing() {
    in_time(|| {
        let config = config(|config| {
            config.max_concurrent_bidi_streams(1);
        });
        let (client, server) = pair(Wire::QMux, &config);
        assert!(matches!(server.accept_bi_timeout(SHORT), Err(WaitError::TimedOut)));
        assert!(matches!(server.accept_uni_timeout(SHORT), Err(WaitError::TimedOut)));
        assert!(matches!(server.read_datagram_timeout(SHORT), Err(WaitError::TimedOut)));
        assert!(server.closed_timeout(SHORT).is_none());

        let (left, right) = stream(&client, &server);
        assert!(matches!(client.open_bi_timeout(SHORT), Err(WaitError::TimedOut)));
        assert!(client.try_open_bi().unwrap().is_none());
        drop((left, right));
        let mut next = client.open_bi_timeout(LONG).unwrap();
        next.write_all(b"next").unwrap();
        assert_eq!(server.accept_bi_timeout(LONG).unwrap().id(), next.id());

        client.open_uni().unwrap().write_all(b"uni").unwrap();
        server.accept_uni_timeout(LONG).unwrap();
        client.send_datagram(Bytes::from_static(b"one")).unwrap();
        client.send_datagram_wait(Bytes::from_static(b"two")).unwrap();
        assert_eq!(server.read_datagram_timeout(LONG).unwrap(), "one");
        assert_eq!(server.read_datagram().unwrap(), "two");
    });
}

#[test]
fn a_drain_waits_until_all_that_was_written_is_read() {
    on_both_wires(|wire| {
        let config = config(|config| {
            config.stream_receive_window(50_000).send_buffer(500_000);
        });
        let (client, server) = pair(wire, &config);
        let (mut left, mut right) = stream(&client, &server);
        // More than the peer's window: a part stays in the send buffer until the peer reads.
        let data = pattern(5, 400_000);
        left.write_all(&data).unwrap();
        left.send().finish().unwrap();
        left.recv().stop(VarInt::from_u32(0)).unwrap();
        client.drain();
        assert!(matches!(client.open_bi().unwrap_err(), OpenError::Draining));
        assert!(client.closed_timeout(SHORT).is_none());
        let ending = thread::spawn(move || client.closed());
        assert!(right.recv().read_to_end(data.len()).unwrap() == data);
        drop(right);
        assert!(matches!(ending.join().unwrap(), ConnectionError::LocallyClosed));
        assert!(is_close(&server.closed(), 0, b""));
    });
}

#[test]
fn everybody_who_waits_sees_the_peers_close() {
    on_both_wires(|wire| {
        let config = config(|config| {
            config.max_concurrent_bidi_streams(1);
        });
        let (client, server) = pair(wire, &config);
        let (_left, right) = stream(&client, &server);
        let _other = server.open_bi().unwrap();
        let ((mut send, mut recv), data) = (right.into_split(), pattern(6, 8 * 1024 * 1024));
        let lost = |error: &io::Error| is_close(cause(error), 7, b"bye");
        thread::scope(|scope| {
            let (other, opening) = (server.clone(), server.clone());
            if wire == Wire::QMux {
                // At the limit; the js-ws wire has none.
                scope.spawn(move || {
                    let end = opening.open_bi().unwrap_err();
                    assert!(
                        matches!(end, OpenError::ConnectionLost(end) if is_close(&end, 7, b"bye"))
                    );
                });
            }
            scope.spawn(move || assert!(lost(&recv.read(&mut [0; 10]).unwrap_err())));
            scope.spawn(move || assert!(lost(&send.write_all(&data).unwrap_err())));
            scope.spawn(|| assert!(is_close(&server.accept_bi().unwrap_err(), 7, b"bye")));
            scope.spawn(|| assert!(is_close(&server.read_datagram().unwrap_err(), 7, b"bye")));
            scope.spawn(move || assert!(is_close(&other.closed(), 7, b"bye")));
            // Time for them to fall asleep; without it the test passes as well.
            thread::sleep(SHORT);
            client.close(VarInt::from_u32(7), b"bye");
            assert!(matches!(client.closed(), ConnectionError::LocallyClosed));
        });
        assert!(is_close(&server.close_reason().unwrap(), 7, b"bye"));
    });
}

#[test]
fn another_threads_close_ends_a_wait() {
    in_time(|| {
        let (client, _server) = pair(Wire::QMux, &Config::default());
        let (other, mut stream) = (client.clone(), client.open_bi().unwrap());
        let waiting = thread::spawn(move || stream.read(&mut [0; 10]).unwrap_err());
        thread::sleep(SHORT);
        other.close(VarInt::from_u32(0), b"");
        let error = waiting.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn the_last_drop_closes_and_the_peer_is_told() {
    on_both_wires(|wire| {
        let (client, server) = pair(wire, &Config::default());
        let (left, right) = stream(&client, &server);
        drop(client);
        assert!(server.closed_timeout(SHORT).is_none(), "its stream is a handle");
        drop((left, right));
        assert!(is_close(&server.closed(), 0, b""));
    });
}

#[test]
fn a_silent_client_holds_up_nobody_and_close_ends_accept() {
    in_time(|| {
        let (server, url) = server(&Config::default());
        thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let mut handshakes = Vec::new();
                while let Some(connecting) = server.accept() {
                    handshakes.push(thread::spawn(move || connecting.wait()));
                }
                handshakes
            });
            let silent = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let connection = client(Wire::QMux, &Config::default()).connect(&url).unwrap();
            server.close();
            let mut handshakes = serving.join().unwrap();
            drop(silent);
            let last = handshakes.pop().unwrap().join().unwrap().unwrap();
            assert!(handshakes.pop().unwrap().join().unwrap().is_err());
            drop(last);
            connection.closed();
        });
    });
}

#[test]
fn a_failed_connect_says_why() {
    in_time(|| {
        let client = client(Wire::QMux, &Config::default());
        assert!(matches!(client.connect("ftp://x/"), Err(ConnectError::UnsupportedScheme(_))));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = client.connect(&format!("ws://127.0.0.1:{port}/"));
        assert!(matches!(refused, Err(ConnectError::Connect(_))), "{refused:?}");
    });
}

#[test]
fn halves_of_one_stream_join_and_others_do_not() {
    in_time(|| {
        let (client, _server) = pair(Wire::QMux, &Config::default());
        let [one, two] = [(); 2].map(|()| client.open_bi().unwrap());
        let ((send, recv), (other_send, other_recv)) = (one.into_split(), two.into_split());
        let wrong = WebSocketStream::join(send, other_recv).unwrap_err();
        WebSocketStream::join(wrong.send, recv).unwrap();
        WebSocketStream::join(other_send, wrong.recv).unwrap();
    });
}

/// All that a program does, in whatever thread this is called.
fn a_program() {
    let (server, url) = server(&Config::default());
    let serving = thread::spawn(move || {
        while let Some(connecting) = server.accept() {
            // A client that is gone at once may not even have finished.
            if let Ok(connection) = connecting.wait() {
                thread::spawn(move || echo(&connection));
            }
        }
    });
    let client = client(Wire::QMux, &Config::default());
    // So many waits in one turn of a task use up what tokio grants it before it must yield.
    for _ in 0..100 {
        client.connect(&url).unwrap();
    }
    for seed in 0..10 {
        let connection = client.connect(&url).unwrap();
        round_trip(&connection, seed, 1_000);
        let mut stream = connection.open_bi().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(stream);
        connection.drain();
        connection.closed();
    }
    drop(client);
    assert!(!serving.is_finished());
}

#[test]
fn all_of_it_works_in_the_only_thread_of_a_runtime() {
    in_time(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { a_program() });
        runtime.block_on(async { tokio::spawn(async { a_program() }).await.unwrap() });
    });
}

#[test]
fn all_of_it_works_in_a_worker_of_a_runtime() {
    in_time(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::spawn(async { a_program() }).await.unwrap() });
        runtime.block_on(async { tokio::task::spawn_blocking(a_program).await.unwrap() });
    });
}

#[test]
fn a_connection_of_tasks_serves_threads_and_ends_with_its_runtime() {
    in_time(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (server, url) = server(&Config::default());
        let accepting = thread::spawn(move || server.accept().unwrap().wait().unwrap());
        let dialler = wsmux::WebSocketClient::builder().build().unwrap();
        let client = runtime.block_on(dialler.connect(&url)).unwrap();
        let client = WebSocketConnection::from_async(client);
        let server = accepting.join().unwrap();
        let serving = thread::spawn({
            let server = server.clone();
            move || echo(&server)
        });
        round_trip(&client, 7, 1_000_000);

        let mut stream = client.open_bi().unwrap();
        let waiting = thread::spawn(move || stream.read(&mut [0; 10]).unwrap_err());
        drop(runtime);
        let error = waiting.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("its runtime has ended"), "{error}");
        serving.join().unwrap();
    });
}

#[test]
fn a_connection_of_threads_serves_tasks() {
    in_time(|| {
        let (client, server) = pair(Wire::QMux, &Config::default());
        let serving = thread::spawn(move || echo(&server));
        // Whoever made it, and its blocking handle, are gone: the background goes on.
        let client = client.into_async();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
            send.write_all(b"hello").await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(5).await.unwrap(), b"hello");
            client.drain();
            client.closed().await;
        });
        assert!(is_close(&serving.join().unwrap(), 0, b""));
    });
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_done_by_the_threads_that_wait_for_it() {
    in_time(|| {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key = wsmux::rustls::pki_types::PrivatePkcs8KeyDer::from(
            certified.signing_key.serialize_der(),
        );
        let builder =
            wsmux::WebSocketServer::builder().certificate([certificate.clone()], key.into());
        let server = WebSocketServer::bind("127.0.0.1:0", builder.build().unwrap()).unwrap();
        let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
        let serving = thread::spawn(move || echo(&server.accept().unwrap().wait().unwrap()));
        let builder = wsmux::WebSocketClient::builder().trust_self_signed(certificate.clone());
        let client = WebSocketClient::new(builder.build().unwrap()).unwrap();
        let connection = client.connect(&url).unwrap();
        assert_eq!(connection.peer_certificates().unwrap()[0], certificate.as_ref());
        round_trip(&connection, 8, 1_000_000);
        connection.drain();
        connection.closed();
        serving.join().unwrap();
    });
}
