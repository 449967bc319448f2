//! How a client reaches a server: which name it asks for in TLS and in HTTP, and how the
//! application's check of the server affects the handshake.

use wsmux_testing::server;

use std::{
    error::Error,
    fmt,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt, time::timeout};
use wsmux::{
    AcceptError, BuildError, Config, ConnectError, ConnectionInfo, VerifyServer, VerifyServerError,
    WebSocketClient, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    WebSocketServerBuilder, async_trait,
    http::{Response, StatusCode},
    rustls,
};

use server::{Outcome, one_client_at};

/// A bound that leaves room for a machine that is busy with other work.
const BOUND: Duration = Duration::from_secs(60);

// ---- names ----

/// Shows one certificate to every client, and records which name the client asked for.
#[derive(Debug)]
struct Noting {
    shown: Arc<CertifiedKey>,
    asked: Mutex<Vec<Option<String>>>,
}

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.asked.lock().unwrap().push(hello.server_name().map(str::to_owned));
        Some(self.shown.clone())
    }
}

struct Site {
    root: CertificateDer<'static>,
    noting: Arc<Noting>,
    config: Arc<rustls::ServerConfig>,
}

impl Site {
    /// Creates a certificate for these names and addresses, signed by a root of its own.
    fn new(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
        let noting = Arc::new(Noting { shown: shown.into(), asked: Mutex::default() });
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(noting.clone());
        Self { root: root.der().clone(), noting, config: config.into() }
    }

    fn client(&self) -> WebSocketClientBuilder {
        WebSocketClient::builder().add_root_certificate(self.root.clone())
    }

    fn server(&self) -> WebSocketServerBuilder {
        WebSocketServer::builder().tls_config(self.config.clone())
    }
}

async fn connect(
    client: WebSocketClientBuilder,
    url: &str,
) -> Result<WebSocketConnection, ConnectError> {
    timeout(BOUND, client.build().unwrap().connect(url)).await.unwrap()
}

/// Connects to a server whose certificate has these names. Returns the name that the client sent by
/// SNI, and the `Host` header without its port.
async fn asked(
    names: &[&str],
    listen: &str,
    host: &str,
    server_name: Option<&str>,
) -> Result<(Option<String>, String), ConnectError> {
    let site = Site::new(names);
    let (address, accepted) = one_client_at(listen, site.server()).await;
    let mut client = site.client();
    if let Some(name) = server_name {
        client = client.server_name(name);
    }
    let connection = connect(client, &format!("wss://{host}:{}/", address.port())).await?;
    let accepted = accepted.await.unwrap().unwrap();
    assert_eq!(connection.remote_address(), Some(address));
    let request = accepted.info().request().unwrap();
    let asked = request.headers()["host"].to_str().unwrap();
    let (asked, port) = asked.rsplit_once(':').unwrap();
    assert_eq!(port, address.port().to_string());
    let sni = site.noting.asked.lock().unwrap();
    assert_eq!(sni.len(), 1);
    Ok((sni[0].clone(), asked.to_owned()))
}

const FOUR: &str = "127.0.0.1:0";
const SIX: &str = "[::1]:0";

#[tokio::test]
async fn a_name_goes_into_sni_and_an_address_does_not() {
    for (names, listen, host, sni, asked_host) in [
        (&["localhost"][..], FOUR, "localhost", Some("localhost"), "localhost"),
        (&["127.0.0.1"], FOUR, "127.0.0.1", None, "127.0.0.1"),
        (&["::1"], SIX, "[::1]", None, "[::1]"),
    ] {
        let asked = asked(names, listen, host, None).await.unwrap();
        assert_eq!(asked, (sni.map(str::to_owned), asked_host.to_owned()));
    }
}

