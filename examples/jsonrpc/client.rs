//! The client. A call opens a stream, writes its request, and reads the answer. If the call's
//! future is dropped, its stream is dropped too. This stops the receiving half, and resets the
//! sending half unless it was finished. So the server learns that the call is cancelled.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Take};
use wsmux::{RecvStream, WebSocketConnection};

use crate::MAX_MESSAGE;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server answered with an error.
    #[error("{message} ({code})")]
    Rpc { code: i64, message: String },
    /// The server's answer is not JSON-RPC.
    #[error("invalid answer: {0}")]
    Invalid(String),
    /// There is no answer, because the connection or the stream was lost.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(crate) struct Client {
    connection: WebSocketConnection,
    next_id: AtomicU64,
}

impl Client {
    pub(crate) fn new(connection: WebSocketConnection) -> Self {
        Self { connection, next_id: AtomicU64::new(1) }
    }

    /// Calls a method. When the future is dropped, the call is cancelled.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        // The stream already identifies the call, so the id is useful only in logs.
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": id });
        let answer = self.exchange(request.to_string().as_bytes()).await?;
        let mut answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| CallError::Invalid(error.to_string()))?;
        if let Some(error) = answer.get("error") {
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            return Err(CallError::Rpc {
                code: error["code"].as_i64().unwrap_or_default(),
                message,
            });
        }
        if answer["id"] != id {
            return Err(CallError::Invalid(format!("an answer to {}, not {id}", answer["id"])));
        }
        Ok(answer["result"].take())
    }

    /// Sends these bytes as a request, and returns the bytes of the answer.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, CallError> {
        let open = self.connection.open_bi().await.map_err(std::io::Error::from)?;
        // If both halves are dropped before the answer has been read, the call is cancelled: the
        // sending half is reset unless it was finished, and the receiving half is stopped.
        let (mut send, mut recv) = open.into_split();
        send.write_all(request).await.map_err(std::io::Error::from)?;
        send.finish().map_err(std::io::Error::from)?;
        Ok(recv.read_to_end(MAX_MESSAGE).await.map_err(std::io::Error::from)?)
    }

    /// Waits for the next stream of notifications that the server opens.
    pub(crate) async fn notifications(&self) -> Result<Notifications, CallError> {
        let stream = self.connection.accept_uni().await.map_err(std::io::Error::from)?;
        Ok(Notifications(BufReader::new(stream).take(0)))
    }
}

/// Notifications of the server, one per line. Dropping this value stops the stream.
pub(crate) struct Notifications(Take<BufReader<RecvStream>>);

impl Notifications {
    /// Returns the next notification; `None` when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, CallError> {
        // A line may be as long as a message.
        self.0.set_limit(MAX_MESSAGE as u64);
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(|error| CallError::Invalid(error.to_string()))
    }
}
