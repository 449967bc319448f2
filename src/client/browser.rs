//! The client in a web page. The browser itself does name resolution, TCP, TLS, proxies and the
//! upgrade.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use web_sys::Url;
use wsmux_proto::{Side, Wire};

use super::{CONNECT_TIMEOUT, is_loopback, opened::Opened};
use crate::{
    connection::{
        ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder,
        resume::{self, NewSocket, Resume},
    },
    error::{BuildError, ConnectError, connect::CREDENTIALS},
    handshake::negotiation::{Negotiation, Subprotocols},
    observe::trace,
    runtime::{Instant, network_returns, timeout},
    setters::shared_setters,
    socket::browser::{AnySocket, EventSocket, StreamSocket},
};

/// The reason for refusing a URL. It does not quote the browser's error, because Firefox repeats
/// the URL there, and the URL may contain a password or a token.
const NO_URL: &str = "the browser cannot read it";

/// Selects one of the browser's two interfaces to a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrowserApi {
    /// `WebSocket`, which every browser has.
    ///
    /// This interface does not signal when it can accept more data. Therefore the client passes no
    /// more data to the interface while the interface holds more than 128 KiB of unsent bytes.
    /// While the client waits for bytes to be sent, a timer checks their number. The timer runs
    /// every 4 ms as long as the number changes, and otherwise gradually less often, down to four
    /// times a second. In a hidden page, timers run once a second, and after some minutes once a
    /// minute. The arrival of a message also causes a check. A page that has to send fast while it
    /// is hidden should use a worker.
    ///
    /// This interface cannot pause reception, so only the credit of streams bounds the received
    /// data that the interface holds.
    WebSocket,
    /// `WebSocketStream`, which Chromium has had since version 124. It signals when it can accept
    /// more data, and stops reading from the network while the client does not read what it has
    /// received. It is never the default, because Chromium 156 crashed the whole page when a server
    /// was killed in mid-stream.
    WebSocketStream,
}

/// Opens connections to servers. The client is cheap to clone.
///
/// This type is the client of a web page or a worker. It offers only what a page may do. The
/// browser chooses addresses, proxy, certificates and headers, and does not report them.
#[derive(Debug, Clone)]
pub struct WebSocketClient(Arc<ClientSettings>);

struct ClientSettings {
    wire: Wire,
    negotiation: Negotiation,
    connection: WebSocketConnectionBuilder,
    connect_timeout: Duration,
    api: BrowserApi,
}

