//! The browser's `WebSocket`. The browser delivers received messages as events. About messages to
//! be sent, the browser reports only how many bytes still wait (`bufferedAmount`).

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use wsmux_proto::SocketError;

use super::{
    CAPABILITIES, ending, incoming,
    js_error::{not_opened, words},
};
use crate::{
    error::ConnectError,
    runtime::{Sleep, sleep},
    socket::{Incoming, Outgoing, Socket, SocketCapabilities, unsupported},
};

/// While more bytes than this wait in the browser, the socket gives it no further message. The
/// limit is two messages of the largest size. An urgent message has to wait for these bytes, so a
/// higher limit would delay it more. With a lower limit, a fast network would be idle until the
/// next check (see [`LOOK_FIRST`]).
const HIGH_WATER_MARK: u32 = 128 * 1024;

/// The time until the first check. A check reads how many bytes wait in the browser. Checks are
/// needed because no event of the browser tells when this number has fallen. A shorter time would
/// gain nothing, because browsers delay each timer of a chain by at least 4 ms.
const LOOK_FIRST: Duration = Duration::from_millis(4);

/// The longest time between two checks. Each check that finds no change doubles the time to the
/// next check. So a change is noticed with a delay that is at most about as long as the time before
/// the change. While the network is down, the page makes four checks a second. When the network
/// returns, a delay of a quarter of a second is hardly noticeable.
const LOOK_LAST: Duration = Duration::from_millis(256);

/// A WebSocket of the browser.
pub(crate) struct EventSocket {
    websocket: WebSocket,
    inbox: Rc<RefCell<Inbox>>,
    /// The timer of the next check. It is set while bytes wait in the browser.
    look: Option<Sleep>,
    /// The time from the previous check to the next.
    pause: Duration,
    /// How many bytes were waiting in the browser at the last check.
    waited: u32,
    _listeners: Listeners,
}

