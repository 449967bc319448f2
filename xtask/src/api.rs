//! The public API of the two published crates, against the lists in `api/`. The diff of a change
//! shows what it adds to the API and what it removes.

use std::{collections::BTreeSet, env, fs};

use super::{
    require_nightly,
    run::{Failure, Outcome, cargo, cargo_nightly, root, step},
};

/// A version of the tool reads the output of some nightlies alone, because rustdoc's format
/// changes.
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
    Err(Failure::failed(format!("the API is not that of {lists}; if it shall be, api --write")))
}

pub fn write() -> Outcome {
    for (list, now) in lists()? {
        fs::write(root().join(list), now).map_err(Failure::failed)?;
    }
    Ok(())
}

/// Each list's path, and what it should contain.
fn lists() -> Result<Vec<(String, String)>, Failure> {
    step("public API");
    let nightly = env::var("API_NIGHTLY").unwrap_or_else(|_| "nightly".to_owned());
    require_nightly(&nightly, LOST)?;
    // Its absence is no failure of the API.
    let version = cargo(&["public-api", "--version"]);
    if !(version.succeeds() && is_right_version()?) {
        let tool = format!("cargo-public-api {TOOL}");
        let how = format!("{tool} (cargo install cargo-public-api --locked --version {TOOL})");
        return Err(Failure::missing(&how, LOST));
    }
    let mut lists = Vec::new();
    for package in ["wsmux-proto", "wsmux"] {
        // `-ss` omits what the compiler finds out for each type: blanket implementations and auto
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
