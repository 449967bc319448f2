//! Tests of sessions in virtual time: two sessions whose sockets are lost, and messages written by
//! hand.

mod acknowledgements;
mod apps;
mod budget;
mod closing;
mod going_away;
mod hostile;
mod kills;
mod lifetime;
mod negotiation;
mod net;
mod secrets;
mod silence;
mod stalls;

use wsmux_testing::engine as support;
