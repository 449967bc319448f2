//! The project's own commands, `cargo xtask`. These commands run on any system. They need only Rust
//! and the tools that they name. Anything that needs Debian's packages or a browser is a script in
//! `.ci/`.

mod api;
mod check;
mod fuzz;
mod instructions;
mod miri;
mod run;

use std::{env, process::ExitCode};

use run::{Outcome, cargo, cargo_nightly, step};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check [PART...]          formatting, lints, features and documentation, or the parts named
  test [ARG...]            `cargo test` with all features; arguments go to it
  interleavings [ARG...]   the handles and the driver under shuttle; SHUTTLE_ITERATIONS for more
  miri                     the engine's tests under Miri
  fuzz [SECONDS [TARGET...]]
                           each fuzz target for 60 seconds of a core
  fuzz build               only builds the fuzz targets
  api [--write]            the public API against the lists in api/, or writes the lists
  instructions [--write]   the instructions of each case in benches/instructions/ against the
                           reference there, or writes the reference; needs Valgrind
  package [ARG...]         both crates as crates.io gets them; arguments go to `cargo package`

Status 77 means that a tool is missing, which the message names.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["check", parts @ ..] => check::run(parts),
        ["test", rest @ ..] => {
            cargo(&["test", "--all-features", "--locked"]).args(rest).step("tests")
        }
        ["interleavings", rest @ ..] => interleavings(rest),
        ["miri"] => miri::run(),
        ["fuzz", "build"] => fuzz::build(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["api"] => api::check(),
        ["api", "--write"] => api::write(),
        ["instructions"] => instructions::check(),
        ["instructions", "--write"] => instructions::write(),
        ["package", rest @ ..] => {
            let packages = ["--package", "wsmux-proto", "--package", "wsmux"];
            cargo(&["package", "--locked"]).args(&packages).args(rest).step("packages")
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.code()
        }
    }
}

fn interleavings(arguments: &[&str]) -> Outcome {
    step("interleavings");
    check::shuttle("test").env("RUST_BACKTRACE", "0").args(arguments).run()
}

/// Fails with status 77 if there is no nightly toolchain.
fn require_nightly(toolchain: &str, lost: &str) -> Outcome {
    if cargo_nightly(toolchain, &["--version"]).succeeds() {
        return Ok(());
    }
    let tool = format!("a nightly toolchain (rustup toolchain install {toolchain})");
    Err(run::Failure::missing(&tool, lost))
}
