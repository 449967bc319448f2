//! What counts as a stall: a socket that takes nothing, and a peer that acknowledges nothing.

use std::time::Duration;

use wsmux_proto::{Config, ConnectionError, Dir, SessionState, Side, StreamId, Timeout};

use crate::{
    acknowledgements::SESSION_ACK,
    net::{Item, Net, hand_over, resumable},
    support::*,
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Settings with which only a stall has a deadline.
fn config() -> Config {
    let mut config = resumable();
    config
        .max_idle_timeout(None)
        .keep_alive_interval(None)
        .window_growth_budget(0)
        .write_stall_timeout(Some(TIMEOUT));
    config
}

fn open(net: &mut Net, side: Side) -> StreamId {
    net.end(side).session.engine_mut().open(Dir::Uni).unwrap().unwrap()
}

/// Lets an end send one message with this many bytes of a stream.
fn send(net: &mut Net, side: Side, id: StreamId, len: usize) {
    let now = net.now;
    let mut send = net.end(side).session.engine_mut().send_stream(now, id);
    send.append_chunk(pattern(0, 0, len).into()).expect("the stream is open");
    assert!(net.send_one(side));
}

/// Whether a session has been suspended, or ended, by a stall.
fn is_stalled(net: &mut Net, side: Side) -> bool {
    let now = net.now;
    let session = &mut net.end(side).session;
    session.give_up(now);
    let reason = session.engine().close_reason();
    matches!(reason, Some(ConnectionError::TimedOut(Timeout::WriteStall)))
}

fn acknowledge(net: &mut Net, count: u64) {
    let (now, link) = (net.now, net.client.link);
    let message = Item::Message(varints(&[SESSION_ACK, count]).into());
    hand_over(&mut net.client.session, now, link, message);
}

/// [C-78] If there is something to send, and the socket takes no message for the write-stall
/// timeout, the connection MUST time out, whatever arrives meanwhile.
#[test]
fn a_slow_but_steady_replay_is_no_stall() {
    let mut net = Net::new(&config());
    let id = open(&mut net, SERVER);
    for _ in 0..10 {
        send(&mut net, SERVER, id, 100);
    }
    net.cut();
    net.capacity = 1;
    net.dial();
    // The client receives the answer, and nothing more.
    while net.client.session.state() != wsmux_proto::SessionState::Live {
        net.send_one(CLIENT);
        net.deliver_one(SERVER);
        net.send_one(SERVER);
        net.deliver_one(CLIENT);
    }
    assert_eq!(net.server.session.session_stats().resent_messages, 10);
    let start = net.now;
    for _ in 0..7 {
        // The socket takes one message, and is full again.
        assert!(net.send_one(SERVER) && !net.send_one(SERVER));
        net.now += secs(10);
        net.fire();
        net.deliver_one(CLIENT);
        // The client acknowledges what it has received.
        net.send_one(CLIENT);
        net.deliver_one(SERVER);
        net.assert_live();
    }
    assert_eq!(net.now - start, secs(70));
    // A socket that accepts nothing is a stall.
    assert!(net.send_one(SERVER) && !net.send_one(SERVER));
    net.now += TIMEOUT;
    net.fire();
    assert!(is_stalled(&mut net, SERVER));
}

/// [C-78] If there is something to send, and the socket takes no message for the write-stall
/// timeout, the connection MUST time out, whatever arrives meanwhile.
#[test]
fn a_socket_that_does_not_take_an_acknowledgement_is_a_stall() {
    let mut net = Net::new(&config());
    let id = open(&mut net, CLIENT);
    send(&mut net, CLIENT, id, 100);
    net.deliver_one(SERVER);
    assert!(!net.server.session.wants_socket_full());
    net.now += secs(1);
    net.fire();
    net.capacity = 0;
    assert!(net.server.session.wants_socket_full());
    assert!(!net.send_one(SERVER));
    assert!(!net.server.session.wants_socket_full());
    assert_eq!(net.server.session.poll_timeout(), Some(net.now + TIMEOUT));
    net.now += TIMEOUT;
    net.server.session.handle_timeout(net.now);
    assert!(is_stalled(&mut net, SERVER));
}

#[test]
fn a_full_budget_is_a_stall_only_while_something_waits() {
    let mut config = config();
    config.replay_budget(64 * 1024);
    let mut net = Net::new(&config);
    let id = open(&mut net, CLIENT);
    for len in [5_000, 60_000, 60_000] {
        send(&mut net, CLIENT, id, len);
    }
    assert!(!net.client.session.wants_transmit(), "the budget is full");
    // A full socket holds an acknowledgement back for a second.
    let other = open(&mut net, SERVER);
    send(&mut net, SERVER, other, 100);
    net.deliver_one(CLIENT);
    net.now += secs(1);
    net.fire();
    net.capacity = 0;
    assert!(!net.send_one(CLIENT));
    net.now += secs(1);
    net.capacity = usize::MAX;
    assert!(net.send_one(CLIENT));
    // The replay budget stays full, and now a message waits for room in it.
    net.now += secs(20);
    acknowledge(&mut net, 1);
    let now = net.now;
    net.client.session.engine_mut().send_stream(now, id).write(&[1; 10]).unwrap();
    assert!(!net.send_one(CLIENT));
    assert_eq!(net.client.session.poll_timeout(), Some(net.now + TIMEOUT));
}

/// This rule applies while the counted messages that the peer has not acknowledged have more
/// than 64 bytes together. If the peer acknowledges none of these messages for the write-stall
/// timeout (C-78), the connection MUST be suspended. If this happens again before the peer
/// has acknowledged any message, the connection MUST time out. Time without a WebSocket does not
/// count towards this timeout, and a new WebSocket does not restart the timeout.
#[test]
fn a_peer_that_reads_everything_and_acknowledges_nothing_is_given_up() {
    let mut net = Net::new(&config());
    let id = open(&mut net, CLIENT);
    send(&mut net, CLIENT, id, 20);
    // These bytes are so few that the peer need not acknowledge them.
    assert_eq!(net.client.session.poll_timeout(), None);
    net.now += secs(1_000);
    send(&mut net, CLIENT, id, 100);
    let start = net.now;
    net.now += secs(30);
    send(&mut net, CLIENT, id, 100);
    assert_eq!(net.client.session.poll_timeout(), Some(start + TIMEOUT));
    // Each acknowledgement restarts the timeout, until nothing is left to acknowledge.
    acknowledge(&mut net, 1);
    assert_eq!(net.client.session.poll_timeout(), Some(net.now + TIMEOUT));
    net.now += secs(59);
    acknowledge(&mut net, 2);
    assert_eq!(net.client.session.poll_timeout(), Some(net.now + TIMEOUT));
    acknowledge(&mut net, 3);
    assert_eq!(net.client.session.poll_timeout(), None);
    send(&mut net, CLIENT, id, 100);
    net.now += TIMEOUT;
    net.client.session.handle_timeout(net.now);
    assert!(is_stalled(&mut net, CLIENT));
    // The application may also turn the timeout off.
    let mut patient = config();
    patient.write_stall_timeout(None);
    let mut net = Net::new(&patient);
    let id = open(&mut net, CLIENT);
    send(&mut net, CLIENT, id, 100);
    assert_eq!(net.client.session.poll_timeout(), None);
}

#[test]
fn an_acknowledgement_after_a_stall_makes_up_for_it() {
    let mut net = Net::new(&config());
    let id = open(&mut net, CLIENT);
    for _ in 0..3 {
        send(&mut net, CLIENT, id, 100);
        net.now += TIMEOUT;
        net.client.session.handle_timeout(net.now);
        assert_eq!(net.client.session.state(), SessionState::Suspended);
        net.cut();
        net.dial();
        net.settle();
        net.assert_live();
        net.pass(secs(2));
        assert_eq!(net.client.session.poll_timeout(), None);
    }
}

/// This rule applies while the counted messages that the peer has not acknowledged have more
/// than 64 bytes together. If the peer acknowledges none of these messages for the write-stall
/// timeout (C-78), the connection MUST be suspended. If this happens again before the peer
/// has acknowledged any message, the connection MUST time out. Time without a WebSocket does not
/// count towards this timeout, and a new WebSocket does not restart the timeout.
#[test]
fn a_peer_that_acknowledges_nothing_gains_no_time_by_new_sockets() {
    let mut net = Net::new(&config());
    let id = open(&mut net, SERVER);
    send(&mut net, SERVER, id, 100);
    // Some of the time passes with a socket, and some of the time passes without a socket.
    let start = net.now;
    let mut ended = None;
    for _ in 0..20 {
        let lost = net.now + secs(25);
        while let Some(due) = net.server.session.poll_timeout().filter(|&due| due <= lost) {
            net.server.session.handle_timeout(due);
            if net.server.session.engine().close_reason().is_some() {
                ended = Some(due - start);
                break;
            }
        }
        if ended.is_some() {
            break;
        }
        net.now = lost;
        net.cut();
        net.now += secs(5);
        net.dial();
        // The server sends its parameters, the client sends its request, and the server answers.
        assert!(net.send_one(SERVER) && net.send_one(CLIENT) && net.deliver_one(SERVER));
        // The client sends something new, but receives nothing of what the server has sent.
        assert!(net.send_one(SERVER) && net.deliver_one(CLIENT) && net.deliver_one(CLIENT));
        assert!(net.send_one(CLIENT) && net.deliver_one(SERVER));
        net.assert_live();
        while net.send_one(SERVER) {}
    }
    // The server waited for the whole timeout twice: 25 + 25 + 10 s each time.
    assert_eq!(ended, Some(secs(5 * 30 + 10)));
    assert!(is_stalled(&mut net, SERVER));
}
