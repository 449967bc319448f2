//! The core of the JavaScript connection, on which the modules in `module/` are built. The modules
//! turn its promises into streams and its faults into errors, and free the objects that it returns.
//!
//! Every operation that waits is a promise that owns everything it needs. So JavaScript can free an
//! object while an operation on it is in progress; the operation then ends with a fault.

#![forbid(unsafe_code)]

mod connection;
mod count;
mod dial;
mod fault;
mod listeners;
mod receiver;
mod sender;
mod settings;
