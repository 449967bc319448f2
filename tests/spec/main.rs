//! A test demands each MUST of SPEC.md and quotes it word for word. A comment of the library cites
//! its number at the line that honours it.
//!
//! A test quotes what it demands in its doc comment, one requirement in a paragraph:
//!
//! ```text
//! /// What else there is to say of the test.
//! ///
//! /// [C-31] Streams whose readers stand still, however many, MUST NOT slow or stop another stream.
//! #[test]
//! fn streams_that_stand_still_do_not_stop_another() {
//! ```
//!
//! The quote is the whole item without the source in brackets at its end. It may have several
//! lines.

mod citations;
mod names;
mod quotes;
mod requirements;
mod threats;

use std::{
    fs,
    path::{Path, PathBuf},
};

const LETTERS: [char; 4] = ['W', 'C', 'Q', 'J'];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The number in square brackets that a text begins with, and what follows it.
fn number(text: &str) -> Option<(&str, &str)> {
    let (number, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (letter, digits) = number.split_once('-')?;
    let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_letter = letter.len() == 1 && letter.starts_with(LETTERS);
    (is_letter && is_digits).then_some((number, rest))
}

/// All Rust sources below a directory, except build output.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).expect("a directory of the repository");
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "node_modules" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Numbers in the order of the page's letters, then by their value.
fn in_order(number: &str) -> (usize, u32) {
    let (letter, digits) = number.split_at(1);
    let letter = LETTERS.iter().position(|&known| letter.starts_with(known));
    (letter.unwrap_or(LETTERS.len()), digits[1..].parse().unwrap_or(u32::MAX))
}

/// The name of the function that this line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}
