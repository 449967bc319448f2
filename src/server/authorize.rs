//! Hooks of a server that decide which clients get a WebSocket.
//!
//! A hook is an [`Authorize`]; the simplest hook is a closure. A hook receives the client's
//! [`UpgradeRequest`] and returns [`Accept`] or [`Refuse`]. [`Basic`], [`Bearer`] and
//! [`AllowedOrigins`] are hooks, and [`and`](Authorize::and) and [`or`](Authorize::or) join hooks.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use wsmux::{WebSocketServer, authorize::{Accept, Refuse, UpgradeRequest}, http::StatusCode};
//!
//! struct Tenant(String);
//!
//! let server = WebSocketServer::builder()
//!     .authorizer(|request: UpgradeRequest| async move {
//!         let name = request.path().trim_start_matches('/').to_owned();
//!         if name.is_empty() {
//!             return Err(Refuse::new(StatusCode::NOT_FOUND).body("which tenant?"));
//!         }
//!         Ok(Accept::new().header("x-tenant", &name).data(Tenant(name)))
//!     })
//!     .bind("[::]:8080")
//!     .await?;
//! let connection = server.accept().await.expect("it is not closed").await?;
//! println!("{}", connection.application_data::<Tenant>().expect("the hook's").0);
//! # Ok(())
//! # }
//! ```

use std::{fmt, future::Future, net::SocketAddr, sync::Arc};

/// The attribute that an `impl` of [`Authorize`] needs.
pub use async_trait::async_trait;
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header,
};

pub use super::login::{
    AllowedOrigins, Basic, Bearer, User, basic_credentials, bearer_token, constant_time_eq,
};
use crate::{
    connection::{ConnectionInfo, info::HeaderNames},
    error::{BuildError, connect::Offered},
    handshake::{
        headers::{add_header, elements},
        negotiation::Shown,
    },
};

/// Decides whether a client gets a WebSocket. A hook is set by
/// [`WebSocketServerBuilder::authorizer`](crate::WebSocketServerBuilder::authorizer).
///
/// A closure `Fn(UpgradeRequest) -> impl Future<Output = Result<Accept, Refuse>>` is a hook. The
/// [handshake timeout](crate::Config::handshake_timeout) includes the time that the hook takes. If
/// the timeout expires, the hook's future is dropped, the client receives 408, and the server gets
/// [`AcceptError::HandshakeTimeout`](crate::AcceptError::HandshakeTimeout).
#[async_trait]
pub trait Authorize: Send + Sync + 'static {
    /// Decides about a client whose request for a WebSocket is valid and names a wire that the
    /// server accepts.
    ///
    /// # Errors
    /// [`Refuse`], which contains the response that the client receives instead of a WebSocket.
    ///
    /// # Cancel safety
    /// The future is dropped when the handshake times out, when the server [shuts
    /// down](crate::WebSocketServer::shutdown), and when the [`Connecting`](crate::Connecting) is
    /// dropped.
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse>;

    /// Answers a request that does not ask for a WebSocket, such as a browser's request for a page
    /// or a load balancer's health check. The connection closes after the answer, and the request's
    /// body is not read. If this returns `None`, as it does by default, the client receives 426,
    /// which tells it to ask for a WebSocket.
    ///
    /// # Cancel safety
    /// The same as for [`authorize`](Self::authorize).
    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        let _ = request;
        None
    }

    /// Accepts clients that both hooks accept, with the headers and data of both. `other` is asked
    /// only if this hook accepts. If both hooks choose a subprotocol, the choice of `other` is
    /// used. If both attach data of the same type, the data of `other` is used.
    fn and<B: Authorize>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Accepts clients that at least one of the two hooks accepts. `other` is asked only if this
    /// hook refuses. If both refuse a client, it receives this hook's refusal. If both refuse with
    /// 401, the response has the `WWW-Authenticate` headers of both.
    fn or<B: Authorize>(self, other: B) -> Or<Self, B>
    where
        Self: Sized,
    {
        Or(self, other)
    }
}

#[async_trait]
impl<F, Fut> Authorize for F
where
    F: Fn(UpgradeRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Accept, Refuse>> + Send + 'static,
{
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        self(request.clone()).await
    }
}

