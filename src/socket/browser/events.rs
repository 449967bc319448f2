//! `WebSocket`: what comes is told by events, and what goes is only counted, in `bufferedAmount`.

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

use super::{
    CAPABILITIES, ending, incoming,
    js_error::{not_opened, words},
};
use crate::{
    error::ConnectError,
    proto::SocketError,
    runtime::{Sleep, sleep},
    socket::{Incoming, Outgoing, Socket, SocketCapabilities, unsupported},
};

/// Bytes that wait in the browser, above which it gets no more: two messages. What is urgent waits behind them, and
/// a fast network wants as many as it takes until the next look.
const HIGH_WATER_MARK: u32 = 128 * 1024;

/// The time to the first look at what waits, for the browser does not tell when that becomes less. No browser lets a
/// chain of timers go faster.
const LOOK_FIRST: Duration = Duration::from_millis(4);

/// The longest time to a look. Each that finds nothing changed doubles it: so a change is seen after twice the time
/// that it took, and a network that is gone costs a page four looks a second. A user who waits for a network that has
/// come back hardly sees a quarter of a second.
const LOOK_LAST: Duration = Duration::from_millis(256);

/// A WebSocket of the browser's.
pub(crate) struct EventSocket {
    websocket: WebSocket,
    inbox: Rc<RefCell<Inbox>>,
    /// Set while something waits in the browser.
    look: Option<Sleep>,
    /// How long the next look is away, from the one before.
    pause: Duration,
    /// What waited in the browser when that was asked last.
    waited: u32,
    _listeners: Listeners,
}

/// What the browser calls, for as long as it may.
struct Listeners {
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

/// What has come and was not taken yet, in order.
///
/// The driver takes all of it after each of the browser's events, in the same turn of the page; so there is no more
/// in it than what one event brought, whatever the application reads. What the browser has itself not told of yet is
/// bounded by what the peer may send: the windows of its streams and its datagrams.
#[derive(Debug, Default)]
struct Inbox {
    items: VecDeque<Incoming>,
    /// How it ends, after the items.
    end: Option<SocketError>,
    /// Whoever waits for more.
    waker: Option<Waker>,
}

impl Inbox {
    fn tell(inbox: &RefCell<Self>, change: impl FnOnce(&mut Self)) {
        // The browser calls nobody while another is at work.
        let mut inbox = inbox.borrow_mut();
        change(&mut inbox);
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl EventSocket {
    /// Opens one, and says which subprotocol the server selected.
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
        // One that opened and was closed in one go is a connection that ends.
        if !inbox.items.is_empty() || self.websocket.ready_state() == WebSocket::OPEN {
            return Poll::Ready(Ok(()));
        }
        let Some(end) = inbox.end.take() else {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let error = match end {
            SocketError::Io(error) => error,
            // `Eof` is the only other end so far.
            _ => Arc::new(io::ErrorKind::UnexpectedEof.into()),
        };
        Poll::Ready(Err(ConnectError::Connect(error)))
    }

    fn is_open(&self) -> bool {
        self.websocket.ready_state() == WebSocket::OPEN
    }

    /// Waits until no more than `most` bytes wait in the browser.
    fn poll_sent(&mut self, most: u32, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // What waits in one that is closed waits for ever; its last event ends this.
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

    /// Bytes that wait in the browser. When they are others than before, be it that some were sent or that more
    /// came, the next look is soon.
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
        // An error's event says nothing, and this one follows it.
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
            // C-47: the engine knows that there are none.
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
            // After our Close there is nothing to wait for.
            false => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for EventSocket {
    fn drop(&mut self) {
        self.websocket.set_onopen(None);
        self.websocket.set_onmessage(None);
        self.websocket.set_onclose(None);
        // Where it is closed, or about to be, this does nothing.
        let _ = self.websocket.close();
    }
}
