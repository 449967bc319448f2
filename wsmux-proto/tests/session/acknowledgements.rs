//! When an end acknowledges what it has received.

use bytes::Bytes;
use wsmux_proto::{
    Config, ConnectionError, Dir, Frame, Link, Session, SessionState, Side, StreamId, Time,
    TransportErrorCode, VarInt, Wire,
};

use crate::{
    net::{Item, Net, hand_over, resumable, session, transmit},
    support::*,
};

pub const SESSION_ACK: u64 = 0x0949_50dd_8be4_aa2a;

/// Returns the count of the SESSION_ACK with which a message begins, and the rest of the message.
fn ack(message: &Bytes) -> Option<(u64, Bytes)> {
    let mut rest = message.clone();
    if VarInt::decode(&mut rest)?.into_inner() != SESSION_ACK {
        return None;
    }
    let count = VarInt::decode(&mut rest).expect("a count").into_inner();
    Some((count, rest))
}

/// Returns the acknowledgements of an end, and whether each came in a message of its own.
fn acks(net: &mut Net, side: Side) -> Vec<(u64, bool)> {
    let log = std::mem::take(&mut net.end(side).log);
    log.iter().filter_map(ack).map(|(count, rest)| (count, rest.is_empty())).collect()
}

fn quiet() -> Config {
    let mut config = resumable();
    config.max_idle_timeout(None).keep_alive_interval(None).window_growth_budget(0);
    config
}

fn write(net: &mut Net, side: Side, id: StreamId, len: usize) {
    let now = net.now;
    let mut send = net.end(side).session.engine_mut().send_stream(now, id);
    send.append_chunk(pattern(0, 0, len).into()).expect("the stream is open");
}

fn read(net: &mut Net, side: Side, id: StreamId) {
    let now = net.now;
    let mut recv = net.end(side).session.engine_mut().recv_stream(now, id);
    while let Ok(wsmux_proto::Read::Data(_)) = recv.read(usize::MAX) {}
}

fn connected() -> (Net, StreamId) {
    let mut net = Net::new(&quiet());
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    (net, id)
}

/// The cost of a message is its length, without SESSION_ACK, plus 64 bytes. An end MUST
/// acknowledge in two cases. In the first case, the messages that it has not acknowledged together
/// cost at least a quarter of the peer's replay budget, or at least 512 KiB if that is less. In the
/// second case, the oldest of these messages arrived at least a second ago, and together they have
/// more than 64 bytes. In all other cases an end acknowledges only in a message that it sends for
/// another reason. Even then it acknowledges only if the unacknowledged messages cost at least 16
/// KiB, or at least an eighth of the peer's replay budget if that is less, or if the oldest of them
/// arrived at least a quarter of a second ago.
#[test]
fn acknowledgements_come_late_enough_to_be_few_and_early_enough() {
    let (mut net, id) = connected();
    // An acknowledgement is sent alone after a second, and not before.
    write(&mut net, CLIENT, id, 100);
    net.pass(ms(999));
    assert_eq!(acks(&mut net, SERVER), []);
    net.pass(ms(1));
    assert_eq!(acks(&mut net, SERVER), [(1, true)]);
    // After a quarter of a second, and not before, the acknowledgement joins a message that the
    // server sends for another reason.
    write(&mut net, CLIENT, id, 100);
    net.settle();
    for (after, expected) in [(249, vec![]), (1, vec![(2, false)])] {
        net.now += ms(after);
        write(&mut net, SERVER, id, 10);
        net.settle();
        assert_eq!(acks(&mut net, SERVER), expected);
    }
    // After 16 KiB, and not before, the acknowledgement joins such a message at once.
    for (len, expected) in [(16_000, vec![]), (400, vec![(4, false)])] {
        write(&mut net, CLIENT, id, len);
        net.settle();
        write(&mut net, SERVER, id, 10);
        net.settle();
        assert_eq!(acks(&mut net, SERVER), expected);
    }
    // After 512 KiB, which is less than a quarter of the replay budget of 32 MiB, the server
    // acknowledges at once. It sends no other message here, so each acknowledgement comes alone.
    let mut config = quiet();
    config.stream_receive_window(4 << 20).max_stream_receive_window(4 << 20);
    let mut net = Net::new(&config);
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    for _ in 0..40 {
        write(&mut net, CLIENT, id, 60_000);
        net.settle();
    }
    let counts = acks(&mut net, SERVER);
    assert!(counts.len() == 4 && counts.iter().all(|&(_, alone)| alone), "{counts:?}");
    // If only a few bytes arrive, no acknowledgement is sent for them.
    net.pass(secs(5));
    acks(&mut net, SERVER);
    write(&mut net, CLIENT, id, 20);
    net.pass(secs(100));
    assert_eq!(acks(&mut net, SERVER), []);
}

