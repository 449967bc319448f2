//! Compares the public API of the two published crates with the lists in `api/`. So the diff of a
//! change shows what the change adds to the API and what it removes.

use std::{collections::BTreeSet, env, fs};

use super::{
    require_nightly,
    run::{Failure, Outcome, cargo, cargo_nightly, root, step},
};

/// The version of the tool. It is fixed, because the format of rustdoc's output changes from time
/// to time, and each version of the tool reads only the output of certain nightlies.
const TOOL: &str = "0.52.0";
const LOST: &str = "the public API was not checked";

pub fn check() -> Outcome {
    let mut changed = Vec::new();
    for (list, now) in lists()? {
        let before = fs::read_to_string(root().join(&list)).unwrap_or_default();
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (before.lines().collect(), now.lines().collect());
        old.difference(&new).for_each(|line| println!("{list}: -{line}"));
        new.difference(&old).for_each(|line| println!("{list}: +{line}"));
        if before != now {
            changed.push(list);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let lists = changed.join(" and ");
    Err(Failure::failed(format!(
        "the API differs from {lists}; if this is intended, run `cargo xtask api --write`"
    )))
}

pub fn write() -> Outcome {
    for (list, now) in lists()? {
        fs::write(root().join(list), now).map_err(Failure::failed)?;
    }
    Ok(())
}

/// Returns the path of each list, and the content that the list should have.
fn lists() -> Result<Vec<(String, String)>, Failure> {
    step("public API");
    let nightly = env::var("API_NIGHTLY").unwrap_or_else(|_| "nightly".to_owned());
    require_nightly(&nightly, LOST)?;
    // A missing tool must not look like a difference of the API, so the error names the tool.
    let version = cargo(&["public-api", "--version"]);
    if !(version.succeeds() && is_right_version()?) {
        let tool = format!("cargo-public-api {TOOL}");
        let how = format!("{tool} (cargo install cargo-public-api --locked --version {TOOL})");
        return Err(Failure::missing(&how, LOST));
    }
    let mut lists = Vec::new();
    for package in ["wsmux-proto", "wsmux"] {
        // `-ss` omits what the compiler derives for every type: blanket implementations and auto
        // traits.
        let api = cargo_nightly(&nightly, &["public-api", "--package", package, "--all-features"])
            .args(&["-ss", "--target-dir", "target/api"])
            .output()?;
        lists.push((format!("api/{package}.txt"), api));
    }
    Ok(lists)
}

fn is_right_version() -> Result<bool, Failure> {
    Ok(cargo(&["public-api", "--version"]).output()?.contains(TOOL))
}
