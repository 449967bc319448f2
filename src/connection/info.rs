//! What is known of a connection from its opening handshake.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request};
use wsmux_proto::QMuxVersion;

use crate::handshake::negotiation::Agreed;

/// What is known of a connection from its opening handshake. This type is cheap to clone.
///
/// If neither a client nor a server of this crate has opened the WebSocket, the connection has only
/// the information that the application passes to the
/// [builder](crate::WebSocketConnectionBuilder::info).
///
/// `Debug` shows neither a URL's query nor a header's value, because they may be secrets. A
/// subprotocol may be a token, so it is shown only if it has the form `qmux-...` or was configured
/// as an application protocol.
///
/// # Memory
/// A connection keeps this information until the connection is dropped, and keeps nothing else of
/// the handshake. The information contains a copy of the request's target and of all headers. The
/// copy takes the bytes of the target and the headers, and about 150 bytes more for each header.
/// Clients and servers of this crate accept heads of at most 64 KiB and 128 headers. If another
/// HTTP server has accepted the request, the limits of that server apply instead. By default, hyper
/// accepts about 400 KiB and 100 headers over HTTP/1.1, and 16 KiB over HTTP/2.
#[derive(Clone, Default)]
pub struct ConnectionInfo {
    pub(crate) remote_address: Option<SocketAddr>,
    pub(crate) local_address: Option<SocketAddr>,
    pub(crate) subprotocol: Option<Agreed>,
    pub(crate) peer_certificates: Option<Arc<[Bytes]>>,
    pub(crate) request: Option<Arc<Request<()>>>,
    pub(crate) response_headers: Option<Arc<HeaderMap>>,
    pub(crate) application_data: Arc<Extensions>,
    /// The identity of the client, as a server's hook has stated it.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) identity: Option<Arc<str>>,
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

/// Shows only the names of headers. Any value may be secret, not only the values that a standard
/// marks as sensitive.
pub(crate) struct HeaderNames<'a>(pub(crate) &'a HeaderMap);

impl fmt::Debug for HeaderNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|name| name.as_str())).finish()
    }
}

/// Shows a request without its query and without the values of its headers.
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
    /// Returns the peer's address. If there is a proxy between the two ends, this is the address of
    /// the proxy that is next to this end. Returns `None` if this crate does not know the address,
    /// for example over a Unix socket or over a stream that the application has opened.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.remote_address
    }

    /// Returns the local address, or `None` if [`remote_address`](Self::remote_address) is `None`.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// Returns the negotiated WebSocket subprotocol, such as `qmux-02.app`, or `None` on the js-ws
    /// wire.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_ref().map(|agreed| &*agreed.name)
    }

    /// Returns the negotiated application protocol. For the subprotocol `qmux-02.app` the
    /// application protocol is `app`. If a subprotocol, such as `moqt-18`, does not start with the
    /// name of a QMux version, the whole subprotocol is the application protocol. Returns `None`
    /// for plain `qmux-02`, and on the js-ws wire.
    pub fn protocol(&self) -> Option<&str> {
        // W-43: the application protocol is the part after the name of a version and a dot.
        QMuxVersion::split_subprotocol(self.subprotocol()?).1
    }

    /// Returns the peer's certificate chain in DER, with the peer's own certificate first. Returns
    /// `None` if there is no TLS, or if the peer sent no certificate. If the client was configured
    /// to accept any certificate, nothing has verified this chain.
    pub fn peer_certificates(&self) -> Option<Arc<[Bytes]>> {
        self.peer_certificates.clone()
    }

    /// Returns the client's request, with its path and headers. Both ends know this request.
    pub fn request(&self) -> Option<&Request<()>> {
        self.request.as_deref()
    }

    /// Returns the headers of the server's response. Both ends know these headers.
    pub fn response_headers(&self) -> Option<&HeaderMap> {
        self.response_headers.as_deref()
    }

    /// Whether the client of another handshake may resume the connection of this handshake. That
    /// client must have the same identity and speak the same protocol.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn is_same_client(&self, other: &Self) -> bool {
        let user = |info: &Self| info.application_data::<crate::server::authorize::User>();
        self.peer_certificates == other.peer_certificates
            && self.identity == other.identity
            && user(self) == user(other)
            && self.subprotocol() == other.subprotocol()
    }

    /// Returns the value of type `T` that the server's
    /// [`authorize`](crate::authorize::Accept::data) hook has attached to the connection, or `None`
    /// if there is none.
    pub fn application_data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.application_data.get::<Arc<T>>().cloned()
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use crate::handshake::negotiation::{Negotiation, Subprotocols};

    #[test]
    fn only_the_same_identity_and_subprotocol_make_the_same_client() {
        let negotiation = Negotiation::new(&[wsmux_proto::Wire::QMux], &Subprotocols::default());
        let subprotocol = negotiation.unwrap().agreed(Some("qmux-02".to_owned())).unwrap();
        let chain = |certificate: &'static [u8]| Some(vec![Bytes::from_static(certificate)].into());
        let first = ConnectionInfo {
            subprotocol: Some(subprotocol.unwrap()),
            peer_certificates: chain(b"one"),
            identity: Some("anna".into()),
            ..ConnectionInfo::default()
        };
        let moved =
            ConnectionInfo { remote_address: Some(([127, 0, 0, 1], 7).into()), ..first.clone() };
        assert!(first.is_same_client(&moved), "an address is no identity");
        let others = [
            ConnectionInfo { subprotocol: None, ..first.clone() },
            ConnectionInfo { peer_certificates: chain(b"two"), ..first.clone() },
            ConnectionInfo { peer_certificates: None, ..first.clone() },
            ConnectionInfo { identity: Some("bert".into()), ..first.clone() },
            ConnectionInfo { identity: None, ..first.clone() },
        ];
        for other in others {
            assert!(!first.is_same_client(&other) && !other.is_same_client(&first), "{other:?}");
        }
    }
}
