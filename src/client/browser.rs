//! The client in a web page, where the browser dials: names, TCP, TLS, proxies and the upgrade are its own.

use std::{fmt, sync::Arc, time::Duration};

use web_sys::Url;

use crate::{
    connection::{ConnectionInfo, WebSocketConnection, WebSocketConnectionBuilder},
    error::{BuildError, ConnectError, connect::CREDENTIALS},
    handshake::negotiation::{Negotiation, Protocol, Subprotocols},
    observe::trace,
    proto::{Config, Side, Wire},
    runtime::{Instant, timeout},
    socket::{
        Socket,
        browser::{EventSocket, StreamSocket},
    },
};

/// Does not quote the browser's error: Firefox's repeats the URL, which may hold a password or a token.
const NO_URL: &str = "the browser cannot read it";

/// Which of a browser's two interfaces to a WebSocket is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrowserApi {
    /// `WebSocket`, which every browser has. It does not say when it can take more. It is given no more while over
    /// 128 KiB wait in it; and while anything waits, a timer looks after it: every 4 ms while it moves, and more and
    /// more seldom, down to four times a second, while it does not. In a hidden page that is every second, and after
    /// minutes in hiding every minute, or when something comes. A page that is to send fast in hiding does so in a
    /// worker. And it cannot be told to wait with what comes, which credit has to bound.
    WebSocket,
    /// `WebSocketStream`, which Chromium has since 124. It tells when it can take more, and reads from the network no
    /// more than is taken from it. It is not the default where it is there: Chromium 156 lost the whole page when a
    /// server was killed in mid-stream.
    WebSocketStream,
}

/// Opens connections to servers. Cheap to clone.
///
/// This is the client of a web page, a window's or a worker's. It offers what a page may do: the browser chooses
/// addresses, proxy, certificates and headers, and tells of none of them.
#[derive(Debug, Clone)]
pub struct WebSocketClient(Arc<ClientSettings>);

struct ClientSettings {
    wire: Wire,
    negotiation: Negotiation,
    connection: WebSocketConnectionBuilder,
    connect_timeout: Duration,
    api: BrowserApi,
}

/// Without the subprotocols: pages put tokens there.
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
    /// What to set before a client is made.
    pub fn builder() -> WebSocketClientBuilder {
        WebSocketClientBuilder {
            wire: Wire::QMux,
            subprotocols: Subprotocols::default(),
            connection: WebSocketConnection::builder(),
            // As without a browser.
            connect_timeout: Duration::from_secs(10),
            api: BrowserApi::WebSocket,
        }
    }

    /// Connects to a `ws://` or `wss://` URL, and waits for the server's transport parameters. A URL with a user, a
    /// password or a fragment is refused, and so is one that is relative to the page.
    ///
    /// The [connect timeout](WebSocketClientBuilder::connect_timeout) and the [handshake
    /// timeout](Config::handshake_timeout) cover all of it together, for the browser does not tell when it has
    /// reached the server.
    ///
    /// # Errors
    /// [`ConnectError`]. To protect its user, a browser does not say why a WebSocket failed. An
    /// unknown name, a bad certificate and a refused request are all a [`ConnectError::Connect`].
    ///
    /// # Cancel safety
    /// When the future is dropped, the attempt is given up and its socket closed.
    pub async fn connect(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
        let parsed = Url::new(url).map_err(|_| ConnectError::InvalidUrl(NO_URL.into()))?;
        let failed = |error: &_| {
            trace::connect_failed(error, &parsed.hostname(), parsed.port().parse().unwrap_or(0));
        };
        let scheme = parsed.protocol();
        if !matches!(&*scheme, "ws:" | "wss:") {
            return Err(ConnectError::UnsupportedScheme(scheme.trim_end_matches(':').into()));
        }
        // W-50 (RFC 6455 §3): browsers differ in what they do with a user.
        if !parsed.username().is_empty() || !parsed.password().is_empty() {
            return Err(ConnectError::InvalidUrl(CREDENTIALS.into()));
        }
        self.dial(url).await.inspect_err(failed)
    }

    async fn dial(&self, url: &str) -> Result<WebSocketConnection, ConnectError> {
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
                self.establish(socket, selected, left()).await
            }
            BrowserApi::WebSocketStream => {
                let socket = StreamSocket::open(url, offered, limit_of_message);
                let (socket, selected) = timeout(limit, socket).await.map_err(late)??;
                self.establish(socket, selected, left()).await
            }
        }
    }

    async fn establish(
        &self,
        socket: impl Socket + Unpin,
        selected: Option<String>,
        left: Duration,
    ) -> Result<WebSocketConnection, ConnectError> {
        let ClientSettings { wire, negotiation, connection, .. } = &*self.0;
        let subprotocol = negotiation.agreed(selected)?;
        let info = ConnectionInfo { subprotocol, ..ConnectionInfo::default() };
        trace::handshake_completed(Side::Client, *wire, &info);

        let left = connection.config.get_handshake_timeout().min(left);
        let connection = connection.clone().info(info).time_left(left);
        let connection = connection.build(socket, Side::Client, *wire);
        connection.established().await?;
        Ok(connection)
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
    /// The wire to speak. Default [`Wire::QMux`].
    ///
    /// On [`Wire::JsWs`] no subprotocol is offered, whatever else is set: a js-ws server would select any. A page
    /// neither sends nor sees the pings of that wire: there neither keep-alive nor the idle timeout runs, and a server
    /// that is silent for ever is waited for until the browser says that it is gone.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Offers the application protocol `name`, as subprotocol `qmux-02.<name>`. Several are offered in the
    /// order of the calls, the most wanted first. Default none.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::OfVersion(name.into()));
        self
    }

    /// Offers the application protocol `name` by that name alone, such as `moqt-18`, as
    /// draft-lcurley-qmux-websocket-00 has it; [`protocol`](Self::protocol) offers the other form, in the order of the calls. Default none.
    pub fn bare_protocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.protocols.push(Protocol::Bare(name.into()));
        self
    }

    /// Whether the names of older versions of QMux with the same wire are offered besides `qmux-02`, each after
    /// it: `qmux-01`, and `qmux-01.<name>` for each [`protocol`](Self::protocol). Default `false`.
    pub fn older_versions(mut self, offered: bool) -> Self {
        self.subprotocols.older_versions = offered;
        self
    }

    /// Whether a server must know one of the application protocols. Otherwise the bare `qmux-02` is offered
    /// after them. Default `false`.
    pub fn require_protocol(mut self, required: bool) -> Self {
        self.subprotocols.protocol_required = required;
        self
    }

    /// Offers exactly these subprotocols, instead of those that follow from
    /// [`protocol`](Self::protocol): for servers that call the QMux wire by other names.
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The limits and times of the connections. Default [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.connection = self.connection.config(config);
        self
    }

    /// How long the browser may take to reach the server; see [`WebSocketClient::connect`]. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The browser's interface to use. Default [`BrowserApi::WebSocket`].
    pub fn browser_api(mut self, api: BrowserApi) -> Self {
        self.api = api;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`] for the first setting that cannot be.
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
