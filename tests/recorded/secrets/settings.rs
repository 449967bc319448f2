//! Secrets in settings and URLs.

use tokio::net::TcpListener;
use wsmux::{
    Http2Client, ReconnectingClient, WebSocketClient, WebSocketServer,
    authorize::{AllowedOrigins, Authorize, Basic, Bearer},
};

use super::{Identity, PATH, Said, builder, secretive};

#[tokio::test]
async fn an_error_about_a_url_does_not_repeat_it() {
    let said = Said::default();
    let _recording = tracing::subscriber::set_default(said.clone());
    let client = WebSocketClient::builder().build().unwrap();
    for url in [
        "canary",
        "//canary@a/",
        "ws://canary@a/",
        "ws://u:canary@a/",
        "ws://u:canary@a:99999/",
        "ws://u:canary@a b/",
        "ws://a:1x/?canary",
        "ws://[canary]/",
        "ws://[::1%25canary/]/?canary",
        "ws://a/?canary#canary",
        "http://u:canary@a/canary?canary",
        "ws://a\u{0}canary/",
    ] {
        said.failed(url_without_secret(url), client.connect(url).await);
        let (io, _) = tokio::io::duplex(1);
        said.failed("from_io", client.from_io(url, io).await);
        let http2 = Http2Client::new(client.clone());
        said.failed("Http2Client", http2.connect(url).await);
    }
    for proxy in [
        "canary",
        "http://user:canary@",
        "http://user:canary@a:x",
        "http://user:canary@a/b",
        "http://user:canary@a?canary",
        "socks5://user:canary@a",
        "http://user%3A:canary@a",
        "http://user:canary%0A@a",
    ] {
        let error = WebSocketClient::builder().proxy(proxy).build().expect_err(proxy);
        said.error("BuildError", &error);
    }
    for builder in [
        WebSocketClient::builder().header("Authorization", "canary\n"),
        WebSocketClient::builder().header("canary\n", "x"),
        WebSocketClient::builder().header("Host", "canary@a"),
        WebSocketClient::builder().header("Sec-WebSocket-Protocol", "canary"),
        WebSocketClient::builder().subprotocols(["qmux-02", "canary=="]),
    ] {
        said.debug("WebSocketClientBuilder", &builder);
        said.error("BuildError", &builder.build().expect_err("a fault"));
    }
    said.holds_no_secret(&[0xf7; 32]);
}

/// Returns a text that a message shows in place of a URL, because the URL contains a secret.
fn url_without_secret(_: &str) -> &'static str {
    "a URL"
}

#[tokio::test]
async fn what_is_set_up_does_not_show_its_secrets() {
    let (said, identity) = (Said::default(), Identity::new());
    let proxy = "http://user:canary@127.0.0.1:1/";
    let builder = || secretive(&identity).proxy(proxy);
    said.debug("WebSocketClientBuilder", &builder());
    let client = builder().build().unwrap();
    said.debug("WebSocketClient", &client);
    said.debug("Http2Client", &Http2Client::new(client.clone()));
    let blocking = wsmux::blocking::WebSocketClient::new(client.clone()).unwrap();
    said.debug("blocking::WebSocketClient", &blocking);
    tokio::task::spawn_blocking(|| drop(blocking)).await.unwrap();
    let url = format!("wss://127.0.0.1:1{PATH}");
    let reconnecting = ReconnectingClient::builder(client, &url).max_attempts(Some(1));
    said.debug("ReconnectingClientBuilder", &reconnecting);
    let (reconnecting, mut events) = reconnecting.start();
    said.error("ReconnectError", &reconnecting.connection().await.unwrap_err());
    while let Some(event) = events.next().await {
        said.debug("ReconnectEvent", &event);
        said.text("ReconnectEvent", event.to_string());
    }
    said.debug("ReconnectingClient", &reconnecting);
    said.debug("ReconnectEvents", &events);

    let basic = Basic::new("realm").user("user", "canary");
    said.debug("Basic", &basic);
    let bearer = Bearer::new("realm").token("canary", "user");
    said.debug("Bearer", &bearer);
    let origins = AllowedOrigins::new(["https://example.com"]);
    said.debug("And", &bearer.clone().and(origins.clone()));
    said.debug("Or", &basic.clone().or(bearer.clone()));
    let server = self::builder(&said, &identity).authorizer(basic.or(bearer).and(origins));
    said.debug("WebSocketServerBuilder", &server);
    let acceptor = server.build().unwrap();
    said.debug("WebSocketAcceptor", &acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    said.debug("WebSocketServer", &WebSocketServer::new(listener, acceptor));
    said.holds_no_secret(identity.key.secret_der());
}
