//! The errors of clients.

use std::{error::Error, fmt, io, ops::Deref, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use wsmux_proto::ConnectionError;

use crate::{connection::info::HeaderNames, handshake::negotiation::Shown};

/// Reasons for refusing a URL that could be parsed.
pub(crate) const FRAGMENT: &str = "a fragment has no meaning";
pub(crate) const CREDENTIALS: &str = "user and password belong in a header";

/// Connecting failed. The error is cheap to clone.
///
/// Neither `Display` nor `Debug` shows anything that may be secret: a URL, the value of a header, a
/// subprotocol that is not of the form `qmux-...`, or a response's body, which may repeat any of
/// them. The reason that a peer gives when it closes is shown, as in [`ConnectionError`].
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not valid, for this reason. The text does not repeat the URL, which may contain a
    /// password or a token. The mistake is on this end.
    #[error("invalid URL: {0}")]
    InvalidUrl(String),
    /// The scheme is neither `ws` nor `wss`, or it is `wss` without the feature `tls`. The mistake
    /// is on this end.
    #[error("unsupported scheme {0:?}")]
    UnsupportedScheme(String),
    /// The name could not be resolved. The cause is the network.
    #[error("could not resolve the name: {0}")]
    Resolve(#[source] Arc<io::Error>),
    /// None of the addresses accepted a TCP connection. The cause is the network. The inner error
    /// contains the error of each address, as [`ConnectAttempts`](crate::ConnectAttempts). The kind
    /// of the inner error is the kind of the last address's error.
    #[error("could not connect: {0}")]
    Connect(#[source] Arc<io::Error>),
    /// No address accepted a TCP connection within the connect timeout.
    #[error("connecting timed out")]
    ConnectTimeout,
    /// The proxy did not open a tunnel to the server. The inner error gives the reason. Its
    /// variants then describe the proxy and not the server. For example, the proxy could not be
    /// reached, or the proxy refused with a status of its own, such as 407 for missing or wrong
    /// credentials.
    #[error("proxy: {0}")]
    Proxy(#[source] Arc<Self>),
    /// The TLS handshake failed. If the certificate was the reason, this error contains a
    /// `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// TLS and the response to the upgrade were not complete within the handshake timeout.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// The stream ended or failed during the upgrade. The cause is the network.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The server refused the upgrade with a response of its own.
    #[error("refused with status {status}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The response's headers, such as `Location`, `WWW-Authenticate` (`Proxy-Authenticate` for
        /// a proxy), [`Retry-After`](Self::retry_after) and `Sec-WebSocket-Version`. There are at
        /// most 128 headers, from a head of at most 64 KiB.
        headers: Arc<HeaderMap>,
        /// The start of the response's body, at most 1 KiB, decoded if it is chunked. The text may
        /// end earlier, because the client waits for the body for at most one second, and never
        /// beyond the timeout of the attempt. The text is empty if the response has no body, or has
        /// a transfer coding for which the client did not ask.
        body: String,
    },
    /// The response is not a valid answer to the request (RFC 6455 §4.1), or is not HTTP.
    #[error("invalid response: {0}")]
    InvalidResponse(String),
    /// The server selected no subprotocol, or a subprotocol that was not offered. A server that
    /// answers in this way does not speak this wire.
    #[error(
        "offered subprotocols {:?}, and the server selected {:?}",
        Offered(offered),
        selected.as_deref().map(Shown)
    )]
    Subprotocol {
        /// The offered names; empty on the js-ws wire.
        offered: Vec<String>,
        /// The name that the server selected.
        selected: Option<String>,
    },
    /// The client's own [`VerifyServer`](crate::VerifyServer) rejected the server, for this reason.
    #[error("server rejected by this end: {0}")]
    ServerRejected(#[source] ServerRejection),
    /// The WebSocket was opened, but the connection over it ended before the connection was
    /// established. Usually this is [`TimedOut`](ConnectionError::TimedOut), because the server
    /// selected QMux's subprotocol but does not speak QMux.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut one =
            |name: &str, field: &dyn fmt::Debug| f.debug_tuple(name).field(field).finish();
        match self {
            Self::InvalidUrl(reason) => one("InvalidUrl", reason),
            Self::UnsupportedScheme(scheme) => one("UnsupportedScheme", scheme),
            Self::Resolve(error) => one("Resolve", error),
            Self::Connect(error) => one("Connect", error),
            Self::ConnectTimeout => f.write_str("ConnectTimeout"),
            Self::Proxy(error) => one("Proxy", error),
            Self::Tls(error) => one("Tls", error),
            Self::HandshakeTimeout => f.write_str("HandshakeTimeout"),
            Self::Io(error) => one("Io", error),
            Self::Refused { status, headers, body: _ } => f
                .debug_struct("Refused")
                .field("status", status)
                .field("headers", &HeaderNames(headers))
                .finish_non_exhaustive(),
            Self::InvalidResponse(reason) => one("InvalidResponse", reason),
            Self::Subprotocol { offered, selected } => f
                .debug_struct("Subprotocol")
                .field("offered", &Offered(offered))
                .field("selected", &selected.as_deref().map(Shown))
                .finish(),
            Self::ServerRejected(rejection) => one("ServerRejected", rejection),
            Self::Connection(error) => one("Connection", error),
        }
    }
}

