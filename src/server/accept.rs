//! A server's handshake over one stream of bytes: TLS, the upgrade, and a connection over it.

#[cfg(feature = "tls")]
use std::sync::{PoisonError, RwLock};
use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    limits::{Limits, Permit},
    shutdown::Registry,
};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder},
    error::AcceptError,
    handshake::{
        head::{HeadError, read_head},
        negotiation::{Negotiation, Shown},
        server::{self as handshake, ErrorResponse},
    },
    observe::trace,
    proto::{Side, Wire},
};

/// How long a refused client may take to close once it has its answer, and how many bytes it may still be sending: to
/// close before that would have the system throw the answer away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1024 * 1024;

/// Makes connections of streams of bytes that clients have opened; the part of a server that does not
/// listen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebSocketAcceptor(pub(crate) Arc<ServerSettings>);

impl WebSocketAcceptor {
    /// Does the server's handshake, TLS included where the server has a certificate, and waits for the
    /// client's transport parameters. The [handshake timeout](crate::Config::handshake_timeout) covers all of it.
    ///
    /// No limit of the builder's counts these connections, and no server's
    /// [`shutdown`](crate::WebSocketServer::shutdown) ends them.
    ///
    /// # Errors
    /// [`AcceptError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the stream is dropped.
    pub async fn from_io<S>(&self, io: S) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: &_| trace::accept_failed(error, None);
        let info = ConnectionInfo::default();
        self.0.open(Instant::now(), io, info, None).await.inspect_err(failed)
    }

    /// As [`WebSocketServer::set_tls_config`](crate::WebSocketServer::set_tls_config).
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls); everything stays as it was then.
    #[cfg(feature = "tls")]
    pub fn set_tls_config(
        &self,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), crate::error::BuildError> {
        self.0.tls.set(crate::tls::http1_only(config)?);
        Ok(())
    }

    /// As [`WebSocketServer::set_certificate`](crate::WebSocketServer::set_certificate).
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls); everything stays as it was then.
    #[cfg(feature = "tls")]
    pub fn set_certificate(
        &self,
        chain: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
        key: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<(), crate::error::BuildError> {
        let tls = &self.0.tls;
        let identity = crate::tls::Identity { chain: chain.into_iter().collect(), key };
        tls.renew(crate::tls::server_config(&identity, tls.clients.as_ref())?)
    }
}

/// A server's TLS, which may change while it runs.
#[cfg(feature = "tls")]
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) clients: Option<crate::tls::ClientAuth>,
    pub(super) current: RwLock<CurrentTls>,
}

#[cfg(feature = "tls")]
#[derive(Debug)]
pub(super) enum CurrentTls {
    None,
    /// Made of a certificate, and of what the builder was told of clients.
    OfCertificate(Arc<rustls::ServerConfig>),
    /// Made by the application. Whether it asks clients for certificates is not known here.
    AsGiven(Arc<rustls::ServerConfig>),
}

#[cfg(feature = "tls")]
impl Tls {
    fn get(&self) -> Option<Arc<rustls::ServerConfig>> {
        match &*self.current.read().unwrap_or_else(PoisonError::into_inner) {
            CurrentTls::None => None,
            CurrentTls::OfCertificate(config) | CurrentTls::AsGiven(config) => Some(config.clone()),
        }
    }

    fn set(&self, config: Arc<rustls::ServerConfig>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = CurrentTls::AsGiven(config);
    }

    /// Takes the place of another of its kind: what one that was given asks of clients must not get lost.
    fn renew(&self, config: Arc<rustls::ServerConfig>) -> Result<(), crate::error::BuildError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let CurrentTls::OfCertificate(current) = &mut *current else {
            let what = "there is no certificate of `certificate` to renew";
            return Err(crate::error::BuildError::Tls(what.into()));
        };
        *current = config;
        Ok(())
    }
}

/// What a server that listens gives a client that it has accepted.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) registry: Arc<Registry>,
    pub(super) permit: Permit,
}

/// The answer to a client that gets no WebSocket.
pub(crate) enum Rejected {
    Refused(ErrorResponse),
    /// It asked for none.
    Answered(Response<Bytes>),
}

impl From<Rejected> for Response<Bytes> {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Refused(refusal) => refusal.into(),
            Rejected::Answered(page) => page,
        }
    }
}

