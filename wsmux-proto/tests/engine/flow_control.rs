//! Credit. This end obeys the peer's limits and enforces its own limits. It renews credit as the
//! application reads.

use crate::support::*;
use wsmux_proto::{Config, Credit, Dir, Event, Frame, Read, TransportErrorCode, Wire};

/// Returns a configuration whose windows do not grow. The module `windows` tests windows that grow.
fn small_window(window: u64) -> Config {
    Config::default().stream_receive_window(window).window_growth_budget(0).clone()
}

/// Returns a server whose peer has opened stream 0, on QMux by an empty STREAM frame and on js-ws
/// by an Ack. The peer has sent no data on this stream.
fn server_with_stream(wire: Wire, config: &Config) -> ScriptedPeer {
    let mut peer = ScriptedPeer::new(wire, SERVER, config);
    let id = bidi(CLIENT, 0);
    match wire {
        Wire::QMux => peer.send(&[stream(id, 0, b"", false)]),
        _ => peer.send(&[ack(id, 1 << 20)]),
    }
    assert_eq!(peer.conn.accept(Dir::Bi), Some(id));
    peer.said();
    peer
}

fn some_data(wire: Wire, offset: u64, bytes: &[u8]) -> Frame {
    match wire {
        Wire::QMux => stream(bidi(CLIENT, 0), offset, bytes, false),
        _ => data(bidi(CLIENT, 0), bytes),
    }
}

/// [C-26] We MUST NOT send more stream bytes than the peer has granted to the stream, not even for
/// a moment.
/// [C-38] A stream's credit MUST be renewed in two cases, and not for each read. First, the
/// application has read a quarter of the window since the last grant, or 1 MiB if that is less, but
/// at least one byte. Second, the window has to grow (C-56).
/// [J-25] Each byte of Data MUST use one byte of credit. Ids and types use no credit.
#[test]
fn a_window_of_1024_bytes_moves_a_mebibyte() {
    for wire in WIRES {
        for (latency, capacity) in [(ms(0), None), (ms(20), None), (ms(20), Some(100))] {
            let mut pair = Pair::new(wire, &small_window(1_024));
            pair.latency = latency;
            pair.client.capacity = capacity;
            pair.server.capacity = capacity;
            let id = pair.open_bi(CLIENT);
            let sent = pattern(7, 0, 1 << 20);
            assert!(pair.transfer(CLIENT, id, &sent) == sent, "{wire:?} {latency:?} {capacity:?}");
        }
    }
}

/// [C-26] We MUST NOT send more stream bytes than the peer has granted to the stream, not even for
/// a moment.
#[test]
fn a_writer_never_exceeds_the_window_of_a_reader_that_stands_still() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, &small_window(1_000));
        let id = pair.open_bi(CLIENT);
        let written = pair.client.write(id, &pattern(1, 0, 10_000));
        pair.drive();
        assert_eq!(
            written - pair.client.conn.stats(Time::EPOCH).send_buffered as usize,
            1_000,
            "{wire:?}"
        );
        assert_eq!(pair.server.read(id).0, pattern(1, 0, 1_000));
        pair.drive();
        assert_eq!(pair.server.read(id).0, pattern(1, 1_000, 1_000), "a window more, and no other");
    }
}