/// Shows the names of the form `qmux-...`, and the number of other names. Another name may be a
/// token, because a web page cannot set a header and may send its token as a subprotocol.
pub(crate) struct Offered<'a>(pub(crate) &'a [String]);

impl fmt::Debug for Offered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_shown = |name: &&String| Shown(name).is_open();
        let others = self.0.iter().filter(|name| !is_shown(name)).count();
        let mut list = f.debug_list();
        list.entries(self.0.iter().filter(is_shown));
        if others > 0 {
            list.entry(&format_args!("{others} more"));
        }
        list.finish()
    }
}

/// The error of a [`VerifyServer`](crate::VerifyServer): any error, or a string, converted with
/// `into()`.
pub type VerifyServerError = Box<dyn Error + Send + Sync>;

/// Why a [`VerifyServer`](crate::VerifyServer) rejected the server. This is cheap to clone, and
/// dereferences to the application's error, which can be downcast.
#[derive(Clone)]
pub struct ServerRejection {
    error: Arc<dyn Error + Send + Sync>,
    headers: Option<Arc<HeaderMap>>,
}

impl From<VerifyServerError> for ServerRejection {
    fn from(error: VerifyServerError) -> Self {
        Self { error: error.into(), headers: None }
    }
}

impl ServerRejection {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn new(error: VerifyServerError, headers: Option<Arc<HeaderMap>>) -> Self {
        Self { error: error.into(), headers }
    }

    /// Returns the headers of the rejected response: at most 128, from a head of at most 64 KiB.
    /// Returns `None` if the certificates were rejected, because there was no response yet.
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        self.headers.as_deref()
    }
}

// This type is not an `Error` itself. If it were, `ConnectError::source` would return this type and
// not the application's own error.
impl Deref for ServerRejection {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.error
    }
}