/// The callbacks that the browser calls. The browser may call them as long as this value exists.
struct Listeners {
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

/// Items that were received and that the driver has not taken yet, in order.
///
/// After each of the browser's events, the driver takes all these items before the browser runs the
/// next event. So the inbox never holds more than the items of one event, even if the application
/// reads nothing. Further messages may wait in the browser as events that have not run yet. The
/// total size of these messages is limited too, because the stream windows and the limit on
/// datagrams limit the bytes that the peer may send.
#[derive(Debug, Default)]
struct Inbox {
    items: VecDeque<Incoming>,
    /// How the socket ended. `poll_recv` returns this error after all items.
    end: Option<SocketError>,
    /// Wakes the task that waits for the next item.
    waker: Option<Waker>,
}

impl Inbox {
    fn tell(inbox: &RefCell<Self>, change: impl FnOnce(&mut Self)) {
        // This borrow never fails, because the browser does not run one callback within another.
        let mut inbox = inbox.borrow_mut();
        change(&mut inbox);
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl EventSocket {
    /// Opens a WebSocket, and returns the subprotocol that the server selected.
    pub(crate) async fn open(
        url: &str,
        offered: &[String],
        max_message: u64,
    ) -> Result<(Self, Option<String>), ConnectError> {
        let protocols: Array = offered.iter().map(JsValue::from).collect();
        let websocket = WebSocket::new_with_str_sequence(url, &protocols)
            .map_err(|error| not_opened(&error))?;
        websocket.set_binary_type(BinaryType::Arraybuffer);
        let inbox = Rc::<RefCell<Inbox>>::default();
        let listeners = Listeners::new(&websocket, &inbox, max_message);
        let this = Self {
            websocket,
            inbox,
            look: None,
            pause: LOOK_FIRST,
            waited: 0,
            _listeners: listeners,
        };
        poll_fn(|cx| this.poll_open(cx)).await?;
        let selected = this.websocket.protocol();
        Ok((this, (!selected.is_empty()).then_some(selected)))
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        let mut inbox = self.inbox.borrow_mut();
        if self.websocket.ready_state() == WebSocket::CONNECTING {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // If an item has arrived, the socket was open, even if it has closed before this poll. The
        // caller learns of the close later.
        if !inbox.items.is_empty() || self.websocket.ready_state() == WebSocket::OPEN {
            return Poll::Ready(Ok(()));
        }
        let Some(end) = inbox.end.take() else {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let error = match end {
            SocketError::Io(error) => error,
            // The only other error is `Eof`, which `ending` returns for a Close.
            _ => Arc::new(io::ErrorKind::UnexpectedEof.into()),
        };
        Poll::Ready(Err(ConnectError::Connect(error)))
    }

    fn is_open(&self) -> bool {
        self.websocket.ready_state() == WebSocket::OPEN
    }

    /// Waits until at most `most` bytes wait in the browser.
    fn poll_sent(&mut self, most: u32, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // After a close, the browser never sends the bytes that still wait, so their number
            // never falls. The close event wakes the task instead.
            if !self.is_open() {
                self.inbox.borrow_mut().waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if self.waits() <= most {
                return Poll::Ready(());
            }
            let pause = self.pause;
            let look = self.look.get_or_insert_with(|| sleep(pause));
            ready!(Pin::new(look).poll(cx));
            self.look = None;
            self.pause = LOOK_LAST.min(self.pause * 2);
        }
    }

    /// Returns how many bytes wait in the browser. If the number has changed, the next check
    /// follows soon. The number changes when bytes are sent or added.
    fn waits(&mut self) -> u32 {
        let waits = self.websocket.buffered_amount();
        if self.waited != waits {
            self.waited = waits;
            if self.pause > LOOK_FIRST {
                self.pause = LOOK_FIRST;
                self.look = None;
            }
        }
        waits
    }
}

impl Listeners {
    fn new(websocket: &WebSocket, inbox: &Rc<RefCell<Inbox>>, max_message: u64) -> Self {
        let on_open = Closure::<dyn FnMut()>::new({
            let inbox = inbox.clone();
            move || Inbox::tell(&inbox, |_| {})
        });
        let on_message = Closure::<dyn FnMut(_)>::new({
            let inbox = inbox.clone();
            move |event: MessageEvent| {
                let item = incoming(&event.data(), max_message);
                Inbox::tell(&inbox, |inbox| inbox.items.push_back(item));
            }
        });
        let on_close = Closure::<dyn FnMut(_)>::new({
            let inbox = inbox.clone();
            move |event: CloseEvent| {
                let (item, end) = ending(event.code(), event.reason());
                Inbox::tell(&inbox, |inbox| {
                    inbox.items.extend(item);
                    inbox.end = Some(end);
                });
            }
        });
        websocket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        websocket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // There is no handler for error events, because they do not say what failed, and a close
        // event follows each of them.
        websocket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self { _open: on_open, _message: on_message, _close: on_close }
    }
}

impl Socket for EventSocket {
    fn capabilities(&self) -> SocketCapabilities {
        CAPABILITIES
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, SocketError>> {
        let mut inbox = self.inbox.borrow_mut();
        if let Some(item) = inbox.items.pop_front() {
            return Poll::Ready(Ok(item));
        }
        if let Some(end) = &inbox.end {
            return Poll::Ready(Err(end.clone()));
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.poll_sent(HIGH_WATER_MARK, cx).map(Ok)
    }

    fn start_send(&mut self, item: Outgoing<'_>) -> Result<(), SocketError> {
        let sent = match item {
            Outgoing::Message(message) => self.websocket.send_with_u8_array(&message.to_bytes()),
            // C-47: the engine knows that this socket has no pings.
            Outgoing::Ping(_) => Ok(()),
            Outgoing::Close { code, reason } => {
                self.websocket.close_with_code_and_reason(code, &reason)
            }
            _ => return Err(unsupported()),
        };
        sent.map_err(|error| io::Error::other(words(&error)).into())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match self.is_open() {
            true => self.poll_sent(0, cx).map(Ok),
            // After our Close there is nothing to flush.
            false => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for EventSocket {
    fn drop(&mut self) {
        self.websocket.set_onopen(None);
        self.websocket.set_onmessage(None);
        self.websocket.set_onclose(None);
        // This call does nothing if the socket is closed or closing.
        let _ = self.websocket.close();
    }
}
