//! Secrets in requests, answers and refusals.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wsmux::{ConnectError, QlogConfig, WebSocketClient, http::header};

use super::{CANARY, Check, Identity, PATH, Said, builder, secretive, standard};

/// The server uses TLS, and everything that the client sends contains a secret.
#[tokio::test]
async fn a_connection_and_a_refusal_do_not_show_what_was_asked() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let log = said.clone();
    let qlog = QlogConfig::new(move |connection| {
        log.debug("QlogConnection", connection);
        Some(Box::new(Lines(log.clone())))
    });
    let server = builder(&said, &identity)
        .require_client_certificates([identity.certificate.clone()])
        .qlog(Some(qlog.clone()));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let base = format!("wss://{}", server.local_addr().unwrap());
    let client = secretive(&identity).qlog(Some(qlog)).build().unwrap();

    let url = format!("{base}{PATH}");
    let (client_end, server_end) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let (client_end, server_end) = (client_end.unwrap(), server_end.unwrap());
    for end in [&client_end, &server_end] {
        said.debug("WebSocketConnection", end);
        said.debug("ConnectionInfo", end.info());
        said.debug("its request's headers", &standard(end.info().request().unwrap().headers()));
        said.debug("its response's headers", &standard(end.info().response_headers().unwrap()));
        said.debug("its stats", &end.stats());
    }
    // The first message of an application often contains its credentials.
    let (mut send, recv) = client_end.open_bi().await.unwrap().into_split();
    send.write_all(b"canary").await.unwrap();
    let accepted = server_end.accept_bi().await.unwrap();
    said.debug("SendStream", &send);
    said.debug("RecvStream", &recv);
    said.debug("WebSocketStream", &accepted);
    said.debug("WebSocketConnection", &server_end);
    said.debug("WebSocketServer", &server);
    client_end.close(0u32.into(), b"");
    server_end.closed().await;

    let url = format!("{base}/refused?token=canary");
    let (refused, error) =
        tokio::join!(client.connect(&url), async { server.accept().await.unwrap().await });
    let refused = said.failed("ConnectError", refused);
    let ConnectError::Refused { headers, body, .. } = &refused else { panic!("{refused:?}") };
    assert!(body.contains(CANARY), "the error has it, and does not show it: {body}");
    assert_eq!(headers[header::LOCATION], "/elsewhere?token=canary");
    said.debug("its headers", headers);
    said.failed("AcceptError", error);

    let stranger = WebSocketClient::builder().subprotocols(["token.canary"]);
    let stranger = stranger
        .client_certificate([identity.certificate.clone()], identity.key.clone_key())
        .trust_self_signed(identity.certificate.clone());
    let stranger = stranger.build().unwrap();
    let (refused, error) =
        tokio::join!(stranger.connect(&base), async { server.accept().await.unwrap().await });
    said.failed("ConnectError", refused);
    said.failed("AcceptError", error);
    drop((client_end, server_end));
    for event in ["handshake.completed", "handshake.refused", "connection.closed"] {
        let recorded = said.0.lock().unwrap().iter().any(|(what, _)| what == event);
        assert!(recorded, "{event}");
    }
    said.holds_no_secret(identity.key.secret_der());
}

/// A qlog writer that passes on the text, so that the text is checked for secrets, too.
struct Lines(Said);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.text("qlog", String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a server that sends this answer to the first client that connects.
async fn speaker(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut head).await;
    });
    address
}

#[tokio::test]
async fn what_a_proxy_or_a_strange_server_repeats_is_not_shown() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    for answer in [
        "HTTP/1.1 407 canary\r\nProxy-Authenticate: canary\r\nSet-Cookie: canary\r\n\r\ncanary",
        "HTTP/1.1 302 Found\r\nLocation: /?canary\r\n\r\n",
        "canary\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\ncanary",
    ] {
        let address = speaker(answer).await;
        let proxy = format!("http://user:canary@{address}");
        let client = secretive(&identity).proxy(proxy).build().unwrap();
        let failed = client.connect(&format!("ws://example.com{PATH}")).await;
        assert!(matches!(said.failed("ConnectError", failed), ConnectError::Proxy(_)));
        let address = speaker(answer).await;
        let client = secretive(&identity).build().unwrap();
        said.failed("ConnectError", client.connect(&format!("ws://{address}{PATH}")).await);
    }
    let accepts = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: canary\r\n\r\n";
    let address = speaker(accepts).await;
    let client = secretive(&identity).verify_server(Check).build().unwrap();
    said.failed("ConnectError", client.connect(&format!("ws://{address}{PATH}")).await);
    said.holds_no_secret(identity.key.secret_der());
}
