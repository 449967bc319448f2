//! The receiving half of a stream.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use wsmux::{ReadError, RecvStream, RecvStreamStats, ResetError, VarInt};

use crate::{
    count::Counted,
    fault::{Fault, code, number},
    listeners::Listeners,
};

/// The receiving half.
#[wasm_bindgen]
pub struct Receiver {
    half: Rc<Half>,
}

struct Half {
    stream: RefCell<RecvStream>,
    listeners: Arc<Listeners>,
    read: Cell<u64>,
    last: Cell<RecvStreamStats>,
    _counted: Counted,
}

impl Half {
    /// Reads at most `max` bytes of what has arrived, without joining the pieces. Returns no pieces
    /// at the end of the stream.
    fn poll_read(&self, cx: &Context<'_>, max: usize) -> Poll<Result<Vec<Bytes>, ReadError>> {
        let waker = Waker::from(self.listeners.clone());
        let engine = &mut Context::from_waker(&waker);
        let (mut pieces, mut length) = (Vec::new(), 0);
        while length < max {
            match self.stream.borrow_mut().poll_read_chunk(engine, max - length) {
                Poll::Ready(Ok(Some(piece))) => {
                    length += piece.len();
                    pieces.push(piece);
                }
                // The end or the error is not lost, because the next read returns it again.
                _ if length > 0 => break,
                Poll::Ready(Ok(None)) => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.listeners.add(cx);
                    return Poll::Pending;
                }
            }
        }
        self.read.set(self.read.get() + length as u64);
        if length == 0 {
            self.all_was_read();
        }
        Poll::Ready(Ok(pieces))
    }

    fn poll_reset(&self, cx: &Context<'_>) -> Poll<Result<VarInt, ResetError>> {
        let waker = Waker::from(self.listeners.clone());
        let mut stream = self.stream.borrow_mut();
        let reset = pin!(stream.received_reset()).poll(&mut Context::from_waker(&waker));
        if reset.is_pending() {
            self.listeners.add(cx);
        }
        reset
    }

    fn stats(&self) -> RecvStreamStats {
        if let Ok(stats) = self.stream.borrow().stats() {
            self.last.set(stats);
        }
        self.last.get()
    }

    /// Sets the statistics to those of a half that was read to the end, because the engine no
    /// longer knows the half.
    fn all_was_read(&self) {
        let mut stats = self.stats();
        stats.received = self.read.get();
        stats.buffered = 0;
        self.last.set(stats);
    }
}

impl Receiver {
    pub(crate) fn new(stream: RecvStream) -> Self {
        let half = Rc::new(Half {
            stream: RefCell::new(stream),
            listeners: Arc::default(),
            read: Cell::default(),
            last: Cell::default(),
            _counted: Counted::new(),
        });
        Self { half }
    }
}

#[wasm_bindgen]
impl Receiver {
    /// Returns a promise of at most `max` bytes, or of `undefined` at the end of the stream.
    pub fn read(&self, max: u32) -> Promise {
        let half = self.half.clone();
        future_to_promise(async move {
            let read = poll_fn(|cx| half.poll_read(cx, max as usize)).await;
            let pieces = read.map_err(Fault::from)?;
            let length = pieces.iter().map(Bytes::len).sum::<usize>();
            if length == 0 {
                return Ok(JsValue::UNDEFINED);
            }
            let chunk = Uint8Array::new_with_length(length as u32);
            copy(&pieces, &chunk);
            Ok(chunk.into())
        })
    }

    /// Reads into `view`. Returns a promise of the number of bytes copied, which is 0 at the end of
    /// the stream.
    #[wasm_bindgen(js_name = readInto)]
    pub fn read_into(&self, view: Uint8Array) -> Promise {
        let half = self.half.clone();
        future_to_promise(async move {
            let read = poll_fn(|cx| half.poll_read(cx, view.length() as usize)).await;
            Ok(copy(&read.map_err(Fault::from)?, &view).into())
        })
    }

    /// Stops the stream with a code. A waiting read fails.
    pub fn stop(&self, number: f64) {
        self.half.stats();
        // A half that has already ended needs no stop.
        let _ = self.half.stream.borrow_mut().stop(code(number));
        self.half.listeners.tell();
    }

    /// Returns a promise of the code with which the peer resets the stream. It is rejected with a
    /// fault when a reset can no longer happen.
    pub fn reset(&self) -> Promise {
        let half = self.half.clone();
        future_to_promise(async move {
            let reset = poll_fn(|cx| half.poll_reset(cx)).await;
            Ok(number(reset.map_err(Fault::from)?).into())
        })
    }

    /// Returns the half's statistics, in the order in which the modules name them.
    pub fn stats(&self) -> Vec<f64> {
        let stats = self.half.stats();
        vec![
            stats.received as f64,
            self.half.read.get() as f64,
            stats.buffered as f64,
            stats.credit as f64,
            stats.window as f64,
        ]
    }
}

/// Copies the pieces to the start of `view`, which has room for them.
fn copy(pieces: &[Bytes], view: &Uint8Array) -> u32 {
    let mut at = 0;
    for piece in pieces {
        let end = at + piece.len() as u32;
        view.subarray(at, end).copy_from(piece);
        at = end;
    }
    at
}
