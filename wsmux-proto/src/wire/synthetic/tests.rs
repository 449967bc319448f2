//! Exchanges data over every combination of capabilities, and tests what each single capability
//! changes.

use std::time::Duration;

use bytes::Bytes;

use super::{
    all,
    pair::{Pair, Progress, Sent},
    product,
};
use crate::{
    Capabilities, Carrier, Close, Config, ConnectionError, Dir, Event, Frame, Grants, Messages,
    OpenError, Opening, SendDatagramError, SendEnd, Side, StreamEnd, StreamId, StreamLimit,
    TransportErrorCode, VarInt, Wire, frame::Credit,
};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

/// The window of a stream, in bytes.
const WINDOW: usize = 1_000;

/// How many streams of each kind a peer may have open at once.
const STREAMS: u64 = 2;

/// Messages that are records, with the capabilities of QUIC.
const RECORDS: Messages = records(Opening::FirstFrame { unidirectional: true });

/// The capabilities that a test starts from. Each test changes the capabilities that it is about.
const BASE: Capabilities = Capabilities {
    messages: RECORDS,
    grants: Grants::Total,
    end: StreamEnd::WithData,
    close: Carrier::Frame,
    blocked_frames: true,
};

const fn records(opening: Opening) -> Messages {
    Messages::Records { opening, connection_credit: true, datagrams: true, pings: Carrier::Frame }
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .stream_receive_window(WINDOW as u64)
        .window_growth_budget(0)
        .max_concurrent_bidi_streams(STREAMS)
        .max_concurrent_uni_streams(STREAMS)
        .keep_alive_interval(Some(Duration::from_secs(1)))
        .max_idle_timeout(Some(Duration::from_secs(10)));
    config
}

fn pair(caps: Capabilities) -> Pair {
    Pair::new(caps, &config())
}

/// Returns bytes that fill several windows.
fn data() -> Vec<u8> {
    (0..5 * WINDOW).map(|at| (at % 251) as u8).collect()
}

/// Opens a stream at both ends, and forgets which frames were sent for this.
fn open(pair: &mut Pair, side: Side) -> StreamId {
    let id = pair.open(side, Dir::Bi);
    pair.send_stream(side, id).announce();
    pair.drive();
    assert_eq!(pair.accept(!side, Dir::Bi), id);
    pair.take_sent(side);
    pair.take_sent(!side);
    id
}

#[test]
fn the_engine_serves_every_combination_of_capabilities() {
    let all = all();
    assert!(all.contains(&Wire::QMux.capabilities()) && all.contains(&Wire::JsWs.capabilities()));
    for caps in all {
        // Windows may grow, so both ends send pings that measure the path.
        let mut pair = Pair::new(caps, config().window_growth_budget(1 << 20));
        for side in [CLIENT, SERVER] {
            exchange(&mut pair, side);
            cancel(&mut pair, side);
            crowd(&mut pair, side);
            send_one_way(&mut pair, side);
            send_datagram(&mut pair, side);
        }
        pair.pass(Duration::from_secs(11));
        assert!(pair.end(CLIENT).is_established() && pair.end(SERVER).is_established(), "{caps:?}");
        pair.close(SERVER, 5, "enough");
        assert!(matches!(pair.end(SERVER).close_reason(), Some(ConnectionError::LocallyClosed)));
        match pair.end(CLIENT).close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => {
                assert_eq!((close.error_code.into_inner(), &close.reason[..]), (5, &b"enough"[..]));
            }
            other => panic!("{caps:?}: {other:?}"),
        }
    }
}

/// Both halves of a stream carry several windows of data, and end.
fn exchange(pair: &mut Pair, side: Side) {
    let id = open(pair, side);
    assert_eq!(pair.send_all(side, id, &data()), data());
    assert_eq!(pair.send_all(!side, id, &data()), data());
    pair.release(id);
}

/// One half of a stream is reset, and the other half is stopped.
fn cancel(pair: &mut Pair, side: Side) {
    let id = open(pair, side);
    pair.send_stream(!side, id).write(b"an answer").unwrap();
    pair.send_stream(side, id).write(b"a question").unwrap();
    pair.drive();
    pair.send_stream(side, id).reset(VarInt::from_u32(7)).unwrap();
    pair.recv_stream(side, id).stop(VarInt::from_u32(9)).unwrap();
    pair.drive();
    assert_eq!(pair.read(!side, id, &mut Vec::new()), Progress::Reset(7));
    let end = pair.send_stream(!side, id).poll_end();
    assert_eq!(end, SendEnd::Stopped(VarInt::from_u32(9)));
    pair.release(id);
}

