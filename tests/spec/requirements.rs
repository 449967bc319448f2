//! The requirements of SPEC.md.

use std::collections::BTreeMap;

use super::number;

/// Returns all requirements of SPEC.md by number, and adds the mistakes in SPEC.md itself to
/// `faults`.
pub fn requirements(spec: &str, faults: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut in_conventions = false;
    for (line, text) in (1..).zip(spec.lines()) {
        if text.starts_with("## ") {
            in_conventions = text.starts_with("## 1. ");
        }
        let item = text.strip_prefix("- **").and_then(number);
        let Some((number, rest)) = item else {
            if text.contains("MUST") && !in_conventions {
                faults.push(format!("SPEC.md:{line}: a MUST outside a numbered item"));
            }
            continue;
        };
        let sentence = without_source(rest.trim_start_matches("** ").trim());
        if !sentence.contains("MUST") {
            faults.push(format!("SPEC.md:{line}: {number} has no MUST"));
        }
        if found.insert(number.to_owned(), sentence.to_owned()).is_some() {
            faults.push(format!("SPEC.md:{line}: {number} stands there twice"));
        }
    }
    found
}

/// Returns an item without its source. The source is the last sentence, if the whole sentence is in
/// brackets.
fn without_source(item: &str) -> &str {
    if !item.ends_with(')') {
        return item;
    }
    let mut depth = 0;
    for (at, byte) in item.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            let before = &item[..at];
            return before.strip_suffix(". ").map_or(item, |_| before.trim_end());
        }
    }
    item
}

#[test]
fn the_source_of_a_requirement_is_no_part_of_it() {
    for (item, sentence) in [
        ("It MUST (ours). (RFC 9000 §3.2)", "It MUST (ours)."),
        (
            "It MUST; js-ws is exempt (J-10). (RFC 9000 (§3.2), §4)",
            "It MUST; js-ws is exempt (J-10).",
        ),
        ("It MUST be sent.", "It MUST be sent."),
        ("It MUST be sent (C-4)", "It MUST be sent (C-4)"),
    ] {
        assert_eq!(without_source(item), sentence);
    }
    let mut faults = Vec::new();
    let page = "## 1. Conventions\nMUST\n## 2. Rules\n- **[W-1]** It MUST. (Ours)\nIt MUST.\n\
        - **[W-1]** It MUST NOT.\n- **[W-2]** It may.\n";
    assert_eq!(requirements(page, &mut faults).len(), 2);
    assert_eq!(faults.len(), 3, "{faults:?}");
}
