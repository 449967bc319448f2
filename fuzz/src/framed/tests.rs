//! The test modules, under the same names as in the frame layer's own directory.

#[path = "../../../src/socket/framed/tests/agree.rs"]
#[allow(dead_code, reason = "what only the property tests need")]
pub(crate) mod agree;
#[path = "../../../src/socket/framed/tests/chopped.rs"]
#[allow(dead_code, reason = "what only the property tests need")]
mod chopped;
