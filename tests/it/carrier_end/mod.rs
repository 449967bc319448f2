//! How the other side sees a connection's end on what carries it: a clean end as a clean one, and
//! one that was cut off as cut off (RFC 8446 §6.1, RFC 6455 §7.1.1). HTTP/2 has its place in
//! `http_axum`, OpenSSL and Node in `foreign_end`.

use wsmux_testing::{ending, server};
mod tls;
mod witness;