impl From<ErrorResponse> for Rejected {
    fn from(refusal: ErrorResponse) -> Self {
        Self::Refused(refusal)
    }
}

/// Why a handshake does not go on.
pub(crate) enum Abort {
    Late,
    ShuttingDown,
}

pub(crate) struct ServerSettings {
    pub(super) negotiation: Negotiation,
    pub(super) headers: HeaderMap,
    pub(crate) connection: WebSocketConnectionBuilder,
    /// All must accept.
    pub(super) hooks: Vec<Box<dyn Authorize>>,
    pub(super) limits: Limits,
    #[cfg(feature = "tls")]
    pub(super) tls: Tls,
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("negotiation", &self.negotiation)
            .field("limits", &self.limits)
            .field("config", &self.connection.config)
            .finish_non_exhaustive()
    }
}

impl ServerSettings {
    pub(super) async fn open<S>(
        &self,
        start: Instant,
        io: S,
        info: ConnectionInfo,
        admission: Option<Admission>,
    ) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        #[cfg(feature = "tls")]
        if let Some(config) = self.tls.get() {
            let accept = tokio_rustls::TlsAcceptor::from(config).accept(io).into_fallible();
            let io = match self.within(start, admission.as_ref(), accept).await {
                Ok(Ok(io)) => io,
                Ok(Err((error, io))) => {
                    // rustls has sent its alert, which is an answer too.
                    let _ = timeout(LINGER, linger(io)).await;
                    return Err(AcceptError::Tls(error.into()));
                }
                Err(stop) => return Err(stop.into()),
            };
            let peer_certificates = crate::tls::peer_certificates(io.get_ref().1);
            let info = ConnectionInfo { peer_certificates, ..info };
            return self.finish(start, io, info, admission).await;
        }
        self.finish(start, io, info, admission).await
    }

    /// What is left of the handshake timeout.
    pub(crate) fn left(&self, start: Instant) -> Duration {
        // W-23: all steps share one timeout.
        self.connection.config.get_handshake_timeout().saturating_sub(start.elapsed())
    }

    /// A step of the handshake, unless there is no more time for it.
    pub(crate) async fn within<F: Future>(
        &self,
        start: Instant,
        admission: Option<&Admission>,
        step: F,
    ) -> Result<F::Output, Abort> {
        let shutdown = async {
            match admission {
                Some(admission) => admission.registry.draining().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown => Err(Abort::ShuttingDown),
            done = timeout(self.left(start), step) => done.map_err(|_| Abort::Late),
        }
    }

    async fn finish<S>(
        &self,
        start: Instant,
        mut io: S,
        mut info: ConnectionInfo,
        admission: Option<Admission>,
    ) -> Result<WebSocketConnection, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut buf = Vec::new();
        let decide = async {
            let request = match read_head(&mut io, &mut buf, handshake::parse).await {
                Ok(request) => request,
                Err(HeadError::Invalid(refusal)) => return Ok(Err(refusal.into())),
                Err(HeadError::TooLarge) => return Ok(Err(handshake::too_large().into())),
                Err(HeadError::Io(error)) => return Err(error),
            };
            Ok(self.decide(request, &mut info).await)
        };
        let (wire, headers) = match self.within(start, admission.as_ref(), decide).await {
            Ok(Ok(Ok(decided))) => decided,
            Ok(Ok(Err(rejected))) => {
                let error = AcceptError::from(&rejected);
                let method = info.request().map(|request| request.method());
                let answer = handshake::response_bytes(rejected.into(), method);
                answer_and_close(io, &answer, self.left(start)).await;
                return Err(error);
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(stop) => {
                let answer = handshake::response_bytes(stop.to_error_response().into(), None);
                answer_and_close(io, &answer, LINGER).await;
                return Err(stop.into());
            }
        };
        let answer = handshake::switching_protocols(&headers);
        let write = async {
            io.write_all(&answer).await?;
            io.flush().await
        };
        self.within(start, admission.as_ref(), write).await??;
        info.response_headers = Some(headers.into());

        trace::handshake_completed(Side::Server, wire, &info);

        let connection = self.connection.clone().info(info).time_left(self.left(start));
        // A client may send its parameters right behind its request.
        let connection = connection.build_upgraded(io, &buf, Side::Server, wire);
        // The client may be long in coming with them.
        drop((buf, answer));
        if let Some(Admission { registry, permit }) = admission {
            registry.add(&connection, permit);
        }
        connection.established().await?;
        Ok(connection)
    }

    /// Whether the client gets its WebSocket, on which wire, and the headers that say so.
    pub(crate) async fn decide(
        &self,
        mut request: Request<()>,
        info: &mut ConnectionInfo,
    ) -> Result<(Wire, HeaderMap), Rejected> {
        let addressed = handshake::check_target(&request);
        if addressed.is_ok() {
            handshake::settle_host(&mut request);
        }
        let request = Arc::new(request);
        info.request = Some(request.clone());
        addressed?;
        if let Err(refusal) = handshake::check(&request) {
            if !handshake::wants_websocket(&request) {
                let asked = UpgradeRequest { info: info.clone(), acceptable: Arc::default() };
                for hook in &self.hooks {
                    if let Some(page) = hook.respond(&asked).await {
                        return Err(Rejected::Answered(handshake::page(page)));
                    }
                }
            }
            return Err(refusal.into());
        }
        let (mut wire, name) = handshake::select(request.headers(), &self.negotiation)?;
        info.subprotocol = name.map(|name| self.negotiation.agree(name));
        let mut extra = self.headers.clone();
        if !self.hooks.is_empty() {
            let accept = self.ask(&request, info).await?;
            for (name, value) in &accept.headers {
                extra.append(name, value.clone());
            }
            if let Some(chosen) = accept.subprotocol {
                wire = self.negotiation.wire_of(Some(&chosen)).unwrap_or(wire);
                info.subprotocol = Some(self.negotiation.agree(chosen));
            }
            info.application_data = accept.data.into();
        }
        let headers = handshake::accept(&request, info.subprotocol(), &extra)?;
        Ok((wire, headers))
    }

    /// What all hooks say together, once it has been found to be possible.
    async fn ask(
        &self,
        request: &Request<()>,
        info: &ConnectionInfo,
    ) -> Result<Accept, ErrorResponse> {
        let acceptable = handshake::acceptable(request.headers(), &self.negotiation);
        let acceptable = acceptable.map(str::to_owned).collect();
        let asked = UpgradeRequest { info: info.clone(), acceptable };
        let mut all = Accept::new();
        for hook in &self.hooks {
            let Refuse { status, headers, body } = match hook.authorize(&asked).await {
                Ok(accept) => {
                    all = all.and(accept);
                    continue;
                }
                Err(refuse) => refuse,
            };
            let words = status.canonical_reason().unwrap_or("refused");
            return Err(ErrorResponse { headers, body, ..ErrorResponse::new(status, words) });
        }
        let impossible = match (&all.error, &all.subprotocol) {
            (Some(error), _) => error.to_string(),
            (None, Some(name)) if !asked.acceptable.contains(name) => {
                let name = Shown(name);
                format!("the hook chose an unacceptable subprotocol: {name:?}")
            }
            _ => return Ok(all),
        };
        // The mistake is ours, and no business of the client's.
        let body = Some("internal server error\n".into());
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(ErrorResponse { body, ..ErrorResponse::new(status, impossible) })
    }
}

