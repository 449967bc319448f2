//! The fuzz targets: a function for each of them that accepts any bytes. libFuzzer calls them from
//! `fuzz/`. The tests call them too, because they run without a nightly compiler.

pub mod codec;
pub mod engine;
mod input;
pub mod pair;
