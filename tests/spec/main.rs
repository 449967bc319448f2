//! Checks that a test quotes each MUST of SPEC.md word for word, and that a comment of the library
//! cites its number at the line that implements it.
//!
//! A test quotes the requirements that it checks in its doc comment, each in a paragraph of its
//! own:
//!
//! ```text
//! /// What else there is to say of the test.
//! ///
//! /// [C-31] Streams whose readers have stopped MUST NOT slow or stop another stream, however many
//! /// such streams there are.
//! #[test]
//! fn streams_that_stand_still_do_not_stop_another() {
//! ```
//!
//! The quote is the whole item, without the source in brackets at its end, such as `(RFC 9000
//! §4.1)`. A quote may take several lines.

mod citations;
mod names;
mod quotes;
mod requirements;
mod threats;

use std::{
    fs,
    path::{Path, PathBuf},
};

const LETTERS: [char; 6] = ['W', 'C', 'Q', 'J', 'R', 'G'];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the number in square brackets with which a text begins, and the rest of the text.
fn number(text: &str) -> Option<(&str, &str)> {
    let (number, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (letter, digits) = number.split_once('-')?;
    let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_letter = letter.len() == 1 && letter.starts_with(LETTERS);
    (is_letter && is_digits).then_some((number, rest))
}

/// Adds all Rust sources below a directory, except build output.
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

/// Returns a key that sorts numbers by their letters in the order of SPEC.md, and then by value.
fn in_order(number: &str) -> (usize, u32) {
    let (letter, digits) = number.split_at(1);
    let letter = LETTERS.iter().position(|&known| letter.starts_with(known));
    (letter.unwrap_or(LETTERS.len()), digits[1..].parse().unwrap_or(u32::MAX))
}

/// Returns the name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}
