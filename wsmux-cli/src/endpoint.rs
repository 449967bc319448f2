//! The arguments that several clients and servers share: certificates, trust, and the token.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use wsmux::{
    ConnectError, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder,
    http::StatusCode,
    rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::Failure;

/// The TLS arguments of a server.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerTls {
    /// Use wss instead of ws; without --cert and --key a certificate is generated at startup
    #[arg(long)]
    pub(crate) tls: bool,
    /// The certificate chain, PEM
    #[arg(long, value_name = "FILE", requires_all = ["key", "tls"])]
    cert: Option<PathBuf>,
    /// The private key, PEM
    #[arg(long, value_name = "FILE", requires_all = ["cert", "tls"])]
    key: Option<PathBuf>,
}

impl ServerTls {
    /// Listens, with TLS if requested. Returns the server and its URL.
    pub(crate) async fn bind(
        &self,
        mut builder: WebSocketServerBuilder,
        address: SocketAddr,
    ) -> Result<(WebSocketServer, String), Failure> {
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("{}: {error}", cert.display()))?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: {error}", key.display()))?;
            builder = builder.certificate(chain, key);
        } else if self.tls {
            let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            let chain = [certified.cert.der().clone()];
            builder = builder.certificate(chain, certified.signing_key.into());
        }
        let server = builder.bind(address).await?;
        let scheme = if self.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/", server.local_addr()?);
        Ok((server, url))
    }
}

/// Which servers a client trusts.
#[derive(Debug, clap::Args)]
pub(crate) struct Trust {
    /// Trust the root certificates in this PEM file, in addition to the platform's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Accept any certificate (for tests only)
    #[arg(long)]
    pub(crate) insecure: bool,
}

impl Trust {
    pub(crate) fn apply(
        &self,
        mut client: WebSocketClientBuilder,
    ) -> Result<WebSocketClientBuilder, Failure> {
        if let Some(path) = &self.ca {
            let failed = |error| format!("{}: {error}", path.display());
            for root in CertificateDer::pem_file_iter(path).map_err(failed)? {
                client = client.add_root_certificate(root.map_err(failed)?);
            }
        }
        if self.insecure {
            client = client.danger_accept_any_certificate();
        }
        Ok(client)
    }
}

/// The token that identifies clients to a server.
#[derive(Debug, clap::Args)]
pub(crate) struct TokenArg {
    /// The secret that both ends share (HTTP's Bearer). Use it with TLS, and prefer the environment
    /// variable, because other users of a machine can see arguments
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WSMUX_TOKEN",
        hide_env_values = true,
        verbatim_doc_comment
    )]
    pub(crate) token: Option<Token>,
}

impl TokenArg {
    pub(crate) fn apply(
        &self,
        client: WebSocketClientBuilder,
    ) -> Result<WebSocketClientBuilder, Failure> {
        Ok(match &self.token {
            Some(token) => client.header("Authorization", format!("Bearer {}", token.secret()?)),
            None => client,
        })
    }
}

/// A token. It is never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// Returns the token itself.
    ///
    /// The token is checked here and not while the arguments are parsed, because clap's errors
    /// repeat an argument that cannot be parsed.
    pub(crate) fn secret(&self) -> Result<&str, Failure> {
        let is_valid = !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then_some(&*self.0).ok_or_else(|| {
            "the token must be one or more visible ASCII characters without spaces".into()
        })
    }
}

impl FromStr for Token {
    type Err = std::convert::Infallible;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        Ok(Self(token.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Describes an error. If the server refused the client because of its token, adds the name of the
/// option that sets the token.
pub(crate) fn explain(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
            format!("{error}: the server wants a token that it knows (--token)")
        }
        _ => error.to_string(),
    }
}

/// Returns the peer's address, for output. The URL is not used for this, because its query may
/// contain a secret.
pub(crate) fn peer(connection: &WebSocketConnection) -> String {
    connection.remote_address().map_or_else(|| "the peer".to_owned(), |peer| peer.to_string())
}
