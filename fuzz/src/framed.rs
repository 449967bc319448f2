//! Compiles the private frame layer, and the test code that compares this layer with tungstenite.
//!
//! The files are included by their paths. If wsmux had a hidden public module instead, every user's
//! build would compile the comparison, which is test code.

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

/// A function that the frame layer expects in its parent module.
fn poll_once<T>(future: impl Future<Output = T>, cx: &mut Context<'_>) -> Poll<T> {
    pin!(future).poll(cx)
}
