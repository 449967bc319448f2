//! A client behind an HTTP proxy: how it connects, and which side an error is attributed to.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use wsmux::{
    BuildError, ConnectError, WebSocketClient, WebSocketClientBuilder, WebSocketConnection,
    WebSocketServer, rustls,
};

/// A bound that leaves room for a machine that is busy with other work.
const BOUND: Duration = Duration::from_secs(60);

struct Tls {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// Creates a self-signed certificate for this name.
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key);
        Self {
            certificate: certificate.unwrap().der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }
}

/// How a proxy in these tests responds to a request.
#[derive(Clone)]
enum Manner {
    /// Connects to this server, whatever host the request names.
    Leads(SocketAddr),
    /// Answers with these bytes, and goes on reading.
    Says(Vec<u8>),
    /// Accepts the connection, and sends nothing.
    Silent,
    /// Reads the request, and ends the connection.
    Ends,
}

/// A proxy, and the head of each request that it received.
struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn new(manner: Manner, tls: Option<&Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        let tls = tls.map(|tls| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![tls.certificate.clone()], tls.key.clone_key())
                .unwrap();
            tokio_rustls::TlsAcceptor::from(Arc::new(config))
        });
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (manner, noted, tls) = (manner.clone(), noted.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(tcp).await?, &manner, &noted).await,
                        None => serve(tcp, &manner, &noted).await,
                    }
                });
            }
        });
        Self { address, requests }
    }

    async fn says(answer: impl Into<Vec<u8>>) -> Self {
        Self::new(Manner::Says(answer.into()), None).await
    }
}

async fn serve(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    manner: &Manner,
    noted: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    noted.lock().unwrap().push(String::from_utf8(head).unwrap());
    match manner {
        Manner::Leads(server) => {
            let mut server = TcpStream::connect(server).await?;
            // The answer is sent in three parts. An interim response of status 1xx comes before the
            // final response.
            for part in ["HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 Conn", "ected\r\n", "\r\n"] {
                io.write_all(part.as_bytes()).await?;
                io.flush().await?;
                tokio::task::yield_now().await;
            }
            copy_bidirectional(&mut io, &mut server).await?;
        }
        Manner::Says(answer) => {
            io.write_all(answer).await?;
            io.flush().await?;
            io.read_to_end(&mut Vec::new()).await?;
        }
        Manner::Silent => std::future::pending().await,
        Manner::Ends => {}
    }
    Ok(())
}

/// Starts a server that echoes the streams of every client.
async fn server(tls: Option<&Tls>) -> SocketAddr {
    let mut builder = WebSocketServer::builder();
    if let Some(tls) = tls {
        builder = builder.certificate([tls.certificate.clone()], tls.key.clone_key());
    }
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(async move {
                let connection = connecting.await.ok()?;
                while let Ok(stream) = connection.accept_bi().await {
                    let (mut send, mut recv) = stream.into_split();
                    tokio::spawn(async move {
                        send.write_all(&recv.read_to_end(1 << 20).await.ok()?).await.ok()?;
                        send.finish().ok()
                    });
                }
                Some(())
            });
        }
    });
    address
}

async fn connect(
    client: WebSocketClientBuilder,
    url: &str,
) -> Result<WebSocketConnection, ConnectError> {
    timeout(BOUND, client.build().unwrap().connect(url)).await.unwrap()
}

async fn echo(connection: &WebSocketConnection) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap().into_split();
    let sent = vec![7; 100_000];
    send.write_all(&sent).await.unwrap();
    send.finish().unwrap();
    assert!(recv.read_to_end(sent.len()).await.unwrap() == sent);
}

#[tokio::test]
async fn a_tunnel_carries_plain_and_tls_through_either_kind_of_proxy() {
    let (server_tls, proxy_tls) = (Tls::new("far.example"), Tls::new("127.0.0.1"));
    for scheme in ["ws", "wss"] {
        let server = server((scheme == "wss").then_some(&server_tls)).await;
        for proxy_scheme in ["http", "https"] {
            let tls = (proxy_scheme == "https").then_some(&proxy_tls);
            let proxy = Proxy::new(Manner::Leads(server), tls).await;
            // Only the proxy can resolve this name.
            let client = WebSocketClient::builder()
                .add_root_certificate(server_tls.certificate.clone())
                .add_root_certificate(proxy_tls.certificate.clone())
                .proxy(format!("{proxy_scheme}://user:p%40ss@{}", proxy.address));
            let connection = connect(client, &format!("{scheme}://far.example/x")).await.unwrap();
            echo(&connection).await;
            assert_eq!(connection.remote_address(), Some(proxy.address));
            let request = connection.info().request().unwrap();
            assert_eq!(request.headers()["host"], "far.example");
            assert!(!request.headers().contains_key("proxy-authorization"));
            let authority = if scheme == "ws" { "far.example:80" } else { "far.example:443" };
            let expected = format!(
                "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\
                 Proxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
            );
            assert_eq!(*proxy.requests.lock().unwrap(), [expected]);
            // The certificates reported are the server's, not the proxy's.
            let shown = connection.peer_certificates().map(|chain| chain[0].to_vec());
            let expected = (scheme == "wss").then(|| server_tls.certificate.to_vec());
            assert_eq!(shown, expected);
        }
    }
}

