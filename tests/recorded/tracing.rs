//! What the feature `tracing` records: the events that `src/observe/trace` documents, with their
//! levels and fields.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wsmux::{
    Config, ConnectionInfo, ReadError, Side, VarInt, WebSocketClient, WebSocketConnection,
    WebSocketServer, Wire, WriteError, socket::memory_pair,
};

type Fields = BTreeMap<String, String>;

#[derive(Debug, Clone)]
struct Recorded {
    name: &'static str,
    level: Level,
    fields: Fields,
    /// The fields of the span that the event belongs to.
    span: Option<Fields>,
}

/// Keeps all events of wsmux.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<(&'static str, Fields)>,
    events: Vec<Recorded>,
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wsmux"
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::new();
        attributes.record(&mut Visitor(&mut fields));
        let spans = &mut self.0.lock().unwrap().spans;
        spans.push((attributes.metadata().name(), fields));
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let mut seen = self.0.lock().unwrap();
        let span = event.parent().map(|id| {
            let (name, fields) = &seen.spans[id.into_u64() as usize - 1];
            assert_eq!(*name, "wsmux.connection");
            fields.clone()
        });
        let (name, level) = (event.metadata().name(), *event.metadata().level());
        assert_eq!(fields.remove("message").as_deref(), Some(name), "the name is the message");
        seen.events.push(Recorded { name, level, fields, span });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Collector {
    /// Runs `future` and all its tasks on this thread, and returns what was recorded.
    fn collect(future: impl Future) -> Self {
        let collector = Self::default();
        tracing::subscriber::with_default(collector.clone(), || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(future);
        });
        collector
    }

    /// Returns the level and the fields of each event with this name at this end, in order.
    fn at(&self, side: Side, name: &str) -> Vec<(Level, Vec<(String, String)>)> {
        let seen = self.0.lock().unwrap();
        let side = format!("{side:?}");
        let is_here = |event: &&Recorded| {
            event.name == name && event.span.as_ref().is_some_and(|span| span["side"] == side)
        };
        seen.events
            .iter()
            .filter(is_here)
            .map(|event| (event.level, event.fields.clone().into_iter().collect()))
            .collect()
    }

    fn outside(&self, name: &str) -> Vec<Recorded> {
        let seen = self.0.lock().unwrap();
        let is_it = |event: &&Recorded| event.name == name && event.span.is_none();
        seen.events.iter().filter(is_it).cloned().collect()
    }
}

