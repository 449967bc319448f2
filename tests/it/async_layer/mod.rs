//! The async layer: tests of handles, driver and sockets together, in memory and over TCP.

// Helpers that several of these tests use.
mod bytes;
mod hand;
mod pair;
mod raw;

mod afterlife;
mod bad_input;
mod cancel_safety;
mod crowds;
mod deaf_peer;
mod drain;
mod driver_lost;
mod durations;
mod foreign_executor;
mod no_deadlock;
mod no_pause;
mod nothing_lost;
mod opening;
mod slow_link;
mod stopped;
mod stopped_upload;
mod tokio_io;
mod wakeups;