/// Connects through this proxy, and returns the error, which must be attributed to the proxy.
async fn blamed(proxy: SocketAddr) -> ConnectError {
    let client = WebSocketClient::builder().proxy(format!("http://u:secret@{proxy}"));
    let failed = connect(client, "wss://far.example/").await.unwrap_err();
    assert!(!format!("{failed} {failed:?}").contains("secret"), "{failed:?}");
    assert!(failed.to_string().starts_with("proxy: "), "{failed}");
    match failed {
        ConnectError::Proxy(error) => (*error).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status() {
    let challenge = "Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 5\r\n\r\nlogin";
    for (status, head) in [
        (407, format!("HTTP/1.1 407 Proxy Authentication Required\r\n{challenge}")),
        (502, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nlogin".to_owned()),
        (302, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 5\r\n\r\nlogin".to_owned()),
    ] {
        match blamed(Proxy::says(head).await.address).await {
            ConnectError::Refused { status: found, headers, body } => {
                assert_eq!((found.as_u16(), &*body), (status, "login"));
                let challenge = headers.get("proxy-authenticate");
                assert_eq!(challenge.is_some_and(|it| it == "Basic realm=\"x\""), status == 407);
                assert_eq!(headers.get("location").is_some_and(|it| it == "/"), status == 302);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_late_refusal_of_a_proxy_is_reported_without_its_body() {
    let head = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 100\r\n\r\nlog in";
    let proxy = Proxy::says(head).await.address;
    // The client waits one second for a body. Here the connect timeout is shorter than one second.
    let limit = Duration::from_millis(900);
    let client = WebSocketClient::builder().proxy(format!("http://{proxy}")).connect_timeout(limit);
    let failed = connect(client, "ws://far.example/").await.unwrap_err();
    let ConnectError::Proxy(failed) = failed else { panic!("{failed:?}") };
    let ConnectError::Refused { status, body, .. } = &*failed else { panic!("{failed:?}") };
    assert_eq!((status.as_u16(), &**body), (407, "log in"));
}

#[tokio::test]
async fn what_is_no_answer_to_a_connect_is_refused() {
    for answer in [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\x15\x03\x01\x00\x02\x02\x50".to_vec(),
        // After the response there are bytes that the server cannot have sent yet.
        b"HTTP/1.1 200 OK\r\n\r\n\x16\x03".to_vec(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)).into_bytes(),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200)).into_bytes(),
        b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20),
    ] {
        let failed = blamed(Proxy::says(answer).await.address).await;
        assert!(matches!(failed, ConnectError::InvalidResponse(_)), "{failed:?}");
    }
    let ends = Proxy::new(Manner::Ends, None).await;
    let failed = blamed(ends.address).await;
    assert!(matches!(failed, ConnectError::Io(_)), "{failed:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    // This port was free a moment ago, so nobody listens on it.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = blamed(free).await;
    assert!(matches!(failed, ConnectError::Connect(_)), "{failed:?}");
    let client = WebSocketClient::builder().proxy("http://no-such-host.invalid");
    match connect(client, "ws://far.example").await.unwrap_err() {
        ConnectError::Proxy(error) => assert!(matches!(*error, ConnectError::Resolve(_))),
        other => panic!("{other:?}"),
    }
    // The connect timeout limits how long the client waits for a proxy that does not answer.
    let silent = Proxy::new(Manner::Silent, None).await;
    let client = WebSocketClient::builder()
        .connect_timeout(Duration::from_millis(500))
        .proxy(format!("http://{}", silent.address));
    match connect(client, "ws://far.example").await.unwrap_err() {
        ConnectError::Proxy(error) => assert!(matches!(*error, ConnectError::ConnectTimeout)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn behind_the_tunnel_the_server_is_to_blame() {
    let tls = Tls::new("far.example");
    let proxy = Proxy::new(Manner::Leads(server(Some(&tls)).await), None).await;
    let proxy = format!("http://{}", proxy.address);
    let client = WebSocketClient::builder().proxy(&proxy);
    let failed = connect(client, "wss://far.example").await.unwrap_err();
    assert!(matches!(failed, ConnectError::Tls(_)), "{failed:?}");
}

#[tokio::test]
async fn a_proxys_certificate_is_looked_at_apart_from_the_servers() {
    let (server_tls, proxy_tls) = (Tls::new("far.example"), Tls::new("127.0.0.1"));
    let server = server(Some(&server_tls)).await;
    let proxy = Proxy::new(Manner::Leads(server), Some(&proxy_tls)).await;
    let proxy = format!("https://{}", proxy.address);
    let client = || {
        WebSocketClient::builder().proxy(&proxy).trust_self_signed(server_tls.certificate.clone())
    };
    // The certificate pinned for the server is not accepted from the proxy.
    match connect(client(), "wss://far.example").await.unwrap_err() {
        ConnectError::Proxy(error) => assert!(matches!(*error, ConnectError::Tls(_)), "{error:?}"),
        other => panic!("{other:?}"),
    }
    // The proxy is refused even if it shows the server's own certificate.
    let twin = Proxy::new(Manner::Leads(server), Some(&server_tls)).await;
    let twin = client().proxy(format!("https://{}", twin.address));
    match connect(twin, "wss://far.example").await.unwrap_err() {
        ConnectError::Proxy(error) => assert!(matches!(*error, ConnectError::Tls(_)), "{error:?}"),
        other => panic!("{other:?}"),
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy_tls.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = client().proxy_tls_config(config.into());
    echo(&connect(client, "wss://far.example").await.unwrap()).await;
}

#[test]
fn a_url_that_is_no_proxys_is_refused_when_the_client_is_made() {
    let refused = WebSocketClient::builder().proxy("socks5://u:secret@proxy").build().unwrap_err();
    assert!(matches!(refused, BuildError::InvalidProxy(_)), "{refused:?}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}
