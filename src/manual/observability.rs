//! How to see what a connection does: events, logs and statistics.
//!
//! Statistics are always available:
//! [`WebSocketConnection::stats`](crate::WebSocketConnection::stats),
//! [`SendStream::stats`](crate::SendStream::stats), [`RecvStream::stats`](crate::RecvStream::stats)
//! and [`rtt`](crate::WebSocketConnection::rtt), and on Linux
//! [`socket_rtt`](crate::WebSocketConnection::socket_rtt), the kernel's own measurement.
//! [`session_stats`](crate::WebSocketConnection::session_stats) counts how often a connection was
//! [resumed](super::when_the_network_goes), and [`events`](crate::WebSocketConnection::events)
//! reports each loss of a socket. The statistics show which of three things blocks a sender. If the
//! stream's credit blocks the sender, the stream's reader is slow. If the connection's credit
//! blocks the sender, the peer allows too little for all streams together. If the socket blocks the
//! sender, the path is slow. Events and logs require the crate's features `tracing` and `qlog`.
//!
//! # `tracing`
//!
//! Every span and event has the target `wsmux`. A connection's task runs in the span
//! `wsmux.connection`, whose parent is the span in which the connection was made. The events of the
//! connection and of its streams are recorded in this span, in whichever task they occur. The span
//! has the level ERROR, so it is enabled whenever any event is enabled.
//!
//! | field of `wsmux.connection` | |
//! |---|---|
//! | `id` | the connection's number in this process; its qlog contains the same number |
//! | `side` | `Client` or `Server`: the role of this end |
//! | `wire` | `QMux` or `JsWs` |
//! | `remote_address` | the peer's address, if it is known |
//!
//! An event's message is its name.
//!
//! | event | level | fields | when |
//! |---|---|---|---|
//! | `connection.established` | DEBUG | | the peer's limits are known |
//! | `connection.draining` | DEBUG | | a drain has begun here |
//! | `connection.peer_draining` | DEBUG | | the peer has announced that it drains the connection |
//! | `connection.suspended` | INFO | | the connection has lost its socket and waits for a new one |
//! | `connection.resumed` | INFO | `gap`, `resent_messages`, `resent_bytes` | the connection goes on over a new socket |
//! | `connection.redial_failed` | DEBUG | `error` | this client could not open a new socket, and tries again if that may help |
//! | `connection.resume_refused` | DEBUG | | the server does not know this client's connection, so the connection ends |
//! | `session.resume_refused` | DEBUG | `error` | a client that may not resume a connection asked this server to do so; the connection keeps waiting for its own client |
//! | `connection.closed` | INFO | `culprit`, `reason` | an application closed the connection, at either end, or the peer's protocol layer closed it without an error |
//! | `connection.closed` | WARN | `culprit`, `reason` | the connection ended in any other way: by a violation, by a timeout, or with the network |
//! | `stream.opened` | TRACE | `stream` | this end has opened a stream |
//! | `stream.accepted` | TRACE | `stream` | the application has accepted a stream that the peer opened |
//! | `stream.finished` | TRACE | `stream` | the application has finished the sending half |
//! | `stream.reset` | DEBUG | `stream`, `code`, `by` | `by="local"`: the application reset the sending half, or dropped it unfinished; `by="peer"`: the application learned that the peer reset the stream |
//! | `stream.stopped` | DEBUG | `stream`, `code`, `by` | `by="local"`: the application stopped the receiving half, or dropped it before its end; `by="peer"`: a write or `stopped` learned that the peer stopped the stream |
//! | `stream.refused` | DEBUG | `total` | on the js-ws wire, the peer has opened more streams than may wait; `total` is the number of streams that were refused since the connection began |
//! | `handshake.completed` | DEBUG | `side`, `wire`, `subprotocol`, `remote_address` | the WebSocket is open |
//! | `handshake.refused` | WARN | `side="Client"`, `host`, `port`, `error` | the server has refused this client |
//! | `handshake.refused` | DEBUG | `side="Server"`, `remote_address`, `error` | this server has refused a client |
//! | `handshake.failed` | WARN | `side="Client"`, `host`, `port`, `error` | this client's handshake failed for any other reason |
//! | `handshake.failed` | DEBUG | `side="Server"`, `remote_address`, `error` | this server's handshake with a client failed for any other reason |
//! | `server.accept_paused` | WARN | `error` | the system is out of file descriptors or memory |
//! | `server.address_limit` | DEBUG | `remote_address` | a client was closed, because its address has reached the limit of connections |
//! | `qlog.failed` | WARN | `error` | a connection's qlog could not be written and ends here |
//!
//! No password, token, URL query or header value is recorded. No response body is recorded either,
//! because a body may repeat such a value. A subprotocol is recorded if it has the form `qmux-...`
//! or was configured as an application protocol. Any other subprotocol may be a page's token, so
//! `another name` is recorded in its place. When the peer closes, the close code is recorded but
//! not the reason, because a peer that knows a token can repeat the token in the reason. But the
//! error that the application gets does contain the reason. The `Display` and `Debug`
//! implementations of this crate follow the same rules, with two exceptions: `http`'s own types
//! show a URL's query, and an error shows the reason of a close. When a client's handshake fails at
//! a server, the event has level DEBUG, because any client can cause such failures. The server's
//! application gets the error in any case.
//!
//! `tracing` does not record messages, reads and writes; use the feature `qlog` for these. Without
//! the feature `tracing`, no code for spans and events is compiled. With the feature, an event that
//! no subscriber wants costs one read of a static variable.
//!
//! Events may be recorded while the connection's lock is held. So a subscriber must not call
//! methods of the connection that the event is about. Such a call would deadlock.
//!
//! # `qlog`
//!
//! If `qlog` is set on a builder, each of its connections on the QMux wire writes a log in QUIC's
//! qlog format (JSON-SEQ, version 0.3), which the tool qvis can read. In the log, each message
//! appears as a packet with its frames. A connection on the js-ws wire is not logged, because qlog
//! has no events for its frames. Each `QlogConfig` has its own thread, which writes the logs of its
//! connections. A connection never waits for this thread. If a log's writer is too slow, events are
//! left out, and the log says how many. If a writer hangs, it delays only the logs of the same
//! `QlogConfig`. A runtime that shuts down waits two seconds for a writer that hangs, and then
//! abandons the writer.
//!
//! A log needs at most 4 MiB of memory. `QlogConfig::max_size` limits the length of a log, to 64
//! MiB by default. Once a log has reached that length, only two more things are recorded: how many
//! events are missing, and how the connection ended.