fn fields<const N: usize>(fields: [(&str, &str); N]) -> Vec<(String, String)> {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

/// Connects a client and a server in memory.
async fn pair(wire: Wire, server: Config) -> (WebSocketConnection, WebSocketConnection) {
    let (left, right) = memory_pair(64 * 1024);
    let connection = |socket, side, config| {
        WebSocketConnection::from_socket(socket, side, wire, config, ConnectionInfo::default())
    };
    let client = connection(left, Side::Client, Config::default());
    let server = connection(right, Side::Server, server);
    client.established().await.unwrap();
    server.established().await.unwrap();
    (client, server)
}

#[test]
fn a_connection_and_its_streams_record_the_documented_events() {
    let collector = Collector::collect(async {
        let (client, server) = pair(Wire::QMux, Config::default()).await;

        let (mut send, mut recv) = client.open_bi().await.unwrap().into_split();
        send.write_all(b"request").await.unwrap();
        send.finish().unwrap();
        let (mut answer, mut request) = server.accept_bi().await.unwrap().into_split();
        request.read_to_end(100).await.unwrap();
        answer.reset(code(5)).unwrap();
        for _ in 0..2 {
            let read = recv.read(&mut [0; 10]).await;
            assert!(matches!(read, Err(ReadError::Reset(reset)) if reset == code(5)));
        }
        drop((send, recv, answer, request));

        let mut send = client.try_open_uni().unwrap().unwrap();
        send.announce();
        let mut recv = server.accept_uni().await.unwrap();
        recv.stop(code(6)).unwrap();
        send.stopped().await.unwrap();
        drop(recv);
        drop(send);

        let mut send = client.open_uni().await.unwrap();
        send.announce();
        let recv = server.accept_uni().await.unwrap();
        drop(recv);
        loop {
            match send.write(b"more").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(WriteError::Stopped(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(send.write(b"more").await.is_err());
        drop(send);

        let mut send = client.open_uni().await.unwrap();
        send.announce();
        drop(send);

        server.close(code(7), b"enough");
        client.closed().await;
        server.closed().await;
    });

    let (client, server) = (Side::Client, Side::Server);
    for side in [client, server] {
        assert_eq!(collector.at(side, "connection.established"), [(Level::DEBUG, vec![])]);
    }
    let streams = |side, name: &str, level, ids: &[&str]| {
        let expected: Vec<_> = ids.iter().map(|id| (level, fields([("stream", id)]))).collect();
        assert_eq!(collector.at(side, name), expected, "{name}");
    };
    streams(client, "stream.opened", Level::TRACE, &["0", "2", "6", "10"]);
    streams(server, "stream.opened", Level::TRACE, &[]);
    streams(server, "stream.accepted", Level::TRACE, &["0", "2", "6"]);
    streams(client, "stream.finished", Level::TRACE, &["0"]);
    let half = |by: &str, code: &str, stream: &str| {
        (Level::DEBUG, fields([("by", by), ("code", code), ("stream", stream)]))
    };
    assert_eq!(collector.at(server, "stream.reset"), [half("local", "5", "0")]);
    assert_eq!(
        collector.at(client, "stream.reset"),
        [half("peer", "5", "0"), half("local", "0", "10")]
    );
    assert_eq!(
        collector.at(server, "stream.stopped"),
        [half("local", "6", "2"), half("local", "0", "6")]
    );
    assert_eq!(
        collector.at(client, "stream.stopped"),
        [half("peer", "6", "2"), half("peer", "0", "6")]
    );
    assert_eq!(
        collector.at(server, "connection.closed"),
        [(Level::INFO, fields([("culprit", "Local"), ("reason", "closed by this end")]))]
    );
    // The text of the peer's reason is left out.
    let reason = "closed by the peer's application: code 7";
    assert_eq!(
        collector.at(client, "connection.closed"),
        [(Level::INFO, fields([("culprit", "Peer"), ("reason", reason)]))]
    );
    let spans = &collector.0.lock().unwrap().spans;
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|(_, fields)| fields["wire"] == "QMux"));
    assert_ne!(spans[0].1["id"], spans[1].1["id"]);
}

#[test]
fn an_end_that_is_no_close_is_a_warning() {
    let collector = Collector::collect(async {
        let (left, right) = memory_pair(64 * 1024);
        let mut config = Config::default();
        config.handshake_timeout(std::time::Duration::from_millis(10));
        let info = ConnectionInfo::default();
        let silent =
            WebSocketConnection::from_socket(left, Side::Client, Wire::QMux, config, info.clone());
        silent.established().await.unwrap_err();
        drop(right);
        silent.closed().await;

        let (left, right) = memory_pair(64 * 1024);
        let config = Config::default();
        let lost = WebSocketConnection::from_socket(left, Side::Server, Wire::QMux, config, info);
        drop(right);
        lost.closed().await;
    });
    let closed = |side| collector.at(side, "connection.closed");
    let reason = "timed out: the peer never sent its transport parameters";
    assert_eq!(
        closed(Side::Client),
        [(Level::WARN, fields([("culprit", "Timeout"), ("reason", reason)]))]
    );
    let reason = "connection lost: the stream ended without a closing handshake";
    assert_eq!(
        closed(Side::Server),
        [(Level::WARN, fields([("culprit", "Network"), ("reason", reason)]))]
    );
}

#[test]
fn streams_too_many_on_the_js_ws_wire_and_a_drain_are_recorded() {
    let collector = Collector::collect(async {
        let mut config = Config::default();
        config.max_concurrent_bidi_streams(1).max_waiting_streams(0);
        let (client, server) = pair(Wire::JsWs, config).await;
        let first = client.open_bi().await.unwrap();
        let mut second = client.open_bi().await.unwrap();
        second.recv().read(&mut [0; 1]).await.unwrap_err();
        drop((first, second));
        client.drain();
        client.closed().await;
        server.closed().await;
    });
    assert_eq!(
        collector.at(Side::Server, "stream.refused"),
        [(Level::DEBUG, fields([("total", "1")]))]
    );
    assert_eq!(collector.at(Side::Client, "connection.draining"), [(Level::DEBUG, vec![])]);
}

#[test]
fn handshakes_are_recorded_at_both_ends() {
    let collector = Collector::collect(async {
        let server = WebSocketServer::builder().bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/?secret", server.local_addr().unwrap());
        let client = WebSocketClient::builder().build().unwrap();
        let (connection, _server) =
            tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
        connection.unwrap().close(code(0), b"");

        let other = WebSocketClient::builder().wire(Wire::JsWs).build().unwrap();
        let (refused, refuses) =
            tokio::join!(other.connect(&url), async { server.accept().await.unwrap().await });
        refused.unwrap_err();
        refuses.unwrap_err();

        drop(server);
        client.connect(&url).await.unwrap_err();
    });
    let by_side = |name: &str, side: &str| -> Vec<Recorded> {
        let events = collector.outside(name).into_iter();
        events.filter(|event| event.fields["side"] == side).collect()
    };
    for side in ["Client", "Server"] {
        let [completed] = &by_side("handshake.completed", side)[..] else { panic!("one") };
        assert_eq!(completed.level, Level::DEBUG);
        assert_eq!(completed.fields["wire"], "QMux");
        assert_eq!(completed.fields["subprotocol"], "qmux-02");
        assert!(completed.fields["remote_address"].starts_with("127.0.0.1:"));
    }
    let [refused] = &by_side("handshake.refused", "Client")[..] else { panic!("one") };
    assert_eq!((refused.level, &*refused.fields["host"]), (Level::WARN, "127.0.0.1"));
    assert_eq!(refused.fields["error"], "refused with status 400 Bad Request");
    let [refuses] = &by_side("handshake.refused", "Server")[..] else { panic!("one") };
    assert!(refuses.fields["error"].contains("no subprotocol offered"));
    assert_eq!(refuses.level, Level::DEBUG);
    assert!(refuses.fields["remote_address"].starts_with("127.0.0.1:"));
    let [failed] = &by_side("handshake.failed", "Client")[..] else { panic!("one") };
    assert_eq!(failed.level, Level::WARN);
    assert!(!format!("{:?}", collector.0.lock().unwrap()).contains("secret"));
}
