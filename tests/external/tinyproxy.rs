//! A client behind tinyproxy, from Debian's package of that name. Tests how the client connects,
//! and to which side it attributes an error.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use wsmux::{
    ConnectError, WebSocketClient, WebSocketClientBuilder, WebSocketConnection, WebSocketServer,
    http::StatusCode,
};
use wsmux_testing::{
    interop::{Echo, get_echo},
    server::{Tls, within},
};

/// Starts a server that echoes the streams of every client.
async fn server(tls: Option<&Tls>) -> SocketAddr {
    let builder = tls.map_or_else(WebSocketServer::builder, Tls::server);
    let server = builder.bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(
                async move { connecting.await.map(|connection| Echo::start(&connection)) },
            );
        }
    });
    address
}

async fn connect(
    client: WebSocketClientBuilder,
    url: &str,
) -> Result<WebSocketConnection, ConnectError> {
    within(client.build().unwrap().connect(url)).await
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn tinyproxy_leads_on_whom_it_knows() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("wsmux-tinyproxy-{}.conf", std::process::id()));
    let settings = format!("Port {}\nListen 127.0.0.1\nBasicAuth user pass\n", free.port());
    std::fs::write(&path, settings).unwrap();
    let mut tinyproxy = Command::new("tinyproxy");
    tinyproxy.arg("-d").arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(tinyproxy.spawn().expect("tinyproxy starts"));
    let up = async {
        while TcpStream::connect(free).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(up).await;
    std::fs::remove_file(&path).unwrap();

    let tls = Tls::new("localhost");
    for (scheme, tls) in [("ws", None), ("wss", Some(&tls))] {
        let port = server(tls).await.port();
        let url = format!("{scheme}://localhost:{port}");
        let client = || WebSocketClient::builder().danger_accept_any_certificate();
        let known = client().proxy(format!("http://user:pass@{free}"));
        get_echo(&connect(known, &url).await.unwrap(), 1, 100_000).await;
        for stranger in ["", "user:wrong@"] {
            let stranger = client().proxy(format!("http://{stranger}{free}"));
            match connect(stranger, &url).await.unwrap_err() {
                ConnectError::Proxy(error) => match &*error {
                    ConnectError::Refused { status, body, .. } => {
                        // tinyproxy 1.11 answers wrong credentials with the status that an origin
                        // server would use.
                        let expected =
                            [StatusCode::PROXY_AUTHENTICATION_REQUIRED, StatusCode::UNAUTHORIZED];
                        assert!(expected.contains(status), "{status}: {body}");
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        // The proxy reports that it cannot reach the server.
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let known = client().proxy(format!("http://user:pass@{free}"));
        match connect(known, &format!("{scheme}://{nobody}")).await.unwrap_err() {
            ConnectError::Proxy(error) => {
                assert!(matches!(*error, ConnectError::Refused { .. }), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}
