//! Who gets a WebSocket: hooks on the server's side of the upgrade.
//!
//! A hook is an [`Authorize`], most simply a closure. It sees the client's [`UpgradeRequest`] and says
//! [`Accept`] or [`Refuse`]. [`Basic`], [`Bearer`] and [`AllowedOrigins`] are hooks, and hooks
//! [join](Authorize::and).
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

/// Makes traits with async methods that a server can hold; to implement [`Authorize`] with.
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

/// Decides on clients; set by [`WebSocketServerBuilder::authorizer`](crate::WebSocketServerBuilder::authorizer).
///
/// A closure `Fn(UpgradeRequest) -> impl Future<Output = Result<Accept, Refuse>>` is one. The
/// [handshake timeout](crate::Config::handshake_timeout) covers it: a hook that takes longer is dropped where it
/// waits, the client gets 408, and the server
/// [`AcceptError::HandshakeTimeout`](crate::AcceptError::HandshakeTimeout).
#[async_trait]
pub trait Authorize: Send + Sync + 'static {
    /// Asked about each client whose request for a WebSocket is in order and names a wire that is spoken here.
    ///
    /// # Errors
    /// [`Refuse`], with what the client is answered instead.
    ///
    /// # Cancel safety
    /// The future is dropped when the handshake times out, when the server [shuts
    /// down](crate::WebSocketServer::shutdown), and with the [`Connecting`](crate::Connecting).
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse>;

    /// Answers a request that asks for no WebSocket: a browser's for a page, a balancer's for the server's
    /// health. The connection is closed after it, and a request's body is not read. Default `None`: 426, that a
    /// WebSocket is to be asked for.
    ///
    /// # Cancel safety
    /// As [`authorize`](Self::authorize).
    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        let _ = request;
        None
    }

    /// Accepts whom both accept, with the headers and data of both. `other` is asked last, and only where this
    /// accepts; its choice of a subprotocol and its data of a type win.
    fn and<B: Authorize>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Accepts whom one of them accepts; `other` is asked where this refuses. Who is refused by both gets this
    /// one's refusal; where both say 401, with the `WWW-Authenticate` of both.
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

/// Two hooks that must both accept; see [`Authorize::and`].
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

/// Two hooks of which one must accept; see [`Authorize::or`].
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

/// What a client asks for, and who it is. Cheap to clone.
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
    /// The request, which a server always has.
    fn request(&self) -> &http::Request<()> {
        self.info.request().expect("made with a request")
    }

    /// The method: GET where a WebSocket is asked for, over HTTP/2 CONNECT.
    pub fn method(&self) -> &Method {
        self.request().method()
    }

    /// What the first line names: path and query.
    pub fn uri(&self) -> &Uri {
        self.request().uri()
    }

    /// The host that is asked for, and its port where one is named: `example.com:8080`. It is that of a target in
    /// absolute form or of HTTP/2's `:authority`, otherwise that of the `Host` header, which then says the same (RFC
    /// 9112 §3.2.2). `None` only for a page that is asked for in HTTP/1.0.
    ///
    /// What is asked for is the client's word: a server that has several names has to look at it.
    pub fn authority(&self) -> Option<&str> {
        self.headers().get(header::HOST)?.to_str().ok()
    }

    /// The path, as it came: with `%` escapes, and `..` if the client sent that.
    pub fn path(&self) -> &str {
        self.uri().path()
    }

    /// What stands behind the path's `?`.
    pub fn query(&self) -> Option<&str> {
        self.uri().query()
    }

    /// The headers: of at most 64 KiB together with the first line on a server of ours, of what the HTTP server takes
    /// on its routes.
    pub fn headers(&self) -> &HeaderMap {
        self.request().headers()
    }

    /// The client's address, or that of the proxy before it; `None` on a Unix socket, and where the stream below
    /// is not the server's own.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.info.remote_address()
    }

    /// The address that the client has reached.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.info.local_address()
    }

    /// The client's certificate chain in DER, its own certificate first, as TLS has verified it; `None` where it
    /// showed none.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.info.peer_certificates()
    }

    /// The subprotocols that the client offers, in its order.
    pub fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        elements(self.headers(), &header::SEC_WEBSOCKET_PROTOCOL)
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Those of them that are spoken here, in the server's order of preference: what
    /// [`Accept::subprotocol`] may choose from. The first is agreed on unless it chooses.
    pub fn acceptable_subprotocols(&self) -> &[String] {
        &self.acceptable
    }

    /// All that is known of the connection so far.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

/// A client is welcome.
#[derive(Default)]
#[must_use]
pub struct Accept {
    pub(super) headers: HeaderMap,
    pub(super) subprotocol: Option<String>,
    pub(super) data: Extensions,
    /// The first mistake, which turns the acceptance into status 500.
    pub(super) error: Option<BuildError>,
}

/// Without the headers' values and the data.
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
    /// Accepts as the builder says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header to the response. With one that the handshake writes itself, or that is none, the client gets
    /// status 500, and the server [`AcceptError::Refused`](crate::AcceptError::Refused).
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

    /// Agrees on this one of the [acceptable subprotocols](UpgradeRequest::acceptable_subprotocols). With another
    /// the client gets status 500.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Attaches data to the connection, to be read by
    /// [`WebSocketConnection::application_data`](crate::WebSocketConnection::application_data); one value of each
    /// type, of which the last holds.
    pub fn data<T: Send + Sync + 'static>(mut self, data: T) -> Self {
        self.data.insert(Arc::new(data));
        self
    }

    /// Both together; `other` wins.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (name, value) in &other.headers {
            self.headers.append(name, value.clone());
        }
        self.data.extend(other.data);
        Self {
            subprotocol: other.subprotocol.or(self.subprotocol),
            error: self.error.or(other.error),
            ..self
        }
    }
}

/// A client gets another answer than a WebSocket.
#[derive(Clone)]
#[must_use]
pub struct Refuse {
    pub(super) status: StatusCode,
    /// Boxed, for it is large, and an error.
    pub(super) headers: Box<HeaderMap>,
    pub(super) body: Option<Bytes>,
}

/// Without the headers' values and the body.
impl fmt::Debug for Refuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuse")
            .field("status", &self.status)
            .field("headers", &HeaderNames(&self.headers))
            .finish_non_exhaustive()
    }
}

impl Refuse {
    /// Refuses with this status, or with 403 where it is one of success or none that ends a request: nothing else
    /// would be understood as a refusal. The body is the status in words.
    pub fn new(status: StatusCode) -> Self {
        let refuses = !status.is_informational() && !status.is_success();
        let status = if refuses { status } else { StatusCode::FORBIDDEN };
        Self { status, headers: Box::default(), body: None }
    }

    /// 401, with the challenge that it needs (RFC 9110 §15.5.2): `Basic realm="files"` for example.
    pub fn unauthorized<V: TryInto<HeaderValue>>(challenge: V) -> Self {
        Self::new(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge)
    }

    /// Adds a header to the response. One that the handshake writes itself, or that is none, is left out.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        // It is a refusal all the same.
        let _ = add_header(&mut self.headers, name, value);
        self
    }

    /// The response's body; as plain text, unless a header says otherwise.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }
}
