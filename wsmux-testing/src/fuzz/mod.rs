//! What is fuzzed: one function for each target, of any bytes. libFuzzer calls them from `fuzz/`,
//! and the tests beside this directory call them wherever there is no nightly compiler.

pub mod codec;
pub mod engine;
mod input;
pub mod pair;
