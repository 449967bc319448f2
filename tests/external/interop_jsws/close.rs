//! The end of a connection: codes and reasons, and a message that a js-ws peer must not send.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use wsmux::{Config, ConnectionError, ReadError, TransportErrorCode, WebSocketServer, Wire};

use super::{interop::*, pair::*};

in_both_roles! {
    our_close_reaches_the_peer_with_code_and_reason,
    the_peers_close_reaches_us_with_code_and_reason,
    a_process_that_ends_is_a_lost_connection,
}

/// Application error codes, each with the WebSocket close code that stands for it (SPEC.md, "Close
/// codes").
const CLOSES: [(u64, u16); 4] = [(42, 4042), (0, 1000), (999, 4999), (3042, 3042)];

async fn our_close_reaches_the_peer_with_code_and_reason(role: Role) {
    for (application, websocket) in CLOSES {
        let pair = Pair::new(role, Config::default(), &[]).await;
        let (_stream, there) = pair.open(Opener::Us).await;
        let reading = pair.node.call_fails("read", json!({ "stream": there }));
        let told = pair.node.call("closed", json!({}));
        pair.ours.close(code(application), "enough – genug".as_bytes());
        let told = told.await;
        assert_eq!(told["code"], websocket, "{told}");
        assert_eq!(told["reason"], "enough – genug");
        assert_eq!(told["by"], "peer");
        // An open stream ends with the connection's error, which has no stream code.
        assert_eq!(reading.await.code, None);
        let end = within("the end", pair.ours.closed()).await;
        assert!(matches!(end, ConnectionError::LocallyClosed), "{end:?}");
        assert_eq!(pair.node.uncaught(), Vec::<String>::new());
    }
}

async fn the_peers_close_reaches_us_with_code_and_reason(role: Role) {
    for (application, websocket) in CLOSES {
        let pair = Pair::new(role, Config::default(), &[]).await;
        let (mut stream, there) = pair.open(Opener::Us).await;
        // Data that the peer sent before the close can still be read.
        pair.node.call("write", json!({ "stream": there, "seed": 3, "bytes": 1_000 })).await;
        pair.exchange(Opener::Them, 1).await;
        let close = json!({ "code": websocket, "reason": "enough – genug" });
        let close = pair.node.try_call("close", close);
        let end = within("the end", pair.ours.closed()).await;
        let ConnectionError::ApplicationClosed(told) = &end else {
            panic!("not the application's close: {end:?}");
        };
        assert_eq!(told.error_code, code(application));
        assert_eq!(told.reason, "enough – genug");
        let _ = close.await;

        let mut bytes = [0; 1_000];
        stream.recv().read_exact(&mut bytes).await.unwrap();
        check_pattern(3, 0, &bytes);
        let after = stream.recv().read_chunk(1).await;
        assert!(
            matches!(&after, Err(ReadError::ConnectionLost(lost)) if lost.to_string() == end.to_string())
        );
        assert_eq!(pair.node.uncaught(), Vec::<String>::new());
    }
}

async fn a_process_that_ends_is_a_lost_connection(role: Role) {
    let pair = Pair::new(role, Config::default(), &[]).await;
    let (mut stream, _there) = pair.open(Opener::Us).await;
    pair.node.call("exit", json!({})).await;
    let end = within("the end", pair.ours.closed()).await;
    assert!(matches!(end, ConnectionError::SocketLost(_)), "{end:?}");
    let read = stream.recv().read_chunk(1).await;
    assert!(
        matches!(read, Err(ReadError::ConnectionLost(ConnectionError::SocketLost(_)))),
        "{read:?}"
    );
}

/// The client is written by hand, because the package sends no text. This client receives the same
/// Close that a js-ws peer under Node would receive.
#[tokio::test]
async fn a_text_message_closes_the_connection() {
    let server = WebSocketServer::builder().wires([Wire::JsWs]).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let client = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        tokio_tungstenite::client_async(format!("ws://{address}/"), tcp).await.unwrap()
    };
    let (ours, (mut client, response)) = tokio::join!(accept(&server), client);
    assert_eq!(response.headers().get("sec-websocket-protocol"), None);
    client.send(Message::text("hello")).await.unwrap();
    let answer = within("a close", client.next()).await.unwrap().unwrap();
    let Message::Close(Some(close)) = answer else { panic!("not a close: {answer:?}") };
    assert_eq!(u16::from(close.code), 1002);
    let name = TransportErrorCode::PROTOCOL_VIOLATION.to_string();
    assert!(close.reason.starts_with(&name), "{close:?}");
    drop(client);
    let end = within("the end", ours.closed()).await;
    assert!(matches!(end, ConnectionError::TextMessage), "{end:?}");
}
