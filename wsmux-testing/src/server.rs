//! A server that accepts clients, a client that trusts it, and a function that shows that the two
//! can communicate.
#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};
use wsmux::{
    AcceptError, Config, WebSocketClient, WebSocketClientBuilder, WebSocketConnection,
    WebSocketServer, WebSocketServerBuilder, rustls,
    rustls::pki_types::{CertificateDer, PrivateKeyDer},
};

/// A time limit. A test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// How the handshake with a client ended at the server.
pub type Outcome = Result<WebSocketConnection, AcceptError>;

/// Starts a server that accepts one client.
pub async fn one_client(builder: WebSocketServerBuilder) -> (SocketAddr, JoinHandle<Outcome>) {
    one_client_at("127.0.0.1:0", builder).await
}

/// Starts a server at this address that accepts one client.
pub async fn one_client_at(
    address: &str,
    builder: WebSocketServerBuilder,
) -> (SocketAddr, JoinHandle<Outcome>) {
    let server = builder.bind(address).await.unwrap();
    let address = server.local_addr().unwrap();
    (address, tokio::spawn(async move { server.accept().await.unwrap().await }))
}

/// Connects this client to this server, and returns both ends.
pub async fn connected(
    server: WebSocketServerBuilder,
    client: WebSocketClientBuilder,
    scheme: &str,
) -> (WebSocketConnection, WebSocketConnection) {
    let (address, accepted) = one_client(server).await;
    let client = client.build().unwrap();
    let url = format!("{scheme}://{address}/path?query");
    let connection = within(client.connect(&url)).await.unwrap();
    (connection, within(accepted).await.unwrap().unwrap())
}

pub async fn echo(client: &WebSocketConnection, server: &WebSocketConnection) {
    within(async {
        let mut stream = client.open_bi().await.unwrap();
        stream.write_all(b"echo").await.unwrap();
        let mut accepted = server.accept_bi().await.unwrap();
        let mut bytes = [0; 4];
        accepted.read_exact(&mut bytes).await.unwrap();
        accepted.write_all(&bytes).await.unwrap();
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"echo");
    })
    .await;
}

/// A certificate that is signed by a root of its own.
pub struct Tls {
    pub root: CertificateDer<'static>,
    pub certificate: CertificateDer<'static>,
    pub root_pem: String,
    pub pem: String,
    pub key_pem: String,
    key: Vec<u8>,
}

impl Tls {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // The names of the roots differ. Otherwise rustls would find another test's root by its
        // name, and reject the signature.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let root_name = format!("root {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, root_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &root).unwrap();
        Self {
            root: root.der().clone(),
            certificate: certificate.der().clone(),
            root_pem: root.pem(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    /// Returns a server that presents the certificate.
    pub fn server(&self) -> WebSocketServerBuilder {
        WebSocketServer::builder().certificate([self.certificate.clone()], self.key())
    }

    /// Returns a client that trusts the certificate.
    pub fn client(&self) -> WebSocketClientBuilder {
        WebSocketClient::builder().trust_self_signed(self.certificate.clone())
    }

    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key());
        config.unwrap().into()
    }
}