/// The test opens more streams than the limit allows at once. In the end all these streams are
/// served.
fn crowd(pair: &mut Pair, side: Side) {
    let mut left = 3 * STREAMS;
    let mut served = 0;
    for _ in 0..100 {
        while left > 0 && pair.end(side).openable(Dir::Bi).unwrap() > 0 {
            let id = pair.open(side, Dir::Bi);
            let stream = &mut pair.send_stream(side, id);
            stream.write(b"a question").unwrap();
            stream.finish().unwrap();
            stream.release();
            pair.recv_stream(side, id).release();
            left -= 1;
        }
        pair.end(side).report_streams_blocked(Dir::Bi);
        pair.drive();
        assert!(pair.end(!side).acceptable(Dir::Bi) <= STREAMS);
        while let Some(id) = pair.end(!side).accept(Dir::Bi) {
            let mut read = Vec::new();
            assert_eq!(pair.read(!side, id, &mut read), Progress::Finished);
            assert_eq!(read, b"a question");
            pair.release(id);
            served += 1;
        }
        if served == 3 * STREAMS {
            return;
        }
    }
    panic!("{:?}: {left} were not opened, and {served} were served", pair.wire);
}

/// A unidirectional stream carries several windows of data, if the wire has such streams.
fn send_one_way(pair: &mut Pair, side: Side) {
    if !pair.wire.capabilities().unidirectional() {
        assert!(matches!(pair.end(side).open(Dir::Uni), Err(OpenError::Unsupported)));
        return;
    }
    let id = pair.open(side, Dir::Uni);
    pair.send_stream(side, id).announce();
    pair.drive();
    assert_eq!(pair.accept(!side, Dir::Uni), id);
    assert_eq!(pair.send_all(side, id, &data()), data());
    pair.release(id);
}

/// A datagram arrives, if the wire has datagrams.
fn send_datagram(pair: &mut Pair, side: Side) {
    let sent = pair.end(side).send_datagram(Bytes::from_static(b"a datagram"));
    if !pair.wire.capabilities().datagrams() {
        assert!(matches!(sent, Err(SendDatagramError::UnsupportedByPeer)), "{sent:?}");
        return;
    }
    sent.unwrap();
    pair.drive();
    assert_eq!(pair.end(!side).read_datagram().as_deref(), Some(&b"a datagram"[..]));
}

#[test]
fn a_record_holds_several_frames_and_a_single_message_one() {
    for (messages, count) in [(RECORDS, 1), (Messages::Single, 2)] {
        let mut pair = pair(Capabilities { messages, ..BASE });
        let ids = [open(&mut pair, CLIENT), open(&mut pair, CLIENT)];
        for id in ids {
            pair.send_stream(CLIENT, id).write(b"some bytes").unwrap();
        }
        pair.drive();
        assert_eq!(pair.take_sent(CLIENT).len(), count);
    }
}

#[test]
fn a_message_without_frames_is_an_error_unless_it_is_a_record() {
    for (messages, error) in
        [(RECORDS, None), (Messages::Single, Some(TransportErrorCode::PROTOCOL_VIOLATION))]
    {
        let mut pair = pair(Capabilities { messages, ..BASE });
        pair.end(CLIENT).handle(crate::Time::EPOCH, crate::Incoming::Message(Bytes::new()));
        let code = match pair.end(CLIENT).close_reason() {
            Some(ConnectionError::TransportError(error)) => Some(error.code),
            _ => None,
        };
        assert_eq!(code, error);
    }
}

#[test]
fn only_an_end_with_parameters_waits_for_those_of_its_peer() {
    for (messages, waits) in [(RECORDS, true), (Messages::Single, false)] {
        let wire = Wire::Synthetic(Capabilities { messages, ..BASE });
        let end = crate::Connection::new(config(), CLIENT, wire, crate::Time::EPOCH);
        assert_eq!((end.is_established(), end.wants_transmit()), (!waits, waits));
    }
}

#[test]
fn the_window_bounds_a_message_only_if_it_is_no_record() {
    for (messages, bounded) in [(RECORDS, false), (Messages::Single, true)] {
        let wire = Wire::Synthetic(Capabilities { messages, ..BASE });
        let [mut small, mut large] = [config(), config()];
        small.stream_receive_window(1);
        large.stream_receive_window(1 << 20);
        let bounds = [small, large].map(|config| config.max_inbound_message(wire));
        assert_eq!(bounds[0] != bounds[1], bounded);
    }
}