/// Two hooks. Both of them must accept; see [`Authorize::and`].
#[derive(Debug, Clone)]
pub struct And<A, B>(A, B);

#[async_trait]
impl<A: Authorize, B: Authorize> Authorize for And<A, B> {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let accept = self.0.authorize(request).await?;
        Ok(accept.and(self.1.authorize(request).await?))
    }

    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        either_responds(&self.0, &self.1, request).await
    }
}

/// Two hooks. At least one of them must accept; see [`Authorize::or`].
#[derive(Debug, Clone)]
pub struct Or<A, B>(A, B);

#[async_trait]
impl<A: Authorize, B: Authorize> Authorize for Or<A, B> {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let mut first = match self.0.authorize(request).await {
            Ok(accept) => return Ok(accept),
            Err(refuse) => refuse,
        };
        let second = match self.1.authorize(request).await {
            Ok(accept) => return Ok(accept),
            Err(refuse) => refuse,
        };
        if [first.status, second.status] == [StatusCode::UNAUTHORIZED; 2] {
            for challenge in second.headers.get_all(header::WWW_AUTHENTICATE) {
                first.headers.append(header::WWW_AUTHENTICATE, challenge.clone());
            }
        }
        Err(first)
    }

    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        either_responds(&self.0, &self.1, request).await
    }
}

async fn either_responds(
    first: &dyn Authorize,
    second: &dyn Authorize,
    request: &UpgradeRequest,
) -> Option<Response<Bytes>> {
    match first.respond(request).await {
        None => second.respond(request).await,
        some => some,
    }
}

/// A client's request and what is known about the client. This type is cheap to clone.
#[derive(Clone)]
pub struct UpgradeRequest {
    pub(super) info: ConnectionInfo,
    pub(super) acceptable: Arc<[String]>,
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeRequest")
            .field("info", &self.info)
            .field("acceptable", &Offered(&self.acceptable))
            .finish()
    }
}

impl UpgradeRequest {
    /// Returns the request, which is always present on a server.
    fn request(&self) -> &http::Request<()> {
        self.info.request().expect("made with a request")
    }

    /// Returns the method. A WebSocket has the method GET over HTTP/1.1, and CONNECT over HTTP/2.
    pub fn method(&self) -> &Method {
        self.request().method()
    }

    /// Returns the path and the query as they are in the request's first line.
    pub fn uri(&self) -> &Uri {
        self.request().uri()
    }

    /// Returns the requested host, with its port if the request has one: `example.com:8080`. The
    /// host comes from a target in absolute form (RFC 9112 §3.2.2) or from HTTP/2's `:authority`.
    /// Without these two, the host comes from the `Host` header. Returns `None` only for a page
    /// that is requested over HTTP/1.0.
    ///
    /// The client chooses this value, so a server with several names has to check it.
    pub fn authority(&self) -> Option<&str> {
        self.headers().get(header::HOST)?.to_str().ok()
    }

    /// Returns the path as it was received: with `%` escapes, and with `..` if the client sent
    /// that.
    pub fn path(&self) -> &str {
        self.uri().path()
    }

    /// Returns the query of the target: the part after the `?`.
    pub fn query(&self) -> Option<&str> {
        self.uri().query()
    }

    /// Returns the headers. On a [`WebSocketServer`](crate::WebSocketServer) they have at most 64
    /// KiB, together with the first line. On a route of an HTTP server, that server sets the limit.
    pub fn headers(&self) -> &HeaderMap {
        self.request().headers()
    }

    /// Returns the client's address, or the address of the proxy in front of the server. Returns
    /// `None` on a Unix socket, and if the application has opened the underlying stream.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.info.remote_address()
    }

    /// Returns the local address to which the client connected.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.info.local_address()
    }

    /// Returns the client's certificate chain in DER, as verified by TLS, with the client's own
    /// certificate first. Returns `None` if the client presented no certificate.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.info.peer_certificates()
    }

    /// Returns the subprotocols that the client offers, in the client's order.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        elements(self.headers(), &header::SEC_WEBSOCKET_PROTOCOL)
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Returns the offered subprotocols that the server accepts, in the server's order of
    /// preference. [`Accept::subprotocol`] may choose one of them. By default the first is
    /// selected.
    pub fn acceptable_subprotocols(&self) -> &[String] {
        &self.acceptable
    }

    /// Returns everything that is known about the connection so far.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

