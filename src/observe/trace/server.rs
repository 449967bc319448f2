//! Records the events of a server.

#[cfg(feature = "tracing")]
use super::Coded;
use super::event;
use crate::error::AcceptError;

/// Records that the server accepts no clients for now, because the system is out of file
/// descriptors or memory.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn accept_paused(error: &std::io::Error) {
    event!(WARN, "server.accept_paused", error = ::tracing::field::display(error));
}

/// Records that a client's stream was closed because the client's address has reached the limit of
/// connections.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn address_limit(remote_address: Option<std::net::SocketAddr>) {
    event!(
        DEBUG,
        "server.address_limit",
        remote_address = remote_address.map(::tracing::field::display)
    );
}

/// Records that a client's connection to the server could not be established.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn accept_failed(error: &AcceptError, remote_address: Option<std::net::SocketAddr>) {
    #[cfg(feature = "tracing")]
    match error {
        // The resumed connection itself records `connection.resumed`.
        AcceptError::Resumed => {}
        AcceptError::Refused { .. } | AcceptError::Answered { .. } => {
            event!(
                DEBUG,
                "handshake.refused",
                side = "Server",
                remote_address = remote_address.map(::tracing::field::display),
                error = &*error.to_string()
            );
        }
        _ => {
            event!(
                DEBUG,
                "handshake.failed",
                side = "Server",
                remote_address = remote_address.map(::tracing::field::display),
                error = &*match error {
                    AcceptError::Connection(error) => Coded(error).to_string(),
                    error => error.to_string(),
                }
            );
        }
    }
}