/// [C-27] On stream bytes above the credit that we granted, we MUST close with FLOW_CONTROL_ERROR.
/// We never drop such bytes silently.
/// [J-26] On Data above the credit that we granted we MUST close with FLOW_CONTROL_ERROR.
#[test]
fn data_past_the_credit_is_an_error_and_received_bytes_stay_readable() {
    for wire in WIRES {
        for (fits, over) in [(1_024, 1), (0, 1_025), (1_000, 25)] {
            let mut peer = server_with_stream(wire, &small_window(1_024));
            if fits > 0 {
                peer.send(&[some_data(wire, 0, &vec![1; fits])]);
            }
            peer.assert_open("all of the window");
            peer.send(&[some_data(wire, fits as u64, &vec![2; over])]);
            peer.assert_violation("a byte more", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
            if fits > 0 {
                let read = peer.conn.recv_stream(peer.now, bidi(CLIENT, 0)).read(5_000).unwrap();
                assert_eq!(read.data().unwrap(), vec![1; fits], "and nothing of the excess");
            }
        }
    }
}

/// On a RESET_STREAM or RESET_STREAM_AT whose final size passes the stream's credit, we MUST
/// close with FLOW_CONTROL_ERROR.
#[test]
fn a_reset_whose_final_size_is_past_the_credit_is_a_flow_control_error() {
    let id = bidi(CLIENT, 0);
    for frame in [reset(id, 0, 1_025), reset_at(id, 0, 1_025, 10)] {
        let mut peer = server_with_stream(Wire::QMux, &small_window(1_024));
        peer.send(&[stream(id, 0, &[0; 10], false), frame]);
        peer.assert_violation("final size", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
    }
    // The same limit applies to a stream that is opened by the reset itself.
    let mut peer = ScriptedPeer::new(Wire::QMux, SERVER, &small_window(1_024));
    peer.send(&[reset(uni(CLIENT, 5), 0, 1_025)]);
    peer.assert_violation("final size", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
}

/// [C-16] Data for a receiving half that the application has stopped MUST be discarded on arrival,
/// but MUST still count towards stream credit, connection credit and the final size.
/// [C-17] A receiving half that the application has stopped MUST be kept until its FIN or reset has
/// arrived.
/// [J-23] Data that arrives after our Error(Write) MUST be discarded, and MUST be counted as C-16
/// says.
/// [C-20] Credit MUST NOT be granted to a half after its FIN or reset has arrived, or after the
/// application has stopped it.
#[test]
fn data_for_a_stopped_reader_is_discarded_yet_counted() {
    for wire in WIRES {
        let mut peer = server_with_stream(wire, &small_window(1_000));
        let id = bidi(CLIENT, 0);
        peer.conn.recv_stream(peer.now, id).stop(code(5)).unwrap();
        assert_eq!(peer.frames(), [stop(id, 5)]);
        peer.send(&[some_data(wire, 0, &[0; 600]), some_data(wire, 600, &[0; 400])]);
        peer.assert_open("data in flight when the reader cancels kills nothing");
        assert_eq!(peer.frames(), [], "no credit after a stop");
        peer.send(&[some_data(wire, 1_000, &[0])]);
        peer.assert_violation("past the window", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
    }
}

/// [C-38] A stream's credit MUST be renewed in two cases, and not for each read. First, the
/// application has read a quarter of the window since the last grant, or 1 MiB if that is less, but
/// at least one byte. Second, the window has to grow (C-56).
#[test]
fn credit_is_renewed_at_a_quarter_of_the_window_and_not_for_each_read() {
    for wire in WIRES {
        let mut peer = server_with_stream(wire, &small_window(1_000));
        let id = bidi(CLIENT, 0);
        peer.send(&[some_data(wire, 0, &[0; 1_000])]);
        for _ in 0..249 {
            assert_eq!(
                peer.conn.recv_stream(peer.now, id).read(1).unwrap().data().unwrap().len(),
                1
            );
        }
        assert_eq!(peer.frames(), []);
        peer.conn.recv_stream(peer.now, id).read(1).unwrap();
        let grant = |read: u64| match wire {
            Wire::QMux => max_stream_data(id, 1_000 + read),
            _ => ack(id, 250),
        };
        assert_eq!(peer.frames(), [grant(250)]);
        peer.conn.recv_stream(peer.now, id).read(250).unwrap();
        assert_eq!(peer.frames(), [grant(500)]);
        // The peer may use the grant up to its last byte.
        peer.send(&[some_data(wire, 1_000, &[0; 500])]);
        peer.assert_open("the whole of the grant");
        peer.send(&[some_data(wire, 1_500, &[0])]);
        peer.assert_violation("past the grant", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
    }
}

/// [C-20] Credit MUST NOT be granted to a half after its FIN or reset has arrived, or after the
/// application has stopped it.
#[test]
fn no_credit_is_granted_after_the_end_of_a_stream() {
    for wire in WIRES {
        for end in [0, 1] {
            let mut peer = server_with_stream(wire, &small_window(1_000));
            let id = bidi(CLIENT, 0);
            peer.send(&[some_data(wire, 0, &[0; 1_000])]);
            peer.send(&[match (wire, end) {
                (Wire::QMux, 0) => stream(id, 1_000, b"", true),
                (Wire::QMux, _) => reset_at(id, 1, 1_000, 1_000),
                (_, 0) => close_read(id),
                _ => error_read(id, 1),
            }]);
            let _ = peer.conn.recv_stream(peer.now, id).read(2_000);
            let grants = |frame: &Frame| matches!(frame, Frame::MaxStreamData { .. });
            assert!(!peer.frames().iter().any(grants), "{wire:?} {end}: a grant after the end");
        }
    }
}

/// [J-12] The first message on a stream that we open MUST be an Ack with our receive window, sent
/// at once.
/// [J-15] We MUST NOT send Data on a stream before the peer's first Ack for it has arrived.
#[test]
fn a_js_ws_stream_opens_with_an_ack_and_sends_after_the_peers_first() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, CLIENT, &small_window(1_024));
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"hello").unwrap();
    assert_eq!(peer.frames(), [ack(id, 1_024)]);
    peer.send(&[ack(id, 3)]);
    assert_eq!(peer.frames(), [data(id, b"hel")]);
    peer.send(&[ack(id, 1), ack(id, 1)]);
    assert_eq!(peer.frames(), [data(id, b"lo")]);
}

/// [J-27] On an Ack that raises our unused credit above 2^32-1 we MUST close with
/// FLOW_CONTROL_ERROR.
#[test]
fn js_ws_credit_that_grows_past_32_bits_is_a_flow_control_error() {
    let mut peer = ScriptedPeer::new(Wire::JsWs, SERVER, &Config::default());
    let id = bidi(CLIENT, 0);
    peer.send(&[ack(id, u32::MAX.into())]);
    peer.assert_open("as much as 32 bits hold");
    peer.send(&[ack(id, 1)]);
    peer.assert_violation("one more", TransportErrorCode::FLOW_CONTROL_ERROR, 1002);
}

/// Returns a client to which the peer grants `stream` bytes on each stream, and `connection` bytes
/// on all streams together.
fn limited(stream: u64, connection: u64) -> ScriptedPeer {
    let parameters = scripted_peer::generous_but(|limits| {
        limits.initial_max_data = connection;
        limits.initial_max_stream_data_bidi_remote = stream;
        limits.initial_max_stream_data_uni = stream;
    });
    ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters)
}

fn data_len(frames: &[Frame]) -> usize {
    let len = |frame: &Frame| match frame {
        Frame::Stream { data, .. } => data.len(),
        _ => 0,
    };
    frames.iter().map(len).sum()
}

/// [C-24] The final size of a reset MUST be the number of bytes handed to the transport, not the
/// number that the application wrote.
/// As sender we MUST NOT send more bytes on all streams together than the peer's MAX_DATA
/// allows. A reset stream counts with its final size.
/// Connection credit MUST be spent only when bytes are put into a message, never when they
/// are buffered.
#[test]
fn a_peers_connection_credit_is_obeyed_and_spent_only_on_what_is_sent() {
    let mut peer = limited(1_000, 1_500);
    let ids: Vec<_> = (0..3).map(|_| peer.conn.open(Dir::Bi).unwrap().unwrap()).collect();
    for &id in &ids {
        assert_eq!(peer.conn.send_stream(peer.now, id).write(&[0; 900]).unwrap(), 900);
    }
    let frames = peer.frames();
    assert_eq!(data_len(&frames), 1_500);
    let blocked = |frame: &&Frame| matches!(frame, Frame::DataBlocked(_));
    assert_eq!(frames.iter().filter(blocked).collect::<Vec<_>>(), [&Frame::DataBlocked(1_500)]);
    // Each stream has 900 bytes to send. The first stream has sent all of them, and the second
    // stream has sent 600. The second stream still holds 300 bytes when it is reset. These 300
    // bytes have used no credit.
    peer.conn.send_stream(peer.now, ids[1]).reset(code(1)).unwrap();
    assert_eq!(peer.frames(), [reset(ids[1], 1, 600)]);
    peer.send(&[Frame::MaxData(1_500)]);
    assert_eq!(peer.frames(), [], "an old total, and DATA_BLOCKED once for each limit");
    peer.send(&[Frame::MaxData(2_300)]);
    let frames = peer.frames();
    assert_eq!(frames[0], stream(ids[2], 0, &[0; 800], false));
    assert_eq!(frames[1..], [Frame::DataBlocked(2_300)]);
    peer.send(&[Frame::MaxData(1 << 30)]);
    assert_eq!(peer.frames(), [stream(ids[2], 800, &[0; 100], false)]);
}

/// [C-29] A stream MUST NOT be scheduled while it has nothing to send. A stream has something to
/// send if it has data and credit for this data, or a FIN without data. A FIN without data needs no
/// credit.
/// [J-16] To finish a stream, we MUST send Close(Read) after all Data of the stream. Close(Read)
/// needs no credit. We flush the socket after the last Data and before Close(Read), because the
/// real endpoint loses Data that comes in the same TLS record as the Close(Read).
#[test]
fn an_end_needs_no_credit() {
    let mut peer = limited(10, 10);
    let ids: Vec<_> = (0..2).map(|_| peer.conn.open(Dir::Uni).unwrap().unwrap()).collect();
    peer.conn.send_stream(peer.now, ids[0]).write(&[0; 10]).unwrap();
    assert_eq!(data_len(&peer.frames()), 10);
    for &id in &ids {
        peer.conn.send_stream(peer.now, id).finish().unwrap();
    }
    assert_eq!(peer.frames(), [stream(ids[0], 10, b"", true), stream(ids[1], 0, b"", true)]);
}

/// A MAX_STREAMS, MAX_STREAM_DATA or MAX_DATA that does not raise its limit MUST be ignored.
#[test]
fn a_stream_without_credit_says_so_once_for_each_limit() {
    let mut peer = limited(100, 1 << 20);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(&[0; 150]).unwrap();
    let blocked = Frame::StreamDataBlocked { id, limit: 100 };
    assert_eq!(peer.frames(), [stream(id, 0, &[0; 100], false), blocked]);
    peer.conn.send_stream(peer.now, id).write(&[0; 150]).unwrap();
    peer.send(&[max_stream_data(id, 100), max_stream_data(id, 20)]);
    assert_eq!(peer.frames(), [], "the same limit, or a lower one, is no news");
    peer.send(&[max_stream_data(id, 200)]);
    let blocked = Frame::StreamDataBlocked { id, limit: 200 };
    assert_eq!(peer.frames(), [stream(id, 100, &[0; 100], false), blocked]);
}

/// The first frame we send on a stream that we open MUST be a STREAM, RESET_STREAM or
/// RESET_STREAM_AT frame, never STOP_SENDING or MAX_STREAM_DATA.
#[test]
fn the_peer_sees_a_stream_before_it_hears_that_the_stream_is_blocked() {
    // Public peers discard every frame that comes before a stream's first STREAM frame.
    let mut peer = limited(0, 0);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
    let blocked = Frame::StreamDataBlocked { id, limit: 0 };
    assert_eq!(peer.frames(), [stream(id, 0, b"", false), blocked]);
    peer.conn.recv_stream(peer.now, id).stop(code(0)).unwrap();
    let second = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.recv_stream(peer.now, second).stop(code(6)).unwrap();
    assert_eq!(
        peer.frames().iter().filter(|frame| matches!(frame, Frame::StopSending { .. })).count(),
        2
    );
}

#[test]
fn credit_goes_by_who_opened_the_stream_and_which_way_it_runs() {
    let parameters = scripted_peer::generous_but(|limits| {
        limits.initial_max_stream_data_bidi_local = 11;
        limits.initial_max_stream_data_bidi_remote = 22;
        limits.initial_max_stream_data_uni = 33;
    });
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, SERVER, &Config::default(), parameters);
    peer.send(&[stream(bidi(CLIENT, 0), 0, b"", false)]);
    let own = peer.conn.open(Dir::Bi).unwrap().unwrap();
    let one_way = peer.conn.open(Dir::Uni).unwrap().unwrap();
    for (id, credit) in [(bidi(CLIENT, 0), 11), (own, 22), (one_way, 33)] {
        peer.conn.send_stream(peer.now, id).write(&[0; 100]).unwrap();
        assert_eq!(data_len(&peer.frames()), credit, "{id}");
    }
}

