//! Why a client got no connection.

use std::{error::Error, fmt, io, ops::Deref, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{connection::info::HeaderNames, handshake::negotiation::Shown, proto::ConnectionError};

/// Why a URL that can be read leads nowhere.
pub(crate) const FRAGMENT: &str = "a fragment has no meaning";
pub(crate) const CREDENTIALS: &str = "user and password belong in a header";

/// Connecting failed. Cheap to clone.
///
/// Neither `Display` nor `Debug` shows what may be secret: a URL, a header's value, a subprotocol that was
/// offered or selected and is not of the form `qmux-...`, or a response's body, which may repeat them. What a peer
/// says when it closes is shown, as [`ConnectionError`] has it.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// This end: the URL leads nowhere, for this reason. The URL is not repeated here, because it may hold a password or
    /// a token.
    #[error("invalid URL: {0}")]
    InvalidUrl(String),
    /// This end: neither `ws` nor `wss`, or `wss` without the feature `tls`.
    #[error("unsupported scheme {0:?}")]
    UnsupportedScheme(String),
    /// The network: the name could not be resolved.
    #[error("could not resolve the name: {0}")]
    Resolve(#[source] Arc<io::Error>),
    /// The network: none of the addresses took a TCP connection. Within this error there is what each of them
    /// said, as [`ConnectAttempts`](crate::ConnectAttempts); its kind is that of the last one.
    #[error("could not connect: {0}")]
    Connect(#[source] Arc<io::Error>),
    /// No address took a TCP connection within the connect timeout.
    #[error("connecting timed out")]
    ConnectTimeout,
    /// The proxy did not lead to the server. The error within says why, as if the proxy were the server: it could
    /// not be reached, or it refused with a status of its own, such as 407 where it wants other credentials.
    #[error("proxy: {0}")]
    Proxy(#[source] Arc<Self>),
    /// There is no TLS with this server. Where it is about the certificate, within this error there is a
    /// `rustls::Error`.
    #[error("TLS: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// The server did not answer TLS and the upgrade within the handshake timeout.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// The network: the stream ended or failed during the upgrade.
    #[error("connection lost during the handshake: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The server answered, and it was no upgrade.
    #[error("refused with status {status}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The response's headers, such as `Location`, `WWW-Authenticate` (`Proxy-Authenticate` of a proxy),
        /// [`Retry-After`](Self::retry_after) and `Sec-WebSocket-Version`: at most 128, of a head of at most 64 KiB.
        headers: Arc<HeaderMap>,
        /// The start of the response's body, at most 1 KiB, without its chunks' sizes. Empty where the response has no
        /// body, or one in a transfer coding that was not asked for.
        body: String,
    },
    /// What the server answered is no answer to this request (RFC 6455 §4.1), or no HTTP.
    #[error("invalid response: {0}")]
    InvalidResponse(String),
    /// The server selected no subprotocol, or one that was not offered: it does not speak this wire.
    #[error(
        "offered subprotocols {:?}, and the server selected {:?}",
        Offered(offered),
        selected.as_deref().map(Shown)
    )]
    Subprotocol {
        /// The names that were offered; none on the js-ws wire.
        offered: Vec<String>,
        /// The one that came back.
        selected: Option<String>,
    },
    /// This end: its own [`VerifyServer`](crate::VerifyServer) did not want this server, for this reason.
    #[error("server rejected by this end: {0}")]
    Rejected(#[source] Rejection),
    /// The WebSocket was open, and the connection over it ended before its start: mostly
    /// [`TimedOut`](ConnectionError::TimedOut), of a server that says it speaks QMux and does not.
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
            Self::Rejected(rejection) => one("Rejected", rejection),
            Self::Connection(error) => one("Connection", error),
        }
    }
}

/// The names among those offered that belong to this wire, and how many others there were. A page cannot set a
/// header, so one of the others may be its token.
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

/// What a [`VerifyServer`](crate::VerifyServer) fails with: any error, or words, by `into()`.
pub type VerifyServerError = Box<dyn Error + Send + Sync>;

/// The error of a [`VerifyServer`](crate::VerifyServer). Cheap to clone; it dereferences to the error itself, which can
/// be downcast.
#[derive(Clone)]
pub struct Rejection {
    error: Arc<dyn Error + Send + Sync>,
    headers: Option<Arc<HeaderMap>>,
}

impl From<VerifyServerError> for Rejection {
    fn from(error: VerifyServerError) -> Self {
        Self { error: error.into(), headers: None }
    }
}

impl Rejection {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn new(error: VerifyServerError, headers: Option<Arc<HeaderMap>>) -> Self {
        Self { error: error.into(), headers }
    }

    /// The headers of the response that was rejected: at most 128, of a head of at most 64 KiB. `None` if the
    /// certificates were rejected, before there was a response.
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        self.headers.as_deref()
    }
}

// Not an `Error` itself: that would stand between `ConnectError::source` and the application's own type.
impl Deref for Rejection {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.error
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for Rejection {
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
    /// Whether the same attempt may succeed later, with nothing changed on this end: after what the network or
    /// time has done, and after a status that speaks of now (408, 425, 429, and 5xx but 501 and 505).
    ///
    /// It may not after this end's own mistakes and its own [`VerifyServer`](crate::VerifyServer), where a
    /// certificate was refused on either side, where server or proxy refused with any other status, such as 401,
    /// 403 or 407, and where the server does not speak the subprotocol.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InvalidUrl(_) | Self::UnsupportedScheme(_) => false,
            Self::Rejected(_) | Self::Subprotocol { .. } => false,
            Self::Refused { status, .. } => match status.as_u16() {
                408 | 425 | 429 => true,
                501 | 505 => false,
                status => status >= 500,
            },
            Self::Proxy(error) => error.is_retryable(),
            // In TLS 1.3 a server's alert comes after the client's part of the handshake.
            Self::Tls(error) | Self::Io(error) => !is_final_in_tls(error),
            Self::Resolve(_) | Self::Connect(_) | Self::InvalidResponse(_) => true,
            Self::ConnectTimeout | Self::HandshakeTimeout | Self::Connection(_) => true,
        }
    }

    /// How long the server, or the proxy, asks to be left alone: the `Retry-After` of its
    /// [refusal](Self::Refused) (RFC 9110 §10.2.3). A date is counted from the response's own `Date`, if it has
    /// one; a date in the past gives zero. `None` if there is no such header, or it cannot be read.
    ///
    /// There is no upper bound: a caller that waits for this long sets its own.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { headers, .. } => {
                let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
                if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
                    // A number that does not fit is as good as for ever.
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
            Self::Rejected(_) => io::ErrorKind::PermissionDenied,
            Self::InvalidResponse(_) | Self::Subprotocol { .. } => io::ErrorKind::InvalidData,
            Self::Connection(error) => io::Error::from(error.clone()).kind(),
        }
    }
}

/// The time from one HTTP date to another, or from now if there is no first.
#[cfg(not(target_family = "wasm"))]
fn until(moment: &str, from: Option<&HeaderValue>) -> Option<Duration> {
    let date = from.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?.trim()).ok());
    let from = date.unwrap_or_else(std::time::SystemTime::now);
    let moment = httpdate::parse_http_date(moment).ok()?;
    Some(moment.duration_since(from).unwrap_or_default())
}

/// Always `None`: a browser does not show the response's headers to a page.
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

/// Whether it is about who the two ends are, or what they can speak.
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
