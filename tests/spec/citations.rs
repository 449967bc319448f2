//! Checks that each MUST is cited where the library implements it, in a file that ARCHITECTURE.md
//! names for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use super::{LETTERS, in_order, requirements::requirements, root, sources};

/// Requirements that no line of the library cites. Entries are only ever removed. This command
/// writes the list: `cargo test --test spec -- --ignored`.
#[rustfmt::skip]
const NOT_YET_CITED: &[&str] = &[
    "C-33",
];

#[test]
fn every_requirement_is_cited_where_it_is_honoured() {
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let requirements = requirements(&spec, &mut Vec::new());
    let cited = cited();
    let mut faults = Vec::new();
    for (number, places) in &cited {
        if !requirements.contains_key(number) {
            faults.push(format!("{}: SPEC.md has no {number}", places[0]));
        }
    }
    for number in NOT_YET_CITED {
        match (requirements.contains_key(*number), cited.get(*number)) {
            (false, _) => faults.push(format!("NOT_YET_CITED: SPEC.md has no {number}")),
            (_, Some(places)) => {
                faults.push(format!("NOT_YET_CITED: {number} is cited now, at {}", places[0]));
            }
            _ => {}
        }
    }
    for (number, sentence) in &requirements {
        if !cited.contains_key(number) && !NOT_YET_CITED.contains(&number.as_str()) {
            faults.push(format!("no comment of the library cites {number}: {sentence}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn each_row_of_the_architecture_names_the_files_that_cite_its_numbers() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let requirements = requirements(&spec, &mut Vec::new());
    let cited = cited();
    let (_, tables) = page.split_once("## Where each rule is\n").expect("the tables");
    let (tables, _) = tables.split_once("\n## ").expect("their end");
    let (mut rows, mut faults) = (0, Vec::new());
    for line in tables.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [section, _, files, numbers] = cells[..] else { panic!("{line}") };
        let files: Vec<_> = files.split('`').skip(1).step_by(2).collect();
        let is_named = |place: &String| {
            let place = place.strip_prefix("wsmux-proto/src/").unwrap_or(place);
            files.iter().any(|file| place.starts_with(file))
        };
        for number in expanded(numbers) {
            // Numbers are never reused, so a range may have gaps.
            let is_cited = cited.get(&number).is_none_or(|places| places.iter().any(is_named));
            if requirements.contains_key(&number) && !is_cited {
                faults.push(format!("{section}: {number} is cited in {:?}", cited[&number]));
            }
        }
        rows += usize::from(!files.is_empty());
    }
    assert!(rows > 40, "{rows} rows");
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
#[ignore = "writes NOT_YET_CITED of this file again"]
fn the_list_of_what_is_not_yet_cited_is_written() {
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let cited = cited();
    let mut missing: Vec<_> = requirements(&spec, &mut Vec::new())
        .into_keys()
        .filter(|number| !cited.contains_key(number))
        .collect();
    missing.sort_by_key(|number| in_order(number));
    let path = root().join("tests/spec/citations.rs");
    let source = fs::read_to_string(&path).expect("this file");
    let (before, rest) = source.split_once("NOT_YET_CITED: &[&str] = &[\n").expect("the list");
    let (_, after) = rest.split_once("];\n").expect("its end");
    let mut list = String::new();
    for line in missing.chunks(10) {
        let _ = writeln!(list, "    \"{}\",", line.join("\", \""));
    }
    let source = format!("{before}NOT_YET_CITED: &[&str] = &[\n{list}];\n{after}");
    fs::write(path, source).expect("this file can be written");
}

/// Returns all numbers that the library cites, each with its places. The manual only describes the
/// library, so it does not count.
fn cited() -> BTreeMap<String, Vec<String>> {
    let mut files = Vec::new();
    for directory in ["src", "wsmux-proto/src"] {
        sources(&root().join(directory), &mut files);
    }
    files.sort();
    let mut test_modules = BTreeSet::from([root().join("src/manual")]);
    let mut found = Vec::new();
    for path in &files {
        let source = fs::read_to_string(path).expect("a source");
        let mut modules = Vec::new();
        let cited = citations(&source, &mut modules);
        let is_root = ["mod.rs", "lib.rs"].iter().any(|name| path.ends_with(name));
        let folder = if is_root { path.with_file_name("") } else { path.with_extension("") };
        test_modules.extend(modules.iter().map(|module| folder.join(module)));
        found.extend(cited.into_iter().map(|(number, line)| (path, number, line)));
    }
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (path, number, line) in found {
        if !path.ancestors().any(|part| test_modules.contains(&part.with_extension(""))) {
            let name = path.strip_prefix(root()).unwrap_or(path).display();
            places.entry(number).or_default().push(format!("{name}:{line}"));
        }
    }
    places
}

/// Returns the numbers that a source cites outside of its test modules, each with its line. Adds
/// the names of test modules that are files of their own to `test_modules`.
fn citations(source: &str, test_modules: &mut Vec<String>) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut is_test = false;
    for (line, text) in (1..).zip(source.lines()) {
        if is_test && let Some(module) = text.strip_prefix("mod ") {
            match module.strip_suffix(';') {
                Some(module) => test_modules.push(module.to_owned()),
                // A test module is always at the end of its file.
                None => break,
            }
        }
        is_test = text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test, ");
        let comment = text.split_once("//").map_or("", |(_, comment)| comment);
        found.extend(numbers(comment).map(|number| (number.to_owned(), line)));
    }
    found
}

/// Returns the numbers that a comment names, such as `C-27` or `(Q-5, J-3)`.
fn numbers(comment: &str) -> impl Iterator<Item = &str> {
    comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| {
        let digits = word.strip_prefix(LETTERS).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
    })
}

/// Returns the numbers of a table's cell such as `C-1 to C-3, Q-26`.
fn expanded(cell: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in cell.split(", ") {
        let split = |number: &str| {
            let (letter, digits) = number.split_once('-')?;
            Some((letter.to_owned(), digits.parse::<u32>().ok()?))
        };
        let (first, last) = part.split_once(" to ").unwrap_or((part, part));
        if let (Some((letter, first)), Some((_, last))) = (split(first), split(last)) {
            all.extend((first..=last).map(|digits| format!("{letter}-{digits}")));
        }
    }
    all
}

#[test]
fn a_citation_is_a_number_in_a_comment_outside_of_tests() {
    let source = "\
//! [C-1], and nothing but (Q-22, J-3).
#[cfg(test)]
mod counted;
const C_4: &str = \"C-4\"; // C-5 (RFC 9000 §4.1); not XC-6, C-7b, W-, C-8-9
    #[cfg(test)]
    fn helper() {} // C-10 to C-12
#[cfg(all(test, unix))]
mod tests {
    // C-13
}
";
    let mut modules = Vec::new();
    let found = citations(source, &mut modules);
    let found: Vec<_> = found.iter().map(|(number, line)| (&number[..], *line)).collect();
    let expected = [("C-1", 1), ("Q-22", 1), ("J-3", 1), ("C-5", 4), ("C-10", 6), ("C-12", 6)];
    assert_eq!(found, expected);
    assert_eq!(modules, ["counted"]);
}