/// The zone of an IPv6 address is used only by the operating system, and never sent to the server.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_zone_stays_on_this_machine() {
    for host in ["[::1%251]", "[::1%1]"] {
        let asked = asked(&["::1"], SIX, host, None).await.unwrap();
        assert_eq!(asked, (None, "[::1]".to_owned()));
    }
    // A link-local address can be reached only with a zone. Not every machine has such an address.
    let links = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let link = links.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let bits = u128::from_str_radix(fields[0], 16).ok()?;
        fields[0].starts_with("fe80").then(|| (std::net::Ipv6Addr::from(bits), fields[5]))
    });
    let Some((address, interface)) = link else { return };
    let listener = WebSocketServer::builder().bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = tokio::spawn(async move { listener.accept().await.unwrap().await });
    let url = format!("ws://[{address}%25{interface}]:{port}/");
    let connection = connect(WebSocketClient::builder(), &url).await.unwrap();
    assert_eq!(connection.remote_address().unwrap().ip(), address);
    let accepted = accepted.await.unwrap().unwrap();
    let host = &accepted.info().request().unwrap().headers()["host"];
    assert_eq!(host, &format!("[{address}]:{port}"));
}

#[tokio::test]
async fn a_certificate_must_have_the_address_itself() {
    for (names, listen, host, server_name) in [
        // A certificate for the name `localhost` is not valid for the loopback address, and a
        // certificate for that address is not valid for the name.
        (&["localhost"][..], FOUR, "127.0.0.1", None),
        (&["localhost"], SIX, "[::1]", None),
        (&["127.0.0.1"], FOUR, "localhost", None),
        (&["127.0.0.2"], FOUR, "127.0.0.1", None),
        (&["127.0.0.1"], FOUR, "127.0.0.1", Some("example.com")),
        (&["127.0.0.1"], FOUR, "127.0.0.1", Some("::1")),
    ] {
        let failed = asked(names, listen, host, server_name).await.unwrap_err();
        let ConnectError::Tls(error) = &failed else { panic!("{failed:?}") };
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        assert!(matches!(inner, Some(rustls::Error::InvalidCertificate(_))), "{failed:?}");
    }
}

#[tokio::test]
async fn the_name_in_tls_can_be_another_than_the_urls() {
    for (names, host, server_name, sni) in [
        (&["example.com"][..], "127.0.0.1", "example.com", Some("example.com")),
        (&["example.com"], "localhost", "example.com", Some("example.com")),
        (&["10.0.0.1"], "localhost", "10.0.0.1", None),
        (&["fd00::1"], "localhost", "fd00::1", None),
    ] {
        let asked = asked(names, FOUR, host, Some(server_name)).await.unwrap();
        assert_eq!(asked, (sni.map(str::to_owned), host.to_owned()));
    }
    for name in ["", "a b", "[::1]", "a:443"] {
        let refused = WebSocketClient::builder().server_name(name).build();
        assert!(matches!(refused, Err(BuildError::InvalidServerName(_))), "{name:?}: {refused:?}");
    }
}

// ---- the application's check ----

/// The error of an application's check.
#[derive(Debug, PartialEq)]
struct Unwanted(u8);

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unwanted for reason {}", self.0)
    }
}

impl Error for Unwanted {}

