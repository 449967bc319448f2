//! The application's own look at a server.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;

use crate::{connection::ConnectionInfo, error::VerifyServerError};

/// An application's own check of a server, besides that of TLS: see
/// [`verify_server`](crate::WebSocketClientBuilder::verify_server).
///
/// With an error of any type the connection is not made: it comes back as
/// [`ConnectError::Rejected`](crate::ConnectError::Rejected), with the error as its source. Both methods share
/// the [handshake timeout](crate::Config::handshake_timeout) with everything else; a method that hangs is dropped
/// then, at any of its awaits.
///
/// ```
/// use bytes::Bytes;
/// use wsmux::{ConnectionInfo, VerifyServer, VerifyServerError, WebSocketClient, async_trait, http::Response};
///
/// struct KnownNode(Vec<u8>);
///
/// #[async_trait]
/// impl VerifyServer for KnownNode {
///     async fn verify_certificates(&self, _: &str, chain: &[Bytes]) -> Result<(), VerifyServerError> {
///         match chain.first() {
///             Some(own) if own[..] == self.0[..] => Ok(()),
///             _ => Err("not the node that was meant".into()),
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
///     // Who the server is, is then decided by the check alone.
///     .danger_accept_any_certificate()
///     .verify_server(KnownNode(b"its certificate in DER".to_vec()))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait VerifyServer: Send + Sync + 'static {
    /// Judges the chain of certificates that the server showed, in DER, its own first. It is called under TLS,
    /// once TLS itself is content with them, and before the request is sent: a server that is refused here sees
    /// neither the path nor a header. `host` is the URL's, without the brackets of an IPv6 address.
    ///
    /// By default every chain is taken that TLS takes.
    async fn verify_certificates(
        &self,
        host: &str,
        chain: &[Bytes],
    ) -> Result<(), VerifyServerError> {
        let _ = (host, chain);
        Ok(())
    }

    /// Judges the response that opens the WebSocket: its status and its headers; `info` has the subprotocol that
    /// the server chose, and again the certificates. It is called once the response is found to be an answer to
    /// the request (RFC 6455 §4.1), and before the connection is handed out. One that is none is an error
    /// already, as [`ConnectError::Refused`](crate::ConnectError::Refused) with its status.
    ///
    /// By default every response is taken.
    async fn verify_response(
        &self,
        response: &Response<()>,
        info: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        let _ = (response, info);
        Ok(())
    }
}

/// A check that has a `Debug`, which an application's need not have.
pub(super) struct Verifier(pub(super) Box<dyn VerifyServer>);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyServer")
    }
}
