//! Uses the handles of streams on several threads.

use std::{
    io::{ErrorKind, Read, Write},
    thread,
};

use wsmux::{
    Config, ConnectionError, ReadError, VarInt, Wire, WriteError,
    blocking::{
        RecvStream, SendStream, WebSocketClient, WebSocketConnection, WebSocketServer,
        WebSocketStream,
    },
};

use super::{
    cause, echo, fill, in_time, is_close, on_both_wires, pair, pattern, round_trip, stream,
};

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

        // The write that the timeout interrupted continues where it stopped.
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
