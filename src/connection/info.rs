//! What is known of a connection besides its streams.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request};

use crate::{handshake::negotiation::Agreed, proto::QMuxVersion};

/// What the handshake of a connection said. Cheap to clone.
///
/// Whoever brings a WebSocket that is open already knows more of it than the connection does: then all of
/// this is `None`.
///
/// Its `Debug` shows neither a URL's query nor a header's value, nor a subprotocol that may be a token: one that is not
/// of the form `qmux-...` and was given as it is, not as an application protocol.
///
/// # Memory
/// A connection keeps this for its life, and nothing else of the handshake. Of the request and of the response these
/// are the bytes of the target and of the headers, in memory of their own, and some 150 bytes for each header. Our own
/// client and server take heads of at most 64 KiB and 128 headers; a route has what its HTTP server takes, which in
/// hyper is some 400 KiB and 100 headers by default, and over HTTP/2 16 KiB.
#[derive(Clone, Default)]
pub struct ConnectionInfo {
    pub(crate) remote_address: Option<SocketAddr>,
    pub(crate) local_address: Option<SocketAddr>,
    pub(crate) subprotocol: Option<Agreed>,
    pub(crate) peer_certificates: Option<Arc<[Bytes]>>,
    pub(crate) request: Option<Arc<Request<()>>>,
    pub(crate) response_headers: Option<Arc<HeaderMap>>,
    pub(crate) application_data: Arc<Extensions>,
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("remote_address", &self.remote_address)
            .field("local_address", &self.local_address)
            .field("subprotocol", &self.subprotocol)
            .field("peer_certificates", &self.peer_certificates.as_ref().map(|chain| chain.len()))
            .field("request", &self.request().map(RequestLine))
            .field("response_headers", &self.response_headers().map(HeaderNames))
            .finish_non_exhaustive()
    }
}

/// The names of headers alone. Any value may be secret, not only those that a standard marks so.
pub(crate) struct HeaderNames<'a>(pub(crate) &'a HeaderMap);

impl fmt::Debug for HeaderNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|name| name.as_str())).finish()
    }
}

/// What a request asks for, without its query.
pub(crate) struct RequestLine<'a>(pub(crate) &'a Request<()>);

impl fmt::Debug for RequestLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.0.method())
            .field("path", &self.0.uri().path())
            .field("version", &self.0.version())
            .field("headers", &HeaderNames(self.0.headers()))
            .finish()
    }
}

impl ConnectionInfo {
    /// The peer's address, or that of the proxy before it; `None` where the stream below is not a TCP socket
    /// of ours.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote_address
    }

    /// This end's address; `None` where the stream below is not a TCP socket of ours.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// The WebSocket subprotocol that was agreed on, `qmux-02.app` for example; `None` on the js-ws wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_ref().map(|agreed| &*agreed.name)
    }

    /// The application protocol that was agreed on: `app` of the subprotocol `qmux-02.app`, all of one that does not
    /// begin with the name of a version of QMux, such as `moqt-18`; `None` for `qmux-02` alone, and on the js-ws wire.
    pub fn protocol(&self) -> Option<&str> {
        // W-43: what follows the name of a version and a dot.
        QMuxVersion::split_subprotocol(self.subprotocol()?).1
    }

    /// The chain of certificates that the peer showed, in DER, its own first; `None` without TLS, and where
    /// the peer showed none. A client that was told to accept any certificate has not looked at it.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.peer_certificates.clone()
    }

    /// The client's request: the path and the headers that it asked with, on both ends.
    pub fn request(&self) -> Option<&Request<()>> {
        self.request.as_deref()
    }

    /// The headers of the server's answer, on both ends.
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        self.response_headers.as_deref()
    }

    /// What an [authorising hook](crate::authorize::Accept::data) of the server has attached to the connection,
    /// of this type; `None` where it has attached none.
    pub fn application_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.application_data.get::<Arc<T>>().cloned()
    }
}