/// As receiver we MUST advertise `initial_max_data` of 2^62-1, so that connection credit
/// cannot run out before the credit of the streams does.
#[test]
fn our_own_connection_credit_cannot_run_out_before_the_streams_do() {
    let mut peer = ScriptedPeer::fresh(Wire::QMux, SERVER, &Config::default());
    let said = peer.frames();
    let [Frame::TransportParameters(parameters), ..] = &said[..] else { panic!("{said:?}") };
    assert_eq!(parameters.initial_max_data, (1 << 62) - 1);
}

#[test]
fn a_writer_that_found_no_room_is_told_when_half_the_buffer_is_free() {
    for wire in WIRES {
        let mut pair = Pair::new(wire, small_window(1_000).send_buffer(1_000));
        let id = pair.open_bi(CLIENT);
        pair.drive();
        assert_eq!(pair.client.write(id, &[0; 3_000]), 1_000);
        pair.drive();
        assert_eq!(pair.client.write(id, &[0; 3_000]), 1_000);
        assert_eq!(pair.client.write(id, &[0; 3_000]), 0);
        pair.client.take_events();
        // The server renews credit each time it has read a quarter of the window. So half of the
        // client's buffer becomes free when the server reads the last byte of the second quarter.
        for read in [250, 249] {
            pair.server.read_up_to(id, read);
            pair.drive();
            assert_eq!(pair.client.take_events(), []);
        }
        pair.server.read_up_to(id, 1);
        pair.drive();
        assert_eq!(pair.client.take_events(), [Event::Writable { id }]);
    }
}

