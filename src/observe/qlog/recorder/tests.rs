//! Tests two things: which events a log contains for each message, and that a log stays within its
//! bounds.

use std::{
    io::{self, Write},
    sync::{Mutex, mpsc},
};

use allocation_counter::measure;
use tokio::time::Instant;
use wsmux_proto::{Config, Connection, Incoming, Session, Time};

use super::*;
use crate::{
    connection::ConnectionInfo,
    observe::qlog::{QlogConfig, config::MIN_SIZE, output::MAX_HELD, writer::Writer},
};

/// A writer that waits for a permit before its first write. When the writer is dropped, it sends
/// everything that was written to it.
struct Stuck(mpsc::Receiver<()>, Vec<u8>, mpsc::Sender<Vec<u8>>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.2.send(std::mem::take(&mut self.1));
    }
}

fn shared() -> Arc<Shared> {
    let engine = Connection::new(Config::default(), Side::Client, Wire::QMux, Time::EPOCH);
    Shared::new(Session::new(engine, None), Instant::now(), ConnectionInfo::default())
}

#[test]
fn what_a_slow_writer_has_no_room_for_is_missing_and_the_log_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ((permit, permits), (done, logs)) = (mpsc::channel(), mpsc::channel());
    let writer = Mutex::new(Some(Stuck(permits, Vec::new(), done)));
    let config = QlogConfig::new(move |_| {
        let writer = writer.lock().unwrap().take();
        writer.map(|writer| Box::new(writer) as Writer)
    });
    let shared = shared();
    let _entered = runtime.enter();
    let mut log = config.start(&shared).unwrap();
    // A close whose reason is a control character, repeated. Each control character takes six bytes
    // in JSON.
    let close = [&[0x1d, 0, 0x60, 0][..], &[0x06; 8 * 1024]].concat();
    let sent = 2 * 4 * 1024 * 1024 / (8 * 1024);
    for _ in 0..sent {
        log.sent(Time::EPOCH, close.clone().into());
    }
    let lost = log.lost;
    assert!(lost > 0 && lost < sent, "{lost}");
    drop(permit);
    drop(log);
    let text = String::from_utf8(logs.recv().unwrap()).unwrap();
    let count = |what: &str| text.matches(what).count() as u64;
    assert_eq!(count("transport:packet_sent"), sent - lost);
    assert_eq!(count(&format!("the writer is slow: {lost} events are missing here")), 1);
    let last = text.rsplit('\u{1e}').next().unwrap();
    assert!(last.contains("connectivity:connection_closed"), "{last}");
}

/// Returns the log of these messages, and the total length of the messages. Nothing delays the
/// log's writer.
fn logged(max_size: Option<u64>, messages: impl Iterator<Item = Vec<u8>>) -> (String, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (done, logs) = mpsc::channel();
    let config = QlogConfig::new(move |_| {
        // Dropping the sender lets the writer run at once.
        let (_, permits) = mpsc::channel();
        Some(Box::new(Stuck(permits, Vec::new(), done.clone())))
    });
    let config = match max_size {
        Some(bytes) => config.max_size(bytes),
        None => config,
    };
    let engine = Connection::new(Config::default(), Side::Server, Wire::QMux, Time::EPOCH);
    let shared = Shared::new(Session::new(engine, None), Instant::now(), ConnectionInfo::default());
    let _entered = runtime.enter();
    let mut log = config.start(&shared).unwrap();
    let mut traffic = 0;
    for message in messages {
        traffic += message.len() as u64;
        while log.output.is_full() {
            std::thread::yield_now();
        }
        log.received(Time::EPOCH, &[Incoming::Message(message.into())]);
    }
    let close = [0x1d, 0x07, 0x03, b'b', b'y', b'e'];
    log.sent(Time::EPOCH, Bytes::copy_from_slice(&close));
    shared.lock().engine_mut().close(Time::EPOCH, 7u32.into(), Bytes::from_static(b"bye"));
    drop(log);
    (String::from_utf8(logs.recv().unwrap()).unwrap(), traffic)
}

/// If each datagram had an entry of its own, of 42 bytes, 10 MB of datagrams would make 210 MB of
/// log. With shared entries, these datagrams make 35 kB of log.
#[test]
fn a_megabyte_of_empty_datagrams_makes_a_small_log() {
    let message = [0x31, 0].repeat(32 * 1024);
    let (text, traffic) = logged(None, std::iter::repeat_n(message, 16));
    assert_eq!(traffic, 1024 * 1024);
    assert!((text.len() as u64) < traffic / 100, "{} bytes", text.len());
    let entry = r#"{"frame_type":"datagram","length":0,"frame_size":65536,"count":32768}"#;
    assert_eq!(text.matches(entry).count(), 16);
    assert!(!text.contains("generic:warning"));
}

#[test]
fn a_log_ends_at_its_largest_size_and_says_so_and_how_it_ended() {
    // For the same number of received bytes, the log is longest if each message has a single
    // datagram.
    let flood = |count| (0..count).map(|i| vec![0x31, 1, i as u8]);
    let (text, _) = logged(Some(0), flood(2_000));
    assert!(text.len() as u64 <= MIN_SIZE, "{} bytes", text.len());
    assert!(text.len() as u64 > MIN_SIZE - END - 1_024, "{} bytes", text.len());
    let written = text.matches("transport:packet_received").count();
    let last: Vec<_> = text.rsplit('\u{1e}').take(3).collect();
    // This end's Close is among the missing events, and the last event repeats its content.
    let missing = 2_000 - written + 1;
    let closed = r#""application_code":7,"reason":"bye","trigger":"application""#;
    assert!(last[0].contains("connectivity:connection_closed"), "{}", last[0]);
    assert!(last[0].contains(closed), "{}", last[0]);
    assert!(last[1].contains(&format!("{missing} events are missing here")), "{}", last[1]);
    assert!(last[2].contains("the log has reached its largest size"), "{}", last[2]);
}