impl fmt::Debug for ServerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for ServerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl ConnectError {
    /// Whether the same attempt may succeed later without a change on this end.
    ///
    /// It is `true`:
    ///
    /// - after a failure of the network, or a timeout;
    /// - after an invalid response, or the end of a connection that was not yet established;
    /// - after a refusal with a status that may be temporary (408, 425, 429, and 5xx except 501 and
    ///   505).
    ///
    /// It is `false`:
    ///
    /// - after a mistake on this end;
    /// - after a rejection by the client's own [`VerifyServer`](crate::VerifyServer);
    /// - after a TLS handshake in which either end refused the other's certificate, or the two ends
    ///   had no version or algorithm of TLS in common;
    /// - after a refusal with any other status, such as 401, 403 or 407, by the server or the
    ///   proxy;
    /// - after a response from a server that does not speak the subprotocol.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InvalidUrl(_) | Self::UnsupportedScheme(_) => false,
            Self::ServerRejected(_) | Self::Subprotocol { .. } => false,
            Self::Refused { status, .. } => match status.as_u16() {
                408 | 425 | 429 => true,
                501 | 505 => false,
                status => status >= 500,
            },
            Self::Proxy(error) => error.is_retryable(),
            // In TLS 1.3 the server's alert arrives after the client's handshake is complete, so
            // the alert may be in an `Io` error.
            Self::Tls(error) | Self::Io(error) => !is_final_in_tls(error),
            Self::Resolve(_) | Self::Connect(_) | Self::InvalidResponse(_) => true,
            Self::ConnectTimeout | Self::HandshakeTimeout | Self::Connection(_) => true,
        }
    }

    /// Returns how long the server or the proxy asks the client to wait, from the `Retry-After`
    /// header of its [refusal](Self::Refused) (RFC 9110 §10.2.3). If the header contains a date,
    /// the result is the time from the response's `Date` to that date. Without a `Date`, the time
    /// counts from now. The time is zero if the date has passed. Returns `None` if `Retry-After` is
    /// missing or cannot be read.
    ///
    /// The returned time has no upper limit. A caller that waits for this time should set an upper
    /// limit.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { headers, .. } => {
                let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
                if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
                    // A number that does not fit into a `u64` is taken as the largest `u64`.
                    return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
                }
                until(value, headers.get(header::DATE))
            }
            Self::Proxy(error) => error.retry_after(),
            _ => None,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InvalidUrl(_) | Self::UnsupportedScheme(_) => io::ErrorKind::InvalidInput,
            Self::Resolve(error) | Self::Connect(error) | Self::Tls(error) | Self::Io(error) => {
                error.kind()
            }
            Self::Proxy(error) => error.kind(),
            Self::ConnectTimeout | Self::HandshakeTimeout => io::ErrorKind::TimedOut,
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::ServerRejected(_) => io::ErrorKind::PermissionDenied,
            Self::InvalidResponse(_) | Self::Subprotocol { .. } => io::ErrorKind::InvalidData,
            Self::Connection(error) => io::Error::from(error.clone()).kind(),
        }
    }
}

/// Returns the time from the HTTP date `from` to the HTTP date `moment`. Without a valid `from`,
/// the time counts from now.
#[cfg(not(target_family = "wasm"))]
fn until(moment: &str, from: Option<&HeaderValue>) -> Option<Duration> {
    let date = from.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?.trim()).ok());
    let from = date.unwrap_or_else(std::time::SystemTime::now);
    let moment = httpdate::parse_http_date(moment).ok()?;
    Some(moment.duration_since(from).unwrap_or_default())
}

/// Always returns `None`, because a browser does not show the response's headers to a page.
#[cfg(target_family = "wasm")]
fn until(_: &str, _: Option<&HeaderValue>) -> Option<Duration> {
    None
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connection(error) => error.into(),
            error => Self::new(error.kind(), error),
        }
    }
}

/// Whether the error concerns the identity or the capabilities of the two ends. Waiting changes
/// neither of these.
#[cfg(all(feature = "tls", not(target_family = "wasm")))]
fn is_final_in_tls(error: &io::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error};
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            !matches!(alert, Alert::CloseNotify | Alert::InternalError | Alert::UserCanceled)
        }
        Some(error) => matches!(
            error,
            Error::InvalidCertificate(_)
                | Error::InvalidCertRevocationList(_)
                | Error::NoCertificatesPresented
                | Error::UnsupportedNameType
                | Error::PeerIncompatible(_)
                | Error::General(_)
        ),
        None => false,
    }
}

#[cfg(not(all(feature = "tls", not(target_family = "wasm"))))]
fn is_final_in_tls(_: &io::Error) -> bool {
    false
}