/// A hook's answer that gives the client its WebSocket.
#[derive(Default)]
#[must_use]
pub struct Accept {
    pub(super) headers: HeaderMap,
    pub(super) subprotocol: Option<String>,
    pub(super) data: Extensions,
    /// The name that the hook has given to the client.
    pub(super) identity: Option<Arc<str>>,
    /// The first mistake in this answer. If there is a mistake, the client is not accepted, and
    /// receives status 500.
    pub(super) error: Option<BuildError>,
}

/// The output leaves out the values of the headers and the data.
impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("headers", &HeaderNames(&self.headers))
            .field("subprotocol", &self.subprotocol.as_deref().map(Shown))
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Accept {
    /// Accepts the client with the settings of the server's builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header to the response. If the header is not valid, or if the handshake writes it
    /// itself, the client receives status 500, and the server gets
    /// [`AcceptError::Refused`](crate::AcceptError::Refused).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        if let Err(error) = add_header(&mut self.headers, name, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Selects one of the [acceptable subprotocols](UpgradeRequest::acceptable_subprotocols). With
    /// any other name the client receives status 500.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Attaches data to the connection.
    /// [`WebSocketConnection::application_data`](crate::WebSocketConnection::application_data)
    /// returns it. There is one value of each type; a later value replaces an earlier one of the
    /// same type.
    pub fn data<T: Send + Sync + 'static>(mut self, data: T) -> Self {
        self.data.insert(Arc::new(data));
        self
    }

    /// Says who the client is. A client can [resume](crate::Config::resume_timeout) a connection
    /// only with the same identity: this name, the verified [`User`] and the client's certificates
    /// must be the same as in the first handshake. Set this name if the hook identifies clients by
    /// other means than a verified [`User`] or a certificate. By default there is no name.
    pub fn identity(mut self, name: impl Into<Arc<str>>) -> Self {
        self.identity = Some(name.into());
        self
    }

    /// Joins two answers. If both answers contain a subprotocol, a client's name, or data of the
    /// same type, the value in `other` is used.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (name, value) in &other.headers {
            self.headers.append(name, value.clone());
        }
        self.data.extend(other.data);
        Self {
            subprotocol: other.subprotocol.or(self.subprotocol),
            identity: other.identity.or(self.identity),
            error: self.error.or(other.error),
            ..self
        }
    }
}

/// A hook's answer that refuses the client, with the HTTP response that the client receives.
#[derive(Clone)]
#[must_use]
pub struct Refuse {
    pub(super) status: StatusCode,
    /// The headers are boxed, because this type is the error of a `Result` and should be small.
    pub(super) headers: Box<HeaderMap>,
    pub(super) body: Option<Bytes>,
}

/// The output leaves out the values of the headers and the body.
impl fmt::Debug for Refuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuse")
            .field("status", &self.status)
            .field("headers", &HeaderNames(&self.headers))
            .finish_non_exhaustive()
    }
}

impl Refuse {
    /// Refuses with this status. A 1xx or 2xx status is replaced by 403, because a client does not
    /// read it as a refusal. The default body is the status in words.
    pub fn new(status: StatusCode) -> Self {
        let refuses = !status.is_informational() && !status.is_success();
        let status = if refuses { status } else { StatusCode::FORBIDDEN };
        Self { status, headers: Box::default(), body: None }
    }

    /// Refuses with 401 and the challenge that this status requires (RFC 9110 §15.5.2), for example
    /// `Basic realm="files"`.
    pub fn unauthorized<V: TryInto<HeaderValue>>(challenge: V) -> Self {
        Self::new(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge)
    }

    /// Adds a header to the response. A header that is not valid, or that the handshake writes
    /// itself, is left out.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        // A bad header must not turn the refusal into anything else.
        let _ = add_header(&mut self.headers, name, value);
        self
    }

    /// Sets the response's body. It is plain text unless a header says otherwise.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }
}
