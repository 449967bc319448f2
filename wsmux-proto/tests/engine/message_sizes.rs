//! No message is longer than this end's limit, whatever the message contains.

use crate::support::*;
use wsmux_proto::{
    Config, Dir, Frame, Incoming, SendDatagramError, SocketCapabilities, StreamId, Wire,
};

/// Sends frames of every kind, and returns the lengths of all messages.
fn lengths_of_everything(wire: Wire, most: usize) -> Vec<usize> {
    lengths_over(SocketCapabilities::new(), wire, most)
}

/// Does the same as [`lengths_of_everything`], over a socket with these capabilities.
fn lengths_over(socket: SocketCapabilities, wire: Wire, most: usize) -> Vec<usize> {
    let mut config = Config::default();
    config.max_message_sent(most).keep_alive_interval(Some(secs(1)));
    let mut peer = ScriptedPeer::fresh(wire, CLIENT, &config);
    peer.conn.set_socket_capabilities(socket);
    let mut lengths = Vec::new();
    if wire == Wire::QMux {
        lengths.push(peer.said_bytes().expect("the parameters").len());
        peer.send(&[Frame::TransportParameters(scripted_peer::generous())]);
    }
    let ids: Vec<_> = (0..60).map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap()).collect();
    if wire == Wire::JsWs {
        ids.iter().for_each(|&id| peer.send(&[ack(id, 1 << 30)]));
    }
    for round in 0..40 {
        for (nth, &id) in ids.iter().enumerate() {
            let mut send = peer.conn.send_stream(peer.now, id);
            match (nth + round) % 7 {
                0 => drop(send.write(&vec![1; 3_000 * nth])),
                1 => drop(send.write_chunk(&mut vec![2; 70_000].into())),
                2 => drop(send.set_priority(nth as i32 % 3)),
                3 if round > 30 => drop(send.finish()),
                4 if round > 35 => drop(send.reset(code(1 << 61))),
                5 if round > 20 => drop(peer.conn.recv_stream(peer.now, id).stop(code(1 << 61))),
                _ => drop(send.write(b"a few bytes")),
            }
        }
        if wire == Wire::QMux {
            let limit = peer.conn.max_datagram_size().unwrap();
            let largest = limit.min(socket.max_message - 5);
            for len in [largest, 10, largest - 1] {
                peer.conn.send_datagram(vec![3; len].into()).unwrap();
            }
            let larger = peer.conn.send_datagram(vec![3; limit + 1].into());
            assert!(matches!(larger, Err(SendDatagramError::TooLarge)), "{larger:?}");
            peer.send(&[Frame::Ping(code(round as u64))]);
        }
        peer.now += secs(1);
        peer.conn.handle_timeout(peer.now);
        for _ in 0..=round * 100 {
            match peer.said_next() {
                Some(Said::Frames(_)) => lengths.push(peer.last_len()),
                Some(_) => {}
                None => break,
            }
        }
        // The peer sends something, so that the connection does not time out.
        match wire {
            Wire::QMux => peer.send(&[Frame::Padding(1)]),
            _ => peer.conn.handle(peer.now, Incoming::Ping),
        }
    }
    peer.assert_open("all the while");
    peer.conn.close(peer.now, code(1 << 61), vec![b'x'; 5_000].into());
    while let Some(said) = peer.said_next() {
        if let Said::Frames(_) = said {
            lengths.push(peer.last_len());
        }
    }
    lengths
}

/// [W-31] A message that we send MUST NOT be longer than our own limit on sent messages, whatever
/// it contains.
#[test]
fn no_message_is_longer_than_this_end_is_set_to_send() {
    for wire in WIRES {
        for most in [1_200, 10_000, 16_382, 32 * 1024, 64 * 1024] {
            let lengths = lengths_of_everything(wire, most);
            let longest = lengths.iter().copied().max().unwrap_or_default();
            assert!(longest <= most, "{wire:?} {most}: {longest}");
            assert!(longest > most * 9 / 10, "{wire:?} {most}: {longest}, messages are filled");
        }
        // A value out of range is replaced by the nearest one in range.
        for (set, most) in [(0, 1_200), (usize::MAX, 65_536)] {
            let longest = lengths_of_everything(wire, set).into_iter().max().unwrap_or_default();
            assert!(longest <= most && longest > most * 9 / 10, "{wire:?} {set}: {longest}");
        }
    }
}