#[test]
fn relative_and_absolute_grants_do_not_mix() {
    // The tests' own encoder writes these grants, and the engine's decoder reads them.
    let id = bidi(CLIENT, 0);
    let decode = |wire, frame| scripted_peer::decode(wire, encode(wire, &frame, false).into());
    assert!(matches!(
        decode(Wire::QMux, max_stream_data(id, 9))[..],
        [Frame::MaxStreamData { credit: Credit::Total(9), .. }]
    ));
    assert!(matches!(
        decode(Wire::JsWs, ack(id, 9))[..],
        [Frame::MaxStreamData { credit: Credit::More(9), .. }]
    ));
}

/// If we sent an Ack before the peer has used up its credit, the Ack could cross the message with
/// which the peer ends the stream. `@matrixai/ws` treats an Ack that arrives after the end as the
/// opening of a new stream.
///
/// [J-38] After our FIN or reset on a stream that the peer opened, we MUST NOT send an Ack before
/// the peer has used up its credit.
#[test]
fn a_js_ws_stream_that_we_finished_grants_only_used_up_credit() {
    let ends: [fn(&mut ScriptedPeer); 2] = [
        |peer| peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).finish().unwrap(),
        |peer| peer.conn.send_stream(peer.now, bidi(CLIENT, 0)).reset(code(1)).unwrap(),
    ];
    let id = bidi(CLIENT, 0);
    for end in ends {
        let mut peer = server_with_stream(Wire::JsWs, &small_window(1_000));
        let read =
            |peer: &mut ScriptedPeer| peer.conn.recv_stream(peer.now, id).read(usize::MAX).unwrap();
        peer.send(&[data(id, &[0; 900])]);
        read(&mut peer);
        assert_eq!(peer.frames(), [ack(id, 900)], "while our half is open");
        end(&mut peer);
        peer.said();
        peer.send(&[data(id, &[0; 999])]);
        read(&mut peer);
        assert_eq!(peer.frames(), [], "the peer can still send, and its end may be on the way");
        peer.send(&[data(id, &[0])]);
        read(&mut peer);
        assert_eq!(peer.frames(), [ack(id, 1_000)], "now it waits");
    }
}