/// The output leaves out the subprotocols, because pages put tokens there.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("wire", &self.wire)
            .field("config", &self.connection.config)
            .field("connect_timeout", &self.connect_timeout)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl WebSocketClient {
    /// Returns a builder to set up a client.
    pub fn builder() -> WebSocketClientBuilder {
        WebSocketClientBuilder {
            wire: Wire::QMux,
            subprotocols: Subprotocols::default(),
            connection: WebSocketConnection::builder(),
            connect_timeout: CONNECT_TIMEOUT,
            api: BrowserApi::WebSocket,
        }
    }

    /// Connects to a `ws://` or `wss://` URL and waits for the server's transport parameters. A URL
    /// is refused if it has a user, a password or a fragment, or if it is relative to the page.
    ///
    /// The whole attempt may last as long as the [connect
    /// timeout](WebSocketClientBuilder::connect_timeout) and the [handshake
    /// timeout](crate::Config::handshake_timeout) together, because the browser does not report
    /// when it has reached the server.
    ///
    /// # Errors
    /// [`ConnectError`]. To protect its user, a browser does not say why a WebSocket failed. An
    /// unknown name, a bad certificate and a refused request are all a [`ConnectError::Connect`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the attempt ends and its socket is closed.
    pub async fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let parsed = Url::new(url).map_err(|_| ConnectError::InvalidUrl(NO_URL.into()))?;
        let failed = |error: &_| {
            trace::connect_failed(error, &parsed.hostname(), parsed.port().parse().unwrap_or(0));
        };
        let scheme = parsed.protocol();
        if !matches!(&*scheme, "ws:" | "wss:") {
            return Err(ConnectError::UnsupportedScheme(scheme.trim_end_matches(':').into()));
        }
        // W-50 (RFC 6455 §3): browsers differ in how they treat a user in the URL, so the client
        // refuses a URL with a user.
        if !parsed.username().is_empty() || !parsed.password().is_empty() {
            return Err(ConnectError::InvalidUrl(CREDENTIALS.into()));
        }
        let connecting = async {
            let opened = self.dial(url).await?;
            // the session's secret must not cross a network without TLS.
            let is_secret = scheme == "wss:" || is_loopback(&parsed.hostname());
            let is_on = self.0.connection.config.get_resume_timeout().is_some();
            let resume = match is_on && is_secret {
                true => Resume::Redial(Arc::new(Redialer {
                    client: self.clone(),
                    url: url.to_owned(),
                    subprotocol: opened.info.subprotocol().map(str::to_owned),
                })),
                false => Resume::Never,
            };
            opened.establish(&self.0.connection, self.0.wire, resume).await
        };
        connecting.await.inspect_err(failed)
    }

    /// Opens a WebSocket to the server.
    async fn dial(&self, url: &str) -> Result<Opened, ConnectError> {
        let ClientSettings { negotiation, connection, connect_timeout, api, .. } = &*self.0;
        let offered = &negotiation.offered();
        let start = Instant::now();
        let limit = connect_timeout.saturating_add(connection.config.get_handshake_timeout());
        let late = |_| ConnectError::HandshakeTimeout;
        let limit_of_message = connection.config.max_inbound_message(self.0.wire);
        let left = || limit.saturating_sub(start.elapsed());
        match *api {
            BrowserApi::WebSocket => {
                let socket = EventSocket::open(url, offered, limit_of_message);
                let (socket, selected) = timeout(limit, socket).await.map_err(late)??;
                self.opened(Box::new(socket), selected, left())
            }
            BrowserApi::WebSocketStream => {
                let socket = StreamSocket::open(url, offered, limit_of_message);
                let (socket, selected) = timeout(limit, socket).await.map_err(late)??;
                self.opened(Box::new(socket), selected, left())
            }
        }
    }

    fn opened(
        &self,
        socket: AnySocket,
        selected: Option<String>,
        left: Duration,
    ) -> Result<Opened, ConnectError> {
        let ClientSettings { wire, negotiation, connection, .. } = &*self.0;
        let subprotocol = negotiation.agreed(selected)?;
        let info = ConnectionInfo { subprotocol, ..ConnectionInfo::default() };
        trace::handshake_completed(Side::Client, *wire, &info);

        let left = connection.config.get_handshake_timeout().min(left);
        Ok(Opened { socket: NewSocket::new(socket), info, left })
    }
}

/// Dials the server of one connection again.
struct Redialer {
    client: WebSocketClient,
    url: String,
    subprotocol: Option<String>,
}

/// The output leaves out the client. Otherwise each page would contain the code that prints all
/// settings.
impl fmt::Debug for Redialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redialer").finish_non_exhaustive()
    }
}

impl resume::Redial for Redialer {
    fn dial(&self) -> Pin<Box<dyn resume::Dialling>> {
        let (client, url) = (self.client.clone(), self.url.clone());
        let subprotocol = self.subprotocol.clone();
        Box::pin(async move { client.dial(&url).await?.resume(subprotocol.as_deref()) })
    }

    fn network_returns(&self) -> Pin<Box<dyn resume::Waiting>> {
        Box::pin(network_returns())
    }
}

/// Sets up a [`WebSocketClient`].
#[derive(Debug)]
#[must_use]
pub struct WebSocketClientBuilder {
    wire: Wire,
    subprotocols: Subprotocols,
    connection: WebSocketConnectionBuilder,
    connect_timeout: Duration,
    api: BrowserApi,
}

impl WebSocketClientBuilder {
    /// Sets the wire to speak. Default [`Wire::QMux`].
    ///
    /// On [`Wire::JsWs`] no subprotocol is offered, because a js-ws server would select any name
    /// that is offered. The other settings do not change that.
    ///
    /// A page can neither send nor see the pings of the js-ws wire. Therefore neither keep-alive
    /// nor the idle timeout runs on that wire, and the connection to a silent server lasts until
    /// the browser reports its end.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    shared_setters!(client);

    /// Sets how long the browser may take to reach the server; see [`WebSocketClient::connect`].
    /// There is no minimum and no maximum. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets which interface of the browser to use. Default [`BrowserApi::WebSocket`].
    pub fn browser_api(mut self, api: BrowserApi) -> Self {
        self.api = api;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`] for the first invalid setting.
    pub fn build(self) -> Result<WebSocketClient, BuildError> {
        Ok(WebSocketClient(Arc::new(ClientSettings {
            negotiation: Negotiation::new(&[self.wire], &self.subprotocols)?,
            wire: self.wire,
            connection: self.connection,
            connect_timeout: self.connect_timeout,
            api: self.api,
        })))
    }
}