#[test]
fn with_a_small_budget_a_quarter_of_it_is_acknowledged() {
    let mut config = quiet();
    config.replay_budget(0);
    let mut net = Net::new(&config);
    let id = net.client.session.engine_mut().open(Dir::Bi).unwrap().unwrap();
    for (number, len) in [(1, 16_200), (2, 300)] {
        write(&mut net, CLIENT, id, len);
        net.settle();
        let expected = if number == 2 { vec![(2, true)] } else { vec![] };
        assert_eq!(acks(&mut net, SERVER), expected);
    }
}

/// Each message after the sender's transport parameters MUST be counted when it is handed to
/// the WebSocket, even if it is empty. Two kinds of messages are not counted: a message that
/// consists of SESSION_ACK alone, and a message that is sent once the connection has ended. The
/// receiver counts a message when it processes it.
#[test]
fn two_ends_do_not_acknowledge_each_others_acknowledgements() {
    let (mut net, id) = connected();
    write(&mut net, CLIENT, id, 100);
    net.settle();
    write(&mut net, SERVER, id, 100);
    net.pass(secs(100));
    assert_eq!(acks(&mut net, CLIENT).len() + acks(&mut net, SERVER).len(), 2);
    // An empty message counts, and so does the message after it.
    for message in [Bytes::new(), Bytes::from_static(&[0; 100])] {
        let (now, link) = (net.now, net.server.link);
        hand_over(&mut net.server.session, now, link, Item::Message(message));
    }
    net.now += secs(1);
    net.fire();
    let item = transmit(&mut net.server.session, net.now, net.server.link);
    assert_eq!(item, Some(Item::Message(varints(&[SESSION_ACK, 1 + 2]).into())));
}

/// Each message after the sender's transport parameters MUST be counted when it is handed to
/// the WebSocket, even if it is empty. Two kinds of messages are not counted: a message that
/// consists of SESSION_ACK alone, and a message that is sent once the connection has ended. The
/// receiver counts a message when it processes it.
#[test]
fn parameters_are_not_counted_even_if_the_peers_come_first() {
    let mut net = Net::unconnected(&quiet(), &quiet());
    net.send_one(CLIENT);
    net.deliver_one(SERVER);
    assert_eq!(net.server.session.state(), SessionState::Live);
    net.settle();
    assert_eq!(net.server.session.session_stats().replay_held, 0);
    assert_eq!(net.client.session.session_stats().replay_held, 0);
}

#[test]
fn an_acknowledgement_makes_no_message_longer_than_the_limit() {
    let (mut net, id) = connected();
    write(&mut net, CLIENT, id, 1);
    net.settle();
    let mut largest = 0;
    for _ in 0..20 {
        net.now += ms(300);
        for side in [CLIENT, SERVER] {
            write(&mut net, side, id, 200_000);
        }
        net.settle();
        for side in [CLIENT, SERVER] {
            read(&mut net, side, id);
            let log = std::mem::take(&mut net.end(side).log);
            largest =
                log.iter().filter(|it| ack(it).is_some()).map(Bytes::len).fold(largest, usize::max);
            assert!(log.iter().all(|message| message.len() <= 65_536));
        }
    }
    assert!(largest > 60_000, "{largest}");
}

#[test]
fn an_acknowledgement_makes_no_message_too_long_for_the_socket() {
    const MOST: usize = 1_500;
    let (mut net, id) = connected();
    net.caps = net.caps.max_message(MOST);
    net.cut();
    net.dial();
    net.settle();
    write(&mut net, CLIENT, id, 1);
    net.settle();
    let mut largest = 0;
    for _ in 0..5 {
        net.now += ms(300);
        for side in [CLIENT, SERVER] {
            write(&mut net, side, id, 20_000);
        }
        net.settle();
        for side in [CLIENT, SERVER] {
            read(&mut net, side, id);
            let log = std::mem::take(&mut net.end(side).log);
            let with_ack = log.iter().filter(|it| ack(it).is_some()).map(Bytes::len).max();
            largest = largest.max(with_ack.unwrap_or_default());
            assert!(log.iter().all(|message| message.len() <= MOST));
        }
    }
    assert!(largest > MOST - 32, "{largest}");
}

