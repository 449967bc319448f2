//! Checks that the names of tests are short enough to be read in a list.

use std::fs;

use super::{function, root, sources};

const MAX: usize = 69;

#[test]
fn no_test_has_a_name_of_70_characters_or_more() {
    let mut files = Vec::new();
    for directory in ["src", "tests", "examples", "js", "wsmux-cli", "wsmux-proto", "wsmux-testing"]
    {
        sources(&root().join(directory), &mut files);
    }
    let mut faults = Vec::new();
    for path in files {
        let source = fs::read_to_string(&path).expect("a source");
        let names = source.lines().filter_map(|line| function(line.trim_start()));
        let long = names.filter(|name| name.len() > MAX);
        faults.extend(long.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
}
