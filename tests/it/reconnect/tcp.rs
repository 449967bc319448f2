//! Reconnecting over TCP and TLS to real servers.

use std::{sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::time::timeout;
use wsmux::{
    ConnectError, ReconnectEvent, ReconnectingClient, WebSocketClient, WebSocketServer,
    http::StatusCode, rustls,
};

use super::{BOUND, connected, failed, gave_up, lost, next};

/// A server that serves every client until this handle is dropped.
struct Server(tokio::task::JoinHandle<()>);

impl Server {
    async fn start(address: &str) -> (Self, String) {
        let server = WebSocketServer::builder().bind(address).await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Some(connecting) = server.accept().await {
                connections.spawn(async move {
                    let Ok(connection) = connecting.await else { return };
                    while let Ok(stream) = connection.accept_bi().await {
                        let (mut send, mut recv) = stream.into_split();
                        let Ok(request) = recv.read_to_end(100).await else { continue };
                        let _ = send.write_all(&request).await;
                        let _ = send.finish();
                    }
                });
            }
        });
        (Self(task), address)
    }

    async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

async fn echo(client: &ReconnectingClient) {
    let connection = timeout(BOUND, client.connection()).await.unwrap().unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap().into_split();
    send.write_all(b"echo").await.unwrap();
    send.finish().unwrap();
    assert_eq!(timeout(BOUND, recv.read_to_end(100)).await.unwrap().unwrap(), b"echo");
}

#[tokio::test]
async fn a_server_that_restarts_has_its_client_back() {
    let (server, address) = Server::start("127.0.0.1:0").await;
    let dialer = WebSocketClient::builder().build().unwrap();
    let builder = ReconnectingClient::builder(dialer, format!("ws://{address}/"));
    let (client, mut events) = builder.initial_delay(Duration::from_millis(20)).start();
    echo(&client).await;
    connected(&mut events, 1).await;
    server.stop().await;
    lost(&mut events).await;
    // The server stays down until the client has tried in vain to connect.
    loop {
        match next(&mut events).await {
            ReconnectEvent::Failed { error: ConnectError::Connect(_), .. } => break,
            ReconnectEvent::Waiting { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let (_server, again) = Server::start(&address).await;
    assert_eq!(again, address);
    echo(&client).await;
}

#[tokio::test]
async fn a_login_or_a_certificate_that_is_refused_is_final() {
    let server = WebSocketServer::builder()
        .authorize(|_| Err(StatusCode::UNAUTHORIZED))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(async move {
        while let Some(connecting) = server.accept().await {
            tokio::spawn(connecting);
        }
    });
    let client = WebSocketClient::builder().build().unwrap();
    let (_client, mut events) = ReconnectingClient::builder(client, url).start();
    assert!(matches!(failed(&mut events, 1).await, ConnectError::Refused { .. }));
    gave_up(&mut events).await;

    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.der().clone()).unwrap();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots.clone()),
            provider.clone(),
        );
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.der().clone()], key())
            .unwrap();
        let server = WebSocketServer::builder().tls_config(config.into());
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", server.local_addr().unwrap());
        tokio::spawn(async move {
            while let Some(connecting) = server.accept().await {
                tokio::spawn(connecting);
            }
        });
        // The first client does not trust the server's certificate. The second client trusts it,
        // but presents no certificate, although the server requires one.
        for builder in [
            WebSocketClient::builder(),
            WebSocketClient::builder().trust_self_signed(own.der().clone()),
        ] {
            let client = builder.build().unwrap();
            let (_client, mut events) = ReconnectingClient::builder(client, &*url).start();
            let error = failed(&mut events, 1).await;
            let is_tls = matches!(error, ConnectError::Tls(_) | ConnectError::Io(_));
            assert!(is_tls, "{error:?}");
            gave_up(&mut events).await;
        }
    }
}
