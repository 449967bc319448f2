//! Runs the engine's tests under Miri. Miri detects overflows anywhere, and undefined behaviour in
//! the crates that the engine uses (bytes, slab). The run takes about five minutes.

use super::{
    require_nightly,
    run::{Command, Failure, Outcome, cargo_nightly, step},
};

const LOST: &str = "nothing ran under Miri";

/// Parts of the names of tests. Tests with these names do not run under Miri, because they move
/// megabytes or try thousands of cases. Under Miri, code is slower by a factor of a hundred or
/// more. Each of the other tests takes less than 3 ms without Miri.
const TOO_LONG: [&str; 25] = [
    "properties::",
    "codec::",
    "windows::",
    "no_pause::",
    "honest::",
    "ten_thousand_streams",
    "finish_reset_stop_and_drop",
    "a_window_of_1024_bytes",
    "equals_share_alike",
    "without_connection_credit",
    "keep_alive_keeps_an_idle",
    "a_peer_that_only_listens",
    "what_came_before_the_connections_end",
    "that_ends_in_the_middle_of_a_frame",
    "a_stop_ends_the_writer",
    "malformed_unknown_and",
    "the_first_bytes_are_delivered",
    "that_changes_its_priority",
    "an_open_flood",
    "a_flood_of_opens",
    "messages_that_are_none",
    "send_window::",
    "message_sizes::",
    "calls_that_are_dropped",
    "a_peer_that_pads",
];

pub fn run() -> Outcome {
    step("Miri");
    require_nightly("nightly", LOST)?;
    let has_miri = cargo_nightly("nightly", &["miri", "--version"]).succeeds();
    let add = ["component", "add", "miri", "rust-src", "--toolchain", "nightly"];
    if !has_miri && !Command::new("rustup").args(&add).succeeds() {
        return Err(Failure::missing("Miri", LOST));
    }
    let skipped = TOO_LONG.map(|name| format!("--skip={name}"));
    let skipped: Vec<_> = skipped.iter().map(String::as_str).collect();
    cargo_nightly("nightly", &["miri", "test", "-p", "wsmux-proto", "--test", "engine"])
        .args(&["--target-dir", "target/miri", "--"])
        .args(&skipped)
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_INCREMENTAL", "0")
        .run()
}
