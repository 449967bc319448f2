//! The fuzz targets. Each target is a function that accepts any bytes. libFuzzer calls these
//! functions from `fuzz/`. The tests call them too, because tests do not need a nightly compiler.

pub mod codec;
pub mod engine;
mod input;
pub mod pair;
