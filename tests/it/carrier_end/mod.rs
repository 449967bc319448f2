//! How the other side sees a connection's end on the stream below the WebSocket. It sees a clean
//! end as a clean end, and a cut as a cut (RFC 8446 §6.1, RFC 6455 §7.1.1). The tests for HTTP/2
//! are in `http_axum`, those for OpenSSL and Node in `foreign_end`.

use wsmux_testing::{ending, server};
mod tls;
mod witness;
