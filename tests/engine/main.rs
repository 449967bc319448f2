//! The engine: two of them on a pipe, or one against frames written by hand, in virtual time.

mod support;

mod abuse;
mod close;
mod codec;
mod datagrams;
mod faults;
mod flow_control;
mod jsws_wire;
mod limits;
mod no_pause;
mod nothing_lost;
mod parameters;
mod properties;
mod reset_at;
mod scheduling;
mod streams;
mod timers;
mod versions;
mod violations;
mod waiting;
mod windows;
