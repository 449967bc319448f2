//! The tests are in `tests/rust_api`; `.ci/browser` runs them.
