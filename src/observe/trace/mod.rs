//! Records the spans and events of the feature `tracing`. The manual's chapter on observability
//! lists the events' names, levels and fields. Change the chapter together with this module.

#[cfg(not(target_family = "wasm"))]
mod server;

use wsmux_proto::{ResumeError, SessionEvent, Side, StreamId, VarInt, Wire, WriteError};

#[cfg(not(target_family = "wasm"))]
pub(crate) use self::server::*;
use crate::{connection::ConnectionInfo, error::ConnectError};

/// `event!(DEBUG, "name", field = value)` records an event. If the first argument is a connection's
/// [`Span`], the event is recorded in that span. The values are evaluated only if a subscriber
/// wants the event. Without the feature the macro expands to nothing.
macro_rules! event {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        #[cfg(feature = "tracing")]
        ::tracing::event!(
            name: $name, target: "wsmux", ::tracing::Level::$level, $($field = $value,)* $name
        );
    };
    ($span:expr, $level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        #[cfg(feature = "tracing")]
        ::tracing::event!(
            name: $name, target: "wsmux", parent: &$span.0, ::tracing::Level::$level,
            $($field = $value,)* $name
        );
    };
}
pub(crate) use event;

/// The span in which a connection's events are recorded. Empty without the feature.
#[derive(Debug)]
pub(crate) struct Span(#[cfg(feature = "tracing")] pub(crate) ::tracing::Span);

/// Returns the number of the next connection in this process.
#[cfg(any(feature = "tracing", feature = "qlog"))]
pub(crate) fn next_connection_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whether the end of one half of a stream has been recorded. It is recorded once, although several
/// calls of the application may report it.
#[derive(Debug, Default)]
pub(crate) struct EndRecorded(#[cfg(feature = "tracing")] bool);

#[cfg(feature = "tracing")]
impl EndRecorded {
    /// Returns whether the end has not been recorded yet. After this call the end counts as
    /// recorded.
    pub(crate) fn first(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }
}

/// Records that the peer has stopped a stream, if that is the `error` of a write to the stream.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn write_failed(
    span: &Span,
    id: StreamId,
    end_recorded: &mut EndRecorded,
    error: &WriteError,
) {
    #[cfg(feature = "tracing")]
    if let WriteError::Stopped(code) = error
        && end_recorded.first()
    {
        let (stream, code) = (id.into_inner(), code.into_inner());
        event!(span, DEBUG, "stream.stopped", stream = stream, code = code, by = "peer");
    }
}

/// Records that the peer has reset a stream, when a read or a wait for the reset has returned the
/// reset.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn reset_by_peer(
    span: &Span,
    id: StreamId,
    end_recorded: &mut EndRecorded,
    code: VarInt,
) {
    #[cfg(feature = "tracing")]
    if end_recorded.first() {
        let (stream, code) = (id.into_inner(), code.into_inner());
        event!(span, DEBUG, "stream.reset", stream = stream, code = code, by = "peer");
    }
}

/// Records that the WebSocket is open.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn handshake_completed(side: Side, wire: Wire, info: &ConnectionInfo) {
    event!(
        DEBUG,
        "handshake.completed",
        side = ::tracing::field::debug(side),
        wire = ::tracing::field::debug(wire),
        subprotocol = info.subprotocol.as_ref().map(crate::handshake::negotiation::Agreed::shown),
        remote_address = info.remote_address().map(::tracing::field::display)
    );
}

/// Records that a connection's qlog could not be written.
#[cfg(feature = "qlog")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn qlog_failed(error: &std::io::Error) {
    event!(WARN, "qlog.failed", error = ::tracing::field::display(error));
}

/// Records that a client got no connection.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn connect_failed(error: &ConnectError, host: &str, port: u16) {
    #[cfg(feature = "tracing")]
    match error {
        ConnectError::Refused { .. } => {
            event!(
                WARN,
                "handshake.refused",
                side = "Client",
                host = host,
                port = port,
                error = &*error.to_string()
            );
        }
        _ => {
            event!(
                WARN,
                "handshake.failed",
                side = "Client",
                host = host,
                port = port,
                error = &*match error {
                    ConnectError::Connection(error) => Coded(error).to_string(),
                    error => error.to_string(),
                }
            );
        }
    }
}

