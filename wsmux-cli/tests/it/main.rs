//! The program `wsmux`, run as its users run it.

mod echo;
mod forward;
mod ping;
mod support;
mod tcp;
mod usage;