impl From<&Rejected> for AcceptError {
    fn from(rejected: &Rejected) -> Self {
        match rejected {
            // The body is the hook's own, and may repeat the URL.
            Rejected::Refused(ErrorResponse { status, reason, .. }) => {
                Self::Refused { status: *status, reason: reason.clone() }
            }
            Rejected::Answered(page) => Self::Answered { status: page.status() },
        }
    }
}

impl Abort {
    pub(crate) fn to_error_response(&self) -> ErrorResponse {
        match self {
            Self::Late => {
                ErrorResponse::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")
            }
            Self::ShuttingDown => {
                ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
            }
        }
    }
}

impl From<Abort> for AcceptError {
    fn from(stop: Abort) -> Self {
        match stop {
            Abort::Late => Self::HandshakeTimeout,
            Abort::ShuttingDown => Self::ShuttingDown,
        }
    }
}

/// Answers, and closes so that the answer arrives. Whether it does is the client's affair.
async fn answer_and_close(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    limit: Duration,
) {
    if let Ok(Ok(())) = timeout(limit, io.write_all(answer)).await {
        let _ = timeout(LINGER, linger(io)).await;
    }
}

/// Closes after the client has. Bytes that nobody reads would turn the close into a reset, which overtakes what
/// was said last.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u64> {
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await
}
