//! The manual, for topics that do not fit on the page of one item.
//!
//! - [`defaults`]: each setting, its default, the reason for it, and when to change it.
//! - [`flow_control`]: credit, send buffers, memory, priorities, and why no stream pauses another.
//! - [`closing`]: how streams and connections end, what stays readable, and how to end a process
//!   without losing data.
//! - [`cancel_safety`]: for each async method, what happens when its future is dropped.
//! - [`reconnecting`]: what survives the loss of a connection, what was in flight, and what may be
//!   sent again.
//! - [`when_the_network_goes`]: how a connection can outlive its socket, for how long, and behind
//!   which load balancers.
//! - [`authentication`]: how to learn who the peer is, from TLS, from the upgrade, or from what the
//!   peer sends.
//! - [`observability`]: the statistics, the events of feature `tracing`, the logs of feature
//!   `qlog`.
//! - [`scale`]: how the cost grows with connections, streams, sizes and cores, and a server with a
//!   runtime for each core.
//! - [`behind_a_proxy`]: nginx and HAProxy, their timeouts and headers, how to drain a node, and
//!   which calls survive a failure.
#![cfg_attr(
    all(feature = "axum", feature = "http2"),
    doc = "- [`in_axum`]: connections on the routes of axum and hyper, and over HTTP/2."
)]
//! - [`with_tonic`]: gRPC over the streams of one connection.
//! - [`threats`]: what a hostile peer can try, what stops it, and the test that shows it.
//! - [`coming_from_quinn`]: the names of quinn and of wsmux, and how things with the same name
//!   differ.
//! - [`coming_from_js_ws`]: the names of npm's `@matrixai/ws` and of wsmux, and how to work with
//!   that endpoint.
//!
//! [SPEC.md] defines what goes over the wire; numbers such as C-31 name its requirements.
//!
//! This module exists only in the documentation.
//!
//! [SPEC.md]: https://github.com/wsmux/wsmux/blob/main/SPEC.md

pub mod authentication;
pub mod behind_a_proxy;
pub mod cancel_safety;
pub mod closing;
pub mod coming_from_js_ws;
pub mod coming_from_quinn;
pub mod defaults;
pub mod flow_control;
#[cfg(all(feature = "axum", feature = "http2"))]
pub mod in_axum;
pub mod observability;
pub mod reconnecting;
pub mod scale;
pub mod threats;
pub mod when_the_network_goes;
pub mod with_tonic;
