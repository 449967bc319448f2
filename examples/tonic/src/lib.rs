//! gRPC with tonic over the streams of one WebSocket.
//!
//! tonic uses a stream in place of a TCP connection. The example passes accepted streams to tonic's
//! server, and each [`Channel`](tonic::transport::Channel) opens a stream. Each channel speaks
//! HTTP/2 on its stream, with any number of concurrent calls. A call that must not wait for other
//! calls needs a channel of its own.
//!
//! To use this in a program, copy [`transport`]. [`tally`] is the example's service.

pub mod tally;
pub mod transport;

/// The code that `build.rs` generates from `proto/tally.proto`.
pub mod proto {
    tonic::include_proto!("tally");
}
