//! How much of the heap one engine holds, as this thread's allocator sees it.

use allocation_counter::measure;

#[derive(Debug, Default)]
pub struct Heap(i64);

impl Heap {
    /// Calls the engine, and keeps account of what it took and gave back.
    pub fn of<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let mut output = None;
        let info = measure(|| output = Some(f()));
        self.0 += info.bytes_current;
        output.expect("it was called")
    }

    /// What was returned by the engine, and is its no longer.
    pub fn give_back<T>(&mut self, value: T) {
        self.of(|| drop(value));
    }

    pub fn held(&self) -> i64 {
        self.0
    }
}
