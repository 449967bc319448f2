//! No error, no recorded event and no `Debug` output contains a password, a token or the query of a
//! URL.

mod answers;
mod close;
mod routes;
mod settings;
mod subprotocols;

use std::{
    error::Error,
    fmt::{self, Debug, Display, Write as _},
    io,
    sync::{Arc, Mutex},
};

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tracing::{Event, Metadata, Subscriber, field::Field, span};
use wsmux::{
    ConnectionInfo, VerifyServer, VerifyServerError, WebSocketClient, WebSocketClientBuilder,
    WebSocketServer, WebSocketServerBuilder, async_trait,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
    http::{self, HeaderMap, StatusCode},
};

/// Every secret of these tests contains this word.
const CANARY: &str = "canary";

/// Base64 of `user:canary`, which a client sends to a proxy.
const CANARY_IN_BASE64: &str = "dXNlcjpjYW5hcnk=";

/// Collects the texts that the tests check for secrets. Each entry has a text, and says where the
/// text came from.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<(String, String)>>>);

impl Said {
    fn text(&self, what: &str, text: String) {
        self.0.lock().unwrap().push((what.to_owned(), text));
    }

    fn debug(&self, what: &str, value: &dyn Debug) {
        self.text(what, format!("{value:?}"));
        self.text(what, format!("{value:#?}"));
    }

    /// Records the error and all its sources, as `Display` and as `Debug` show them.
    fn error(&self, what: &str, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.text(what, format!("{error}"));
            self.debug(what, &error);
            next = error.source();
        }
    }

    fn failed<T: Debug, E: Error + Clone + Into<io::Error> + 'static>(
        &self,
        what: &str,
        result: Result<T, E>,
    ) -> E {
        let error = result.expect_err(what);
        self.error(what, &error);
        self.error(what, &error.clone().into());
        error
    }

    /// Fails if any of the texts contains a secret.
    #[track_caller]
    fn holds_no_secret(&self, key: &[u8]) {
        let middle = &key[key.len() / 2..][..6];
        let numbers = format!("{middle:?}");
        let hex = middle.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let secrets = [CANARY, CANARY_IN_BASE64, &hex, numbers.trim_matches(['[', ']'])];
        let said = self.0.lock().unwrap();
        let seen: Vec<_> = said
            .iter()
            .filter(|(_, text)| {
                let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let low = text.to_lowercase();
                secrets.iter().any(|secret| flat.contains(secret) || low.contains(secret))
            })
            .collect();
        assert!(seen.is_empty(), "{seen:#?}");
    }
}

/// Records the events of all crates at every level.
impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = String::new();
        attributes.record(&mut Fields(&mut text));
        self.text(attributes.metadata().target(), text);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut text = String::new();
        values.record(&mut Fields(&mut text));
        self.text("a span", text);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Fields(&mut text));
        self.text(event.metadata().name(), text);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: cert.der().clone(),
            key: PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        }
    }
}

/// Returns a client in which every setting contains a secret.
fn secretive(identity: &Identity) -> WebSocketClientBuilder {
    WebSocketClient::builder()
        .header("Authorization", "Bearer canary")
        .header("Cookie", "session=canary")
        .header("X-Api-Key", "canary")
        .subprotocols(["qmux-02", "token.canary"])
        .client_certificate([identity.certificate.clone()], identity.key.clone_key())
        .trust_self_signed(identity.certificate.clone())
}

/// A hook that repeats the request, as many error pages do.
struct Hook(Said);

#[async_trait]
impl Authorize for Hook {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let said = &self.0;
        said.debug("UpgradeRequest", request);
        said.debug("its info", request.info());
        said.debug("its headers", &standard(request.headers()));
        let accept = Accept::new().header("Set-Cookie", "a=canary").header("x-token", "canary");
        let accept = accept.data("canary");
        said.debug("Accept", &accept);
        let query = request.query().unwrap_or_default();
        let refuse = Refuse::new(StatusCode::FORBIDDEN)
            .header("Location", format!("/elsewhere?{query}"))
            .header("Set-Cookie", "a=canary")
            .body(format!("you may not see {}", request.uri()));
        said.debug("Refuse", &refuse);
        if request.path() == "/refused" { Err(refuse) } else { Ok(accept) }
    }
}

/// Removes the headers whose values are secret only in these tests. The header map is a type of
/// another crate, which shows these values because it does not know that they are secret.
fn standard(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in ["x-api-key", "x-token", "location"] {
        headers.remove(name);
    }
    headers
}

fn builder(said: &Said, identity: &Identity) -> WebSocketServerBuilder {
    let builder = WebSocketServer::builder()
        .certificate([identity.certificate.clone()], identity.key.clone_key())
        .header("Set-Cookie", "b=canary")
        .authorizer(Hook(said.clone()));
    said.debug("WebSocketServerBuilder", &builder);
    builder
}

const PATH: &str = "/path?token=canary";

struct Check;

#[async_trait]
impl VerifyServer for Check {
    async fn verify_response(
        &self,
        _: &http::Response<()>,
        _: &ConnectionInfo,
    ) -> Result<(), VerifyServerError> {
        Err("not this one".into())
    }
}

/// Starts a server that answers an upgrade with the necessary lines and `lines`, and then sends
/// `then`.
async fn answers(lines: &'static str, then: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        );
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.write_all(then).await.unwrap();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    url
}

/// Checks the tests' own helper: it must find a secret if there is one.
#[test]
#[should_panic(expected = "Loud")]
fn a_secret_that_is_shown_is_seen() {
    #[derive(Debug)]
    struct Loud(#[expect(dead_code)] &'static str);
    impl Display for Loud {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }
    let said = Said::default();
    said.debug("Loud", &Loud(CANARY));
    said.holds_no_secret(&[0xf7; 32]);
}