#[test]
fn a_stream_opens_with_its_first_frame_or_with_a_grant_of_each_end() {
    let id = StreamId::new(CLIENT, Dir::Bi, 0);
    let grant = Frame::MaxStreamData { id, credit: Credit::Total(WINDOW as u64) };
    for (opening, sent) in [
        (Opening::FirstFrame { unidirectional: false }, vec![]),
        (Opening::Grant { limit: StreamLimit::Advertised }, vec![grant.clone()]),
    ] {
        let mut pair = pair(Capabilities { messages: records(opening), ..BASE });
        assert_eq!(pair.open(CLIENT, Dir::Bi), id);
        pair.drive();
        assert_eq!(pair.take_frames(CLIENT), sent);
        assert_eq!(pair.take_frames(SERVER), sent, "the peer answers a grant with its own");
        pair.send_stream(CLIENT, id).write(b"some bytes").unwrap();
        pair.drive();
        assert_eq!(pair.accept(SERVER, Dir::Bi), id);
    }
}

#[test]
fn a_stream_above_a_local_limit_waits_at_the_receiver() {
    for (limit, openable, accepted) in
        [(StreamLimit::Advertised, STREAMS, STREAMS), (StreamLimit::Local, STREAMS + 1, STREAMS)]
    {
        let messages = records(Opening::Grant { limit });
        let mut pair = pair(Capabilities { messages, ..BASE });
        let opened = (0..=STREAMS).filter_map(|_| pair.end(CLIENT).open(Dir::Bi).unwrap());
        assert_eq!(opened.count() as u64, openable);
        pair.drive();
        assert_eq!(pair.end(SERVER).acceptable(Dir::Bi), accepted);
    }
}

#[test]
fn a_lower_limit_holds_at_once_only_where_it_is_local() {
    for (limit, accepted) in [(StreamLimit::Advertised, 2), (StreamLimit::Local, 1)] {
        let messages = records(Opening::Grant { limit });
        let mut pair = pair(Capabilities { messages, ..BASE });
        pair.end(SERVER).set_max_concurrent(Dir::Bi, 1);
        for _ in 0..2 {
            pair.open(CLIENT, Dir::Bi);
        }
        pair.drive();
        assert_eq!(pair.end(SERVER).acceptable(Dir::Bi), accepted, "{limit:?}");
        pair.end(SERVER).set_max_concurrent(Dir::Bi, 2);
        pair.drive();
        assert_eq!(pair.end(SERVER).acceptable(Dir::Bi), 2, "{limit:?}");
    }
}

#[test]
fn a_stream_that_begins_without_its_grant_is_an_error() {
    for (opening, is_error) in [
        (Opening::FirstFrame { unidirectional: false }, false),
        (Opening::Grant { limit: StreamLimit::Advertised }, true),
    ] {
        let mut pair = pair(Capabilities { messages: records(opening), ..BASE });
        let (id, code) = (StreamId::new(CLIENT, Dir::Bi, 0), VarInt::from_u32(7));
        let mut out = crate::MessageBuf::new();
        pair.wire.encode(&Frame::StopSending { id, code }, &mut out);
        pair.end(SERVER).handle(crate::Time::EPOCH, crate::Incoming::Message(out.to_bytes()));
        assert_eq!(pair.end(SERVER).close_reason().is_some(), is_error, "{opening:?}");
    }
}

#[test]
fn a_unidirectional_stream_is_opened_only_where_there_are_some() {
    for unidirectional in [true, false] {
        let messages = records(Opening::FirstFrame { unidirectional });
        let mut pair = pair(Capabilities { messages, ..BASE });
        assert_eq!(pair.end(CLIENT).open(Dir::Uni).is_ok(), unidirectional);
    }
}

