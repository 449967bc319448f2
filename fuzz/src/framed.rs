//! The frame layer, which is not part of the API, and what its tests compare it with.
//!
//! The files are included by their paths. A hidden public module would not do: the comparison is
//! test code of the library, which no build of a user should compile.

use std::{
    pin::pin,
    task::{Context, Poll},
};

#[path = "../../src/socket/framed/frame.rs"]
#[allow(dead_code, reason = "what only a writer needs")]
mod frame;
#[path = "../../src/socket/framed/read.rs"]
#[allow(dead_code, reason = "what only the socket needs")]
mod read;
pub(crate) mod tests;

/// What the frame layer calls in its own module.
fn poll_once<T>(future: impl Future<Output = T>, cx: &mut Context<'_>) -> Poll<T> {
    pin!(future).poll(cx)
}
