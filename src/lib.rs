//! One WebSocket as a QUIC-shaped connection: many streams, each with its own credit, so that a slow
//! reader never pauses the others.

mod config;
pub mod proto;

pub use config::Config;