/// A check that records its arguments and returns a prepared answer.
#[derive(Default)]
struct Check {
    refuse_certificates: bool,
    refuse_response: bool,
    hang_at_certificates: bool,
    hang_at_response: bool,
    seen: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl VerifyServer for Check {
    async fn verify_certificates(
        &self,
        host: &str,
        chain: &[Bytes],
    ) -> Result<(), VerifyServerError> {
        self.seen.lock().unwrap().push(format!("{host} shows {}", chain.len()));
        if self.hang_at_certificates {
            pending::<()>().await;
        }
        // The check awaits something, as a look-up in a directory would.
        tokio::task::yield_now().await;
        if self.refuse_certificates { Err(Unwanted(1).into()) } else { Ok(()) }
    }

    async fn verify_response(
        &self,
        response: &Response<()>,
        info: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        let server = response.headers()["x-server"].to_str()?;
        let subprotocol = info.subprotocol().unwrap_or_default();
        let note = format!("{} by {server} with {subprotocol}", response.status());
        self.seen.lock().unwrap().push(note);
        assert!(info.request().is_some() && info.remote_address().is_some());
        if self.hang_at_response {
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
        if self.refuse_response { Err(Unwanted(2).into()) } else { Ok(()) }
    }
}

/// Connects with this check. Returns the outcome at both ends, and whether the server saw a
/// request.
async fn checked(
    scheme: &str,
    check: Check,
) -> (Result<WebSocketConnection, ConnectError>, Outcome, bool) {
    let site = Site::new(&["127.0.0.1"]);
    let builder = match scheme {
        "wss" => site.server(),
        _ => WebSocketServer::builder(),
    };
    let requested = Arc::new(Mutex::new(false));
    let seen = requested.clone();
    let builder = builder.protocol("app").header("X-Server", "me").authorize(move |_| {
        *seen.lock().unwrap() = true;
        Ok::<_, StatusCode>(())
    });
    let (address, accepted) = one_client_at(FOUR, builder).await;
    let mut config = Config::default();
    let hangs = check.hang_at_certificates || check.hang_at_response;
    config.handshake_timeout(if hangs { Duration::from_secs(2) } else { BOUND });
    let client = site.client().config(config).protocol("app").verify_server(check);
    let connected = connect(client, &format!("{scheme}://{address}/")).await;
    let accepted = timeout(BOUND, accepted).await.unwrap().unwrap();
    let requested = *requested.lock().unwrap();
    (connected, accepted, requested)
}

#[tokio::test]
async fn a_check_sees_the_chain_then_the_response() {
    for (scheme, chain) in [("ws", None), ("wss", Some("127.0.0.1 shows 1"))] {
        let check = Check::default();
        let seen = check.seen.clone();
        let (connected, accepted, _) = checked(scheme, check).await;
        let (connected, accepted) = (connected.unwrap(), accepted.unwrap());
        let mut stream = connected.open_bi().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        accepted.accept_bi().await.unwrap();
        let response = "101 Switching Protocols by me with qmux-02.app";
        let expected: Vec<_> = chain.into_iter().chain([response]).collect();
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}

fn rejection(error: &ConnectError) -> &Unwanted {
    let ConnectError::ServerRejected(rejection) = error else { panic!("{error:?}") };
    assert!(rejection.is::<Unwanted>());
    assert!(error.to_string().contains("unwanted for reason"), "{error}");
    error.source().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn a_chain_that_is_not_wanted_gets_no_request() {
    let check = Check { refuse_certificates: true, ..Check::default() };
    let (connected, accepted, requested) = checked("wss", check).await;
    assert_eq!(*rejection(&connected.unwrap_err()), Unwanted(1));
    // The text of the error shows that the client sent a `close_notify`: without one, rustls would
    // report that the stream was cut off.
    let AcceptError::Io(error) = accepted.unwrap_err() else { panic!() };
    assert_eq!(
        error.to_string(),
        std::io::Error::from(std::io::ErrorKind::UnexpectedEof).to_string()
    );
    assert!(!requested);
}

#[tokio::test]
async fn a_response_that_is_not_wanted_ends_the_connection() {
    for scheme in ["ws", "wss"] {
        let check = Check { refuse_response: true, ..Check::default() };
        let (connected, accepted, requested) = checked(scheme, check).await;
        assert_eq!(*rejection(&connected.unwrap_err()), Unwanted(2));
        let failed = accepted.unwrap_err();
        assert!(matches!(failed, AcceptError::Connection(_)), "{failed:?}");
        assert!(requested);
    }
}

/// [W-23] The handshake timeout MUST cover everything from the first byte of the connection to its
/// readiness: TLS, HTTP upgrade, and on QMux the peer's transport parameters.
#[tokio::test]
async fn a_check_that_hangs_is_bounded_by_the_handshake_timeout() {
    for (hang_at_certificates, hang_at_response) in [(true, false), (false, true)] {
        let check = Check { hang_at_certificates, hang_at_response, ..Check::default() };
        let (connected, accepted, _) = checked("wss", check).await;
        let failed = connected.unwrap_err();
        assert!(matches!(failed, ConnectError::HandshakeTimeout), "{failed:?}");
        accepted.unwrap_err();
    }
}
