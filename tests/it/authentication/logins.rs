//! Logins, origins, and the helpers that parse headers.

use tokio::io::AsyncWriteExt;
use wsmux::{
    AcceptError, ConnectionError, WebSocketClient, WebSocketServer,
    authorize::{AllowedOrigins, Basic, Bearer, User},
    http::HeaderMap,
};
use wsmux_testing::server::*;

use super::{ask, status_of, turned_away, upgrade};

#[tokio::test]
async fn basic_lets_its_users_in_and_names_the_challenge() {
    let server = || {
        let basic = Basic::new("fi\"les").user("Aladdin", "open sesame").user("b", "");
        WebSocketServer::builder().authorizer(basic)
    };
    for (credentials, user) in [("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin"), ("Yjo=", "b")] {
        let client =
            WebSocketClient::builder().header("Authorization", format!("Basic {credentials}"));
        let (_client, server) = connected(server(), client, "ws").await;
        assert_eq!(*server.application_data::<User>().unwrap(), User(user.into()));
    }
    // In this order: no login, "Aladdin:", "Aladdin:open sesam", "b:open sesame", "aladdin:open
    // sesame", and two headers.
    let good = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    for headers in [
        "",
        "Authorization: Basic QWxhZGRpbjo=\r\n",
        "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2Ft\r\n",
        "Authorization: Basic YjpvcGVuIHNlc2FtZQ==\r\n",
        "Authorization: Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n",
        &good.repeat(2),
    ] {
        let (address, accepted) = one_client(server()).await;
        let answer = ask(address, &upgrade("/", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
        let challenge = "\r\nWww-Authenticate: Basic realm=\"fi\\\"les\", charset=\"UTF-8\"\r\n";
        assert!(answer.contains(challenge), "{answer}");
        assert!(matches!(accepted.await.unwrap(), Err(AcceptError::Refused { .. })));
    }
}

#[tokio::test]
async fn bearer_lets_its_tokens_in_and_names_the_challenge() {
    let server = || {
        let bearer = Bearer::new("api").token("t0ken", "one").token("t1ken", "other");
        WebSocketServer::builder().authorizer(bearer)
    };
    let client = WebSocketClient::builder().header("Authorization", "Bearer t1ken");
    let (_client, accepted) = connected(server(), client, "ws").await;
    assert_eq!(*accepted.application_data::<User>().unwrap(), User("other".into()));
    for (headers, challenge) in [
        ("", "Bearer realm=\"api\"\r\n"),
        ("Authorization: Bearer t0ke\r\n", "Bearer realm=\"api\", error=\"invalid_token\"\r\n"),
    ] {
        let (address, _accepted) = one_client(server()).await;
        let answer = ask(address, &upgrade("/", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains(&format!("\r\nWww-Authenticate: {challenge}")), "{answer}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let server = |required| {
        let origins = AllowedOrigins::new(["https://example.com", "http://localhost:8080"]);
        WebSocketServer::builder().authorizer(origins.require(required))
    };
    let client = |headers: &[&'static str]| {
        headers
            .iter()
            .fold(WebSocketClient::builder(), |client, origin| client.header("Origin", *origin))
    };
    connected(server(false), client(&[]), "ws").await;
    connected(server(true), client(&["HTTPS://Example.com"]), "ws").await;
    connected(server(false), client(&["http://localhost:8080"]), "ws").await;
    for origins in [
        &["null"][..],
        &["https://example.com.evil.example"],
        &["https://example.com:444"],
        &["http://example.com"],
        &["https://example.com", "https://evil.example"],
        &["https://evil.example"],
    ] {
        assert_eq!(status_of(turned_away(server(false), client(origins), "ws").await), 403);
    }
    assert_eq!(status_of(turned_away(server(true), client(&[]), "ws").await), 403);
}

/// An application can also authenticate a client by what the client sends on a stream.
#[tokio::test]
async fn a_payload_that_does_not_authenticate_gets_the_applications_code() {
    let (client, server) =
        connected(WebSocketServer::builder(), WebSocketClient::builder(), "ws").await;
    tokio::spawn(async move {
        let mut login = server.accept_bi().await.unwrap();
        let token = login.recv().read_to_end(64).await.unwrap();
        if !wsmux::authorize::constant_time_eq(token, "secret") {
            server.close(401u32.into(), b"bad token");
        }
        server.closed().await;
    });
    let mut login = client.open_bi().await.unwrap();
    login.write_all(b"wrong").await.unwrap();
    login.send().finish().unwrap();
    match within(client.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(
                (close.error_code.into_inner(), &close.reason[..]),
                (401, &b"bad token"[..])
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_are_read_by_the_helpers_alone() {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic YTpi".parse().unwrap());
    let some = Some(("a".to_owned(), "b".to_owned()));
    assert_eq!(wsmux::authorize::basic_credentials(&headers), some);
    assert_eq!(wsmux::authorize::bearer_token(&headers), None);
}
