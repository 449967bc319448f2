//! Tokens that are sent as subprotocols.

use wsmux::{
    WebSocketClient, WebSocketServer, Wire, async_trait,
    authorize::{Accept, Authorize, Refuse, UpgradeRequest},
};

use super::{Identity, Said, answers, secretive};

/// A token that a web page offers as a subprotocol, because the page cannot set a header. A server
/// may select the token.
const TOKEN: &str = "token.canary";

/// A hook that selects the client's token, whether or not the server accepts this token as a
/// subprotocol.
struct Choose(Said);

#[async_trait]
impl Authorize for Choose {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let offered = request.offered_subprotocols().find(|name| *name == TOKEN);
        let accept = Accept::new().subprotocol(offered.expect("it is offered"));
        self.0.debug("UpgradeRequest", request);
        self.0.debug("Accept", &accept);
        Ok(accept)
    }
}

#[tokio::test]
async fn a_token_that_a_hook_selects_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let client = secretive(&identity).build().unwrap();
    let builder = || WebSocketServer::builder().authorizer(Choose(said.clone()));
    // The token is among the subprotocols that the server accepts, so it is selected.
    let server = builder().subprotocols(["qmux-02", TOKEN]);
    said.debug("WebSocketServerBuilder", &server);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    said.debug("WebSocketServer", &server);
    said.debug("WebSocketAcceptor", server.acceptor());
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    for end in [client_end.unwrap(), server_end.unwrap()] {
        assert_eq!(end.subprotocol(), Some(TOKEN), "a program is told");
        said.debug("WebSocketConnection", &end);
        said.debug("ConnectionInfo", end.info());
    }
    // The token is not among the subprotocols that this server accepts, so the hook's choice is an
    // error.
    let server = builder().bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (refused, error) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    said.failed("ConnectError", refused);
    let error = said.failed("AcceptError", error);
    assert!(error.to_string().contains("unacceptable subprotocol"), "{error}");
    for event in ["handshake.completed", "handshake.refused"] {
        assert!(said.0.lock().unwrap().iter().any(|(what, _)| what == event), "{event}");
    }
    said.holds_no_secret(&[0xf7; 32]);
}

#[tokio::test]
async fn the_names_of_configured_protocols_are_shown() {
    let said = Said::default();
    let _recording = tracing::subscriber::set_default(said.clone());
    let server = WebSocketServer::builder().bare_protocol("moqt-18").bind("127.0.0.1:0");
    let server = server.await.unwrap();
    let client = WebSocketClient::builder().bare_protocol("moqt-18").build().unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    for end in [client_end.unwrap(), server_end.unwrap()] {
        assert!(format!("{:?}", end.info()).contains("moqt-18"), "{:?}", end.info());
    }
    assert!(format!("{:?}", server.acceptor()).contains("moqt-18"));
    let said = said.0.lock().unwrap();
    let mut logged = said.iter().filter(|(what, _)| what == "handshake.completed");
    assert!(logged.all(|(_, text)| text.contains("moqt-18")), "{said:#?}");
}

#[tokio::test]
async fn a_token_that_a_strange_server_selects_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    for (wire, line) in [
        (Wire::JsWs, "Sec-WebSocket-Protocol: token.canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: qmux\u{e9}canary\r\n"),
        (Wire::QMux, "Sec-WebSocket-Protocol: token.canary, qmux-02\r\n"),
        (Wire::QMux, "Sec-WebSocket-Extensions: canary\r\n"),
    ] {
        let client = secretive(&identity).wire(wire).build().unwrap();
        said.failed("ConnectError", client.connect(&answers(line, b"").await).await);
    }
    said.holds_no_secret(&[0xf7; 32]);
}
