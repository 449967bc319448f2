//! The connection for JavaScript, without its manners: what the modules in `module/` are built on. They turn its
//! promises into streams and its faults into errors, and give back what it hands out.
//!
//! Every operation that waits is a promise which holds what it needs, so that an object can be freed while one is
//! under way: the operation then ends with a fault.

#![forbid(unsafe_code)]

mod connection;
mod count;
mod dial;
mod fault;
mod listeners;
mod receiver;
mod sender;
mod settings;
