//! The cases whose instructions `cargo xtask instructions` counts with Valgrind's tool callgrind.
//!
//! `cargo bench` measures time. But two runs of the same code often differ more in time than the
//! code before and after a change. The number of instructions hardly differs between two runs, so
//! CI can compare it with a reference.
//!
//! Without arguments, this program prints its own path and then the names of the cases, one to a
//! line. With the name of a case, it runs that case.

mod async_layer;
mod codec;
#[path = "../../micro/ends.rs"]
mod ends;
mod engine;
#[path = "../../micro/frame_layer.rs"]
mod frame_layer;
mod framing;

use std::{env, process::ExitCode};

/// One kind of work.
struct Case {
    name: &'static str,
    /// How often the work is done while callgrind counts.
    rounds: u32,
    /// Prepares the work, and returns a function that does it once.
    prepare: fn() -> Box<dyn FnMut()>,
}

fn main() -> ExitCode {
    let parts = [engine::CASES, framing::CASES, codec::CASES, async_layer::CASES];
    let cases = || parts.into_iter().flatten();
    let Some(name) = env::args().nth(1) else {
        println!("{}", env::current_exe().expect("Linux knows it").display());
        cases().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    };
    let Some(case) = cases().find(|case| case.name == name) else {
        eprintln!("{name} is no case");
        return ExitCode::FAILURE;
    };
    let mut work = (case.prepare)();
    // In the first rounds, buffers grow to the size that they then keep.
    for _ in 0..case.rounds {
        work();
    }
    counted_by_callgrind(case.rounds, &mut work);
    ExitCode::SUCCESS
}

/// Does the work. Callgrind counts only while this function runs, and finds it by its name.
#[inline(never)]
fn counted_by_callgrind(rounds: u32, work: &mut dyn FnMut()) {
    for _ in 0..rounds {
        work();
    }
}
