//! Counts the objects that are still held by JavaScript, or by an operation that JavaScript
//! started.

use std::cell::Cell;

use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    static LIVE: Cell<u32> = const { Cell::new(0) };
}

/// Counts one object as long as this value exists.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        LIVE.with(|live| live.set(live.get() + 1));
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.with(|live| live.set(live.get() - 1));
    }
}

/// Returns the number of connections and halves of streams that have not been released. With this
/// number, tests check that objects are released without the garbage collector. A test cannot wait
/// for a garbage collection.
#[wasm_bindgen(js_name = liveObjects)]
pub fn live_objects() -> u32 {
    LIVE.with(Cell::get)
}
