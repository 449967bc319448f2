//! Draining, closing, and dropping the last handle.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use wsmux::{Config, ConnectError, ConnectionError, OpenError, VarInt, Wire};

use super::{
    SHORT, cause, client, config, in_time, is_close, on_both_wires, pair, pattern, server, stream,
};

#[test]
fn a_drain_waits_until_all_that_was_written_is_read() {
    on_both_wires(|wire| {
        let config = config(|config| {
            config.stream_receive_window(50_000).send_buffer(500_000);
        });
        let (client, server) = pair(wire, &config);
        let (mut left, mut right) = stream(&client, &server);
        // The data exceeds the peer's window, so a part of it stays in the send buffer until the
        // peer reads.
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
                // This call waits at the peer's limit. The js-ws wire has no such limit.
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
            // This pause gives the threads time to block. The test would pass without the pause,
            // too.
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
