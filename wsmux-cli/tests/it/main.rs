//! Runs the program `wsmux` as its users do.

mod echo;
mod forward;
mod ping;
mod support;
mod tcp;
mod usage;