#[test]
fn a_message_of_very_many_frames_has_no_more_entries_than_fit() {
    // Frames of two different lengths alternate, so that no two neighbours share an entry.
    let message = [0x31, 0, 0x31, 1, 0].repeat(10_000);
    let length = message.len();
    let (text, _) = logged(None, std::iter::once(message));
    assert_eq!(text.matches(r#""frame_type":"datagram""#).count(), MAX_FRAMES);
    let size = length - MAX_FRAMES / 2 * 5;
    let count = 20_000 - MAX_FRAMES;
    let rest = format!(
        r#"{{"frame_type":"unknown","raw_frame_type":49,"frame_size":{size},"count":{count}}}"#
    );
    assert!(text.contains(&rest), "{rest}");
}

/// A control character takes six bytes in JSON.
#[test]
fn the_end_has_room_for_the_longest_reason() {
    let (reason, code) = (Bytes::from(vec![0x06; 60_000]), 7u32.into());
    let engine = Connection::new(Config::default(), Side::Client, Wire::QMux, Time::EPOCH);
    let shared = Shared::new(Session::new(engine, None), Instant::now(), ConnectionInfo::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let config = QlogConfig::new(|_| Some(Box::new(io::sink())));
    let mut log = config.start(&shared).unwrap();
    shared.lock().engine_mut().handle(Time::EPOCH, Incoming::Message(vec![0; 3].into()));
    log.farewell = Some(Close::Application { code, reason });
    let closed = serde_json::to_vec(&log.closed()).unwrap();
    assert!((closed.len() as u64) < END - 512, "{}", closed.len());
}

/// A RESET_STREAM_AT with the largest numbers, whose last byte is `last`.
fn reset_at(last: u8) -> Vec<u8> {
    let largest = [0xff; 8];
    [&[0x24][..], &largest, &largest, &largest, &[0xff; 7], &[last]].concat()
}

#[test]
fn a_log_whose_writer_hangs_allocates_no_more_than_its_bound() {
    let longest: Vec<u8> = (0..=MAX_FRAMES).flat_map(|i| reset_at(i as u8)).collect();
    let close = [&[0x1d, 0, 0x44, 0][..], &[0x06; 1024]].concat();
    let longest = [longest, close].concat();
    // The messages of each pattern, and the time between them.
    let patterns: [(&[Vec<u8>], Duration); 4] = [
        (std::slice::from_ref(&longest), Duration::ZERO),
        (&[vec![0x31, 0]], Duration::ZERO),
        // The delay makes each message a chunk of its own.
        (&[vec![0x31, 0]], MAX_DELAY),
        (&[vec![0x31, 0], vec![0x31, 1, 0], longest.clone()], Duration::ZERO),
    ];
    for (nth, (messages, step)) in patterns.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((permit, permits), (done, logs)) = (mpsc::channel(), mpsc::channel());
        let writer = Mutex::new(Some(Box::new(Stuck(permits, Vec::new(), done)) as Writer));
        let config = QlogConfig::new(move |_| writer.lock().unwrap().take());
        let shared = shared();
        let _entered = runtime.enter();
        let mut log = None;
        let messages: Vec<Bytes> = messages.iter().cloned().map(Bytes::from).collect();
        let mut now = Time::EPOCH;
        let allocated = measure(|| {
            let log = log.insert(config.start(&shared).unwrap());
            while log.lost < 10 {
                for message in &messages {
                    now += step;
                    log.sent(now, message.clone());
                }
            }
            // The last event is written even if too many bytes wait to be written.
            log.append(now, "connectivity:connection_closed", schema::ConnectionClosed::default());
            log.output.push(std::mem::take(&mut log.chunk));
        });
        assert!(allocated.bytes_max <= MAX_HELD as u64, "{nth}: {}", allocated.bytes_max);
        assert!(allocated.bytes_max > MAX_HELD as u64 / 2, "{nth}: {}", allocated.bytes_max);
        drop(permit);
        drop(log);
        assert!(logs.recv().unwrap().len() > MAX_HELD / 4);
    }
}

#[test]
fn frames_after_a_close_have_one_entry_and_a_reason_has_1024_bytes() {
    let close = [&[0x1d, 7, 0x60, 0][..], &[b'x'; 8 * 1024]].concat();
    let other = [&[0x1d, 8, 0x60, 0][..], &[b'y'; 8 * 1024]].concat();
    let message = [close.clone(), other, [0x31, 0].to_vec(), [0x31, 1, 0].to_vec()].concat();
    let size = message.len() - close.len();
    let (text, _) = logged(None, std::iter::once(message));
    assert!(text.contains(&format!(r#""reason":"{}""#, "x".repeat(1024))), "{text}");
    assert!(!text.contains("yy"), "{text}");
    let rest =
        format!(r#"{{"frame_type":"unknown","raw_frame_type":29,"frame_size":{size},"count":3}}"#);
    assert!(text.contains(&rest), "{text}");
}

#[test]
fn transport_parameters_are_shown_once_however_often_they_come() {
    let parameters = b"\xffQS0\r\n\r\n\0";
    let (text, _) = logged(None, std::iter::repeat_n(parameters.repeat(1_000), 2));
    assert_eq!(text.matches("transport:parameters_set").count(), 1, "{text}");
}
