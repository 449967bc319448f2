//! The tests that need other programs, or root. `./test` installs the programs where it can, and
//! runs each module by its name: `cargo test --all-features --test external -- interop_jsws::`.

// These modules need Node 20, with the packages of tests/peers/node.
mod interop_jsws;
mod interop_moq;
mod node_stories;

// This module needs Node 20 and the program `openssl`.
#[cfg(all(feature = "http2", feature = "tungstenite"))]
mod foreign_end;

// These modules need nginx, HAProxy, tinyproxy, curl and Chromium.
#[cfg(all(feature = "axum", feature = "http2"))]
mod chromium;
mod curl;
mod proxies;
mod tinyproxy;

// This module needs Linux, root, iproute2 and iptables.
#[cfg(target_os = "linux")]
mod faults;
