//! Seeing what a connection does: events, logs, and counts.
//!
//! Counts are always there: [`WebSocketConnection::stats`](crate::WebSocketConnection::stats),
//! [`SendStream::stats`](crate::SendStream::stats), [`RecvStream::stats`](crate::RecvStream::stats) and
//! [`rtt`](crate::WebSocketConnection::rtt), with the path's own
//! [`socket_rtt`](crate::WebSocketConnection::socket_rtt) beside it on Linux. They say which of three things keeps a sender waiting: the stream's
//! credit (its reader is slow), the connection's credit (the peer allows too little for all), or the socket (the
//! path is slow). The other two ways of looking are features.
//!
//! # `tracing`
//!
//! Everything has the target `wsmux`. A connection's task runs in the span `wsmux.connection`, whose parent is
//! the span in which the connection was made; the events of the connection and of its streams belong to it,
//! whatever task they happen in. The span has the level ERROR, so that it is there for every event that is.
//!
//! | field of `wsmux.connection` | |
//! |---|---|
//! | `id` | the connection's number in this process, which its qlog has too |
//! | `side` | `Client` or `Server`: which end this is |
//! | `wire` | `QMux` or `JsWs` |
//! | `remote_address` | the peer's address, where it is known |
//!
//! An event's name is its message as well.
//!
//! | event | level | fields | when |
//! |---|---|---|---|
//! | `connection.established` | DEBUG | | the peer's limits are known |
//! | `connection.draining` | DEBUG | | a shutdown has begun here |
//! | `connection.closed` | INFO | `culprit`, `reason` | either application closed it, or the peer's protocol layer did without an error |
//! | `connection.closed` | WARN | `culprit`, `reason` | it ended in any other way: a violation, a timeout, the network |
//! | `stream.opened` | TRACE | `stream` | this end has opened a stream |
//! | `stream.accepted` | TRACE | `stream` | the application has accepted a stream of the peer's |
//! | `stream.finished` | TRACE | `stream` | the application has finished the sending half |
//! | `stream.reset` | DEBUG | `stream`, `code`, `by` | `by="local"`: the application has reset the sending half, or dropped it unfinished; `by="peer"`: it learns that the peer did |
//! | `stream.stopped` | DEBUG | `stream`, `code`, `by` | `by="local"`: the application has stopped the receiving half, or dropped it before its end; `by="peer"`: a write, or a wait for it, learns that the peer did |
//! | `stream.refused` | DEBUG | `total` | the peer has opened more streams than it may, on the js-ws wire; `total` since the beginning |
//! | `handshake.completed` | DEBUG | `side`, `wire`, `subprotocol`, `remote_address` | the WebSocket is open |
//! | `handshake.refused` | WARN | `side="Client"`, `host`, `port`, `error` | the server has refused this client |
//! | `handshake.refused` | DEBUG | `side="Server"`, `remote_address`, `error` | this server has refused a client |
//! | `handshake.failed` | WARN | `side="Client"`, `host`, `port`, `error` | this client got no connection in any other way |
//! | `handshake.failed` | DEBUG | `side="Server"`, `remote_address`, `error` | this server got no connection in any other way |
//! | `server.accept_paused` | WARN | `error` | the system is out of file descriptors or memory |
//! | `server.address_limit` | DEBUG | `remote_address` | a client was closed, for its address has its share of connections |
//! | `qlog.failed` | WARN | `error` | a connection's qlog could not be written, and ends |
//!
//! No password, token, query of a URL or value of a header is recorded, nor a response's body, which may repeat them.
//! A subprotocol is recorded if it has the form `qmux-...` or was configured as an application protocol; any other may be
//! a page's token, and is `another name`. Of a peer's close the code is recorded and the reason is not: a peer that knows
//! a token can repeat it there. The application has the reason in its error. The same holds for every `Display` and
//! `Debug` of this crate, but that `http`'s own types show a URL's query, and an error the reason of a close. What a
//! client fails with at a server is of level DEBUG, for anybody can bring it about, and the application is told.
//!
//! Nothing is recorded for a message or a read or a write: that is what the feature `qlog` is for. Without the
//! feature none of this is compiled. With it, what no subscriber wants costs a look at a static variable, where
//! it happens and nowhere else.
//!
//! Events may be recorded while the connection's lock is held: a subscriber must not use the connection that
//! an event is about.
//!
//! # `qlog`
//!
//! With the builders' `qlog` each connection on the QMux wire writes a log in QUIC's qlog (JSON-SEQ, version 0.3), which
//! qvis reads: a message is a packet, with its frames. The js-ws wire has no frames that qlog knows, and is not
//! logged. Each `QlogConfig` has one thread of its own, which writes the logs of its connections; a connection never
//! waits for it. When a writer is too slow, events are left out, and the log says how many. A writer that hangs holds
//! up the other logs of its `QlogConfig`, and nothing else; a runtime that shuts down gives it up after two seconds.
//!
//! For one log at most 4 MiB are allocated. It has at most 64 MiB in all, or what `QlogConfig::max_size` says; after
//! that it says only how many events are missing and how the connection ended.
