//! Datagrams: each arrives as a whole or not at all, and the oldest is dropped when the queue is
//! full.

use crate::support::*;
use bytes::Bytes;
use wsmux_proto::{Config, Dir, Event, Frame, SendDatagramError, Wire};

/// A queued datagram counts as its content plus at most this many bytes.
const OVERHEAD: usize = 128;

#[test]
fn a_datagram_arrives_whole_and_in_order() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    assert_eq!(pair.server.conn.read_datagram(), None);
    pair.server.take_events();
    let max = pair.client.conn.max_datagram_size().unwrap();
    let sizes = [0, 1, 63, 64, 1_000, 16_383, 16_384, max];
    for size in sizes {
        pair.client.conn.send_datagram(pattern(size as u64, 0, size).into()).unwrap();
    }
    pair.drive();
    assert_eq!(pair.server.take_events(), [Event::DatagramReceived], "told once");
    for size in sizes {
        assert_eq!(pair.server.conn.read_datagram().unwrap(), pattern(size as u64, 0, size));
    }
    assert_eq!(pair.server.conn.read_datagram(), None);
}

/// [J-34] If the application opens a unidirectional stream or sends a datagram, the call MUST fail
/// with an error that names the wire, and nothing is sent.
/// We MUST NOT send a DATAGRAM frame to a peer that did not advertise
/// `max_datagram_frame_size`. A DATAGRAM frame that we send MUST NOT be longer than the value that
/// the peer advertised, nor longer than the peer's `max_record_size`.
#[test]
fn a_datagram_that_the_peer_does_not_take_is_refused_here() {
    for (frame, record) in [(100, 65_536), (65_536, 16_382), (2, 16_382)] {
        let parameters = scripted_peer::generous_but(|limits| {
            limits.max_datagram_frame_size = frame;
            limits.max_record_size = record;
        });
        let mut peer =
            ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
        let max = peer.conn.max_datagram_size().unwrap();
        assert!(max as u64 <= frame.min(record), "{max}");
        assert!(matches!(
            peer.conn.send_datagram(vec![0; max + 1].into()),
            Err(SendDatagramError::TooLarge)
        ));
        peer.conn.send_datagram(vec![0; max].into()).unwrap();
        let message = peer.said_bytes();
        let len = message.map_or(0, |message| message.len()) as u64;
        assert!(len <= frame.min(record), "the frame of {len} is what counts");
    }
    let parameters = scripted_peer::generous_but(|limits| limits.max_datagram_frame_size = 0);
    let none = ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    let js_ws = ScriptedPeer::new(Wire::JsWs, CLIENT, &Config::default());
    for mut peer in [none, js_ws] {
        assert_eq!(peer.conn.max_datagram_size(), None);
        assert!(matches!(
            peer.conn.send_datagram(Bytes::new()),
            Err(SendDatagramError::UnsupportedByPeer)
        ));
        assert!(peer.conn.datagram_fits(&Bytes::new()).is_err());
        assert_eq!(peer.said(), []);
    }
}

/// When the queue of received datagrams is full, the oldest datagram in it MUST be dropped,
/// and the connection continues.
#[test]
fn when_nobody_reads_the_oldest_go_and_the_connection_goes_on() {
    let mut config = Config::default();
    config.datagram_receive_buffer_size(10_000);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
    for nth in 0..100u8 {
        peer.send(&[Frame::Datagram(vec![nth; 1_000].into())]);
    }
    peer.assert_open("a full queue");
    let kept: Vec<_> = std::iter::from_fn(|| peer.conn.read_datagram()).collect();
    let bytes: usize = kept.iter().map(Bytes::len).sum();
    assert!((8_000..=10_000).contains(&bytes), "{bytes}");
    assert_eq!(kept.last().unwrap()[0], 99);
    assert!(kept.is_sorted_by_key(|datagram| datagram[0]));
    assert_eq!(peer.conn.stats(Time::EPOCH).datagrams_dropped_incoming, 100 - kept.len() as u64);
}

/// [C-32] An answer that a peer demands MUST be held in one of two ways until we can send it.
/// Either the answer is part of the state of its stream or connection, which holds at most one
/// answer of each kind. Or the answer is in a queue with a bound. So a peer that does not read
/// cannot make our memory grow.
#[test]
fn empty_datagrams_are_bounded_too() {
    let mut config = Config::default();
    config.datagram_receive_buffer_size(10_000);
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &config);
    for _ in 0..10_000 {
        peer.send(&[Frame::Datagram(Bytes::new())]);
    }
    let kept = std::iter::from_fn(|| peer.conn.read_datagram()).count();
    assert!(kept <= 10_000 / 16, "{kept} of no bytes are not free");
}

#[test]
fn a_full_socket_drops_the_oldest_and_a_careful_sender_waits_for_room() {
    let mut config = Config::default();
    config.datagram_send_buffer_size(10 * (1_000 + OVERHEAD));
    let mut pair = Pair::new(Wire::QMux, &config);
    pair.client.stalled = true;
    let datagram = |nth: u8| Bytes::from(vec![nth; 1_000]);
    let mut queued = 0;
    while pair.client.conn.datagram_fits(&datagram(queued)).unwrap() {
        pair.client.conn.send_datagram(datagram(queued)).unwrap();
        queued += 1;
    }
    pair.client.conn.want_datagram_room();
    assert!((9..=10).contains(&queued), "{queued}");
    assert_eq!(pair.client.conn.stats(Time::EPOCH).datagrams_dropped_outgoing, 0);
    pair.client.conn.send_datagram(datagram(200)).unwrap();
    assert_eq!(pair.client.conn.stats(Time::EPOCH).datagrams_dropped_outgoing, 1);
    pair.client.take_events();
    pair.client.stalled = false;
    pair.drive();
    assert_eq!(pair.client.take_events(), [Event::DatagramsUnblocked]);
    assert_eq!(pair.server.conn.read_datagram().unwrap()[0], 1, "the oldest went");
}

/// [C-34] Control frames MUST be sent before datagrams, and datagrams before stream data.
#[test]
fn a_datagram_goes_before_stream_data_and_never_waits_for_credit() {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_data = 10);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(&[0; 100]).unwrap();
    peer.conn.send_datagram("urgent".into()).unwrap();
    let frames = peer.frames();
    assert_eq!(frames[..2], [Frame::Datagram("urgent".into()), stream(id, 0, &[0; 10], false),]);
    peer.conn.send_datagram("no credit".into()).unwrap();
    assert_eq!(peer.frames(), [Frame::Datagram("no credit".into())]);
}

#[test]
fn what_had_come_can_be_read_after_the_end() {
    let mut pair = Pair::new(Wire::QMux, &Config::default());
    pair.client.conn.send_datagram("last".into()).unwrap();
    pair.drive();
    pair.cut();
    assert_eq!(pair.server.conn.read_datagram().unwrap(), "last");
    assert!(matches!(
        pair.client.conn.send_datagram("more".into()),
        Err(SendDatagramError::ConnectionLost(_))
    ));
}

/// Checks Q-52 at the smallest limits.
#[test]
fn no_datagram_frame_is_longer_than_the_peer_takes() {
    for max in 1..10 {
        let parameters = scripted_peer::generous_but(|limits| limits.max_datagram_frame_size = max);
        let mut peer =
            ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
        let Some(len) = peer.conn.max_datagram_size() else { continue };
        peer.conn.send_datagram(vec![0; len].into()).unwrap();
        let sent = peer.said_bytes().unwrap();
        assert!(sent.len() as u64 <= max, "{} bytes of {max}", sent.len());
    }
}
