//! Two connections with their drivers, locks and wakers, on a runtime with one thread.

use tokio::runtime::{Builder, Runtime};
use wsmux_testing::engines::shared;

use crate::{
    Case,
    ends::{CHUNK, Ends},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "ping_pong_in_memory", rounds: 200, prepare: ping_pong },
    Case { name: "1_mib_framed", rounds: 20, prepare: transfer },
];

fn ping_pong() -> Box<dyn FnMut()> {
    let runtime = runtime();
    let mut ends = runtime.block_on(Ends::in_memory());
    Box::new(move || runtime.block_on(ends.ping_pong()))
}

/// The frame layer, over a pipe.
fn transfer() -> Box<dyn FnMut()> {
    let runtime = runtime();
    let (mut ends, chunk) = (runtime.block_on(Ends::framed()), shared(CHUNK));
    Box::new(move || runtime.block_on(ends.transfer(&chunk)))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}
