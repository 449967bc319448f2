//! The connection.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use wsmux::{WebSocketConnection, WebSocketStream};

use crate::{
    count::Counted,
    fault::{Fault, code},
    receiver::Receiver,
    sender::Sender,
};

/// A handle of the connection.
#[wasm_bindgen]
pub struct Connection {
    connection: WebSocketConnection,
    _counted: Counted,
}

/// Two in an array: what sends, and what receives.
fn halves(stream: WebSocketStream) -> JsValue {
    let (send, recv) = stream.into_split();
    Array::of2(&Sender::new(send).into(), &Receiver::new(recv).into()).into()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Connection {
    pub(crate) fn new(connection: WebSocketConnection) -> Self {
        Self { connection, _counted: Counted::new() }
    }
}

#[wasm_bindgen]
impl Connection {
    /// A promise of the two halves of a new stream. `wait` says whether to wait at the peer's limit.
    #[wasm_bindgen(js_name = openBi)]
    pub fn open_bi(&self, wait: bool) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            let stream = match wait {
                true => connection.open_bi().await.map(Some),
                false => connection.try_open_bi(),
            };
            Ok(halves(stream.map_err(Fault::from)?.ok_or_else(Fault::no_stream_left)?))
        })
    }

    /// The same of a [`Sender`].
    #[wasm_bindgen(js_name = openUni)]
    pub fn open_uni(&self, wait: bool) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            let stream = match wait {
                true => connection.open_uni().await.map(Some),
                false => connection.try_open_uni(),
            };
            let send = stream.map_err(Fault::from)?.ok_or_else(Fault::no_stream_left)?;
            Ok(Sender::new(send).into())
        })
    }

    /// A promise of the two halves of the next stream of the peer's.
    #[wasm_bindgen(js_name = acceptBi)]
    pub fn accept_bi(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(
            async move { Ok(halves(connection.accept_bi().await.map_err(Fault::from)?)) },
        )
    }

    /// A promise of the [`Receiver`] of the next one-way stream of the peer's.
    #[wasm_bindgen(js_name = acceptUni)]
    pub fn accept_uni(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            Ok(Receiver::new(connection.accept_uni().await.map_err(Fault::from)?).into())
        })
    }

    /// Sends a datagram once there is room.
    #[wasm_bindgen(js_name = sendDatagram)]
    pub fn send_datagram(&self, datagram: &Uint8Array) -> Promise {
        let connection = self.connection.clone();
        // Now, and not when the task runs: the page may change them after this call.
        let datagram = Bytes::from(datagram.to_vec());
        future_to_promise(async move {
            connection.send_datagram_wait(datagram).await.map_err(Fault::from)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// A promise of the next datagram.
    #[wasm_bindgen(js_name = readDatagram)]
    pub fn read_datagram(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            let datagram = connection.read_datagram().await.map_err(Fault::from)?;
            Ok(Uint8Array::from(&datagram[..]).into())
        })
    }

    /// 0 where the peer takes none.
    #[wasm_bindgen(js_name = maxDatagramSize)]
    pub fn max_datagram_size(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    /// The application's part of the subprotocol, if any.
    pub fn protocol(&self) -> Option<String> {
        self.connection.protocol().map(str::to_owned)
    }

    /// Closes it now.
    pub fn close(&self, number: f64, reason: &str) {
        self.connection.close(code(number), reason.as_bytes());
    }

    /// Ends it once its streams have ended.
    pub fn shutdown(&self) {
        self.connection.drain();
    }

    /// A promise of the fault with which it ended, fulfilled when its socket is gone.
    pub fn closed(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move { Ok(Fault::from(connection.closed().await).into()) })
    }

    /// What it has done, in the order in which the modules name it; times in milliseconds, and NaN for an unknown
    /// one.
    pub fn stats(&self) -> Vec<f64> {
        let stats = self.connection.stats();
        vec![
            stats.bytes_sent as f64,
            stats.bytes_received as f64,
            stats.messages_sent as f64,
            stats.messages_received as f64,
            self.connection.rtt().map_or(f64::NAN, milliseconds),
            stats.streams_opened as f64,
            stats.streams_accepted as f64,
            stats.live_streams as f64,
            stats.send_buffered as f64,
            stats.window_growth as f64,
            milliseconds(stats.blocked_by_stream_credit),
            milliseconds(stats.blocked_by_connection_credit),
            milliseconds(stats.blocked_by_socket),
            stats.datagrams_dropped_incoming as f64,
            stats.datagrams_dropped_outgoing as f64,
        ]
    }
}