/// The peer declares no credit for the connection. This blocks streams only on a wire with
/// connection credit.
#[test]
fn a_stream_needs_credit_of_the_connection_only_where_there_is_some() {
    for (connection_credit, blocked_frames) in product([true, false], [true, false]) {
        let opening = Opening::FirstFrame { unidirectional: false };
        let (datagrams, pings) = (true, Carrier::Frame);
        let messages = Messages::Records { opening, connection_credit, datagrams, pings };
        let wire = Wire::Synthetic(Capabilities { messages, blocked_frames, ..BASE });
        let mut end = crate::Connection::new(config(), CLIENT, wire, crate::Time::EPOCH);
        let mut out = crate::MessageBuf::new();
        let mut parameters = config().parameters();
        parameters.initial_max_data = 0;
        wire.encode_parameters(&parameters, crate::QMuxVersion::NEWEST, &[], &mut out);
        end.handle(crate::Time::EPOCH, crate::Incoming::Message(out.to_bytes()));
        let id = end.open(Dir::Bi).unwrap().unwrap();
        end.send_stream(crate::Time::EPOCH, id).write(b"some bytes").unwrap();
        while end.poll_transmit(crate::Time::EPOCH, &mut out).is_some() {}
        let sent = end.send_stream(crate::Time::EPOCH, id).stats().unwrap().sent;
        assert_eq!(sent, if connection_credit { 0 } else { 10 });
    }
}

#[test]
fn a_datagram_is_sent_only_where_there_are_some() {
    for datagrams in [true, false] {
        let opening = Opening::FirstFrame { unidirectional: false };
        let (connection_credit, pings) = (true, Carrier::Frame);
        let messages = Messages::Records { opening, connection_credit, datagrams, pings };
        let mut pair = pair(Capabilities { messages, ..BASE });
        assert_eq!(pair.end(CLIENT).max_datagram_size().is_some(), datagrams);
    }
}

#[test]
fn a_ping_is_a_frame_or_the_websockets() {
    for pings in [Carrier::Frame, Carrier::WebSocket] {
        let opening = Opening::FirstFrame { unidirectional: false };
        let (connection_credit, datagrams) = (true, true);
        let messages = Messages::Records { opening, connection_credit, datagrams, pings };
        let mut pair = pair(Capabilities { messages, ..BASE });
        pair.pass(Duration::from_secs(5));
        let sent = pair.take_sent(CLIENT);
        let is_ping_frame = |sent: &Sent| match sent {
            Sent::Message(frames) => frames.iter().any(|frame| matches!(frame, Frame::Ping(_))),
            _ => false,
        };
        assert_eq!(sent.iter().any(is_ping_frame), pings.is_frame(), "{sent:?}");
        assert_eq!(sent.contains(&Sent::Ping), !pings.is_frame(), "{sent:?}");
    }
}

#[test]
fn a_grant_is_a_total_or_an_increment() {
    for (grants, credit) in [
        (Grants::Total, Credit::Total(2 * WINDOW as u64)),
        (Grants::Increment, Credit::More(WINDOW as u64)),
    ] {
        let mut pair = pair(Capabilities { grants, ..BASE });
        let id = open(&mut pair, CLIENT);
        pair.send_stream(CLIENT, id).write(&data()[..WINDOW]).unwrap();
        pair.drive();
        pair.read(SERVER, id, &mut Vec::new());
        pair.drive();
        let grant = Frame::MaxStreamData { id, credit };
        assert!(pair.take_frames(SERVER).contains(&grant), "{grants:?}");
    }
}

/// Returns the items that a client sends for a short stream, and the frames that the server sends
/// after the end of this stream.
fn end_of_stream(end: StreamEnd) -> (Vec<Sent>, Vec<Frame>) {
    let mut pair = pair(Capabilities { end, ..BASE });
    let id = open(&mut pair, CLIENT);
    let stream = &mut pair.send_stream(CLIENT, id);
    stream.write(b"some bytes").unwrap();
    stream.finish().unwrap();
    pair.drive();
    (pair.take_sent(CLIENT), pair.take_frames(SERVER))
}

fn stream_frame(offset: u64, data: &'static [u8], fin: bool) -> Sent {
    let id = StreamId::new(CLIENT, Dir::Bi, 0);
    let data = Bytes::from_static(data);
    Sent::Message(vec![Frame::Stream { id, offset: Some(offset), data, fin }])
}

#[test]
fn an_end_is_sent_with_the_last_bytes_or_after_them() {
    let (sent, answer) = end_of_stream(StreamEnd::WithData);
    assert_eq!((sent, answer), (vec![stream_frame(0, b"some bytes", true)], vec![]));

    let (data, end) = (stream_frame(0, b"some bytes", false), stream_frame(10, b"", true));
    let plain =
        StreamEnd::OwnFrame { after_flush: false, acknowledged: false, grants_revive: false };
    assert_eq!(end_of_stream(plain), (vec![data.clone(), end.clone()], vec![]));

    let flushed =
        StreamEnd::OwnFrame { after_flush: true, acknowledged: false, grants_revive: false };
    assert_eq!(end_of_stream(flushed), (vec![data.clone(), Sent::Flush, end.clone()], vec![]));

    let acknowledged =
        StreamEnd::OwnFrame { after_flush: false, acknowledged: true, grants_revive: false };
    let received = Frame::FinReceived { id: StreamId::new(CLIENT, Dir::Bi, 0) };
    assert_eq!(end_of_stream(acknowledged), (vec![data, end], vec![received]));
}

