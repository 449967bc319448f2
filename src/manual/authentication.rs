//! Who is at the other end. There are three places to ask, and an application may use any of them, or all:
//!
//! | layer | who says it | what the refused hear | for |
//! |---|---|---|---|
//! | TLS | certificates | a TLS alert | machines that know each other |
//! | the upgrade | headers, path, address | an HTTP status | users with passwords and tokens, web pages |
//! | the payload | the first bytes on a stream | the application's close code | what neither of the others can carry |
//!
//! A server knows nothing of its clients, and lets everyone in, until it is told otherwise.
//!
//! # TLS
//!
//! A server asks for certificates with
//! [`require_client_certificates`](crate::WebSocketServerBuilder::require_client_certificates), or
//! [`request_client_certificates`](crate::WebSocketServerBuilder::request_client_certificates) where those without
//! are welcome too. What a client showed, and TLS verified, is
//! [`peer_certificates`](crate::WebSocketConnection::peer_certificates): the chain in DER. That a root vouches for somebody does
//! not say that he may come: compare the certificate with those that may, in a hook or on the connection.
//!
//! ```
//! use wsmux::{AcceptError, WebSocketClient, WebSocketServer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (certificate, key) = (made.cert.der().clone(), made.signing_key.into());
//! # let mut params = CertificateParams::new(Vec::new())?;
//! # params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
//! # let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
//! # let client_key = KeyPair::generate()?;
//! # let client_certificate =
//! #     CertificateParams::new(["client".to_owned()])?.signed_by(&client_key, &root)?.der().clone();
//! # let client_key = client_key.serialize_der().try_into()?;
//! # let root = root.der().clone();
//! let server = WebSocketServer::builder()
//!     .certificate([certificate.clone()], key)
//!     .require_client_certificates([root])
//!     .bind("127.0.0.1:0")
//!     .await?;
//! let url = format!("wss://localhost:{}/", server.local_addr()?.port());
//!
//! let client = || WebSocketClient::builder().trust_self_signed(certificate.clone());
//! let nobody = client().build()?;
//! let known = client().client_certificate([client_certificate.clone()], client_key).build()?;
//!
//! let accept = async { server.accept().await.expect("it is open").await };
//! let (connected, accepted) = tokio::join!(known.connect(&url), accept);
//! let (_connected, accepted) = (connected?, accepted?);
//! assert_eq!(accepted.peer_certificates().expect("it was required")[0], *client_certificate);
//!
//! let accept = async { server.accept().await.expect("it is open").await };
//! let (refused, accepted) = tokio::join!(nobody.connect(&url), accept);
//! assert!(refused.is_err());
//! assert!(matches!(accepted, Err(AcceptError::Tls(_))));
//! # Ok(())
//! # }
//! ```
//!
//! Whoever needs more, such as lists of revoked certificates or several names, makes a `rustls::ServerConfig` and gives
//! it to [`tls_config`](crate::WebSocketServerBuilder::tls_config). While the server runs,
//! [`set_certificate`](crate::WebSocketServer::set_certificate) renews a certificate that the builder was given, and
//! [`set_tls_config`](crate::WebSocketServer::set_tls_config) a configuration, for connections that are accepted from
//! then on. Those that are open stay: to end those of a certificate that is revoked is the application's task.
//!
//! With TLS 1.3 a client is done with its handshake before the server has looked at its certificate. It learns of the
//! refusal when it reads the answer to its request: [`ConnectError::Io`](crate::ConnectError::Io) or
//! [`ConnectError::Tls`](crate::ConnectError::Tls), with the alert in its text.
//!
//! # The upgrade
//!
//! A hook on the server, an [`Authorize`](crate::authorize::Authorize), sees the request and answers: with
//! [`Accept`](crate::authorize::Accept), which may add headers, choose the subprotocol and attach data to the
//! connection, or with [`Refuse`](crate::authorize::Refuse), an HTTP status with headers and body. It may be a closure,
//! may wait for a database, and is bounded by the [handshake timeout](crate::Config::handshake_timeout).
//!
//! ```
//! use wsmux::{
//!     ConnectError, WebSocketClient, WebSocketServer,
//!     authorize::{AllowedOrigins, Authorize, Basic, Bearer, User},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let people = Basic::new("files").user("Aladdin", "open sesame");
//! let machines = Bearer::new("files").token("7nB0xQ", "backup");
//! let server = WebSocketServer::builder()
//!     .authorizer(AllowedOrigins::new(["https://example.com"]).and(people.or(machines)))
//!     .bind("127.0.0.1:0")
//!     .await?;
//! let url = format!("ws://{}/", server.local_addr()?);
//!
//! let client = WebSocketClient::builder().header("Authorization", "Bearer 7nB0xQ").build()?;
//! let accept = async { server.accept().await.expect("it is open").await };
//! let (connected, accepted) = tokio::join!(client.connect(&url), accept);
//! let (_connected, accepted) = (connected?, accepted?);
//! let user = accepted.application_data::<User>().expect("the hook has attached it");
//! assert_eq!(user.0, "backup");
//!
//! let client = WebSocketClient::builder().build()?;
//! let accept = async { server.accept().await.expect("it is open").await };
//! let (refused, _) = tokio::join!(client.connect(&url), accept);
//! assert!(matches!(refused, Err(ConnectError::Refused { status, .. }) if status == 401));
//! # Ok(())
//! # }
//! ```
//!
//! [`ConnectError::Refused`](crate::ConnectError::Refused) has the response's headers, such as the challenge in
//! `WWW-Authenticate`; a hook adds its own with [`Refuse::header`](crate::authorize::Refuse::header).
//!
//! **Only over TLS.** Passwords and tokens cross the wire as they are.
//!
//! **Browsers.** A page cannot set headers on a WebSocket. It has cookies, which come along by themselves, for pages of
//! *any* origin: then the server needs [`AllowedOrigins`](crate::authorize::AllowedOrigins). Or it puts a token into
//! the payload. A token in the URL ends up in the logs of proxies, and one in a subprotocol's name in the answer.
//!
//! **Behind a proxy** the address is the proxy's, and so are the TLS and the certificates. What it says of the client in
//! `Forwarded` or `X-Forwarded-For` anybody can say who reaches the server without it.
//!
//! **Requests for no WebSocket** get 426, or what [`Authorize::respond`](crate::authorize::Authorize::respond) says: a
//! page, a 404, a balancer's check.
//!
//! # The payload
//!
//! What the other layers cannot carry, the application says itself, on the first stream: a challenge that is to be
//! signed, a token of a page. Until then the connection is a stranger's. Give it a deadline, read with a limit, and
//! accept no other stream before:
//!
//! ```
//! use std::time::Duration;
//! use wsmux::{WebSocketClient, WebSocketConnection, WebSocketServer, authorize::constant_time_eq};
//!
//! const NOT_AUTHENTICATED: u32 = 1;
//!
//! async fn login(connection: &WebSocketConnection) -> bool {
//!     let login = async {
//!         let token = connection.accept_bi().await?.recv().read_to_end(64).await?;
//!         Ok::<_, std::io::Error>(constant_time_eq(token, "7nB0xQ"))
//!     };
//!     let good = matches!(tokio::time::timeout(Duration::from_secs(10), login).await, Ok(Ok(true)));
//!     if !good {
//!         connection.close(NOT_AUTHENTICATED.into(), b"not authenticated");
//!     }
//!     good
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = WebSocketServer::builder().bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/", server.local_addr()?);
//! let client = WebSocketClient::builder().build()?;
//! let accept = async { server.accept().await.expect("it is open").await };
//! let (connection, accepted) = tokio::join!(client.connect(&url), accept);
//! let (connection, accepted) = (connection?, accepted?);
//!
//! let (mut send, _recv) = connection.open_bi().await?.into_split();
//! send.write_all(b"guess").await?;
//! send.finish()?;
//! assert!(!login(&accepted).await);
//! assert!(connection.closed().await.to_string().contains("not authenticated"));
//! # Ok(())
//! # }
//! ```
//!
//! # Strangers
//!
//! Whoever is not known yet costs something already. A server on the open network sets
//! [`max_handshakes`](crate::WebSocketServerBuilder::max_handshakes), and
//! [`max_connections_per_address`](crate::WebSocketServerBuilder::max_connections_per_address) where no proxy stands
//! before it.
