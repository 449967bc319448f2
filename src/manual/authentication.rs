//! How to learn who the peer is. A server can check this at three layers, and an application may
//! use any or all of them:
//!
//! | layer | evidence | what a refused client sees | suited to |
//! |---|---|---|---|
//! | TLS | certificates | a TLS alert | machines that know each other |
//! | the upgrade | headers, path, address | an HTTP status | users with passwords and tokens, web pages |
//! | the payload | the first bytes on a stream | the application's close code | evidence that the other two layers cannot carry |
//!
//! By default a server does not authenticate its clients and accepts all of them.
//!
//! # TLS
//!
//! A server asks for certificates with
//! [`require_client_certificates`](crate::WebSocketServerBuilder::require_client_certificates), or
//! with [`request_client_certificates`](crate::WebSocketServerBuilder::request_client_certificates)
//! if clients without a certificate are welcome too.
//! [`peer_certificates`](crate::WebSocketConnection::peer_certificates) returns the client's
//! certificate chain, in DER, after TLS has verified it. A valid chain says who the client is. It
//! does not say that the client may connect. So compare the certificate with the certificates that
//! you permit, either in a hook or once the connection is open.
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
//! #     CertificateParams::new(["client".to_owned()])?.signed_by(&client_key, &root)?;
//! # let client_certificate = client_certificate.der().clone();
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
//! If you need more, such as revocation lists or certificates for several names, build a
//! `rustls::ServerConfig` and pass it to [`tls_config`](crate::WebSocketServerBuilder::tls_config).
//! While the server runs, [`set_certificate`](crate::WebSocketServer::set_certificate) replaces the
//! certificate that was set on the builder, and
//! [`set_tls_config`](crate::WebSocketServer::set_tls_config) replaces a whole configuration. Both
//! methods affect only connections that are accepted afterwards. Open connections stay open, so
//! when a client's certificate is revoked, the application itself has to close that client's
//! connections.
//!
//! With TLS 1.3 a client completes its handshake before the server has checked its certificate. If
//! the server refuses the certificate, the client learns of the refusal only when it reads the
//! answer to its upgrade request. The error is [`ConnectError::Io`](crate::ConnectError::Io) or
//! [`ConnectError::Tls`](crate::ConnectError::Tls), and its text names the TLS alert.
//!
//! # The upgrade
//!
//! A hook on the server, an [`Authorize`](crate::authorize::Authorize), sees the request and
//! answers it. [`Accept`](crate::authorize::Accept) may add headers, choose the subprotocol and
//! attach data to the connection. [`Refuse`](crate::authorize::Refuse) is an HTTP status with
//! headers and a body. A hook may be a closure, and it may wait, for example for a database. The
//! [handshake timeout](crate::Config::handshake_timeout) bounds that wait.
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
//! [`ConnectError::Refused`](crate::ConnectError::Refused) contains the response's headers, such as
//! the challenge in `WWW-Authenticate`. A hook adds its own headers with
//! [`Refuse::header`](crate::authorize::Refuse::header).
//!
//! **Only over TLS.** Nothing except TLS encrypts passwords and tokens.
//!
//! **Browsers.** A page cannot set headers on a WebSocket. The browser does send the cookies that
//! it has for the server, even if the page comes from *another* origin. A server that relies on
//! cookies therefore needs [`AllowedOrigins`](crate::authorize::AllowedOrigins). A page that uses
//! no cookies should send a token in the payload. Do not put a token into the URL, because proxies
//! log URLs, and do not put it into a subprotocol's name, because the server's answer repeats that
//! name.
//!
//! **Behind a proxy** the address, the TLS session and the certificates are the proxy's. Do not
//! trust `Forwarded` or `X-Forwarded-For` if a client can reach the server without the proxy: such
//! a client can write anything into them.
//!
//! **Requests that are not for a WebSocket** are answered with status 426, unless
//! [`Authorize::respond`](crate::authorize::Authorize::respond) returns another answer, such as a
//! page, a 404 or the answer to a health check.
//!
//! # The payload
//!
//! The client's application sends on the first stream what the other layers cannot carry, for
//! example a signed challenge or a page's token. Until the server has read the challenge or the
//! token, it does not know who the client is. So set a deadline, limit how much you read, and
//! accept no other stream until the client has authenticated:
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
//!     let login = tokio::time::timeout(Duration::from_secs(10), login).await;
//!     let good = matches!(login, Ok(Ok(true)));
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
//! A client costs resources before it has authenticated. A server on a public network should set
//! [`max_handshakes`](crate::WebSocketServerBuilder::max_handshakes), and also
//! [`max_connections_per_address`](crate::WebSocketServerBuilder::max_connections_per_address) if
//! the server is not behind a proxy.
