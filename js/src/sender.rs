//! The sending half of a stream.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use wsmux::{SendStream, SendStreamStats, WriteError};

use crate::{
    connection::milliseconds,
    count::Counted,
    fault::{Fault, code, number},
    listeners::Listeners,
};

/// At most this many bytes of a chunk are copied out of the page's memory at a time. This is about
/// as much as one message holds. The rest of a larger chunk stays in the page's memory, because the
/// memory of a WebAssembly module never shrinks.
const PIECE: u32 = 64 * 1024;

/// The sending half.
#[wasm_bindgen]
pub struct Sender {
    half: Rc<Half>,
}

struct Half {
    stream: RefCell<SendStream>,
    listeners: Arc<Listeners>,
    written: Cell<u64>,
    last: Cell<SendStreamStats>,
    _counted: Counted,
}

impl Half {
    fn poll_write(&self, cx: &Context<'_>, piece: &mut Bytes) -> Poll<Result<(), WriteError>> {
        let length = piece.len() as u64;
        let waker = Waker::from(self.listeners.clone());
        let written =
            self.stream.borrow_mut().poll_write_chunk(&mut Context::from_waker(&waker), piece);
        match written {
            Poll::Ready(Ok(())) => self.written.set(self.written.get() + length),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.listeners.add(cx),
        }
        written
    }

    /// Writes `piece`, and then as many bytes from the start of `rest` as there is room for.
    fn poll_write_all(
        &self,
        cx: &Context<'_>,
        piece: &mut Bytes,
        rest: &mut Uint8Array,
    ) -> Poll<Result<(), WriteError>> {
        loop {
            if piece.is_empty() {
                if rest.length() == 0 {
                    return Poll::Ready(Ok(()));
                }
                let length = rest.length().min(PIECE);
                *piece = Bytes::from(rest.subarray(0, length).to_vec());
                *rest = rest.subarray(length, rest.length());
            }
            std::task::ready!(self.poll_write(cx, piece))?;
        }
    }

    fn stats(&self) -> SendStreamStats {
        if let Ok(stats) = self.stream.borrow().stats() {
            self.last.set(stats);
        }
        self.last.get()
    }

    /// Sets the statistics as for a half that was sent in full. The engine cannot return them,
    /// because it no longer knows the half.
    fn all_was_sent(&self) {
        let mut stats = self.stats();
        stats.sent = self.written.get();
        stats.buffered = 0;
        self.last.set(stats);
    }
}

impl Sender {
    pub(crate) fn new(stream: SendStream) -> Self {
        let half = Rc::new(Half {
            stream: RefCell::new(stream),
            listeners: Arc::default(),
            written: Cell::default(),
            last: Cell::default(),
            _counted: Counted::new(),
        });
        Self { half }
    }
}

#[wasm_bindgen]
impl Sender {
    /// Writes all of `chunk`. If there is no room for all of it, this returns a promise that is
    /// fulfilled when the last byte has been taken.
    ///
    /// # Errors
    /// A fault. The promise may be rejected with a fault as well.
    pub fn write(&self, chunk: &Uint8Array) -> Result<Option<Promise>, JsValue> {
        let mut rest = chunk.subarray(0, chunk.length());
        let mut piece = Bytes::new();
        let now = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = self.half.poll_write_all(&now, &mut piece, &mut rest) {
            done.map_err(Fault::from)?;
            return Ok(None);
        }
        // The chunk is copied, because the page may change it after this call.
        let mut rest = rest.slice(0, rest.length());
        let half = self.half.clone();
        Ok(Some(future_to_promise(async move {
            poll_fn(|cx| half.poll_write_all(cx, &mut piece, &mut rest))
                .await
                .map_err(Fault::from)?;
            Ok(JsValue::UNDEFINED)
        })))
    }

    /// Ends the stream after the written bytes.
    ///
    /// # Errors
    /// A fault.
    pub fn finish(&self) -> Result<(), JsValue> {
        Ok(self.half.stream.borrow_mut().finish().map_err(Fault::from)?)
    }

    /// Resets the stream with a code. A waiting write fails.
    pub fn reset(&self, number: f64) {
        self.half.stats();
        // A half that has already ended needs no reset.
        let _ = self.half.stream.borrow_mut().reset(code(number));
        self.half.listeners.tell();
    }

    /// Returns a promise that is fulfilled when the stream's end and all bytes before it have been
    /// handed to the socket. If the peer stops the stream, the promise is fulfilled with the code.
    /// If neither the end nor a stop can happen any longer, the promise is rejected with a fault.
    pub fn ended(&self) -> Promise {
        let half = self.half.clone();
        let stopped = half.stream.borrow().stopped();
        future_to_promise(async move {
            let code = stopped.await.map_err(Fault::from)?;
            if code.is_none() {
                half.all_was_sent();
            }
            Ok(code.map_or(JsValue::UNDEFINED, |code| number(code).into()))
        })
    }

    /// Sets the priority. Streams of a higher priority send first.
    #[wasm_bindgen(js_name = setPriority)]
    pub fn set_priority(&self, priority: i32) {
        // A half that has ended needs no priority.
        let _ = self.half.stream.borrow().set_priority(priority);
    }

    /// Returns the half's statistics, in the order in which the modules name them.
    pub fn stats(&self) -> Vec<f64> {
        let stats = self.half.stats();
        vec![
            self.half.written.get() as f64,
            stats.sent as f64,
            stats.buffered as f64,
            stats.credit as f64,
            milliseconds(stats.blocked),
        ]
    }
}
