//! The environment in which a test runs, and the steps that the tests share.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use wsmux::{
    BrowserApi, Config, ConnectError, WebSocketClient, WebSocketClientBuilder, WebSocketConnection,
    WebSocketStream, Wire,
};

/// How long a step may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(90);

/// The URL of the control service, if it is running.
const CONTROL: Option<&str> = option_env!("WSMUX_BROWSER_SERVER");

/// The implementation and the wire of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    QMux,
    JsWs,
    /// The crate `qmux`.
    Foreign,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) api: BrowserApi,
}

impl Place {
    pub(crate) fn wire(self) -> Wire {
        match self.server {
            Server::QMux | Server::Foreign => Wire::QMux,
            Server::JsWs => Wire::JsWs,
        }
    }

    /// Returns the name by which the control service knows the server.
    pub(crate) fn name(self) -> &'static str {
        match self.server {
            Server::QMux => "qmux",
            Server::JsWs => "js-ws",
            Server::Foreign => "foreign",
        }
    }

    pub(crate) fn client(self) -> WebSocketClientBuilder {
        WebSocketClient::builder().wire(self.wire()).browser_api(self.api)
    }

    pub(crate) async fn connect(self) -> WebSocketConnection {
        self.connect_to(&ask(&format!("url {}", self.name())).await, Config::default()).await
    }

    pub(crate) async fn connect_to(self, url: &str, config: Config) -> WebSocketConnection {
        let client = self.client().config(config).build().expect("a client");
        within("connecting", client.connect(url)).await.expect("a connection")
    }

    /// Tries to connect, and returns the error.
    pub(crate) async fn refused(self, url: &str) -> ConnectError {
        let client = self.client().build().expect("a client");
        within("connecting", client.connect(url)).await.expect_err("no connection")
    }
}

/// Sends a request to the control service. Fails unless the request succeeds.
pub(crate) async fn ask(request: &str) -> String {
    let url = CONTROL.expect("WSMUX_BROWSER_SERVER, of .ci/browser");
    let client = WebSocketClient::builder().build().expect("a client");
    let answer = within(request, async {
        let connection = client.connect(url).await.expect("the control service");
        let (mut send, mut recv) = connection.open_bi().await.expect("a stream").into_split();
        send.write_all(request.as_bytes()).await.expect("a request");
        send.finish().expect("a request");
        recv.read_to_end(4096).await.expect("an answer")
    });
    let answer = String::from_utf8(answer.await).expect("words");
    assert!(!answer.starts_with("error: "), "{answer}");
    answer
}

/// Waits for the future, and fails if it hangs.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match select(std::pin::pin!(future), timer(PATIENCE)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("{what} hangs"),
    }
}

pub(crate) fn timer(duration: Duration) -> TimeoutFuture {
    TimeoutFuture::new(duration.as_millis() as u32)
}

/// Opens a stream with a command for the server: a letter, and perhaps arguments.
pub(crate) async fn stream(
    connection: &WebSocketConnection,
    command: impl Into<Bytes>,
) -> WebSocketStream {
    let mut stream = within("opening", connection.open_bi()).await.expect("a stream");
    let written = stream.send().write_chunk(command.into());
    within("writing", written).await.expect("a command");
    stream
}

/// Returns a command with a letter and a code.
pub(crate) fn with_code(letter: u8, code: u32) -> Vec<u8> {
    [&[letter][..], &code.to_be_bytes()].concat()
}

/// Returns the next entry of the server's log for this connection's streams.
pub(crate) async fn log(connection: &WebSocketConnection) -> String {
    let mut stream = stream(connection, &b"L"[..]).await;
    stream.send().finish().expect("a command");
    let entry = within("the log", stream.recv().read_to_end(1024)).await.expect("an entry");
    String::from_utf8(entry).expect("words")
}

/// Returns the `length` bytes that a stream carries from offset `at` on. A comparison with these
/// bytes also detects data at a wrong offset.
pub(crate) fn pattern(seed: u8, at: u64, length: usize) -> Bytes {
    (at..at + length as u64).map(|i| (i ^ (i >> 8) ^ (i >> 17)) as u8 ^ seed).collect()
}
