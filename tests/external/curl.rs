//! Requests that curl sends to the port of a WebSocket server: pages, bad requests, and failed
//! logins.
//!

//! Needs curl (`apt-get install curl`); `./test` runs this module.

use wsmux_testing::server as support;

use std::time::Duration;

use bytes::Bytes;
use wsmux::{
    WebSocketServer, WebSocketServerBuilder,
    authorize::{
        Accept, Authorize, Basic, Refuse, UpgradeRequest, async_trait, basic_credentials,
        constant_time_eq,
    },
    http::{Response, StatusCode},
};

use support::*;

/// A server with one page for everybody and one page for clients that log in.
struct Site;

#[async_trait]
impl Authorize for Site {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        match request.path() {
            "/socket" => Ok(Accept::new().header("X-Site", "1")),
            _ => Err(Refuse::new(StatusCode::NOT_FOUND)),
        }
    }

    async fn respond(&self, request: &UpgradeRequest) -> Option<Response<Bytes>> {
        let login = basic_credentials(request.headers());
        let known =
            login.is_some_and(|(user, password)| user == "a" && constant_time_eq(password, "b"));
        let (status, body) = match request.path() {
            "/" => (200, "the page\n"),
            "/private" if known => (200, "the private page\n"),
            "/private" => (401, "log in\n"),
            _ => (404, "no such page\n"),
        };
        let response = Response::builder().status(status).header("Content-Type", "text/plain");
        let response = match status {
            401 => response.header("WWW-Authenticate", "Basic realm=\"site\""),
            _ => response,
        };
        Some(response.body(body.into()).unwrap())
    }
}

/// Starts the server, and runs curl with these arguments. Returns the response's status, and its
/// head and body as curl prints them.
async fn curl(builder: WebSocketServerBuilder, url: &str, arguments: &[&str]) -> (u16, String) {
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let url = url.replace("HOST", &server.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(connecting);
        }
    });
    let curl = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--http1.1", "--max-time", "50"])
        .args(arguments)
        .arg(url)
        .kill_on_drop(true)
        .output();
    let output = within(curl).await.expect("curl, which this test needs: apt-get install curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let errors = String::from_utf8_lossy(&output.stderr);
    (status.unwrap_or_else(|| panic!("no answer: {text}{errors}")), text)
}

fn site() -> WebSocketServerBuilder {
    // curl sends nothing on a WebSocket. So the handshake timeout ends a connection that curl
    // upgrades.
    let config = config(|config| _ = config.handshake_timeout(Duration::from_secs(5)));
    let login = Basic::new("socket").user("a", "b");
    WebSocketServer::builder().config(config).authorizer(Site.and(login))
}

const UPGRADE: [&str; 10] = [
    "-H",
    "Upgrade: websocket",
    "-H",
    "Connection: Upgrade",
    "-H",
    "Sec-WebSocket-Version: 13",
    "-H",
    "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==",
    "-H",
    "Sec-WebSocket-Protocol: qmux-02",
];

#[tokio::test]
async fn pages_are_served_and_others_are_not_found() {
    for (path, arguments, status, body) in [
        ("/", &[][..], 200, "the page\n"),
        ("/", &["--head"], 200, ""),
        ("/wrong", &[], 404, "no such page\n"),
        ("/", &["--data", "a body that nobody reads"], 200, "the page\n"),
        ("/private", &[], 401, "log in\n"),
        ("/private", &["--user", "a:wrong"], 401, "log in\n"),
        ("/private", &["--user", "a:b"], 200, "the private page\n"),
    ] {
        let (got, text) = curl(site(), &format!("http://HOST{path}"), arguments).await;
        assert_eq!(got, status, "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
        let challenged = text.contains("\r\nWww-Authenticate: Basic realm=\"site\"\r\n");
        assert_eq!(challenged, status == 401, "{text}");
    }
}

#[tokio::test]
async fn an_upgrade_needs_the_login_and_the_path() {
    for (path, login, status) in
        [("/socket", "a:b", 101), ("/socket", "a:wrong", 401), ("/wrong", "a:b", 404)]
    {
        let arguments = [&UPGRADE[..], &["--user", login]].concat();
        let (got, text) = curl(site(), &format!("http://HOST{path}"), &arguments).await;
        assert_eq!(got, status, "{text}");
        let challenge = "\r\nWww-Authenticate: Basic realm=\"socket\", charset=\"UTF-8\"\r\n";
        assert_eq!(text.contains(challenge), status == 401, "{text}");
        assert_eq!(text.contains("\r\nX-Site: 1\r\n"), status == 101, "{text}");
    }
    let (got, text) = curl(WebSocketServer::builder(), "http://HOST/", &[]).await;
    assert_eq!(got, 426, "{text}");
}

#[tokio::test]
async fn tls_serves_the_same() {
    let tls = Tls::new("127.0.0.1");
    let login = Basic::new("socket").user("a", "b");
    let server = || tls.server().authorizer(Site.and(login.clone()));
    let (got, text) = curl(server(), "https://HOST/", &["--insecure"]).await;
    assert!(got == 200 && text.ends_with("the page\n"), "{text}");
    let arguments = [&UPGRADE[..], &["--insecure", "--user", "a:wrong"]].concat();
    let (got, text) = curl(server(), "https://HOST/socket", &arguments).await;
    assert_eq!(got, 401, "{text}");
}
