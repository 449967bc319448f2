//! What survives the loss of a connection, what was in flight, and what may be sent again.
//!
//! [`ReconnectingClient`] keeps a connection to a server: it dials, waits until the connection is
//! lost, and dials again after a pause. It does not hide the loss, because only the application
//! knows what the loss means. If only the network is lost and the server still runs, a connection
//! can also continue over a new socket; see
//! [`when_the_network_goes`](super::when_the_network_goes). This chapter is about connections that
//! have ended.
//!
//! # What survives
//!
//! | | |
//! |---|---|
//! | the [`ReconnectingClient`], and its settings | yes |
//! | streams, on either side | no: each handle fails with [`ReadError::ConnectionLost`] or [`WriteError::ConnectionLost`] |
//! | data that had arrived | yes: it is read before the error is returned |
//! | data that a write had accepted | unknown, see below |
//! | datagrams that had arrived | yes, on the old connection's handle |
//! | limits set on a live connection, [`set_stream_receive_window`] for example | no: the new connection has the limits of [`Config`] |
//! | what the server knows of this client | only what its application keeps |
//!
//! A new connection shares nothing with the old one: its streams begin at id 0, and the server
//! authenticates the client again. So do not store a connection. Open streams with [`open_bi`], or
//! get the current [`connection`] for each use.
//!
//! ```
//! # use wsmux::{ReconnectingClient, ReconnectError, WebSocketConnection};
//! async fn call(
//!     client: &ReconnectingClient,
//!     request: &[u8],
//! ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let (mut send, mut recv) = client.open_bi().await?.into_split();
//!     send.write_all(request).await?;
//!     send.finish()?;
//!     Ok(recv.read_to_end(64 * 1024).await?)
//! }
//! ```
//!
//! # What was in flight
//!
//! [`ReconnectEvent::Lost`] reports what was in flight, together with the reason of the loss. It
//! describes the state at the moment when the connection ended, before any handle could be dropped.
//! [`InFlight`] contains the ids of the streams (an id shows which side opened the stream), and the
//! number of bytes that writes had accepted but that had not been handed to the socket.
//! [`in_flight`] returns the same information for any connection.
//!
//! A stream is in flight while *this end* is waiting for something on it: the application has not
//! ended the sending half, or the end of the sending half has not been sent yet, or the peer has
//! not ended the receiving half. A request whose answer has arrived in full is not in flight, even
//! if nobody has read the answer yet. A unidirectional stream that was finished and handed to the
//! socket is not in flight either, because this end cannot know whether the stream has arrived.
//! **Only an answer says that a message was received**, and only the application's answer says that
//! it was processed. If you need to know this, use a bidirectional stream and read until the peer
//! ends it.
//!
//! # What may be sent again
//!
//! If a call was in flight, the server may have seen nothing of the call, a part of it, or all of
//! it. The server may even have processed the call, and only the answer was lost. So a call may be
//! repeated if it is *idempotent*: a read, or a write that says "set to" and not "add". Make other
//! calls idempotent with a key that the client chooses once per call and sends with each attempt.
//! The server remembers the answers to recent keys for as long as clients retry, and repeats the
//! answer when it sees a known key. If a server cannot execute a call, it should reset the stream
//! with a code of the application's own, or answer "not done". Then the client knows that the call
//! was not executed, which it cannot know after a loss.
//!
//! A server that wants to move its clients can call [`drain_timeout`] or shut down. On the QMux
//! wire the server notifies a [`ReconnectingClient`] of the drain. The client then opens new
//! streams on another connection, and open streams may continue until the timeout. If the open
//! streams end in time, nothing is in flight when the connection closes, and no call has failed.
//!
//! # When it dials again, and when it does not
//!
//! **After a loss** the client always dials again, unless the function that you pass to
//! [`reconnect_if`] returns `false`. It should return `false` if the server's application closes
//! the connection with a code that means "go away". The client also dials when its own application
//! [drains the connection]: open streams continue on the old connection, and new streams are opened
//! on the next one. When a wsmux peer drains the connection, the client dials as well, after a
//! random pause of 1 s at most ([`ReconnectEvent::PeerDraining`]). Until the next connection is
//! established, the client opens streams on the old one, but for 3 s at most. After that,
//! [`open_bi`] waits for the next connection. If the peer is not wsmux, or on the js-ws wire, the
//! client learns of the drain only when the old connection closes. Until then, the peer refuses the
//! streams that the client opens.
//!
//! **After a failed attempt** it dials again if the error [is retryable]. It does not dial again
//! after a status of 401, 403 or 407, after either side has refused the other's certificate, or if
//! no subprotocol fits, because another attempt would end in the same way. If a server or a proxy
//! refuses with `Retry-After`, the client waits that long, up to an hour. [`retry_if`] overrides
//! these rules, and [`max_attempts`] limits the attempts. For a token that expires, write a dialer
//! ([`with_dialer`]) that fetches a fresh token for each attempt.
//!
//! The pause is random, between 0 and a maximum that starts at 500 ms and doubles up to 30 s ([full
//! jitter]). So when a server restarts, its ten thousand clients do not all come back at the same
//! moment. After a connection that lasted 30 s, the pauses start at 500 ms again and the count of
//! attempts at zero. A connection that is lost sooner counts as a failed attempt, unless this end
//! closed it. So [`max_attempts`] also ends the attempts at a server that accepts clients and drops
//! them at once.
//!
//! The time until a loss is noticed depends on its cause. A loss is noticed at once if the server
//! closes the connection, or if the server's machine answers that it no longer knows the TCP
//! connection. A pulled cable is noticed only after the [idle timeout].
//!
//! [`Config`]: crate::Config
//! [`InFlight`]: crate::InFlight
//! [`ReadError::ConnectionLost`]: crate::ReadError::ConnectionLost
//! [`ReconnectEvent::Lost`]: crate::ReconnectEvent::Lost
//! [`ReconnectEvent::PeerDraining`]: crate::ReconnectEvent::PeerDraining
//! [`ReconnectingClient`]: crate::ReconnectingClient
//! [`WriteError::ConnectionLost`]: crate::WriteError::ConnectionLost
//! [`connection`]: crate::ReconnectingClient::connection
//! [`in_flight`]: crate::WebSocketConnection::in_flight
//! [`open_bi`]: crate::ReconnectingClient::open_bi
//! [`max_attempts`]: crate::ReconnectingClientBuilder::max_attempts
//! [`reconnect_if`]: crate::ReconnectingClientBuilder::reconnect_if
//! [`retry_if`]: crate::ReconnectingClientBuilder::retry_if
//! [`set_stream_receive_window`]: crate::WebSocketConnection::set_stream_receive_window
//! [`drain_timeout`]: crate::WebSocketConnection::drain_timeout
//! [`with_dialer`]: crate::ReconnectingClient::with_dialer
//! [drains the connection]: crate::WebSocketConnection::drain
//! [full jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
//! [idle timeout]: crate::Config::max_idle_timeout
//! [is retryable]: crate::ConnectError::is_retryable
