//! What the tests, the benches and the fuzz targets of wsmux share.
//!
//! - `engine`: two engines on a pipe (`Pair`), one engine against bytes by hand
//!   (`ScriptedPeer`), and a whole world of applications and links
//!   (`World`), all in virtual time.
//! - `engines`: two engines for a measurement.
//! - `fuzz`: the fuzz targets, each a function of any bytes.
//! - With feature `net`: `server` (certificates, a server and a client), `interop` and `node` (foreign peers), `urls`.

#![allow(missing_docs, reason = "it is published nowhere")]

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
