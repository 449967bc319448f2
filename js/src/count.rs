//! How many objects are held, by JavaScript or by what it has begun.

use std::cell::Cell;

use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    static LIVE: Cell<u32> = const { Cell::new(0) };
}

/// One object that is held.
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

/// How many connections and halves of streams have not been let go of: for tests, as a garbage collector that does
/// it is not to be waited for.
#[wasm_bindgen(js_name = liveObjects)]
pub fn live_objects() -> u32 {
    LIVE.with(Cell::get)
}
