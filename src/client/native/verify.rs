//! An application's own check of a server.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;

use crate::{connection::ConnectionInfo, error::VerifyServerError};

/// An application's own check of a server, in addition to the verification by TLS. It is set by
/// [`verify_server`](crate::WebSocketClientBuilder::verify_server).
///
/// A method may return an error of any type. Then connecting fails with
/// [`ConnectError::ServerRejected`](crate::ConnectError::ServerRejected), whose source is the
/// method's error. The [handshake timeout](crate::Config::handshake_timeout) covers both methods
/// together with all other steps of the handshake. If the timeout expires while a method runs, the
/// method's future is dropped.
///
/// ```
/// use bytes::Bytes;
/// use wsmux::{
///     ConnectionInfo, VerifyServer, VerifyServerError, WebSocketClient, async_trait,
///     http::Response,
/// };
///
/// struct KnownNode(Vec<u8>);
///
/// #[async_trait]
/// impl VerifyServer for KnownNode {
///     async fn verify_certificates(
///         &self,
///         _host: &str,
///         chain: &[Bytes],
///     ) -> Result<(), VerifyServerError> {
///         match chain.first() {
///             Some(shown) if shown[..] == self.0[..] => Ok(()),
///             _ => Err("not the expected node".into()),
///         }
///     }
///
///     async fn verify_response(
///         &self,
///         response: &Response<()>,
///         _: &ConnectionInfo,
///     ) -> Result<(), VerifyServerError> {
///         match response.headers().get("x-api-version") {
///             Some(version) if version == "2" => Ok(()),
///             other => Err(format!("API version {other:?}").into()),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), wsmux::BuildError> {
/// let client = WebSocketClient::builder()
///     // Only the check decides which server is accepted.
///     .danger_accept_any_certificate()
///     .verify_server(KnownNode(b"its certificate in DER".to_vec()))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait VerifyServer: Send + Sync + 'static {
    /// Checks the server's certificate chain. `chain` is in DER, with the server's own certificate
    /// first. This method is called after TLS has accepted the chain and before the request is
    /// sent. Therefore a server that is rejected here sees neither the path nor a header. `host` is
    /// the URL's host, without the brackets of an IPv6 address.
    ///
    /// By default, every chain that TLS accepts is accepted here, too.
    async fn verify_certificates(
        &self,
        host: &str,
        chain: &[Bytes],
    ) -> Result<(), VerifyServerError> {
        let _ = (host, chain);
        Ok(())
    }

    /// Checks the response that opens the WebSocket: its status and headers. `info` contains the
    /// selected subprotocol and, again, the certificates. This method is called once the response
    /// is known to be valid (RFC 6455 §4.1), and before the connection is returned. If the server
    /// refuses the request, connecting fails with
    /// [`ConnectError::Refused`](crate::ConnectError::Refused), and this method is not called.
    ///
    /// By default, every response is accepted.
    async fn verify_response(
        &self,
        response: &Response<()>,
        info: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        let _ = (response, info);
        Ok(())
    }
}

/// Wraps an application's check and implements `Debug`, because the check itself may not implement
/// it.
pub(super) struct Verifier(pub(super) Box<dyn VerifyServer>);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyServer")
    }
}
