//! The two ends speak the protocol that ALPN selects, whatever the user's TLS configuration offers.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wsmux::{
    BuildError, WebSocketClient, WebSocketServer,
    rustls::{
        self, ClientConfig, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

type Names<'a> = &'a [&'a str];

const BOTH: Names = &["h2", "http/1.1"];

fn bytes(names: Names) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// TLS configurations of two ends that trust each other.
struct Tls {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Tls {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, key: key.serialize_der() }
    }

    fn client(&self, alpn: Names) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = bytes(alpn);
        config.into()
    }

    fn server(&self, alpn: Names) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = bytes(alpn);
        config.into()
    }
}

/// A TLS server that prefers HTTP/2, as most servers do.
struct Foreign {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Foreign {
    async fn start(tls: &Tls) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (Self { listener, acceptor: tls.server(BOTH).into() }, address)
    }

    /// Returns the stream of the next client, and the protocol that ALPN selected.
    async fn accept(&self) -> (tokio_rustls::server::TlsStream<TcpStream>, Option<String>) {
        let (tcp, _) = self.listener.accept().await.unwrap();
        let tls = self.acceptor.accept(tcp).await.unwrap();
        let agreed = tls.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()));
        let agreed = agreed.map(Result::unwrap);
        (tls, agreed)
    }
}

const OF_USERS: [Names; 4] = [&[], &["h2"], BOTH, &["http/1.1"]];

/// [W-60] A client MUST offer by ALPN exactly what it can speak, whatever TLS configuration it was
/// given: `http/1.1`, preceded by `h2` if the client speaks WebSocket over HTTP/2.
#[tokio::test]
async fn a_client_agrees_on_http1_whatever_its_configuration_offers() {
    let tls = Tls::new();
    let (foreign, address) = Foreign::start(&tls).await;
    let acceptor = WebSocketServer::builder().build().unwrap();
    for alpn in OF_USERS {
        let client = WebSocketClient::builder().tls_config(tls.client(alpn)).build().unwrap();
        let url = format!("wss://{address}/");
        let accept = async {
            let (stream, agreed) = foreign.accept().await;
            assert_eq!(agreed.as_deref(), Some("http/1.1"), "{alpn:?}");
            acceptor.from_io(stream).await.unwrap()
        };
        let (connected, _accepted) = tokio::join!(client.connect(&url), accept);
        connected.unwrap();
    }
}

#[tokio::test]
async fn a_tunnel_agrees_on_http1_whatever_its_configuration_offers() {
    let tls = Tls::new();
    let (foreign, address) = Foreign::start(&tls).await;
    for alpn in OF_USERS {
        let client = WebSocketClient::builder()
            .proxy(format!("https://{address}"))
            .proxy_tls_config(tls.client(alpn))
            .build()
            .unwrap();
        let agreed = async { foreign.accept().await.1 };
        let (failed, agreed) = tokio::join!(client.connect("ws://127.0.0.1/"), agreed);
        failed.unwrap_err();
        assert_eq!(agreed.as_deref(), Some("http/1.1"), "{alpn:?}");
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn a_client_for_http2_offers_it_whatever_its_configuration_offers() {
    let tls = Tls::new();
    let (foreign, address) = Foreign::start(&tls).await;
    for alpn in OF_USERS {
        let client = WebSocketClient::builder().tls_config(tls.client(alpn)).build().unwrap();
        let client = wsmux::Http2Client::new(client);
        let url = format!("wss://{address}/");
        let agreed = async { foreign.accept().await.1 };
        let (failed, agreed) = tokio::join!(client.connect(&url), agreed);
        failed.unwrap_err();
        assert_eq!(agreed.as_deref(), Some("h2"), "{alpn:?}");
    }
}

/// Returns the protocol that a server of ours with this configuration selects for a client that
/// offers `offers`.
async fn agreed(server: &WebSocketServer, tls: &Tls, offers: Names<'_>) -> Option<String> {
    let tcp = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let connecting = TlsConnector::from(tls.client(offers)).connect(name, tcp);
    let handshake = tokio::spawn(server.accept().await.unwrap());
    let stream = connecting.await;
    handshake.abort();
    let name = stream.ok()?.get_ref().1.alpn_protocol()?.to_vec();
    Some(String::from_utf8(name).unwrap())
}

#[tokio::test]
async fn a_server_never_agrees_on_http2() {
    let tls = Tls::new();
    for (config, offers, expected) in [
        (BOTH, BOTH, Some("http/1.1")),
        (BOTH, &["http/1.1"], Some("http/1.1")),
        (&[], BOTH, None),
        (&["http/1.1"], BOTH, Some("http/1.1")),
        (&["acme-tls/1", "h2", "http/1.1"], &["acme-tls/1"], Some("acme-tls/1")),
    ] {
        let builder = WebSocketServer::builder().tls_config(tls.server(config));
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        assert_eq!(agreed(&server, &tls, offers).await.as_deref(), expected, "{config:?}");
        // A configuration that the server is given while it runs does not select HTTP/2 either.
        server.set_tls_config(tls.server(BOTH)).unwrap();
        assert_eq!(agreed(&server, &tls, BOTH).await.as_deref(), Some("http/1.1"));
    }
}

/// [W-61] A server that speaks only HTTP/1.1 MUST NOT select `h2` by ALPN. A TLS configuration that
/// lists ALPN names without `http/1.1` MUST be refused when it is set.
#[tokio::test]
async fn a_server_without_http1_in_its_alpn_is_not_built() {
    let tls = Tls::new();
    let server = WebSocketServer::builder().tls_config(tls.server(BOTH));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    for alpn in [&["h2"][..], &["acme-tls/1"], &["h2", "http/1.0"]] {
        let built = WebSocketServer::builder().tls_config(tls.server(alpn)).build();
        assert!(matches!(built, Err(BuildError::Tls(_))), "{alpn:?}");
        let set = server.set_tls_config(tls.server(alpn));
        assert!(matches!(set, Err(BuildError::Tls(_))), "{alpn:?}");
        assert_eq!(agreed(&server, &tls, BOTH).await.as_deref(), Some("http/1.1"));
    }
}
