//! A server's handshake over one stream of bytes: TLS, the upgrade, and the connection.

#[cfg(feature = "tls")]
use std::sync::{PoisonError, RwLock};
use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use wsmux_proto::{Side, Wire};

use super::{
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    limits::{Limits, Permit},
    sessions::SessionRegistry,
    shutdown::Registry,
};
#[cfg(feature = "tls")]
use crate::socket::ReadAhead;
use crate::{
    connection::{ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder, resume::Resume},
    error::AcceptError,
    handshake::{
        head::{HeadError, read_head},
        negotiation::{Negotiation, Shown},
        server::{self as handshake, ErrorResponse},
    },
    observe::trace,
};

/// How long the server waits, after its answer, for a refused client to close the stream. If the
/// server closed at once, the system might discard the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes a refused client may send while the server waits for the client to close the
/// stream.
const LINGER_BYTES: u64 = 1024 * 1024;

/// Makes connections over streams of bytes that clients have opened. It is a server without
/// listening sockets, and is cheap to clone.
#[derive(Debug, Clone)]
pub struct WebSocketAcceptor(pub(crate) Arc<ServerSettings>);

impl WebSocketAcceptor {
    /// Does the server's handshake, including TLS if the server has a certificate, and waits for
    /// the client's transport parameters. The [handshake timeout](crate::Config::handshake_timeout)
    /// covers all of this.
    ///
    /// The builder's limits on connections and handshakes do not apply here, and no
    /// [`shutdown`](crate::WebSocketServer::shutdown) of a server ends these connections.
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

    /// Replaces the TLS configuration, as
    /// [`WebSocketServer::set_tls_config`](crate::WebSocketServer::set_tls_config) does.
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls). If it fails, the acceptor keeps its
    /// configuration.
    #[cfg(feature = "tls")]
    pub fn set_tls_config(
        &self,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), crate::error::BuildError> {
        self.0.tls.set(crate::tls::http1_only(config)?);
        Ok(())
    }

    /// Replaces the certificate, as
    /// [`WebSocketServer::set_certificate`](crate::WebSocketServer::set_certificate) does.
    ///
    /// # Errors
    /// [`BuildError::Tls`](crate::BuildError::Tls). If it fails, the acceptor keeps its
    /// certificate.
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

/// A server's TLS configuration, which may change while the server runs.
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
    /// This configuration was made from a certificate and the builder's settings for client
    /// certificates.
    OfCertificate(Arc<rustls::ServerConfig>),
    /// This configuration was made by the application. This module does not know whether the
    /// configuration asks for client certificates.
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

    /// Replaces a configuration that was made from a certificate. A configuration that the
    /// application made is kept, because the new configuration might require less of clients.
    fn renew(&self, config: Arc<rustls::ServerConfig>) -> Result<(), crate::error::BuildError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let CurrentTls::OfCertificate(current) = &mut *current else {
            let what = "there is no certificate set by `certificate` to renew";
            return Err(crate::error::BuildError::Tls(what.into()));
        };
        *current = config;
        Ok(())
    }
}

/// The permit and the registry for the connection of a client that a
/// [`WebSocketServer`](crate::WebSocketServer) has accepted. A client of a [`WebSocketAcceptor`]
/// gets no permit and no registry.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) registry: Arc<Registry>,
    pub(super) permit: Permit,
}

/// The HTTP response to a client that does not get a WebSocket.
pub(crate) enum NoUpgrade {
    Refused(ErrorResponse),
    /// The client did not ask for a WebSocket, and a hook has answered.
    Answered(Response<Bytes>),
}

impl From<NoUpgrade> for Response<Bytes> {
    fn from(answer: NoUpgrade) -> Self {
        match answer {
            NoUpgrade::Refused(refusal) => refusal.into(),
            NoUpgrade::Answered(page) => page,
        }
    }
}

impl From<ErrorResponse> for NoUpgrade {
    fn from(refusal: ErrorResponse) -> Self {
        Self::Refused(refusal)
    }
}

/// Why a handshake was ended before the client was accepted or refused.
pub(crate) enum Abort {
    Late,
    ShuttingDown,
}

