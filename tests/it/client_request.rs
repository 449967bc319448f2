//! The request that a client sends, given its URL and its settings.

use wsmux_testing::urls;

use tokio::io::{AsyncReadExt, duplex};
use wsmux::{BuildError, ConnectError, WebSocketClient, WebSocketClientBuilder};

use urls::{Lead, NOT_CHROMIUMS, URLS};

/// Returns the head of the request that a client sends for this URL.
async fn request(builder: WebSocketClientBuilder, url: &str) -> Result<String, ConnectError> {
    let client = builder.build().unwrap();
    let (io, mut far) = duplex(64 * 1024);
    let connecting = client.from_io(url, io);
    let head = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(far.read_u8().await.expect("a whole head"));
        }
        String::from_utf8(head).expect("ASCII")
    };
    tokio::select! {
        biased;
        failed = connecting => Err(failed.expect_err("nobody answers")),
        head = head => Ok(head),
    }
}

/// Returns the request's target and its `Host`.
fn target_and_host(head: &str) -> (&str, &str) {
    let (line, headers) = head.split_once("\r\n").expect("lines");
    let target = line.strip_prefix("GET ").and_then(|line| line.strip_suffix(" HTTP/1.1"));
    let host = headers.lines().find_map(|line| line.strip_prefix("Host: "));
    (target.expect("a request line"), host.expect("a Host"))
}

/// [W-49] A client MUST parse a URL as the WHATWG URL standard says, both natively and in a page.
/// The client MUST send the URL's path and query as that standard serialises them: percent-encoded,
/// and in ASCII. The client never sends the zone of an IPv6 address, which no browser accepts.
///
/// [W-50] A client MUST refuse a URL with a fragment, a user or a password.
#[tokio::test]
async fn a_url_leads_where_a_browser_would_go() {
    let mut faults = Vec::new();
    for (url, expected) in URLS.iter().chain(NOT_CHROMIUMS) {
        if matches!(expected, Some(Lead { scheme: "wss", .. })) {
            // For `wss`, the request cannot be read here, because it is sent through TLS. The tests
            // of `Target` check these URLs.
            continue;
        }
        let found = request(WebSocketClient::builder(), url).await;
        match (&found, expected) {
            (Ok(head), Some(Lead { authority, path_and_query, .. }))
                if target_and_host(head) == (*path_and_query, *authority) && head.is_ascii() => {}
            (Err(ConnectError::InvalidUrl(_)), None) => {}
            _ => faults.push(format!("{url:?}: {found:?}, not {expected:?}")),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_url_of_another_scheme_is_refused_by_its_name() {
    for (url, name) in [("http://a", "http"), ("FTP://a/", "ftp"), ("a:80", "a")] {
        let refused = request(WebSocketClient::builder(), url).await.unwrap_err();
        assert!(
            matches!(&refused, ConnectError::UnsupportedScheme(found) if found == name),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_host_given_by_hand_is_one_and_the_last_holds() {
    let by_hand = WebSocketClient::builder().header("Host", "b").header("host", "c:81");
    let head = request(by_hand, "ws://a/").await.unwrap();
    assert_eq!(target_and_host(&head), ("/", "c:81"));
    assert_eq!(head.matches("Host").count(), 1, "{head}");
    let repeated = WebSocketClient::builder().header("x-a", "1").header("x-a", "2");
    let head = request(repeated, "ws://a/").await.unwrap();
    assert_eq!(head.matches("X-A: ").count(), 2, "{head}");
    for host in ["", "a b", "u@a", "a:99999999", "a/b", "http://a"] {
        let refused = WebSocketClient::builder().header("Host", host).build();
        assert!(matches!(refused, Err(BuildError::InvalidHeader(_))), "{host:?}: {refused:?}");
    }
}
