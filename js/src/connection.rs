//! The connection for JavaScript.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{future_to_promise, spawn_local};
use wsmux::{
    ConnectionEvent, ConnectionEvents, SessionState, WebSocketConnection, WebSocketStream,
};

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
    /// The events since the connection was established.
    events: ConnectionEvents,
    _counted: Counted,
}

/// Returns the two halves in an array: the sender, and the receiver.
fn halves(stream: WebSocketStream) -> JsValue {
    let (send, recv) = stream.into_split();
    Array::of2(&Sender::new(send).into(), &Receiver::new(recv).into()).into()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Connection {
    pub(crate) fn new(connection: WebSocketConnection) -> Self {
        let events = connection.events();
        Self { connection, events, _counted: Counted::new() }
    }
}

#[wasm_bindgen]
impl Connection {
    /// Returns a promise of the two halves of a new stream. If the peer's limit is reached, the
    /// promise waits if `wait` is set, and is rejected if it is not.
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

    /// Returns a promise of the [`Sender`] of a new unidirectional stream. `wait` has the same
    /// meaning as in `openBi`.
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

    /// Returns a promise of the two halves of the next stream that the peer opens.
    #[wasm_bindgen(js_name = acceptBi)]
    pub fn accept_bi(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(
            async move { Ok(halves(connection.accept_bi().await.map_err(Fault::from)?)) },
        )
    }

    /// Returns a promise of the [`Receiver`] of the next unidirectional stream that the peer opens.
    #[wasm_bindgen(js_name = acceptUni)]
    pub fn accept_uni(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            Ok(Receiver::new(connection.accept_uni().await.map_err(Fault::from)?).into())
        })
    }

    /// Sends a datagram once there is room for it.
    #[wasm_bindgen(js_name = sendDatagram)]
    pub fn send_datagram(&self, datagram: &Uint8Array) -> Promise {
        let connection = self.connection.clone();
        // The bytes are copied now, because the page may change them before the task runs.
        let datagram = Bytes::from(datagram.to_vec());
        future_to_promise(async move {
            connection.send_datagram_wait(datagram).await.map_err(Fault::from)?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Returns a promise of the next datagram.
    #[wasm_bindgen(js_name = readDatagram)]
    pub fn read_datagram(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move {
            let datagram = connection.read_datagram().await.map_err(Fault::from)?;
            Ok(Uint8Array::from(&datagram[..]).into())
        })
    }

    /// Returns the size of the largest datagram in bytes, or 0 if the peer accepts no datagrams.
    #[wasm_bindgen(js_name = maxDatagramSize)]
    pub fn max_datagram_size(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    /// Returns the application's part of the subprotocol, if there is one.
    pub fn protocol(&self) -> Option<String> {
        self.connection.protocol().map(str::to_owned)
    }

    /// Closes the connection now.
    pub fn close(&self, number: f64, reason: &str) {
        self.connection.close(code(number), reason.as_bytes());
    }

    /// Ends the connection once its streams have ended.
    pub fn shutdown(&self) {
        self.connection.drain();
    }

    /// Returns a promise of the fault that ended the connection. It is fulfilled when the socket is
    /// gone.
    pub fn closed(&self) -> Promise {
        let connection = self.connection.clone();
        future_to_promise(async move { Ok(Fault::from(connection.closed().await).into()) })
    }

    /// Calls `suspended` when the connection loses its socket, and `resumed` when the connection
    /// goes on over a new socket. The arguments of `resumed` are the gap in milliseconds, and the
    /// number and the length of the messages that are sent again. Calls `draining` when the peer
    /// drains the connection. The calls end when the connection ends.
    pub fn watch(&self, suspended: Function, resumed: Function, draining: Function) {
        let mut events = self.events.clone();
        spawn_local(async move {
            while let Some(event) = events.next().await {
                // The functions that the modules pass do not throw.
                let _ = match event {
                    ConnectionEvent::Suspended => suspended.call0(&JsValue::UNDEFINED),
                    ConnectionEvent::Resumed { gap, resent_messages, resent_bytes, .. } => resumed
                        .call3(
                            &JsValue::UNDEFINED,
                            &milliseconds(gap).into(),
                            &(resent_messages as f64).into(),
                            &(resent_bytes as f64).into(),
                        ),
                    ConnectionEvent::PeerDraining => draining.call0(&JsValue::UNDEFINED),
                    _ => continue,
                };
            }
        });
    }

    /// Returns whether the connection has a socket, and whether the connection would outlive the
    /// loss of a socket.
    #[wasm_bindgen(js_name = sessionState)]
    pub fn session_state(&self) -> String {
        let state = match self.connection.session_state() {
            SessionState::Fixed => "fixed",
            SessionState::Live => "live",
            SessionState::Suspended => "suspended",
            SessionState::Resuming => "resuming",
            SessionState::Ended => "ended",
            _ => "unknown",
        };
        state.into()
    }

    /// Returns the connection's statistics, in the order in which the modules name them. Times are
    /// in milliseconds; NaN stands for an unknown time.
    pub fn stats(&self) -> Vec<f64> {
        let stats = self.connection.stats();
        let session = self.connection.session_stats();
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
            session.resumptions as f64,
            session.resent_messages as f64,
            session.resent_bytes as f64,
            milliseconds(session.longest_gap),
            session.replay_held as f64,
        ]
    }
}
