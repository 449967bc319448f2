//! Blocking threads in a program that also has tasks of a runtime.

use std::{
    io::{ErrorKind, Read},
    thread,
    time::Duration,
};

use wsmux::{Config, Wire, blocking::WebSocketConnection};

use super::{client, echo, in_time, is_close, pair, round_trip, server};

/// Runs a whole program in the calling thread: a server, a client and their connections.
fn a_program() {
    let (server, url) = server(&Config::default());
    let serving = thread::spawn(move || {
        while let Some(connecting) = server.accept() {
            // A client that leaves at once may not even complete the handshake.
            if let Ok(connection) = connecting.wait() {
                thread::spawn(move || echo(&connection));
            }
        }
    });
    let client = client(Wire::QMux, &Config::default());
    // All these waits happen within one poll of a task, so they exceed the budget after which tokio
    // makes a task yield.
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
        // The client and the blocking handle have been dropped, but the background thread goes on.
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
