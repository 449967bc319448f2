//! What a reviewer would otherwise have to look for: layout, lints, features, documentation.

use std::fs;

use super::run::{Command, Failure, Outcome, cargo, root, step};

/// A part's name, and what it does.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 4] = [
    ("formatting", formatting),
    ("lints", lints),
    ("features", features),
    ("documentation", documentation),
];

/// These parts, or all.
pub fn run(parts: &[&str]) -> Outcome {
    if let Some(unknown) = parts.iter().find(|part| PARTS.iter().all(|(name, _)| name != *part)) {
        let names = PARTS.map(|(name, _)| name).join(", ");
        return Err(Failure::failed(format!("{unknown} is no part of check; these are: {names}")));
    }
    for (name, check) in PARTS {
        if parts.is_empty() || parts.contains(&name) {
            step(name);
            check()?;
        }
    }
    Ok(())
}

fn formatting() -> Outcome {
    cargo(&["fmt", "--all", "--check"]).run()?;
    for manifest in ["fuzz/Cargo.toml", "js/Cargo.toml"] {
        cargo(&["fmt", "--manifest-path", manifest, "--check"]).run()?;
    }
    Ok(())
}

fn clippy(arguments: &[&str]) -> Outcome {
    cargo(&["clippy", "--locked"]).args(arguments).args(&["--", "-D", "warnings"]).run()
}

fn lints() -> Outcome {
    // The siege reads Linux's /proc.
    let packages: &[&str] = match cfg!(target_os = "linux") {
        true => &["--workspace", "--all-features"],
        false => &["--workspace", "--all-features", "--exclude", "wsmux-siege"],
    };
    clippy(&[packages, &["--all-targets"]].concat())?;
    // `--all-targets` leaves out the tests that `cargo test` leaves out. Without `--workspace` the
    // dependencies would have fewer features, and be compiled again.
    clippy(&[packages, &["--test", "external", "--test", "page"]].concat())?;
    shuttle("clippy").args(&["--tests", "--", "-D", "warnings"]).run()
}

/// Cargo on tests/interleavings, where the locks are shuttle's. It has a target directory of its
/// own, because the flag changes everything that is compiled.
pub fn shuttle(subcommand: &str) -> Command {
    cargo(&[subcommand, "--package", "wsmux-interleavings", "--locked"])
        .args(&["--target-dir", "target/interleavings"])
        .env("RUSTFLAGS", "--cfg shuttle")
}

/// The library with no feature, with each alone, with some that meet in the code, and with the
/// default ones. The workflow checks all pairs, which takes longer.
fn features() -> Outcome {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).map_err(Failure::failed)?;
    let names = feature_names(&manifest);
    if names.len() < 5 {
        return Err(Failure::failed(format!("Cargo.toml has only these features: {names:?}")));
    }
    let together = ["", "blocking,qlog,tracing", "axum,http2"];
    for features in together.into_iter().chain(names) {
        println!("# features: {}", if features.is_empty() { "none" } else { features });
        clippy(&["--package", "wsmux", "--no-default-features", "--features", features])?;
    }
    println!("# features: all");
    clippy(&["--package", "wsmux", "--all-features"])
}

/// The names in the table `[features]`.
fn feature_names(manifest: &str) -> Vec<&str> {
    let table = manifest.split_once("\n[features]\n").map_or("", |(_, rest)| rest);
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = [")).map(|(name, _)| name.trim()).collect()
}

fn documentation() -> Outcome {
    let packages = ["-p", "wsmux-proto", "-p", "wsmux", "-p", "wsmux-cli"];
    cargo(&["doc", "--no-deps", "--all-features", "--locked"])
        .args(&packages)
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_the_names_in_their_table_alone() {
        let manifest = "[a]\nx = [\"1\"]\n\n[features]\n## With a comment.\ndefault = [\"b\"]\n\
            b = []\n\n[dependencies]\nc = [\"d\"]\n";
        assert_eq!(feature_names(manifest), ["default", "b"]);
    }
}