/// the first frame on a stream that we open is a STREAM frame, even if the window was raised
/// before the stream was opened.
#[test]
fn a_raised_window_is_not_told_before_the_streams_first_frame() {
    let mut config = Config::default();
    config.stream_receive_window(64 * 1024);
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config);
    peer.conn.set_stream_receive_window(1 << 20);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"request").unwrap();
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(9).unwrap(), Read::Blocked);
    let frames = peer.frames();
    assert!(matches!(frames[0], Frame::Stream { .. }), "{frames:?}");
}

/// The public peers discard a grant for a stream that they have not seen. Such a peer then
/// waits for credit that this end counts as granted. So this end has to repeat the grant.
#[test]
fn a_peer_that_forgets_early_grants_is_not_left_without_credit() {
    let mut config = Config::default();
    config.stream_receive_window(64 * 1024);
    let mut peer = ScriptedPeer::new(Wire::QMux, CLIENT, &config);
    peer.conn.set_stream_receive_window(1 << 20);
    let id = peer.conn.open(Dir::Bi).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"request").unwrap();
    assert_eq!(peer.conn.recv_stream(peer.now, id).read(9).unwrap(), Read::Blocked);
    peer.frames();
    // The peer uses up the credit that it knows of.
    for part in 0..4 {
        peer.send(&[stream(id, part * 16_384, &[1; 16_384], false)]);
    }
    let mut read = 0;
    while let Read::Data(data) = peer.conn.recv_stream(peer.now, id).read(1 << 20).unwrap() {
        read += data.len();
    }
    assert_eq!(read, 64 * 1024);
    peer.send(&[Frame::StreamDataBlocked { id, limit: 64 * 1024 }]);
    let frames = peer.frames();
    assert!(
        frames.iter().any(|frame| matches!(frame, Frame::MaxStreamData { .. })),
        "all is read, the peer says that it waits, and is told nothing: {frames:?}"
    );
}

/// Once the only blocked stream has been reset, no stream waits for the connection's credit.
#[test]
fn a_reset_ends_the_wait_for_credit_of_the_connection() {
    let parameters = scripted_peer::generous_but(|limits| limits.initial_max_data = 0);
    let mut peer =
        ScriptedPeer::with_parameters(Wire::QMux, CLIENT, &Config::default(), parameters);
    let id = peer.conn.open(Dir::Uni).unwrap().unwrap();
    peer.conn.send_stream(peer.now, id).write(b"x").unwrap();
    peer.said();
    peer.now = at(secs(1));
    peer.conn.send_stream(peer.now, id).reset(code(0)).unwrap();
    peer.said();
    assert_eq!(peer.conn.stats(at(secs(100))).blocked_by_connection_credit, secs(1));
}
