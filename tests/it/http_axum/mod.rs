//! Tests of connections on the routes of an HTTP server that is not ours, over HTTP/1.1 and HTTP/2.
//! In some of the tests several connections of a client share a TCP connection.

mod crowd;
mod ending;
mod foreign;
mod given_up;
mod heads;
mod hooks;
mod routes;
#[allow(dead_code, reason = "a browser reports to it, in `external`")]
pub(crate) mod server;
mod shared;
use wsmux_testing::ending as ways;
use wsmux_testing::server as tls;
