//! Compares npm's `@matrixai/ws` with wsmux: their names side by side, and what differs. Also says
//! how to work with a peer that uses that package. This chapter is about version 1.1.7 of the
//! package; "js-ws" below means that package, running in Node.
//!
//! The js-ws wire has to be configured on both ends. A js-ws endpoint always uses TLS:
//!
//! ```
//! use wsmux::{WebSocketClient, WebSocketServer, Wire};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (certificate, key) = (made.cert.der().clone(), made.signing_key.into());
//! let server = WebSocketServer::builder()
//!     .wires([Wire::QMux, Wire::JsWs]) // each client selects one
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
//! let client =
//!     WebSocketClient::builder().wire(Wire::JsWs).trust_self_signed(certificate).build()?;
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
//! | `stream.cancel(reason)` | `reset` and `stop`; dropping the stream does both with code 0 |
//! | `connection.stop({errorCode, reason})` | [`close(code, reason)`](crate::WebSocketConnection::close), see below |
//! | `connection.closedP`, `EventWebSocketConnectionError` | [`closed`](crate::WebSocketConnection::closed), [`close_reason`](crate::WebSocketConnection::close_reason) |
//! | `connection.meta()` | [`info`](crate::WebSocketConnection::info), [`remote_address`](crate::WebSocketConnection::remote_address) |
//! | `remoteCertsChain` | [`peer_certificates`](crate::WebSocketConnection::peer_certificates) |
//! | `client.destroy()`, `server.stop()` | `close` of each connection; [`WebSocketServer::close`](crate::WebSocketServer::close) only stops accepting |
//!
//! # Settings
//!
//! | js-ws | its default | wsmux | default here |
//! |---|---|---|---|
//! | `streamBufferSize` | 1 MiB | [`stream_receive_window`](crate::Config::stream_receive_window) | 1 MiB |
//! | `keepAliveIntervalTime` | never | [`keep_alive_interval`](crate::Config::keep_alive_interval) | 10 s |
//! | `keepAliveTimeoutTime` | never | [`max_idle_timeout`](crate::Config::max_idle_timeout) | 30 s |
//! | the context's timer, `connectTimeoutTime` | never | [`connect_timeout`](crate::WebSocketClientBuilder::connect_timeout), [`handshake_timeout`](crate::Config::handshake_timeout) | 10 s each |
//! | `key`, `cert`, on a server | required | [`certificate`](crate::WebSocketServerBuilder::certificate) | no TLS |
//! | `key`, `cert`, on a client | none | [`client_certificate`](crate::WebSocketClientBuilder::client_certificate) | none |
//! | `ca` | the system's | [`add_root_certificate`](crate::WebSocketClientBuilder::add_root_certificate), *in addition to* the platform's | the platform's |
//! | `verifyPeer`, on a client | `true` | always; [`danger_accept_any_certificate`](crate::WebSocketClientBuilder::danger_accept_any_certificate) for `false` | |
//! | `verifyPeer`, on a server | `false` | [`require_client_certificates`](crate::WebSocketServerBuilder::require_client_certificates) | not requested |
//! | `verifyCallback` | none | see below | |
//! | `reasonToCode`, `codeToReason` | 0; `Error("read 42")` | none: codes are numbers | |
//! | stream limit | none | [`max_concurrent_bidi_streams`](crate::Config::max_concurrent_bidi_streams) | 100 |
//!
//! **`verifyCallback`.** To trust one known certificate, pin it with
//! [`trust_self_signed`](crate::WebSocketClientBuilder::trust_self_signed). For any other rule, a
//! client uses a [`ServerCertVerifier`](rustls::client::danger::ServerCertVerifier) in
//! [`tls_config`](crate::WebSocketClientBuilder::tls_config), or checks
//! [`peer_certificates`](crate::WebSocketConnection::peer_certificates) before it sends anything. A
//! server needs two parts. A [`ClientCertVerifier`](rustls::server::danger::ClientCertVerifier) in
//! `tls_config` accepts the certificates. An
//! [`authorize`](crate::WebSocketServerBuilder::authorize) hook sees the chain and the headers, and
//! can refuse with an HTTP status. js-ws requests a certificate from every client; wsmux requests
//! none by default.
//!
//! **Codes.** js-ws converts reasons to codes with `reasonToCode`, which by default returns 0 for
//! every reason. If your codes have meanings, give every js-ws endpoint a `reasonToCode` that
//! returns these codes. js-ws stores a code as a `Number`, so codes above 2^53 - 1 arrive rounded.
//! For both halves of a stream, js-ws calls `codeToReason` with `'read'`. So `codeToReason` cannot
//! tell which half has ended.
//!
//! # What differs
//!
//! **Close codes.** In js-ws `errorCode` is the code of the WebSocket Close itself. A js-ws
//! application may use the codes 1000 and 3000 to 4999. With any other code, such as 42, `stop`
//! throws, and nothing is sent. In wsmux any code is allowed, and wsmux maps it to the codes that
//! js-ws permits: `close(42, ..)` in wsmux arrives as 4042 in js-ws, and 4042 from js-ws arrives as
//! 42 in wsmux. The codes 1000 and 4000 from js-ws arrive as 0 in wsmux. The codes 3000 to 3999 are
//! the same on both sides. All other wsmux codes from 999 up arrive as 4999 in js-ws. A reason may
//! have 123 bytes.
//!
//! **What the wire lacks.** There are no unidirectional streams, so
//! [`open_uni`](crate::WebSocketConnection::open_uni) fails with
//! [`OpenError::Unsupported`](crate::OpenError::Unsupported). There are no datagrams, so
//! [`send_datagram`](crate::WebSocketConnection::send_datagram) fails with
//! [`SendDatagramError::UnsupportedByPeer`](crate::SendDatagramError::UnsupportedByPeer). The peer
//! sees a stream as soon as it is opened, so [`announce`](crate::SendStream::announce) does
//! nothing. The data of a new stream has to wait one round trip for credit.
//!
//! **Stream limit.** A js-ws peer does not learn wsmux's stream limit. A stream above the limit
//! waits until one of the other streams has ended. Until then wsmux sends no Ack on the waiting
//! stream. js-ws sends nothing on a stream before the first Ack has arrived. So 1,000 calls at once
//! are all answered, a hundred at a time.
//! [`ConnectionStats::waiting_streams`](crate::ConnectionStats::waiting_streams) counts the streams
//! that wait. If more than [`max_waiting_streams`](crate::Config::max_waiting_streams) (10,000)
//! wait, the next stream is refused: both its halves fail at the peer with code 0, and the
//! connection continues.
//! [`ConnectionStats::streams_refused`](crate::ConnectionStats::streams_refused) counts the refused
//! streams. Raise the stream limit if the peer keeps many streams open for a long time.
//!
//! **Keep-alive.** Each end has its own timeouts; nothing is negotiated. wsmux sends pings and
//! js-ws answers them, so an idle connection stays open.
//!
//! **The two halves of a stream end independently**, as in js-ws. But dropping a handle in wsmux
//! does not end the stream cleanly: if the sending half was not finished, it is aborted with code
//! 0.
//!
//! # Traps of js-ws
//!
//! We found these traps by running js-ws, or by reading its source. wsmux works around some of the
//! traps. The following traps remain:
//!
//! - **A js-ws application must not cancel a stream while data is in flight.** When it cancels a
//!   `readable`, and data of that stream arrives afterwards, js-ws closes the whole connection with
//!   1002. If js-ws opened the stream itself, the data causes an uncaught exception in js-ws
//!   instead, and its process dies. wsmux stops sending as soon as it receives the stop, but that
//!   is too late for data in flight. So let streams end: have the js-ws side read to the end, or
//!   have it ask the sender to finish.
//! - **A close with 0 may be unintended.** js-ws also closes with 1000, which arrives as 0, when
//!   its keep-alive timeout expires. So let your own protocol say when everything is done.
//! - **`stop({force: false})` does not wait.** It closes the connection's socket first, and the
//!   open streams then fail. Finish the streams before you call it.
//! - **A `readable` that errors loses its unread data.** After the peer has reset a stream, nothing
//!   that had arrived before can be read in js-ws.
//! - **A reset may be late.** If a js-ws application aborts a stream while a write to it waits for
//!   credit, the abort is not sent until credit arrives.
//! - **Its timeout starts late.** `keepAliveTimeoutTime` counts from the first data received, so
//!   js-ws never times out a peer that never sends anything. A wsmux peer does not cause this
//!   problem, because it sends pings.
//! - **It has no stream limit**, and stores the id of every stream that it has seen. So wsmux opens
//!   as many streams as your application asks for.
//! - **When its process ends**, it sends no Close, and wsmux reports
//!   [`ConnectionError::SocketLost`](crate::ConnectionError::SocketLost).
//!
//! wsmux handles the other traps for you. wsmux never exceeds its credit, because js-ws silently
//! drops any excess bytes. wsmux sends the end of a stream separately from the stream's data, and
//! sends no credit for a stream that js-ws may have forgotten. A wsmux client offers no
//! subprotocol, because a js-ws server would select any name that is offered. [SPEC.md], §7, has
//! the details.
//!
//! [SPEC.md]: https://github.com/wsmux/wsmux/blob/main/SPEC.md#7-the-js-ws-wire
