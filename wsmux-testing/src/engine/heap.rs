//! How much heap memory one engine holds, as counted by this thread's allocator.

use allocation_counter::measure;

#[derive(Debug, Default)]
pub struct Heap(i64);

impl Heap {
    /// Calls the engine, and records what it allocated and freed.
    pub fn of<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let mut output = None;
        let info = measure(|| output = Some(f()));
        self.0 += info.bytes_current;
        output.expect("it was called")
    }

    /// Drops a value that the engine returned, so that its memory no longer counts as the engine's.
    pub fn give_back<T>(&mut self, value: T) {
        self.of(|| drop(value));
    }

    pub fn held(&self) -> i64 {
        self.0
    }
}
