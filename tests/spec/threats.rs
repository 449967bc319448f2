//! Checks that the chapter on threats names only tests that exist.

use std::{collections::BTreeSet, fs};

use super::root;

#[test]
fn each_test_that_the_chapter_on_threats_names_is_there() {
    let named = tests_of_the_threats();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        // In the chapter the engine's files are named by their module, `wsmux::proto`.
        let in_engine = file.strip_prefix("proto/").unwrap_or(&file);
        let places = ["tests/it", "tests/heap", "tests/recorded", "wsmux-proto/tests", "src"]
            .map(|place| root().join(place).join(&file));
        let mut places = places.into_iter().chain([root().join("wsmux-proto/src").join(in_engine)]);
        let text = places.find_map(|path| fs::read_to_string(path).ok());
        let text = text.unwrap_or_else(|| panic!("{file} is not there"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
    }
}

/// Returns the tests that the chapter on threats names. The name of each test is in backticks. It
/// comes after the test's file, or after another test of the same file.
fn tests_of_the_threats() -> BTreeSet<(String, String)> {
    let chapter = fs::read_to_string(root().join("src/manual/threats.rs")).expect("the chapter");
    let mut named = BTreeSet::new();
    for line in chapter.lines() {
        let mut file = None;
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(word);
            } else if let Some(file) = file {
                named.insert((file.to_owned(), word.to_owned()));
            }
        }
    }
    named
}