#[test]
fn a_datagram_fits_what_the_peer_takes_and_this_end_sends() {
    let most = |set, takes| {
        let parameters = scripted_peer::generous_but(|limits| limits.max_record_size = takes);
        let config = Config::default().max_message_sent(set).clone();
        let peer = ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &config, parameters);
        peer.conn.max_datagram_size().expect("the peer takes some")
    };
    assert_eq!(most(32 * 1024, 20_000), most(64 * 1024, 20_000));
    assert_eq!(most(20_000, 32 * 1024), most(20_000, 64 * 1024));
    assert!(most(20_000, 64 * 1024) < most(64 * 1024, 64 * 1024));
}

#[test]
fn no_message_is_longer_than_the_socket_wants() {
    for wire in WIRES {
        // Even a socket that wants shorter messages gets messages of up to 1,200 bytes.
        for (wants, most) in [(20_000, 20_000), (65_400, 65_400), (1_000, 1_200)] {
            let socket = SocketCapabilities::new().max_message(wants);
            let longest = lengths_over(socket, wire, 64 * 1024).into_iter().max();
            let longest = longest.unwrap_or_default();
            assert!(longest <= most && longest > most * 9 / 10, "{wire:?} {wants}: {longest}");
        }
    }
}

/// Writes to a stream, and returns the length of the longest message that carries the bytes.
fn longest(peer: &mut ScriptedPeer, id: StreamId) -> usize {
    peer.conn.send_stream(peer.now, id).write(&[7; 100_000]).unwrap();
    let messages = std::iter::from_fn(|| peer.said_bytes());
    messages.map(|message| message.len()).max().unwrap_or_default()
}

#[test]
fn on_a_slow_path_messages_of_stream_data_are_short() {
    for wire in WIRES {
        let mut peer = ScriptedPeer::new(wire, CLIENT, &Config::default());
        let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
        if wire == Wire::JsWs {
            peer.send(&[ack(id, 1 << 30)]);
        }
        assert!(longest(&mut peer, id) > 60_000, "{wire:?}");
        for (quantum, most) in [(12_500, 12_500), (1, 1_200), (0, 1_200), (usize::MAX, 65_536)] {
            peer.conn.set_send_quantum(quantum);
            let longest = longest(&mut peer, id);
            assert!(longest <= most && longest > most * 9 / 10, "{wire:?} {quantum}: {longest}");
        }
        // A new socket may have a faster path.
        peer.conn.set_send_quantum(1);
        peer.conn.set_socket_capabilities(SocketCapabilities::new());
        assert!(longest(&mut peer, id) > 60_000, "{wire:?}");
    }
}

#[test]
fn a_datagram_may_be_longer_than_the_socket_wants() {
    let mut peer = ScriptedPeer::fresh(Wire::QMux, CLIENT, &Config::default());
    peer.conn.set_socket_capabilities(SocketCapabilities::new().max_message(20_000));
    peer.said_bytes().expect("the parameters");
    peer.send(&[Frame::TransportParameters(scripted_peer::generous())]);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    let datagram = vec![3; 60_000];
    peer.conn.send_datagram(datagram.clone().into()).unwrap();
    peer.conn.send_stream(peer.now, id).write(&[7; 100]).unwrap();
    assert_eq!(peer.said_next(), Some(Said::Frames(vec![Frame::Datagram(datagram.into())])));
    assert!(matches!(peer.said_next(), Some(Said::Frames(_))), "the stream's data follows");
}
