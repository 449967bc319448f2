//! gRPC with tonic over the streams of one WebSocket.
//!
//! tonic uses a stream in place of a TCP connection. tonic's server is given the accepted streams,
//! and a [`Channel`](tonic::transport::Channel) opens a stream. Each channel speaks HTTP/2 on its
//! stream, with any number of concurrent calls. Calls that must not wait for others need a channel
//! of their own.
//!
//! To use this in a program, copy [`transport`]. [`tally`] is the example's service.

pub mod tally;
pub mod transport;

/// What `build.rs` generates from `proto/tally.proto`.
pub mod proto {
    tonic::include_proto!("tally");
}
