//! Where the files of the crate that are compiled in here look for it.

#[path = "../../src/proto/tree.rs"]
#[allow(dead_code, unused_imports, reason = "what only the crate and its tests need")]
pub(crate) mod tree;

pub(crate) use wsmux::proto::*;
