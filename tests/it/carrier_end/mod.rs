//! How the other side sees the end of a connection on the stream below it: a clean end as clean,
//! and a cut as cut (RFC 8446 §6.1, RFC 6455 §7.1.1). The tests for HTTP/2 are in `http_axum`,
//! those for OpenSSL and Node in `foreign_end`.

use wsmux_testing::{ending, server};
mod tls;
mod witness;
