//! Code that the tests, the benches and the fuzz targets of wsmux share.
//!
//! - `engine`: two engines connected by a pipe (`Pair`), one engine and a peer written by hand
//!   (`ScriptedPeer`), and two engines with a model of their applications (`World`), all in virtual
//!   time.
//! - `engines`: two engines for measurements.
//! - `fuzz`: the fuzz targets. Each is a function that accepts any bytes.
//! - With the feature `net`: `cutter` (a TCP forwarder that cuts connections), `server`
//!   (certificates, a server and a client), `interop` and `node` (foreign peers), and `ending` (the
//!   ways in which a connection ends).
//! - `urls`: URLs, and the parts that a client must find in them.

#![allow(missing_docs, reason = "it is published nowhere")]

#[cfg(feature = "net")]
pub mod cutter;
#[cfg(feature = "net")]
pub mod ending;
#[cfg(feature = "engine")]
pub mod engine;
pub mod engines;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "net")]
pub mod interop;
#[cfg(feature = "net")]
pub mod node;
#[cfg(feature = "net")]
pub mod server;
pub mod urls;
