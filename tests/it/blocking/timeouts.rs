//! Timeouts of reads, writes and other waits.

use std::{
    io::{ErrorKind, Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use wsmux::{
    Config, ReadToEndError, Wire,
    blocking::{SendStream, WaitError},
};

use super::{LONG, SHORT, config, in_time, on_both_wires, pair, pattern, stream};

/// Sends a piece each time the reader reports a timeout, and then the end.
fn send_when_told(mut send: SendStream, data: Vec<u8>, told: mpsc::Receiver<()>) {
    for piece in data.chunks(1_000) {
        told.recv().unwrap();
        send.write_all(piece).unwrap();
    }
    told.recv().unwrap();
    send.finish().unwrap();
    // There may be one more timeout than there are pieces.
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
            // The reader alternates between all ways to read. If a read to the end times out, the
            // next call continues with the bytes that were read.
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
        // If a busy machine delayed the bytes until after the timeout, they arrive now.
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