/// Records that a connection has lost its socket, or has a new one.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn session_event(span: &Span, event: &SessionEvent) {
    #[cfg(feature = "tracing")]
    match *event {
        SessionEvent::Suspended => {
            event!(span, INFO, "connection.suspended");
        }
        SessionEvent::Resumed { gap, resent_messages, resent_bytes, .. } => {
            event!(
                span,
                INFO,
                "connection.resumed",
                gap = ::tracing::field::debug(gap),
                resent_messages = resent_messages,
                resent_bytes = resent_bytes
            );
        }
        _ => {
            event!(span, DEBUG, "connection.resume_refused");
        }
    }
}

/// Records that a client could not reach the server to resume a connection.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn redial_failed(span: &Span, error: &ConnectError) {
    event!(span, DEBUG, "connection.redial_failed", error = &*error.to_string());
}

/// Records that a client may not resume a server's connection.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn resume_refused(span: &Span, error: &ResumeError) {
    event!(span, DEBUG, "session.resume_refused", error = ::tracing::field::display(error));
}

#[cfg(feature = "tracing")]
pub(crate) use enabled::*;

#[cfg(feature = "tracing")]
mod enabled {
    use std::fmt;

    use super::Span;
    use crate::connection::ConnectionInfo;
    use wsmux_proto::{Connection, ConnectionError, TransportErrorCode};

    /// The number of refused streams when an event was last recorded.
    #[derive(Debug, Default)]
    pub(crate) struct RefusedStreams(u64);

    impl RefusedStreams {
        /// Returns the number of refused streams if it has grown since the last call and a
        /// subscriber wants the event.
        pub(crate) fn increase(&mut self, engine: &Connection) -> Option<u64> {
            if !tracing::enabled!(target: "wsmux", tracing::Level::DEBUG) {
                return None;
            }
            let total = engine.stats(wsmux_proto::Time::EPOCH).streams_refused;
            (std::mem::replace(&mut self.0, total) < total).then_some(total)
        }
    }

    /// Displays why a connection ended. The text contains the code of a peer's close and not the
    /// reason, because a peer could repeat a secret in the reason, and the secret would be logged.
    pub(crate) struct Coded<'a>(pub(crate) &'a ConnectionError);

    impl fmt::Display for Coded<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                ConnectionError::ApplicationClosed(close) => {
                    write!(f, "closed by the peer's application: code {}", close.error_code)
                }
                ConnectionError::ConnectionClosed(close) => {
                    write!(f, "closed by the peer: {}", close.error_code)?;
                    match websocket_code(&close.reason) {
                        Some(code) => write!(f, ": WebSocket close {code}"),
                        None => Ok(()),
                    }
                }
                error => error.fmt(f),
            }
        }
    }

    /// Returns the code of a WebSocket Close that came without a CONNECTION_CLOSE frame, for
    /// example from a proxy that found a message too large. The engine puts this code into the
    /// reason, before the text of the Close.
    fn websocket_code(reason: &[u8]) -> Option<u16> {
        let code = reason.strip_prefix(b"WebSocket close ")?.get(..4)?;
        std::str::from_utf8(code).ok()?.parse().ok()
    }

    /// Makes the span of a connection.
    pub(crate) fn connection_span(id: u64, engine: &Connection, info: &ConnectionInfo) -> Span {
        let span = tracing::error_span!(
            target: "wsmux",
            "wsmux.connection",
            id,
            side = tracing::field::debug(engine.side()),
            wire = tracing::field::debug(engine.wire()),
            remote_address = info.remote_address().map(tracing::field::display),
        );
        Span(span)
    }

    /// Records that the connection has ended.
    pub(crate) fn closed(span: &Span, error: &ConnectionError) {
        let is_clean = match error {
            ConnectionError::LocallyClosed | ConnectionError::ApplicationClosed(_) => true,
            ConnectionError::ConnectionClosed(close) => {
                close.error_code == TransportErrorCode::NO_ERROR
            }
            _ => false,
        };
        let culprit = error.culprit();
        if is_clean {
            event!(
                span,
                INFO,
                "connection.closed",
                culprit = ::tracing::field::debug(culprit),
                reason = &*Coded(error).to_string()
            );
        } else {
            event!(
                span,
                WARN,
                "connection.closed",
                culprit = ::tracing::field::debug(culprit),
                reason = &*Coded(error).to_string()
            );
        }
    }
}
