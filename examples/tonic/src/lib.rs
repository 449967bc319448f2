//! gRPC by tonic over the streams of one WebSocket.
//!
//! A stream is to tonic what a TCP connection is elsewhere: the server takes those that are accepted, and a
//! [`Channel`](tonic::transport::Channel) opens one. Each channel speaks HTTP/2 on its stream, with as many calls at
//! once as it likes; what must not wait for others has a channel of its own.
//!
//! [`transport`] is what a program needs to copy. [`tally`] is a service to show it with.

pub mod tally;
pub mod transport;

/// What `build.rs` makes of `proto/tally.proto`.
pub mod proto {
    tonic::include_proto!("tally");
}
