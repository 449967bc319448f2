//! The async layer: handles, driver and sockets together, over memory and over TCP.
#![cfg(feature = "tokio")]

// What they share.
mod bytes;
mod hand;
mod pair;
mod raw;

mod cancel_safety;
