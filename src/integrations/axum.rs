//! Connections on a route of an [axum](https://docs.rs/axum/0.8) server, beside the server's other
//! routes, over HTTP/1.1 and HTTP/2.
//!
//! ```no_run
//! use axum::{Router, extract::State, response::Response, routing::{any, get}};
//! use wsmux::{WebSocketAcceptor, WebSocketServer, axum::WsMuxUpgrade, hyper::HttpServer};
//!
//! async fn mux(State(acceptor): State<WebSocketAcceptor>, upgrade: WsMuxUpgrade) -> Response {
//!     upgrade
//!         .on_connection(&acceptor, |connection| async move {
//!             while let Ok(stream) = connection.accept_bi().await {
//!                 // one task for each
//!             }
//!         })
//!         .await
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = WebSocketServer::builder().protocol("chat").build()?;
//! let routes = Router::new()
//!     .route("/", get(|| async { "a page\n" }))
//!     .route("/mux", any(mux))
//!     .with_state(acceptor);
//! let listener = tokio::net::TcpListener::bind("[::]:8080").await?;
//! HttpServer::new().serve_routes(listener, routes).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`HttpServer`] replaces `axum::serve`, which limits neither the time for a client's first
//! request nor the time of an idle connection. With `axum::serve`, silent clients could use up all
//! file descriptors.
//!
//! The manual has a chapter on [costs and benefits](crate::manual::in_axum).

use std::{convert::Infallible, fmt, future::Future, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, FromRequestParts, OriginalUri},
    response::{IntoResponse, Response},
};
use http::{Request, request::Parts};
use hyper_util::service::TowerToHyperService;

use super::{
    hyper::{HttpServer, UpgradeError},
    upgrade::{Handle, upgrade},
};
use crate::{
    connection::{ConnectionInfo, WebSocketConnection, info::RequestLine},
    error::AcceptError,
    server::{Listener, WebSocketAcceptor},
};

/// Extracts the parts of a request that are needed to upgrade it to a [`WebSocketConnection`]. Over
/// HTTP/2 the method of such a request is CONNECT, so use [`any`](::axum::routing::any) for the
/// route rather than `get`.
///
/// The extractor accepts any request. [`on_connection`](Self::on_connection) checks the request,
/// and refuses a request that is not valid. The client's address and certificates come from a
/// [`ConnectionInfo`] in the request's extensions. If the extensions contain no `ConnectionInfo`,
/// the address comes from axum's `ConnectInfo<SocketAddr>`.
#[must_use = "the client gets its answer by `on_connection`"]
pub struct WsMuxUpgrade {
    request: Request<()>,
    handle: Handle,
    info: ConnectionInfo,
    on_failed: Option<Box<dyn FnOnce(AcceptError) + Send>>,
}

impl fmt::Debug for WsMuxUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsMuxUpgrade")
            .field("request", &RequestLine(&self.request))
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for WsMuxUpgrade {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let handle = Handle::take(&mut parts.extensions);
        let info = parts.extensions.get::<ConnectionInfo>().cloned().unwrap_or_else(|| {
            let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
            ConnectionInfo {
                remote_address: address.map(|ConnectInfo(address)| *address),
                ..ConnectionInfo::default()
            }
        });
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        // A nested router shortens the path, but a hook that guards a prefix needs the whole path.
        let original = parts.extensions.get::<OriginalUri>();
        *request.uri_mut() = original.map_or(&parts.uri, |OriginalUri(uri)| uri).clone();
        *request.version_mut() = parts.version;
        *request.headers_mut() = parts.headers.clone();
        Ok(Self { request, handle, info, on_failed: None })
    }
}

impl WsMuxUpgrade {
    /// Calls `failed` if the client's request was accepted but the client got no connection,
    /// because the client closed or did not speak the wire. By default this failure is recorded
    /// only by features such as `tracing`.
    pub fn on_failed(mut self, failed: impl FnOnce(AcceptError) + Send + 'static) -> Self {
        self.on_failed = Some(Box::new(failed));
        self
    }

    /// Checks the request, and returns the response that the route has to return. If the client
    /// gets a connection, `serve` is called with this connection in a task of its own. The task
    /// ends only when `serve` returns.
    ///
    /// The acceptor determines the settings: wires, application protocols, stream limits, timeouts,
    /// and hooks. An acceptor without an [`authorizer`](crate::WebSocketServerBuilder::authorizer)
    /// accepts every client that the layers before the route accept. Build the acceptor once, with
    /// [`WebSocketServerBuilder::build`](crate::WebSocketServerBuilder::build), and keep it in the
    /// router's state.
    ///
    /// The builder's limits on connections and handshakes do not apply here. They apply only to a
    /// [`WebSocketServer`](crate::WebSocketServer), which accepts clients on sockets of its own.
    ///
    /// # Cancel safety
    /// When the future is dropped, the client gets no connection.
    pub async fn on_connection<F, Fut>(self, acceptor: &WebSocketAcceptor, serve: F) -> Response
    where
        F: FnOnce(WebSocketConnection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { request, handle, info, on_failed } = self;
        let (response, upgrading) = match upgrade(acceptor, request, handle, info).await {
            Ok(upgraded) => upgraded,
            Err(refused) => return IntoResponse::into_response(refused),
        };
        tokio::spawn(async move {
            match upgrading.await {
                Ok(connection) => serve(connection).await,
                Err(error) => {
                    if let Some(failed) = on_failed {
                        failed(error);
                    }
                }
            }
        });
        response.map(Body::new)
    }
}

impl HttpServer {
    /// Serves these routes, as [`serve`](Self::serve) does with a service. The requests have a
    /// [`ConnectionInfo`] in their extensions, but not axum's `ConnectInfo`. [`WsMuxUpgrade`] takes
    /// the client's address and certificates from the [`ConnectionInfo`].
    ///
    /// # Cancel safety
    /// The same as for [`serve`](Self::serve).
    pub async fn serve_routes(self, listener: impl Into<Listener>, routes: Router) -> Infallible {
        self.serve(listener, TowerToHyperService::new(routes)).await
    }
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        UpgradeError::into_response(self).map(Body::new)
    }
}
