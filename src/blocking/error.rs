//! The error of a blocking call.

use std::io;

/// The operation failed, or did not complete in time.
///
/// When this error is converted into an [`io::Error`], the new error has the kind of the cause,
/// with one exception. If the connection has ended by a timeout, or by a socket error whose kind
/// means "try again", the new kind is [`ConnectionAborted`](io::ErrorKind::ConnectionAborted),
/// because a repeated call would fail again. Only [`WaitError::TimedOut`] becomes
/// [`TimedOut`](io::ErrorKind::TimedOut), so a call that fails with that kind can be repeated. The
/// cause is inside the error ([`io::Error::get_ref`]): a
/// [`ConnectionError`](crate::ConnectionError) if the connection has ended, and otherwise the
/// operation's own error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError<E> {
    /// The timeout has expired. The operation has done nothing, and nothing is lost.
    #[error("timed out")]
    TimedOut,
    /// The operation failed.
    #[error(transparent)]
    Failed(E),
}

impl<E: Into<io::Error>> From<WaitError<E>> for io::Error {
    fn from(error: WaitError<E>) -> Self {
        match error {
            WaitError::TimedOut => Self::new(io::ErrorKind::TimedOut, "timed out"),
            WaitError::Failed(error) => final_error(error.into()),
        }
    }
}

/// When a call fails with certain kinds of errors, std and many programs repeat the call. After the
/// end of a connection, a repeated call would always fail again, so these programs would repeat the
/// call for ever. Therefore this function replaces such kinds.
fn final_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
            let kind = io::ErrorKind::ConnectionAborted;
            match error.into_inner() {
                Some(cause) => io::Error::new(kind, cause),
                None => kind.into(),
            }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsmux_proto::{ConnectionError, ReadError, SocketError, Timeout};

    fn of(error: ConnectionError) -> io::Error {
        WaitError::Failed(ReadError::ConnectionLost(error)).into()
    }

    #[test]
    fn an_ended_connection_never_sounds_like_try_again() {
        for kind in [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut]
        {
            let socket = SocketError::from(io::Error::from(kind));
            assert_eq!(
                of(ConnectionError::SocketLost(socket)).kind(),
                io::ErrorKind::ConnectionAborted
            );
        }
        let idle = of(ConnectionError::TimedOut(Timeout::Idle));
        assert_eq!(idle.kind(), io::ErrorKind::ConnectionAborted);
        let cause = idle.get_ref().and_then(|cause| cause.downcast_ref::<ConnectionError>());
        assert!(matches!(cause, Some(ConnectionError::TimedOut(Timeout::Idle))), "{cause:?}");
        let timeout = io::Error::from(WaitError::<ReadError>::TimedOut);
        assert_eq!(timeout.kind(), io::ErrorKind::TimedOut);
    }
}
