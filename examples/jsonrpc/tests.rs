use std::{pin::pin, time::Duration};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use wsmux::{Config, WebSocketClient, WebSocketServer};

use crate::{
    PROTOCOL,
    client::{CallError, Client},
    server,
};

const BOUND: Duration = Duration::from_secs(60);

async fn client() -> (Client, wsmux::WebSocketConnection) {
    client_with(Config::default()).await
}

async fn client_with(config: Config) -> (Client, wsmux::WebSocketConnection) {
    let server = WebSocketServer::builder().protocol(PROTOCOL).bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server::serve(server));
    let client = WebSocketClient::builder().protocol(PROTOCOL).config(config).build().unwrap();
    let connection = client.connect(&url).await.unwrap();
    (Client::new(connection.clone()), connection)
}

#[tokio::test]
async fn calls_are_answered_beside_one_that_takes_long() {
    let (client, _) = client().await;
    let slow = client.call("sleep", json!({ "milliseconds": 600_000 }));
    let quick = async {
        for i in 0..200 {
            assert_eq!(client.call("sum", json!([i, 0.5])).await.unwrap(), f64::from(i) + 0.5);
        }
    };
    tokio::select! {
        _ = slow => panic!("it should have slept"),
        () = quick => {}
        () = sleep(BOUND) => panic!("the quick calls hang"),
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_stream_on_the_server() {
    let (client, connection) = client().await;
    // This makes ten times as many calls as the server accepts at once. So the server must have
    // dropped the earlier calls before it can accept the last ones.
    for _ in 0..1000 {
        let call = client.call("sleep", json!({ "milliseconds": 600_000 }));
        let _ = timeout(Duration::from_millis(1), call).await;
    }
    let answer = timeout(BOUND, client.call("sum", json!([1]))).await.unwrap().unwrap();
    assert_eq!(answer, 1.0);
    assert!(connection.stats().streams_opened > 100);
}

#[tokio::test]
async fn mistakes_have_the_codes_of_the_standard() {
    let (client, _) = client().await;
    let code = |outcome: Result<Value, CallError>| match outcome {
        Err(CallError::Rpc { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(client.call("no such", json!([])).await), -32601);
    assert_eq!(code(client.call("sum", json!(["x"])).await), -32602);
    for (request, expected) in [
        (&b"{"[..], -32700),
        (b"[]", -32600),
        (br#"{"jsonrpc":"1.0","method":"sum","id":1}"#, -32600),
    ] {
        let answer = client.exchange(request).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["code"], expected);
    }
    // A notification has no answer.
    let notification = br#"{"jsonrpc":"2.0","method":"sum","params":[1]}"#;
    assert_eq!(client.exchange(notification).await.unwrap(), b"");
}

#[tokio::test]
async fn the_server_pushes_for_as_long_as_it_is_listened_to() {
    let (client, _) = client().await;
    assert_eq!(client.call("subscribe", json!({ "count": 3 })).await.unwrap(), "subscribed");
    let mut notifications = client.notifications().await.unwrap();
    for i in 0..3 {
        let tick = notifications.next().await.unwrap().unwrap();
        assert_eq!((&tick["method"], &tick["params"]["number"]), (&json!("tick"), &json!(i)));
        assert!(tick.get("id").is_none());
    }
    assert!(notifications.next().await.unwrap().is_none());
    // An endless subscription that the client abandons does not delay later calls.
    client.call("subscribe", json!({ "count": u64::MAX })).await.unwrap();
    let mut endless = client.notifications().await.unwrap();
    assert!(endless.next().await.unwrap().is_some());
    drop(endless);
    assert_eq!(client.call("sum", json!([2])).await.unwrap(), 2.0);
}

#[tokio::test]
async fn subscriptions_wait_at_the_clients_limit_of_streams() {
    let mut config = Config::default();
    config.max_concurrent_uni_streams(2);
    let (client, _) = client_with(config).await;
    let endless = async || client.call("subscribe", json!({ "count": u64::MAX })).await;
    endless().await.unwrap();
    endless().await.unwrap();
    let mut third = pin!(endless());
    for _ in 0..100 {
        tokio::select! {
            biased;
            answer = &mut third => panic!("{answer:?}"),
            sum = client.call("sum", json!([1])) => assert_eq!(sum.unwrap(), 1.0),
        }
    }
    drop(client.notifications().await.unwrap());
    assert_eq!(timeout(BOUND, third).await.unwrap().unwrap(), "subscribed");
}
