//! The server. Each method is a future. The call's stream carries the request and the answer, and
//! the server drops the future when the client stops reading.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wsmux::{SendStream, VarInt, WebSocketConnection, WebSocketServer, WebSocketStream};

use crate::MAX_MESSAGE;

/// The code that resets a stream whose request could not be read.
const UNREADABLE: VarInt = VarInt::from_u32(1);

/// A JSON-RPC error: its code and message.
type RpcError = (i64, String);

pub(crate) async fn serve(server: WebSocketServer) {
    while let Some(connecting) = server.accept().await {
        tokio::spawn(async move {
            match connecting.await {
                Ok(connection) => serve_connection(connection).await,
                Err(error) => eprintln!("{error}"),
            }
        });
    }
}

async fn serve_connection(connection: WebSocketConnection) {
    // The connection's stream limit bounds the number of concurrent calls.
    while let Ok(stream) = connection.accept_bi().await {
        tokio::spawn(serve_call(connection.clone(), stream));
    }
}

async fn serve_call(connection: WebSocketConnection, stream: WebSocketStream) {
    let (mut send, mut recv) = stream.into_split();
    let Ok(request) = recv.read_to_end(MAX_MESSAGE).await else {
        // Either the client has cancelled the call, or the request is too long.
        let _ = send.reset(UNREADABLE);
        return;
    };
    let response = tokio::select! {
        response = respond(&connection, &request) => response,
        // The client has stopped reading, or is gone, so the method's future is dropped before it
        // has completed.
        _ = send.stopped() => return,
    };
    // A notification has no answer, but its stream still has to be finished.
    if let Some(response) = response
        && send.write_all(response.to_string().as_bytes()).await.is_err()
    {
        return;
    }
    let _ = send.finish();
}

/// Returns the answer to a request (JSON-RPC 2.0, sections 4 and 5), or `None` for a notification.
async fn respond(connection: &WebSocketConnection, request: &[u8]) -> Option<Value> {
    let request: Value = match serde_json::from_slice(request) {
        Ok(request) => request,
        Err(error) => return Some(failure(&Value::Null, (-32700, error.to_string()))),
    };
    let id = request.get("id");
    let method = request["method"].as_str().filter(|_| request["jsonrpc"] == "2.0");
    let Some(method) = method else {
        return Some(failure(id.unwrap_or(&Value::Null), (-32600, "no request".to_owned())));
    };
    let outcome = call(connection, method, &request["params"]).await;
    let id = id?;
    Some(match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(error) => failure(id, error),
    })
}

fn failure(id: &Value, (code, message): RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}

async fn call(
    connection: &WebSocketConnection,
    method: &str,
    params: &Value,
) -> Result<Value, RpcError> {
    let invalid = || (-32602, format!("invalid params: {params}"));
    match method {
        "sum" => {
            let numbers = params.as_array().ok_or_else(invalid)?;
            let numbers = numbers.iter().map(Value::as_f64).collect::<Option<Vec<_>>>();
            Ok(numbers.ok_or_else(invalid)?.iter().sum::<f64>().into())
        }
        "sleep" => {
            let milliseconds = params["milliseconds"].as_u64().ok_or_else(invalid)?;
            sleep(Duration::from_millis(milliseconds)).await;
            Ok(Value::Null)
        }
        "subscribe" => {
            let count = params["count"].as_u64().ok_or_else(invalid)?;
            // The server opens a stream for the notifications, so that they delay no call. The
            // server opens the stream before it answers. So if the client's stream limit is
            // reached, the call waits, and there are never more tasks than streams.
            let stream = connection.open_uni().await;
            tokio::spawn(push(stream.map_err(|error| (-32000, error.to_string()))?, count));
            Ok("subscribed".into())
        }
        _ => Err((-32601, format!("no method {method:?}"))),
    }
}

/// Sends notifications, one per line, as long as the client reads them.
async fn push(mut send: SendStream, count: u64) -> Option<()> {
    for i in 0..count {
        let notification = json!({ "jsonrpc": "2.0", "method": "tick", "params": { "number": i } });
        send.write_all(format!("{notification}\n").as_bytes()).await.ok()?;
    }
    send.finish().ok()
}
