//! `@matrixai/ws` in wsmux's names, what differs, and how to live with that endpoint. This is about its version
//! 1.1.7; "js-ws" below is that package, under Node.
//!
//! The wire has to be asked for on both ends. A js-ws endpoint always speaks TLS:
//!
//! ```
//! use wsmux::{WebSocketClient, WebSocketServer, Wire};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (certificate, key) = (made.cert.der().clone(), made.signing_key.into());
//! let server = WebSocketServer::builder()
//!     .wires([Wire::QMux, Wire::JsWs]) // each client as it asks
//!     .certificate([certificate.clone()], key)
//!     .bind("127.0.0.1:0")
//!     .await?;
//! let url = format!("wss://{}/", server.local_addr()?);
//! let echo = tokio::spawn(async move {
//!     let connection = server.accept().await?.await.ok()?;
//!     let (mut send, mut recv) = connection.accept_bi().await.ok()?.into_split();
//!     tokio::io::copy(&mut recv, &mut send).await.ok()?;
//!     send.finish().ok()?;
//!     connection.closed().await;
//!     Some(connection.wire())
//! });
//!
//! let client = WebSocketClient::builder().wire(Wire::JsWs).trust_self_signed(certificate).build()?;
//! let connection = client.connect(&url).await?;
//! let (mut send, mut recv) = connection.open_bi().await?.into_split();
//! send.write_all(b"hello").await?;
//! send.finish()?;
//! assert_eq!(recv.read_to_end(64).await?, b"hello");
//! drop((send, recv, connection));
//! assert_eq!(echo.await?, Some(Wire::JsWs));
//! # Ok(())
//! # }
//! ```
//!
//! # Names
//!
//! | js-ws | wsmux |
//! |---|---|
//! | `WebSocketClient.createWebSocketClient({host, port, config})` | [`WebSocketClient::builder`](crate::WebSocketClient::builder), then [`connect("wss://host:port")`](crate::WebSocketClient::connect) |
//! | `client.connection` | what `connect` returns |
//! | `new WebSocketServer({config})`, `start({host, port})` | [`WebSocketServer::builder`](crate::WebSocketServer::builder), then [`bind`](crate::WebSocketServerBuilder::bind) |
//! | `start({path})` | the path in [`authorize`](crate::WebSocketServerBuilder::authorize), by [`ConnectionInfo::request`](crate::ConnectionInfo::request) |
//! | an injected `https.Server` | [`WebSocketAcceptor::from_io`](crate::WebSocketAcceptor::from_io), [`from_websocket`](crate::WebSocketConnection::from_websocket) |
//! | `server.updateConfig` with new certificates | [`set_certificate`](crate::WebSocketServer::set_certificate), [`set_tls_config`](crate::WebSocketServer::set_tls_config) |
//! | `EventWebSocketServerConnection` | [`accept`](crate::WebSocketServer::accept) |
//! | `connection.newStream()` | [`open_bi`](crate::WebSocketConnection::open_bi) |
//! | `EventWebSocketConnectionStream` | [`accept_bi`](crate::WebSocketConnection::accept_bi) |
//! | `stream.readable`, `stream.writable` | [`into_split`](crate::WebSocketStream::into_split) |
//! | `writable` closed | [`finish`](crate::SendStream::finish) |
//! | `writable` aborted | [`reset(code)`](crate::SendStream::reset) |
//! | `readable` cancelled | [`stop(code)`](crate::RecvStream::stop) |
//! | `stream.cancel(reason)` | both of these; a drop does both with code 0 |
//! | `connection.stop({errorCode, reason})` | [`close(code, reason)`](crate::WebSocketConnection::close), see below |
//! | `connection.closedP`, `EventWebSocketConnectionError` | [`closed`](crate::WebSocketConnection::closed), [`close_reason`](crate::WebSocketConnection::close_reason) |
//! | `connection.meta()` | [`info`](crate::WebSocketConnection::info), [`remote_address`](crate::WebSocketConnection::remote_address) |
//! | `remoteCertsChain` | [`peer_certificates`](crate::WebSocketConnection::peer_certificates) |
//! | `client.destroy()`, `server.stop()` | `close` of each connection; [`WebSocketServer::close`](crate::WebSocketServer::close) ends accepting alone |
//!
//! # Settings
//!
//! | js-ws | its default | wsmux | default here |
//! |---|---|---|---|
//! | `streamBufferSize` | 1 MiB | [`stream_window`](crate::Config::stream_window) | 1 MiB |
//! | `keepAliveIntervalTime` | never | [`keep_alive_interval`](crate::Config::keep_alive_interval) | 10 s |
//! | `keepAliveTimeoutTime` | never | [`max_idle_timeout`](crate::Config::max_idle_timeout) | 30 s |
//! | the context's timer, `connectTimeoutTime` | never | [`connect_timeout`](crate::WebSocketClientBuilder::connect_timeout), [`handshake_timeout`](crate::Config::handshake_timeout) | 10 s each |
//! | `key`, `cert`, on a server | required | [`certificate`](crate::WebSocketServerBuilder::certificate) | no TLS |
//! | `key`, `cert`, on a client | none | [`client_certificate`](crate::WebSocketClientBuilder::client_certificate) | none |
//! | `ca` | the system's | [`add_root_certificate`](crate::WebSocketClientBuilder::add_root_certificate), *besides* the platform's | the platform's |
//! | `verifyPeer`, on a client | `true` | always; [`danger_accept_any_certificate`](crate::WebSocketClientBuilder::danger_accept_any_certificate) for `false` | |
//! | `verifyPeer`, on a server | `false` | [`require_client_certificates`](crate::WebSocketServerBuilder::require_client_certificates) | not asked |
//! | `verifyCallback` | none | see below | |
//! | `reasonToCode`, `codeToReason` | 0; `Error("read 42")` | none: codes are numbers | |
//! | stream limit | none | [`max_concurrent_bidi_streams`](crate::Config::max_concurrent_bidi_streams) | 100 |
//!
//! **`verifyCallback`.** Where the trust is in one known certificate,
//! [`trust_self_signed`](crate::WebSocketClientBuilder::trust_self_signed) pins it. Any other rule on a client is a
//! [`ServerCertVerifier`](rustls::client::danger::ServerCertVerifier) in
//! [`tls_config`](crate::WebSocketClientBuilder::tls_config), or a look at
//! [`peer_certificates`](crate::WebSocketConnection::peer_certificates) before anything is sent. On a server it takes
//! two steps: a [`ClientCertVerifier`](rustls::server::danger::ClientCertVerifier) in `tls_config` that lets the
//! certificates through, and [`authorize`](crate::WebSocketServerBuilder::authorize), which sees the chain and the
//! headers, and refuses with an HTTP status. js-ws asks every client for a certificate; wsmux asks none by default.
//!
//! **Codes.** js-ws turns reasons into codes by `reasonToCode`, by default all into 0. Give it one on both ends
//! if codes mean something. It holds codes as a `Number`, so those above 2^53 - 1 arrive rounded; and it calls
//! `codeToReason` with `'read'` for both halves.
//!
//! # What differs
//!
//! **Close codes.** `errorCode` in js-ws is the WebSocket's code itself, for an application 1000 or 3000 to 4999; with
//! 42 its `stop` throws, and nothing is sent. Here codes are the application's, and are mapped onto that range: `close(42, ..)` is 4042 there, 4042 there is 42 here,
//! 1000 and 4000 there are 0 here, 3000 to 3999 are the same on both. Codes from 999 on that are not among those
//! all arrive as 4999. A reason has room for 123 bytes.
//!
//! **What the wire lacks.** There are bidirectional streams only:
//! [`open_uni`](crate::WebSocketConnection::open_uni) fails with [`OpenError::Unsupported`](crate::OpenError::Unsupported),
//! [`send_datagram`](crate::WebSocketConnection::send_datagram) with
//! [`SendDatagramError::UnsupportedByPeer`](crate::SendDatagramError::UnsupportedByPeer). A stream is seen at once
//! when it is opened, so [`announce`](crate::SendStream::announce) does nothing; its data waits a round trip for
//! credit.
//!
//! **Stream limit.** The peer does not learn it. A stream past the limit waits until a place is free: its first Ack is
//! held back, and without that js-ws sends nothing on it. So 1,000 calls at once are all answered, a hundred at a time.
//! [`ConnectionStats::waiting_streams`](crate::ConnectionStats::waiting_streams) says how many wait. Past
//! [`max_waiting_streams`](crate::Config::max_waiting_streams), 10,000, a stream is refused: both its halves fail at the
//! peer with code 0, and the connection goes on.
//! [`ConnectionStats::streams_refused`](crate::ConnectionStats::streams_refused) counts those. For a peer that holds many
//! streams open for long, raise the limit.
//!
//! **Keep-alive.** Each end has its own times; nothing is negotiated. wsmux pings by itself, and js-ws answers.
//!
//! **Streams end one half at a time**, as in js-ws, and dropping a handle here does not end it cleanly: an unfinished
//! sender is aborted with code 0.
//!
//! # Traps of js-ws
//!
//! Seen by running it, or read in its source. wsmux avoids what can be avoided from this side; these remain:
//!
//! - **It must not cancel while data is on its way.** When its application cancels a `readable`, data that
//!   arrives afterwards closes the whole connection with 1002. If js-ws had opened that stream, it is an
//!   exception that nobody catches, and the process dies. wsmux stops sending as soon as it is told, which is too
//!   late for what is in flight. Let streams end: have the js-ws side read to the end, or ask the sender to finish.
//! - **A close with 0 may be none that was meant.** js-ws also sends 1000 when its keep-alive timeout
//!   strikes. Say in your own protocol when all is done.
//! - **`stop({force: false})` does not wait.** Its connection closes the socket first, and streams then fail. Finish
//!   the streams before it is called.
//! - **A `readable` that errors loses what was not read.** A reset discards it; on that side there is nothing after
//!   an abort to be read.
//! - **A reset may be late.** While a write of its application waits for credit, an abort asked for by the same
//!   application is not sent before credit comes.
//! - **Its timeout starts late.** `keepAliveTimeoutTime` counts from the first thing received. A peer that never
//!   sends anything is never given up; wsmux pings.
//! - **It has no stream limit**, and keeps the id of every stream it has seen. What wsmux opens there, nobody
//!   bounds but your application.
//! - **A process that ends** is seen as [`ConnectionError::Reset`](crate::ConnectionError::Reset): it sends no Close.
//!
//! What wsmux does on its account, so that you need not: it never exceeds its credit, which js-ws would answer
//! by dropping bytes in silence; it sends the end of a stream apart from its data, and no credit for a stream that
//! js-ws may have forgotten; it offers no subprotocol, of which a js-ws server would select any. [SPEC.md], §7,
//! has all of it.
//!
//! [SPEC.md]: https://github.com/wsmux/wsmux/blob/main/SPEC.md#7-the-js-ws-wire
