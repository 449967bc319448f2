//! TCP and TLS for backends that do not include them.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};
use tokio_util::either::Either;

use crate::path;

/// The length of the accept queue, which is the largest length that Linux permits by default.
const BACKLOG: u32 = 4096;

/// A TCP connection with or without TLS.
pub type Socket = Either<TcpStream, TlsStream<TcpStream>>;

/// A certificate for the server's address, generated at startup.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    pub fn new() -> Result<Self> {
        let certified =
            rcgen::generate_simple_self_signed([path::server().to_string(), "localhost".into()])?;
        Ok(Self { certificate: certified.cert.der().clone(), key: certified.signing_key.into() })
    }

    /// Returns two configurations: of a server that presents the certificate, and of a client that
    /// trusts the certificate. Server and client agree on TLS 1.3, with aws-lc.
    pub fn configs(self) -> Result<(ServerConfig, ClientConfig)> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok((server, client))
    }
}

/// The server's end: a TCP port on which it listens.
pub struct Listener {
    tcp: TcpListener,
    nodelay: bool,
    tls: Option<TlsAcceptor>,
}

/// The client's end, which connects to a [`Listener`].
#[derive(Clone)]
pub struct Dialer {
    address: SocketAddr,
    nodelay: bool,
    tls: Option<TlsConnector>,
}

/// Returns TLS for the server and for the client, if TLS is wanted.
pub fn tls(wanted: bool) -> Result<(Option<TlsAcceptor>, Option<TlsConnector>)> {
    if !wanted {
        return Ok((None, None));
    }
    let (server, client) = Identity::new()?.configs()?;
    Ok((Some(Arc::new(server).into()), Some(Arc::new(client).into())))
}

/// Listens with an accept queue that has room for every connection that a workload opens at once.
pub fn bind() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((path::server(), 0).into())?;
    Ok(socket.listen(BACKLOG)?)
}

pub async fn listen(tls: bool, nodelay: bool) -> Result<(Arc<Listener>, Dialer)> {
    let tcp = bind()?;
    let address = tcp.local_addr()?;
    let (acceptor, connector) = self::tls(tls)?;
    let listener = Listener { tcp, nodelay, tls: acceptor };
    Ok((Arc::new(listener), Dialer { address, nodelay, tls: connector }))
}

impl Listener {
    /// Accepts the next connection, before its handshakes.
    pub async fn accept(&self) -> Result<TcpStream> {
        let (tcp, _) = self.tcp.accept().await?;
        tcp.set_nodelay(self.nodelay)?;
        Ok(tcp)
    }

    pub async fn secure(&self, tcp: TcpStream) -> Result<Socket> {
        Ok(match &self.tls {
            None => Either::Left(tcp),
            Some(tls) => Either::Right(TlsStream::Server(tls.accept(tcp).await?)),
        })
    }
}

impl Dialer {
    pub async fn dial(&self) -> Result<Socket> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(self.nodelay)?;
        Ok(match &self.tls {
            None => Either::Left(tcp),
            Some(tls) => {
                let name = ServerName::from(self.address.ip());
                Either::Right(TlsStream::Client(tls.connect(name, tcp).await?))
            }
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the address to which later connections go.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.address)
    }
}
