//! Runs the fuzz targets under libFuzzer, starting from the corpus of the repository.
//!
//! An input that fails is kept in `fuzz/artifacts`; `cargo +nightly fuzz run TARGET FILE` repeats
//! the failure. `cargo test --test fuzz` runs the same targets without a fuzzer.

use std::{fs, thread};

use super::{
    require_nightly,
    run::{Command, Failure, Outcome, cargo, cargo_nightly, root, step},
};

const TARGETS: [&str; 5] = ["qmux", "jsws", "framed", "engine", "pair"];
const LOST: &str = "nothing was fuzzed";

/// Words that mark the lines in which libFuzzer's log says how a run ended.
const TELLING: [&str; 7] =
    ["panicked", "assert", "ERROR", "Test unit", "stat::number_of_executed_units", "DONE", "Done"];

/// Runs the targets. The arguments are `[SECONDS [TARGET...]]`.
pub fn run(arguments: &[&str]) -> Outcome {
    let (seconds, targets) = match arguments {
        [] => (60, &TARGETS[..]),
        [seconds] => (parsed(seconds)?, &TARGETS[..]),
        [seconds, targets @ ..] => (parsed(seconds)?, targets),
    };
    build()?;
    step("fuzzing");
    // All targets run at once and share the cores. So no core is idle while the last targets run.
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let seconds = (seconds * targets.len() as u64).div_ceil(cores).max(seconds);
    let mut running = Vec::new();
    for target in targets {
        // New inputs that libFuzzer finds are written here, outside the corpus of the repository.
        let work = format!("fuzz/target/corpus/{target}");
        fs::create_dir_all(root().join(&work)).map_err(Failure::failed)?;
        let log = root().join(format!("{work}.log"));
        let fuzzing = cargo_fuzz("run")
            .args(&[target, &work, &format!("fuzz/corpus/{target}"), "--"])
            .args(&[&format!("-max_total_time={seconds}"), "-max_len=4096", "-timeout=30"])
            .args(&["-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]);
        running.push((target, fuzzing.start(&log)?, log));
    }
    let mut failed = Vec::new();
    for (target, mut fuzzing, log) in running {
        let status = fuzzing.wait().map_err(Failure::failed)?;
        println!("== {target}");
        let log = String::from_utf8_lossy(&fs::read(log).map_err(Failure::failed)?).into_owned();
        log.lines().filter(|line| TELLING.iter().any(|word| line.contains(word))).for_each(show);
        log.lines().rfind(|line| line.contains("cov: ")).into_iter().for_each(show);
        if !status.success() {
            failed.push(format!("{target}, see fuzz/artifacts/{target}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::failed(failed.join("; "))) }
}

pub fn build() -> Outcome {
    step("fuzz targets");
    require_nightly("nightly", LOST)?;
    let has_fuzz = cargo_nightly("nightly", &["fuzz", "--version"]).succeeds();
    if !has_fuzz && cargo(&["install", "cargo-fuzz", "--locked"]).run().is_err() {
        return Err(Failure::missing("cargo-fuzz", LOST));
    }
    cargo_fuzz("build").run()
}

/// Returns a command that runs `cargo fuzz` without a sanitizer. A sanitizer would halve the speed,
/// and is not needed because there is no unsafe code.
fn cargo_fuzz(subcommand: &str) -> Command {
    cargo_nightly("nightly", &["fuzz", subcommand, "--sanitizer", "none"])
        .env("RUST_BACKTRACE", "0")
}

fn parsed(seconds: &str) -> Result<u64, Failure> {
    seconds.parse().map_err(|error| Failure::failed(format!("{seconds} seconds: {error}")))
}

fn show(line: &str) {
    println!("{line}");
}
