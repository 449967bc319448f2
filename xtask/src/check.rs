//! Checks what a reviewer would otherwise have to look for: layout, lints, features, documentation.

use std::fs;

use super::run::{Command, Failure, Outcome, cargo, root, step};

/// The name of a part, and the function that checks it.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 4] = [
    ("formatting", formatting),
    ("lints", lints),
    ("features", features),
    ("documentation", documentation),
];

/// Checks the named parts, or all parts if no part is named.
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
    // The package `wsmux-siege` reads `/proc`, which only Linux has.
    let packages: &[&str] = match cfg!(target_os = "linux") {
        true => &["--workspace", "--all-features"],
        false => &["--workspace", "--all-features", "--exclude", "wsmux-siege"],
    };
    clippy(&[packages, &["--all-targets"]].concat())?;
    // `cargo test` does not run these two test programs by default, and `--all-targets` leaves both
    // out. So both are named here. Without `--workspace` the dependencies would have fewer
    // features, and would be compiled again.
    clippy(&[packages, &["--test", "external", "--test", "page"]].concat())?;
    shuttle("clippy").args(&["--tests", "--", "-D", "warnings"]).run()
}

/// Returns a command that runs cargo on tests/interleavings, which uses the locks of the crate
/// shuttle. The command uses a target directory of its own, because a compiler flag of this command
/// changes everything that is compiled.
pub fn shuttle(subcommand: &str) -> Command {
    cargo(&[subcommand, "--package", "wsmux-interleavings", "--locked"])
        .args(&["--target-dir", "target/interleavings"])
        .env("RUSTFLAGS", "--cfg shuttle")
}

/// Checks the library with no feature, with each feature alone, with some combinations whose code
/// interacts, and with the default features. The workflow checks all pairs, which takes longer.
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

/// Returns the names in the table `[features]` of a manifest.
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
