//! How much memory an idle connection keeps after a burst, if it can be resumed.

use std::time::Duration;

use allocation_counter::measure;
use wsmux::{
    Config,
    proto::{
        Connection, Dir, Incoming, MessageBuf, Outgoing, Read, Session, SessionKeys, SessionState,
        Side, StreamId, Time, Wire,
    },
};

/// How many messages a burst has.
const BURST: usize = 2_000;

/// The memory that a burst may leave at one end: three queues with 4 KiB each, and spare room in
/// the engine's own queues.
const LEFT: i64 = 16 * 1024;

fn session(config: &Config, side: Side) -> Session {
    let engine = Connection::new(config.clone(), side, Wire::QMux, Time::EPOCH);
    let keys = SessionKeys::new([1; 16], [2; 32]);
    Session::new(engine, (side == Side::Server).then_some(keys))
}

/// Delivers everything that `from` has to send.
fn deliver(now: Time, from: &mut Session, to: &mut Session) {
    let mut out = MessageBuf::new();
    let link = from.link();
    while let Some(item) = from.poll_transmit(now, link, &mut out) {
        let incoming = match item {
            Outgoing::Message(message) => Incoming::Message(message.to_bytes()),
            Outgoing::Flush => continue,
            other => panic!("{other:?}"),
        };
        to.handle(now, to.link(), incoming);
    }
}

/// Two sessions, and a stream between them.
fn connected() -> (Session, Session, StreamId) {
    let mut config = Config::default();
    config.resume_timeout(Some(Duration::from_secs(60)));
    let mut client = session(&config, Side::Client);
    let mut server = session(&config, Side::Server);
    deliver(Time::EPOCH, &mut client, &mut server);
    deliver(Time::EPOCH, &mut server, &mut client);
    assert_eq!(client.state(), SessionState::Live);
    let id = client.engine_mut().open(Dir::Bi).unwrap().expect("the limit permits a stream");
    (client, server, id)
}

/// Sends bytes on the stream in a message of their own. The server's application reads them.
fn write(now: Time, client: &mut Session, server: &mut Session, id: StreamId, bytes: &[u8]) {
    let written = client.engine_mut().send_stream(now, id).write(bytes).expect("credit");
    assert_eq!(written, bytes.len());
    deliver(now, client, server);
    let read = server.engine_mut().recv_stream(now, id).read(bytes.len());
    assert!(matches!(read, Ok(Read::Data(_))), "{read:?}");
}

#[test]
fn an_idle_connection_keeps_no_memory_of_what_it_has_sent() {
    let held = |burst: usize| {
        let mut ends = None;
        let held = measure(|| {
            let (mut client, mut server, id) = connected();
            let mut now = Time::EPOCH;
            for _ in 0..burst {
                write(now, &mut client, &mut server, id, &[7; 30]);
            }
            // An idle connection sends a ping for each keep-alive interval.
            for _ in 0..3 {
                now = now.max(client.poll_timeout().expect("a timer"));
                now = now.max(server.poll_timeout().expect("a timer"));
                client.handle_timeout(now);
                server.handle_timeout(now);
                deliver(now, &mut client, &mut server);
                deliver(now, &mut server, &mut client);
            }
            ends = Some((client, server));
        });
        let (client, _) = ends.expect("the sessions");
        assert_eq!(client.state(), SessionState::Live);
        assert_eq!(client.session_stats().replay_held / 200, 0);
        held.bytes_current
    };
    let (idle, after) = (held(1), held(BURST));
    assert!(after - idle <= LEFT, "{after} bytes, and {idle} without a burst");
}