pub(crate) struct ServerSettings {
    pub(super) negotiation: Negotiation,
    pub(super) headers: HeaderMap,
    pub(crate) connection: WebSocketConnectionBuilder,
    /// A client is accepted only if all these hooks accept it.
    pub(super) hooks: Vec<Box<dyn Authorize>>,
    pub(super) limits: Limits,
    /// The connections that clients can resume.
    pub(super) sessions: Arc<SessionRegistry>,
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
            let accept = tokio_rustls::TlsAcceptor::from(config);
            let accept = accept.accept(ReadAhead::new(io)).into_fallible();
            let io = match self.within(start, admission.as_ref(), accept).await {
                Ok(Ok(io)) => io,
                Ok(Err((error, io))) => {
                    // rustls has sent its alert. The server lingers so that the alert arrives, as
                    // after any other answer.
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

    /// Returns the time that is left of the handshake timeout.
    pub(crate) fn left(&self, start: Instant) -> Duration {
        // W-23: all steps share one timeout.
        self.connection.config.get_handshake_timeout().saturating_sub(start.elapsed())
    }

    /// Runs a step of the handshake until it is complete, the timeout expires, or the server shuts
    /// down.
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

        let connection = self.connection(start, info);
        // `buf` may contain the start of the client's first message, because a client may send it
        // right after the request.
        let connection = connection.build_upgraded(io, &buf, Side::Server, wire);
        // These buffers are freed before the wait for the client's transport parameters, because
        // that wait may be long.
        drop((buf, answer));
        if let Some(Admission { registry, permit }) = admission {
            registry.add(&connection, permit);
        }
        established(connection).await
    }

    /// Returns the settings of a client's connection.
    pub(crate) fn connection(
        &self,
        start: Instant,
        info: ConnectionInfo,
    ) -> WebSocketConnectionBuilder {
        let resume = match self.connection.config.get_resume_timeout() {
            Some(_) => Resume::Accept(self.sessions.clone()),
            None => Resume::Never,
        };
        self.connection.clone().info(info).time_left(self.left(start)).resume(resume)
    }

    /// Decides whether the client gets a WebSocket. If so, returns the wire and the response's
    /// headers.
    pub(crate) async fn decide(
        &self,
        mut request: Request<()>,
        info: &mut ConnectionInfo,
    ) -> Result<(Wire, HeaderMap), NoUpgrade> {
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
                        return Err(NoUpgrade::Answered(handshake::page(page)));
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
            info.identity = accept.identity;
        }
        let headers = handshake::accept(&request, info.subprotocol(), &extra)?;
        Ok((wire, headers))
    }

    /// Asks all hooks, joins their answers, and checks that the joined answer is valid.
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
        // The mistake is on this end, so the client does not see the details.
        let body = Some("internal server error\n".into());
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(ErrorResponse { body, ..ErrorResponse::new(status, impossible) })
    }
}

/// Waits until a client's connection is established. Returns [`AcceptError::Resumed`] if the client
/// resumes an earlier connection.
pub(crate) async fn established(
    connection: WebSocketConnection,
) -> Result<WebSocketConnection, AcceptError> {
    match connection.established().await {
        Ok(()) => Ok(connection),
        Err(_) if connection.has_moved() => Err(AcceptError::Resumed),
        Err(error) => Err(error.into()),
    }
}

impl From<&NoUpgrade> for AcceptError {
    fn from(answer: &NoUpgrade) -> Self {
        match answer {
            // The body is left out, because a hook chose it, and it may repeat the URL.
            NoUpgrade::Refused(ErrorResponse { status, reason, .. }) => {
                Self::Refused { status: *status, reason: reason.clone() }
            }
            NoUpgrade::Answered(page) => Self::Answered { status: page.status() },
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

/// Sends the answer, and closes the stream in a way that lets the answer arrive. Errors are
/// ignored, because they do not matter to the server.
async fn answer_and_close(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    limit: Duration,
) {
    if let Ok(Ok(())) = timeout(limit, io.write_all(answer)).await {
        let _ = timeout(LINGER, linger(io)).await;
    }
}

/// Shuts down the stream, and closes it after the client has closed. The client's bytes are read,
/// because closing with unread bytes would send a reset, which may overtake the answer.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u64> {
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await
}
