//! An HTTP server for routes that become connections, with the limits that a port open to strangers
//! needs.

#[cfg(feature = "tls")]
use std::net::SocketAddr;
use std::{convert::Infallible, error::Error, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming as IncomingBody},
    service::Service,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep_until},
};

#[cfg(feature = "tls")]
use crate::socket::ReadAhead;
use crate::{
    connection::ConnectionInfo,
    error::AcceptError,
    handshake::head::MAX_HEAD,
    observe::trace,
    server::{Listener, listener::AcceptedStream, pause_after},
};

/// The default head timeout, which equals the default of the [handshake
/// timeout](crate::Config::handshake_timeout). Both timeouts cover the same steps.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The default idle timeout. It is longer than the minute for which proxies keep an idle connection
/// to a server, so that the proxy closes first. If the server closed first, a request from the
/// proxy might be in flight at that moment and fail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The interval of HTTP/2's pings, and the timeout of their answers. If a client has vanished, its
/// socket stays open for at most twice this time. Each of its WebSocket connections also has its
/// own keep-alive.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// The longest time that a setting can have. A longer time is replaced by this time, because
/// tokio's clock has a limit.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// An HTTP server for routes that become connections, over HTTP/1.1 and HTTP/2, with TLS or
/// without. It has the limits that a simple loop around hyper's `serve_connection` lacks, and that
/// a port open to strangers needs.
///
/// A client must finish TLS and the head of its first request within the [head
/// timeout](Self::head_timeout), over either version of HTTP. If it sends no further request for
/// the [idle timeout](Self::idle_timeout), the server accepts no more requests from it; open
/// requests and WebSockets go on. A request's head may be at most 64 KiB long. HTTP/2 clients may
/// open WebSockets, as with [`allow_http2`](crate::hyper::allow_http2).
///
/// The server goes on if a client closes, and if the system is out of file descriptors. While the
/// system is out of file descriptors, clients stay in the kernel's accept queue, and the server
/// tries again every 100 ms.
///
/// This server does not limit the number of clients. The head timeout covers neither the request's
/// body nor the response. A route itself must limit how long the client may take to send the body
/// and to read the response.
///
/// ```no_run
/// # use wsmux::hyper::HttpServer;
/// # async fn example(
/// #     service: impl hyper::service::Service<
/// #         hyper::Request<hyper::body::Incoming>,
/// #         Response = hyper::Response<String>,
/// #         Error = std::convert::Infallible,
/// #         Future: Send,
/// #     > + Clone + Send + 'static,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::TcpListener::bind("[::]:8080").await?;
/// HttpServer::new().serve(listener, service).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is served before `serve`"]
pub struct HttpServer {
    head_timeout: Duration,
    idle_timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for HttpServer {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpServer {
    /// Makes a server with the default timeouts and without TLS.
    pub fn new() -> Self {
        Self {
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sets the head timeout. The time starts when a client's TCP connection is accepted, and ends
    /// when the head of the client's first request has arrived. The time includes TLS. A time of
    /// more than a year acts as a year. Default 10 s.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Sets how long a client may take, after its last request, to send the head of a further
    /// request. If it takes longer, an HTTP/1.1 connection is closed, and an HTTP/2 connection gets
    /// a GOAWAY. After the GOAWAY, the server accepts no more requests on the connection, and
    /// closes the connection when its streams have ended. A time of more than a year acts as a
    /// year. Default 75 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Speaks TLS with this configuration. Its ALPN needs `h2` for HTTP/2 and `http/1.1` for
    /// HTTP/1.1.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Serves every client that connects. Each request has a [`ConnectionInfo`] in its extensions,
    /// with the addresses and, under TLS, the client's certificates.
    ///
    /// # Cancel safety
    /// The server ends only when the future is dropped. When the future is dropped, the server
    /// stops listening, and each HTTP connection ends after its open requests. The wsmux
    /// connections of upgraded requests go on.
    pub async fn serve<S, B>(self, listener: impl Into<Listener>, service: S) -> Infallible
    where
        S: Service<Request<IncomingBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let listener = listener.into();
        // `_serving` is dropped together with this future. The drop tells the tasks of the clients
        // to end.
        let (_serving, draining) = watch::channel(());
        let settings = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok(incoming) => {
                    let (settings, service) = (settings.clone(), service.clone());
                    tokio::spawn(settings.serve_client(incoming, service, draining.clone()));
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    async fn serve_client<S, B>(
        self: Arc<Self>,
        incoming: AcceptedStream,
        service: S,
        draining: watch::Receiver<()>,
    ) where
        S: Service<Request<IncomingBody>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let deadline = Instant::now() + self.head_timeout.min(FOREVER);
        match incoming {
            #[cfg_attr(not(feature = "tls"), expect(unused_variables))]
            AcceptedStream::Tcp(tcp, address) => {
                // With Nagle's algorithm, the data of one stream would wait until the data of
                // another stream is acknowledged.
                let _ = tcp.set_nodelay(true);
                #[cfg(feature = "tls")]
                if let Some(config) = &self.tls {
                    let Some(tls) = accept_tls(config, tcp, Some(address), deadline).await else {
                        return;
                    };
                    let (tcp, session) = tls.get_ref();
                    let peer_certificates = crate::tls::peer_certificates(session);
                    let tcp = ConnectionInfo::of_tcp(tcp.get_ref());
                    let info = ConnectionInfo { peer_certificates, ..tcp };
                    return self.serve_http(tls, info, service, deadline, draining).await;
                }
                let info = ConnectionInfo::of_tcp(&tcp);
                self.serve_http(tcp, info, service, deadline, draining).await;
            }
            #[cfg(unix)]
            AcceptedStream::Unix(unix) => {
                let info = ConnectionInfo::default();
                #[cfg(feature = "tls")]
                if let Some(config) = &self.tls {
                    let Some(tls) = accept_tls(config, unix, None, deadline).await else { return };
                    let peer_certificates = crate::tls::peer_certificates(tls.get_ref().1);
                    let info = ConnectionInfo { peer_certificates, ..info };
                    return self.serve_http(tls, info, service, deadline, draining).await;
                }
                self.serve_http(unix, info, service, deadline, draining).await;
            }
        }
    }

    fn http(&self) -> auto::Builder<TokioExecutor> {
        let mut http = auto::Builder::new(TokioExecutor::new());
        let idle = self.idle_timeout.min(FOREVER);
        http.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_HEAD);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD as u32)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        crate::integrations::hyper::allow_http2(&mut http);
        http
    }

    async fn serve_http<S, B>(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        info: ConnectionInfo,
        service: S,
        deadline: Instant,
        mut draining: watch::Receiver<()>,
    ) where
        S: Service<Request<IncomingBody>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let address = info.remote_address;
        let (asked, mut requests) = watch::channel(());
        let service = Watched { service, info, asked };
        let http = self.http();
        let mut serving = pin!(http.serve_connection_with_upgrades(TokioIo::new(io), service));
        let mut limit = pin!(sleep_until(deadline));
        let (mut began, mut is_ending) = (false, false);
        loop {
            tokio::select! {
                // The server ignores whether the connection of one client ended with an error.
                _ = serving.as_mut() => return,
                _ = draining.changed(), if !is_ending => {}
                Ok(()) = requests.changed(), if !is_ending => {
                    began = true;
                    limit.as_mut().reset(Instant::now() + self.idle_timeout.min(FOREVER));
                    continue;
                }
                () = &mut limit, if !is_ending => {
                    if !began {
                        trace::accept_failed(&AcceptError::HandshakeTimeout, address);
                        return;
                    }
                }
            }
            is_ending = true;
            serving.as_mut().graceful_shutdown();
        }
    }
}

#[cfg(feature = "tls")]
async fn accept_tls<S: AsyncRead + AsyncWrite + Unpin>(
    config: &Arc<rustls::ServerConfig>,
    io: S,
    address: Option<SocketAddr>,
    deadline: Instant,
) -> Option<tokio_rustls::server::TlsStream<ReadAhead<S>>> {
    let accept = tokio_rustls::TlsAcceptor::from(config.clone()).accept(ReadAhead::new(io));
    let error = match tokio::time::timeout_at(deadline, accept).await {
        Ok(Ok(tls)) => return Some(tls),
        Ok(Err(error)) => AcceptError::Tls(error.into()),
        Err(_) => AcceptError::HandshakeTimeout,
    };
    trace::accept_failed(&error, address);
    None
}

/// The service for one client. It reports each request to the client's task, and adds the client's
/// [`ConnectionInfo`] to the request.
#[derive(Debug)]
struct Watched<S> {
    service: S,
    info: ConnectionInfo,
    asked: watch::Sender<()>,
}

impl<S, B> Service<Request<B>> for Watched<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        self.asked.send_replace(());
        request.extensions_mut().insert(self.info.clone());
        self.service.call(request)
    }
}
