//! How the end of a connection looks to the other side, on the TLS or TCP stream below the
//! WebSocket. A clean end looks like a clean end, and a cut looks like a cut (RFC 8446 §6.1, RFC
//! 6455 §7.1.1). The tests for HTTP/2 are in `http_axum`. The tests for OpenSSL and Node are in
//! `foreign_end`.

use wsmux_testing::{ending, server};
mod tls;
mod witness;
