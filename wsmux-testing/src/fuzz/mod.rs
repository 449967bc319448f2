//! The fuzz targets. Each target is a function that accepts any bytes. libFuzzer calls these
//! functions from `fuzz/`. The tests call them too, so the targets also run without a nightly
//! compiler, which libFuzzer needs.

pub mod codec;
pub mod engine;
mod input;
pub mod pair;
