//! Tests of the engine in virtual time: two engines connected by a pipe, or one engine and frames
//! written by hand.

mod abuse;
mod close;
mod codec;
mod datagrams;
mod drain;
mod durations;
mod faults;
mod flow_control;
mod going_away;
mod honest;
mod jsws_wire;
mod limits;
mod local_streams;
mod message_sizes;
mod no_pause;
mod nothing_lost;
mod parameters;
mod properties;
mod reset_at;
mod scheduling;
mod send_window;
mod slow_upload;
mod starving;
mod stops;
mod streams;
mod timers;
mod versions;
mod violations;
mod waiting;
mod windows;
mod write_stall;

use wsmux_testing::engine as support;
