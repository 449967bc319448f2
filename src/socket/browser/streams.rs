//! The browser's `WebSocketStream`. The two directions of a `WebSocketStream` are a
//! `ReadableStream` and a `WritableStream`, which have backpressure.
//!
//! `web-sys` does not define `WebSocketStream`, so the members of a `WebSocketStream` are looked up
//! by name.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    ReadableStream, ReadableStreamDefaultReader, WritableStream, WritableStreamDefaultWriter,
};
use wsmux_proto::SocketError;

use super::{
    CAPABILITIES, NO_STATUS, ending, incoming,
    js_error::{not_opened, words},
};
use crate::{
    error::ConnectError,
    socket::{Incoming, Outgoing, Socket, SocketCapabilities, unsupported},
};

const INTERFACE: &str = "WebSocketStream";

/// A `WebSocketStream` of the browser.
///
/// This socket reads one message at a time, and the browser leaves further messages in the network.
/// So no queue of messages forms here. Received data waits only in the receive buffers of the
/// connection's streams, and credit limits their size.
pub(crate) struct StreamSocket {
    handle: Handle,
    reader: ReadableStreamDefaultReader,
    writer: WritableStreamDefaultWriter,
    max_message: u64,
    reading: Reading,
    /// The message that the browser has accepted and not yet sent.
    writing: Option<JsFuture>,
    /// The promise that is settled when the socket has ended. Its outcome says how the socket
    /// ended.
    closed: JsFuture,
}

/// What the reading direction waits for.
enum Reading {
    Nothing,
    Message(JsFuture),
    /// No more messages will come. The reading direction waits for the end of the socket.
    Close,
    Ended(SocketError),
}

/// A handle that closes the socket when it is dropped, if the socket is still open.
struct Handle {
    object: JsValue,
    /// Whether the socket has ended. It has ended if both ends have closed it, or if it was lost.
    ended: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.close(&Object::new());
        }
    }
}

impl Handle {
    fn close(&self, with: &Object) -> Result<(), JsValue> {
        let close: Function = member(&self.object, "close")?;
        close.call1(&self.object, with).map(drop)
    }
}

impl StreamSocket {
    /// Opens a WebSocket, and returns the subprotocol that the server selected.
    pub(crate) async fn open(
        url: &str,
        offered: &[String],
        max_message: u64,
    ) -> Result<(Self, Option<String>), ConnectError> {
        Self::try_open(url, offered, max_message).await.map_err(|error| not_opened(&error))
    }

    async fn try_open(
        url: &str,
        offered: &[String],
        max_message: u64,
    ) -> Result<(Self, Option<String>), JsValue> {
        let interface: Function = member(&js_sys::global(), INTERFACE)
            .map_err(|_| JsValue::from_str("this browser has no WebSocketStream"))?;
        let options = Object::new();
        let protocols: Array = offered.iter().map(JsValue::from).collect();
        Reflect::set(&options, &"protocols".into(), &protocols)?;
        let handle = Handle {
            object: Reflect::construct(&interface, &Array::of2(&url.into(), &options))?,
            ended: false,
        };
        // The promise must have a handler from now on. Otherwise its rejection would be reported as
        // an error of the page.
        let closed = JsFuture::from(member::<Promise>(&handle.object, "closed")?);
        let opened = JsFuture::from(member::<Promise>(&handle.object, "opened")?).await?;
        let reader = member::<ReadableStream>(&opened, "readable")?.get_reader().dyn_into()?;
        let writer = member::<WritableStream>(&opened, "writable")?.get_writer()?;
        let selected = Reflect::get(&opened, &"protocol".into())?.as_string();
        let (reading, writing) = (Reading::Nothing, None);
        let this = Self { handle, reader, writer, max_message, reading, writing, closed };
        Ok((this, selected.filter(|selected| !selected.is_empty())))
    }

    /// Waits until the browser has sent the message that it has accepted.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(writing) = &mut self.writing {
            // If writing fails, the WebSocket has ended, and reading reports that end.
            let _ = ready!(Pin::new(writing).poll(cx));
            self.writing = None;
        }
        Poll::Ready(())
    }
}

impl Socket for StreamSocket {
    fn capabilities(&self) -> SocketCapabilities {
        CAPABILITIES
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        loop {
            match &mut self.reading {
                Reading::Nothing => {
                    self.reading = Reading::Message(JsFuture::from(self.reader.read()));
                }
                Reading::Message(message) => match ready!(Pin::new(message).poll(cx)) {
                    Ok(result) if !field(&result, "done").is_truthy() => {
                        self.reading = Reading::Nothing;
                        return Poll::Ready(Ok(incoming(
                            &field(&result, "value"),
                            self.max_message,
                        )));
                    }
                    // Reading has failed, or the readable stream has ended. In both cases the
                    // WebSocket has ended.
                    _ => self.reading = Reading::Close,
                },
                Reading::Close => {
                    let (item, end) = match ready!(Pin::new(&mut self.closed).poll(cx)) {
                        Ok(close) => close_of(&close),
                        Err(error) => (None, lost(&error)),
                    };
                    self.handle.ended = true;
                    self.reading = Reading::Ended(end);
                    if let Some(item) = item {
                        return Poll::Ready(Ok(item));
                    }
                }
                Reading::Ended(end) => return Poll::Ready(Err(end.clone())),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_written(cx).map(Ok)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        match item {
            Outgoing::Message(message) => {
                let bytes = Uint8Array::from(&message.to_bytes()[..]);
                self.writing = Some(JsFuture::from(self.writer.write_with_chunk(&bytes)));
            }
            // C-47: the engine knows that this socket has no pings.
            Outgoing::Ping(_) => {}
            Outgoing::Close { code, reason } => {
                let info = Object::new();
                let close = || {
                    Reflect::set(&info, &"closeCode".into(), &code.into())?;
                    Reflect::set(&info, &"reason".into(), &reason.into())?;
                    self.handle.close(&info)
                };
                close().map_err(|error| lost(&error))?;
            }
            _ => return Err(unsupported()),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_written(cx).map(Ok)
    }
}

/// Converts the closing handshake that the promise `closed` reports.
fn close_of(close: &JsValue) -> (Option<Incoming>, SocketError) {
    let code = field(close, "closeCode").as_f64().map_or(NO_STATUS, |code| code as u16);
    ending(code, field(close, "reason").as_string().unwrap_or_default())
}

/// Converts the error of a socket that was lost without a closing handshake.
fn lost(error: &JsValue) -> SocketError {
    io::Error::new(io::ErrorKind::UnexpectedEof, words(error)).into()
}

fn field(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &name.into()).unwrap_or_default()
}

fn member<T: JsCast>(of: &JsValue, name: &str) -> Result<T, JsValue> {
    Reflect::get(of, &name.into())?.dyn_into()
}
