//! How much memory is held, and how often memory is allocated.

#[cfg(feature = "tokio")]
mod allocations;
#[cfg(all(feature = "hyper", feature = "http2"))]
mod head_memory;
mod held_to_send;
#[cfg(feature = "tokio")]
mod memory;
mod replay;
