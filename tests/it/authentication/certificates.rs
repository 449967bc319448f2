//! Client certificates, and replacing a server's certificate while it runs.

use wsmux::{AcceptError, BuildError, ConnectError, WebSocketClient, WebSocketServer};
use wsmux_testing::server::*;

use super::turned_away;

#[tokio::test]
async fn required_certificates_keep_out_those_without_and_those_of_others() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let server = || tls.server().require_client_certificates([people.root.clone()]);
    let shows = |who: &Tls| tls.client().client_certificate([who.certificate.clone()], who.key());
    let (client, accepted) = connected(server(), shows(&people), "wss").await;
    assert_eq!(accepted.peer_certificates().unwrap().to_vec(), [&*people.certificate]);
    echo(&client, &accepted).await;
    for (client, alert) in [(tls.client(), "CertificateRequired"), (shows(&others), "UnknownCA")] {
        let (address, accepted) = one_client(server()).await;
        let client = client.build().unwrap();
        let failed = within(client.connect(&format!("wss://{address}"))).await.unwrap_err();
        // With TLS 1.3 the client has completed its handshake when the alert arrives. So the client
        // may report the error only in a later step, but its error names the alert.
        assert!(format!("{failed:?}").contains(alert), "{failed:?}");
        let failed = accepted.await.unwrap().unwrap_err();
        assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn optional_certificates_keep_out_only_those_of_others() {
    let (tls, people, others) = (Tls::new("127.0.0.1"), Tls::new("client"), Tls::new("client"));
    let server = || tls.server().request_client_certificates([people.root.clone()]);
    let shows = |who: &Tls| tls.client().client_certificate([who.certificate.clone()], who.key());
    let (_client, accepted) = connected(server(), shows(&people), "wss").await;
    assert_eq!(accepted.peer_certificates().unwrap().to_vec(), [&*people.certificate]);
    let (_client, accepted) = connected(server(), tls.client(), "wss").await;
    assert_eq!(accepted.peer_certificates(), None);
    let (_, failed) = turned_away(server(), shows(&others), "wss").await;
    assert!(matches!(failed, AcceptError::Tls(_)), "{failed:?}");
}

#[tokio::test]
async fn clients_certificates_need_a_certificate_and_roots() {
    let tls = Tls::new("127.0.0.1");
    let builder = WebSocketServer::builder;
    for builder in [
        builder().require_client_certificates([tls.root.clone()]),
        tls.server().require_client_certificates([]),
    ] {
        let failed = builder.build().unwrap_err();
        assert!(matches!(failed, BuildError::Tls(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_asks_as_before() {
    let (old, new, people) = (Tls::new("127.0.0.1"), Tls::new("127.0.0.1"), Tls::new("client"));
    let server = old.server().require_client_certificates([people.root.clone()]);
    let server = server.bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", server.local_addr().unwrap());
    let shows = |tls: &Tls| {
        let client = tls.client().client_certificate([people.certificate.clone()], people.key());
        client.build().unwrap()
    };
    let both = async |client: &WebSocketClient| {
        let accept = async { server.accept().await.unwrap().await };
        within(async { tokio::join!(client.connect(&url), accept) }).await
    };
    let (before, accepted) = both(&shows(&old)).await;
    let (before, accepted_before) = (before.unwrap(), accepted.unwrap());

    let mismatch = server.set_certificate([new.certificate.clone()], old.key());
    assert!(matches!(mismatch, Err(BuildError::Tls(_))), "{mismatch:?}");
    both(&shows(&old)).await.0.expect("as it was");

    server.set_certificate([new.certificate.clone()], new.key()).unwrap();
    let (after, accepted) = both(&shows(&new)).await;
    assert_eq!(after.unwrap().peer_certificates().unwrap()[0], *new.certificate);
    assert_eq!(accepted.unwrap().peer_certificates().unwrap()[0], *people.certificate);
    let (failed, _) = both(&shows(&old)).await;
    assert!(matches!(failed, Err(ConnectError::Tls(_))), "{failed:?}");
    let (failed, accepted) = both(&new.client().build().unwrap()).await;
    assert!(failed.is_err() && matches!(accepted, Err(AcceptError::Tls(_))), "{accepted:?}");
    // The old connection is not affected.
    echo(&before, &accepted_before).await;

    // A complete configuration replaces the old one. The new configuration asks for no client
    // certificate.
    let third = Tls::new("127.0.0.1");
    server.set_tls_config(third.server_config()).unwrap();
    let (client, accepted) = both(&third.client().build().unwrap()).await;
    assert_eq!(client.unwrap().peer_certificates().unwrap()[0], *third.certificate);
    assert_eq!(accepted.unwrap().peer_certificates(), None);
    echo(&before, &accepted_before).await;
    // `set_certificate` fails, because it could not keep a complete configuration's rules for
    // client certificates.
    let failed = server.set_certificate([new.certificate.clone()], new.key());
    assert!(matches!(failed, Err(BuildError::Tls(_))), "{failed:?}");
    let (client, _) = both(&third.client().build().unwrap()).await;
    assert_eq!(client.unwrap().peer_certificates().unwrap()[0], *third.certificate);
}

#[test]
fn a_server_without_tls_does_not_begin_with_it_by_a_certificate() {
    let tls = Tls::new("127.0.0.1");
    let acceptor = WebSocketServer::builder().build().unwrap();
    let failed = acceptor.set_certificate([tls.certificate.clone()], tls.key());
    assert!(matches!(failed, Err(BuildError::Tls(_))), "{failed:?}");
}