/// The server has ended its sending half. So when a grant of the server arrives, the client may
/// already have forgotten the stream.
#[test]
fn an_end_that_grants_could_revive_gets_no_grant_until_it_needs_one() {
    for grants_revive in [false, true] {
        let end = StreamEnd::OwnFrame { after_flush: false, acknowledged: false, grants_revive };
        let mut pair = pair(Capabilities { end, ..BASE });
        let id = open(&mut pair, CLIENT);
        pair.send_stream(SERVER, id).finish().unwrap();
        pair.send_stream(CLIENT, id).write(&data()[..WINDOW / 2]).unwrap();
        pair.drive();
        pair.take_sent(SERVER);
        pair.read(SERVER, id, &mut Vec::new());
        pair.drive();
        let is_grant = |frame: &Frame| matches!(frame, Frame::MaxStreamData { .. });
        assert_eq!(pair.take_frames(SERVER).iter().any(is_grant), !grants_revive);
    }
}

#[test]
fn a_close_is_a_frame_before_the_websockets_or_that_alone() {
    for close in [Carrier::Frame, Carrier::WebSocket] {
        let mut pair = pair(Capabilities { close, ..BASE });
        pair.close(CLIENT, 5, "enough");
        let sent = pair.take_sent(CLIENT);
        assert_eq!(sent.last(), Some(&Sent::Close));
        let (code, reason) = (VarInt::from_u32(5), Bytes::from_static(b"enough"));
        let frame = Frame::ConnectionClose(Close::Application { code, reason });
        assert_eq!(sent.contains(&Sent::Message(vec![frame])), close.is_frame(), "{sent:?}");
        assert!(pair.take_events(SERVER).contains(&Event::Closed));
    }
}

#[test]
fn an_end_that_lacks_credit_or_streams_says_so_only_where_it_can() {
    for blocked_frames in [true, false] {
        let mut pair = pair(Capabilities { blocked_frames, ..BASE });
        let ids = [open(&mut pair, CLIENT), open(&mut pair, CLIENT)];
        pair.send_stream(CLIENT, ids[0]).write(&data()).unwrap();
        assert!(matches!(pair.end(CLIENT).open(Dir::Bi), Ok(None)));
        assert_eq!(pair.end(CLIENT).report_streams_blocked(Dir::Bi), blocked_frames);
        pair.drive();
        let frames = pair.take_frames(CLIENT);
        let limit = WINDOW as u64;
        for frame in [
            Frame::StreamDataBlocked { id: ids[0], limit },
            Frame::StreamsBlocked { dir: Dir::Bi, limit: STREAMS },
        ] {
            assert_eq!(frames.contains(&frame), blocked_frames, "{frames:?}");
        }
    }
}

/// A peer whose initial window is zero grants credit only once it has seen the stream. So this end
/// has to send a first frame, although it is not allowed to send data yet.
#[test]
fn a_stream_without_credit_is_shown_to_the_peer_without_a_blocked_frame() {
    for blocked_frames in [true, false] {
        let wire = Wire::Synthetic(Capabilities { blocked_frames, ..BASE });
        let mut end = crate::Connection::new(config(), CLIENT, wire, crate::Time::EPOCH);
        let mut out = crate::MessageBuf::new();
        let mut parameters = config().parameters();
        parameters.initial_max_stream_data_bidi_remote = 0;
        wire.encode_parameters(&parameters, crate::QMuxVersion::NEWEST, &[], &mut out);
        end.handle(crate::Time::EPOCH, crate::Incoming::Message(out.to_bytes()));
        let id = end.open(Dir::Bi).unwrap().unwrap();
        end.send_stream(crate::Time::EPOCH, id).write(b"some bytes").unwrap();
        let mut frames = Vec::new();
        while end.poll_transmit(crate::Time::EPOCH, &mut out).is_some() {
            let mut message = out.to_bytes();
            frames.extend(std::iter::from_fn(|| wire.decode(&mut message).unwrap()));
        }
        let shown = Frame::Stream { id, offset: Some(0), data: Bytes::new(), fin: false };
        assert!(frames.contains(&shown), "{frames:?}");
    }
}
