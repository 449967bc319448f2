//! What survives the loss of a connection, what was in flight, and what may be sent again.
//!
//! [`ReconnectingClient`] keeps a connection to a server: it dials, waits for the loss, and dials again after a
//! pause. It does not hide that a connection was lost, for nobody but the application can say what that means.
//!
//! # What survives
//!
//! | | |
//! |---|---|
//! | the [`ReconnectingClient`], and its settings | yes |
//! | streams, on either side | no: each handle fails with [`ReadError::ConnectionLost`] or [`WriteError::ConnectionLost`] |
//! | data that had arrived | yes: it is read before the error is told |
//! | data that a write had accepted | not known, see below |
//! | datagrams that had arrived | yes, on the old connection's handle |
//! | limits set on a live connection, [`set_stream_receive_window`] for example | no: the new one has those of [`Config`] |
//! | the server's memory of who this is | only what its application keeps |
//!
//! A new connection is a new one: its streams begin at id 0, and the server asks again who calls. So fetch the
//! [`connection`] for each use, and not once.
//!
//! ```
//! # use wsmux::{ReconnectingClient, ReconnectError, WebSocketConnection};
//! async fn call(client: &ReconnectingClient, request: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let (mut send, mut recv) = client.connection().await?.open_bi().await?.into_split();
//!     send.write_all(request).await?;
//!     send.finish()?;
//!     Ok(recv.read_to_end(64 * 1024).await?)
//! }
//! ```
//!
//! # What was in flight
//!
//! [`ReconnectEvent::Lost`] says it with the reason, as it was at the moment of the end, before any handle could
//! be dropped: the [`InFlight`] streams by their ids (an id tells which side had opened it), and how many bytes had
//! been accepted by writes and not handed to the socket. [`in_flight`] tells the same of any connection.
//!
//! A stream is in flight while something on it is outstanding *for this end*: its own sending half has not ended and
//! left, or the peer has not ended the other. A request whose answer has come in full is not, though nobody may have
//! read it yet. Neither is a unidirectional stream that was finished and handed to the socket: whether it
//! arrived, nobody here knows. **Only an answer says that a message was received**, and only the application's
//! says that it was acted upon. Who needs to know uses a bidirectional stream, and reads its end.
//!
//! # What may be sent again
//!
//! Of a call that was in flight the server may have seen nothing, or half, or all; it may have acted and the answer was
//! lost. So a call may be repeated when it is *idempotent*: a read, or a write that says "set to" and not "add". Make
//! the others so with a key that the client chooses once per call and sends with each attempt; the server keeps
//! the answers of the last keys for as long as clients try, and answers a known key from there. A reset with a code
//! of the application's own, or an answer that says "not done", is better than a loss: then the client knows.
//!
//! A server that wants its clients elsewhere can call [`shutdown_timeout`]: new streams are refused,
//! those that are open have that long to end, and if they do nothing is in flight when the connection is lost.
//!
//! # When it dials again, and when it does not
//!
//! After a loss, always, unless [`reconnect_if`] says otherwise: a server whose application closes with a code that
//! means "go away" is to be believed. So it does once the application here [shuts its connection down]: what is open
//! goes on, and new streams get the next connection. The peer's shutdown is seen at its end, for neither wire has a word
//! for its beginning: until then the streams that are opened are refused. After an attempt that failed, if the error [is retryable]: not after 401, 403
//! or 407, not after a certificate that is refused on either side, not where no subprotocol fits, for these stay as
//! they are. A server, or a proxy, that refuses with `Retry-After` is left alone for as long as it says, up to an hour.
//! [`retry_if`] decides otherwise, and [`max_attempts`] sets an end. A token that expires is best fetched
//! by a dialer of one's own ([`with_dialer`]), which makes each attempt with a fresh one.
//!
//! The pause is taken at random between 0 and a longest one, which starts at 500 ms and doubles up to 30 s ([full
//! jitter]): ten thousand clients of a server that was restarted come back spread over time and not at once. After a
//! connection that lasted 30 s the pauses start at 500 ms again, and so does the count of attempts. One that is lost
//! sooner is a failed attempt, unless this end closed it: so [`max_attempts`] ends with a server that accepts and goes
//! away at once.
//!
//! How fast a loss is seen depends on how it happens: a server that closes, or a machine that says that nobody
//! listens, is seen at once; a cable that was pulled after the [idle timeout], which keep-alive pings
//! keep from striking otherwise.
//!
//! [`Config`]: crate::Config
//! [`InFlight`]: crate::InFlight
//! [`ReadError::ConnectionLost`]: crate::ReadError::ConnectionLost
//! [`ReconnectEvent::Lost`]: crate::ReconnectEvent::Lost
//! [`ReconnectingClient`]: crate::ReconnectingClient
//! [`WriteError::ConnectionLost`]: crate::WriteError::ConnectionLost
//! [`connection`]: crate::ReconnectingClient::connection
//! [`in_flight`]: crate::WebSocketConnection::in_flight
//! [`max_attempts`]: crate::ReconnectingClientBuilder::max_attempts
//! [`reconnect_if`]: crate::ReconnectingClientBuilder::reconnect_if
//! [`retry_if`]: crate::ReconnectingClientBuilder::retry_if
//! [`set_stream_receive_window`]: crate::WebSocketConnection::set_stream_receive_window
//! [`shutdown_timeout`]: crate::WebSocketConnection::shutdown_timeout
//! [`with_dialer`]: crate::ReconnectingClient::with_dialer
//! [shuts its connection down]: crate::WebSocketConnection::shutdown
//! [full jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
//! [idle timeout]: crate::Config::max_idle_timeout
//! [is retryable]: crate::ConnectError::is_retryable
