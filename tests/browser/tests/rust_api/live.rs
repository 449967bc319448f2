//! Counts the bytes of the page's memory that are in use. The size of the page's memory does not
//! show this number, because that size never shrinks, and grows only when all freed memory is in
//! use again.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

#[global_allocator]
static COUNTING: Counting = Counting(AtomicIsize::new(0));

/// The system's allocator, which also counts the bytes that are allocated.
struct Counting(AtomicIsize);

/// Returns how many bytes are allocated now.
pub(crate) fn bytes() -> isize {
    COUNTING.0.load(Relaxed)
}

// SAFETY: every method calls the same method of the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_add(layout.size() as isize, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.0.fetch_sub(layout.size() as isize, Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.0.fetch_add(size as isize - layout.size() as isize, Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}