#[test]
fn an_idle_connection_sends_no_acknowledgement_by_itself() {
    let mut net = Net::new(&resumable());
    net.pass(secs(5));
    acks(&mut net, CLIENT);
    acks(&mut net, SERVER);
    net.pass(secs(600));
    let [client, server] = [CLIENT, SERVER].map(|side| acks(&mut net, side));
    assert!(client.iter().chain(&server).all(|(_, alone)| !alone), "{client:?} {server:?}");
    for side in [CLIENT, SERVER] {
        let held = net.end(side).session.session_stats().replay_held;
        assert!(held < 1_000, "{held}");
    }
}

fn server_after(message: Vec<u8>) -> Session {
    let (mut net, _) = connected();
    let id = net.server.session.engine_mut().open(Dir::Uni).unwrap().unwrap();
    // The server sends three messages.
    for _ in 0..3 {
        write(&mut net, SERVER, id, 100);
        net.settle();
    }
    let (now, link) = (net.now, net.server.link);
    hand_over(&mut net.server.session, now, link, Item::Message(message.into()));
    net.server.session
}

fn code_of(session: &Session) -> Option<TransportErrorCode> {
    match session.engine().close_reason()? {
        ConnectionError::TransportError(error) => Some(error.code),
        other => panic!("{other:?}"),
    }
}

/// SESSION_ACK, which carries the number of counted messages that its sender has received,
/// MUST be the first frame of its message. Anywhere else, and on a connection that cannot be
/// resumed, it is an unknown frame.
#[test]
fn an_acknowledgement_is_the_first_frame_or_an_unknown_one() {
    let ack = |count| varints(&[SESSION_ACK, count]);
    assert_eq!(code_of(&server_after(ack(3))), None);
    assert_eq!(code_of(&server_after([ack(3), vec![0; 5]].concat())), None);
    let unknown = Some(TransportErrorCode::FRAME_ENCODING_ERROR);
    for message in [[vec![0], ack(3)].concat(), [ack(2), ack(3)].concat(), varints(&[SESSION_ACK])]
    {
        assert_eq!(code_of(&server_after(message.clone())), unknown, "{message:?}");
    }
    let mut plain = session(&Config::default(), SERVER, 0);
    let first = parameters_frame(&[]);
    for message in [first, ack(1)] {
        hand_over(&mut plain, Time::EPOCH, Link::default(), Item::Message(message.into()));
    }
    assert_eq!(code_of(&plain), unknown);
}

/// If the count of a SESSION_ACK is not above every earlier count of the peer, we MUST close
/// with PROTOCOL_VIOLATION. If the count is above the number of messages that we have sent, we MUST
/// close with PROTOCOL_VIOLATION as well.
#[test]
fn an_acknowledgement_of_nothing_new_or_of_too_much_is_a_violation() {
    for count in [0, 4, u64::MAX >> 2] {
        let session = server_after(varints(&[SESSION_ACK, count]));
        assert_eq!(code_of(&session), Some(TransportErrorCode::PROTOCOL_VIOLATION), "{count}");
    }
    for (earlier, count) in [(2, 1), (2, 2), (3, 3)] {
        let mut session = server_after(varints(&[SESSION_ACK, earlier]));
        let message = Item::Message(varints(&[SESSION_ACK, count]).into());
        let link = session.link();
        hand_over(&mut session, Time::EPOCH + secs(1_000), link, message);
        assert_eq!(code_of(&session), Some(TransportErrorCode::PROTOCOL_VIOLATION), "{count}");
        // The close names the frame.
        let Some(Item::Message(close)) = transmit(&mut session, Time::MAX, link) else {
            panic!("no close")
        };
        let frames = scripted_peer::decode(Wire::QMux, close);
        let [Frame::ConnectionClose(wsmux_proto::Close::Transport { frame, .. })] = &frames[..]
        else {
            panic!("{frames:?}")
        };
        assert_eq!(frame.into_inner(), SESSION_ACK);
    }
}

#[test]
fn what_is_sent_again_carries_no_old_acknowledgement() {
    let (mut net, id) = connected();
    write(&mut net, CLIENT, id, 100);
    net.settle();
    net.now += ms(500);
    // This message carries an acknowledgement, and is lost.
    write(&mut net, SERVER, id, 100);
    net.send_one(SERVER);
    assert_eq!(acks(&mut net, SERVER), [(1, false)]);
    net.cut();
    net.dial();
    net.settle();
    assert_eq!(net.client.session.state(), SessionState::Live);
    let now = net.now;
    let mut recv = net.client.session.engine_mut().recv_stream(now, id);
    assert_eq!(recv.read(100).unwrap(), wsmux_proto::Read::Data(pattern(0, 0, 100).into()));
    assert_eq!(net.client.session.session_stats().resent_messages, 0);
    assert_eq!(net.server.session.session_stats().resent_messages, 1);
}
