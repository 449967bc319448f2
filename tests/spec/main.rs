//! Each MUST of SPEC.md is demanded by a test, and each test that says so quotes it as it stands there.
//! A comment of the library cites its number at the line that honours it.
//!
//! A test names what it demands in its doc comment, a requirement to a paragraph:
//!
//! ```text
//! /// What else there is to say of the test.
//! ///
//! /// [C-31] Streams whose readers stand still, however many, MUST NOT slow or stop another stream.
//! #[test]
//! fn streams_that_stand_still_do_not_stop_another() {
//! ```
//!
//! The quote is the whole item, without the source in brackets at its end; it may go on over several lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Requirements that no peer can exercise, each with its reason.
const WITHOUT_A_TEST: [(&str, &str); 0] = [];

/// Requirements that no line of the library cites. The list only shrinks. This command writes it:
/// `cargo test --test spec -- --ignored`.
#[rustfmt::skip]
const NOT_YET_CITED: &[&str] = &[
    "C-33",
];

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

/// An item without the source at its end: the last sentence, if it stands in brackets as a whole.
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

/// All requirements of SPEC.md by number; and what is wrong with the page itself.
fn requirements(spec: &str, faults: &mut Vec<String>) -> BTreeMap<String, String> {
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

/// All Rust sources below a directory, but for what was built.
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

/// A requirement that a doc comment quotes.
#[derive(Debug, PartialEq)]
struct Quote {
    number: String,
    text: String,
    line: usize,
    /// The test below it; `None` where there is something else.
    test: Option<String>,
}

/// The name of the function that this line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// The quotes of a file, each with the test that it stands at.
fn quotes(source: &str) -> Vec<Quote> {
    let mut quotes: Vec<Quote> = Vec::new();
    // Of the item that is being read: where its quotes begin, and what its attributes say.
    let (mut first, mut attributes) = (0, String::new());
    let mut continues = false;
    for (line, text) in (1..).zip(source.lines()) {
        let text = text.trim();
        if let Some(doc) = text.strip_prefix("///") {
            let doc = doc.trim();
            if let Some((number, rest)) = number(doc) {
                let (number, text) = (number.to_owned(), rest.trim().to_owned());
                quotes.push(Quote { number, text, line, test: None });
                continues = true;
            } else if continues && !doc.is_empty() {
                let quote = quotes.last_mut().expect("what continues has begun");
                quote.text.push(' ');
                quote.text.push_str(doc);
            } else {
                continues = false;
            }
            continue;
        }
        continues = false;
        if text.starts_with("#[") {
            attributes.push_str(text);
            continue;
        }
        if text.starts_with("//") {
            continue;
        }
        // An attribute may go on over several lines.
        if attributes.matches('[').count() > attributes.matches(']').count() {
            attributes.push_str(text);
            continue;
        }
        // One that is ignored demands nothing.
        let is_test =
            ["#[test]", "::test]", "::test("].iter().any(|test| attributes.contains(test))
                && !attributes.contains("#[ignore");
        let test = function(text).filter(|_| is_test);
        quotes[first..].iter_mut().for_each(|quote| quote.test = test.map(str::to_owned));
        first = quotes.len();
        attributes.clear();
    }
    quotes
}

/// Numbers in the order of the page's letters, then by their value.
fn in_order(number: &str) -> (usize, u32) {
    let (letter, digits) = number.split_at(1);
    let letter = LETTERS.iter().position(|&known| letter.starts_with(known));
    (letter.unwrap_or(LETTERS.len()), digits[1..].parse().unwrap_or(u32::MAX))
}

#[test]
fn every_requirement_has_its_test_and_every_quote_is_true() {
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let mut faults = Vec::new();
    let requirements = requirements(&spec, &mut faults);
    assert!(requirements.len() > 150, "only {} requirements were found", requirements.len());

    let mut files = Vec::new();
    for directory in ["src", "tests", "examples", "wsmux-proto", "wsmux-testing"] {
        sources(&root().join(directory), &mut files);
    }
    files.sort();
    let mut tests = BTreeMap::<&str, Vec<String>>::new();
    for path in files {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let source = fs::read_to_string(&path).expect("a source");
        // This file shows what an annotation looks like.
        if name == "tests/spec.rs" {
            continue;
        }
        for quote in quotes(&source) {
            let (at, number) = (format!("{name}:{}", quote.line), &quote.number);
            let Some((number, sentence)) = requirements.get_key_value(number) else {
                faults.push(format!("{at}: SPEC.md has no {number}"));
                continue;
            };
            if *sentence != quote.text {
                faults.push(format!(
                    "{at}: {number} is quoted wrongly\n    SPEC.md: {sentence}\n    quoted:  {}",
                    quote.text
                ));
            }
            match quote.test {
                Some(test) => tests.entry(number).or_default().push(test),
                None => faults.push(format!("{at}: {number} stands at something that is no test")),
            }
        }
        for (line, text) in (1..).zip(source.lines()) {
            if text.trim_start().starts_with("// SPEC.md:") {
                faults.push(format!("{name}:{line}: quote it: `/// [C-31] Streams whose ...`"));
            }
        }
    }

    for (number, reason) in WITHOUT_A_TEST {
        match (requirements.contains_key(number), tests.get(number)) {
            (false, _) => faults.push(format!("WITHOUT_A_TEST: SPEC.md has no {number}")),
            (_, Some(tests)) => {
                faults.push(format!("WITHOUT_A_TEST: {number} ({reason}) has a test: {tests:?}"));
            }
            _ => {}
        }
    }
    let excused = |number: &str| WITHOUT_A_TEST.iter().any(|(excused, _)| *excused == number);
    let mut missing: Vec<_> = requirements
        .keys()
        .filter(|number| !tests.contains_key(number.as_str()) && !excused(number))
        .collect();
    missing.sort_by_key(|number| in_order(number));
    for number in missing {
        faults.push(format!("{number} has no test: {}", requirements[number]));
    }

    let mut list = String::new();
    for fault in &faults {
        let _ = writeln!(list, "  {fault}");
    }
    assert!(faults.is_empty(), "{} faults:\n{list}", faults.len());
}

/// The numbers that a comment names, `C-27` or `(Q-5, J-3)`.
fn numbers(comment: &str) -> impl Iterator<Item = &str> {
    comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| {
        let digits = word.strip_prefix(LETTERS).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
    })
}

/// The numbers that a source cites outside of its test modules, each with its line. Adds the names of
/// test modules that are files.
fn citations(source: &str, test_modules: &mut Vec<String>) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut is_test = false;
    for (line, text) in (1..).zip(source.lines()) {
        if is_test && let Some(module) = text.strip_prefix("mod ") {
            match module.strip_suffix(';') {
                Some(module) => test_modules.push(module.to_owned()),
                // A test module is the last thing of its file.
                None => break,
            }
        }
        is_test = text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test, ");
        let comment = text.split_once("//").map_or("", |(_, comment)| comment);
        found.extend(numbers(comment).map(|number| (number.to_owned(), line)));
    }
    found
}

/// All numbers that the library cites, each with its places. The manual describes the library, and
/// does not count.
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

/// The numbers of a cell such as `C-1 to C-3, Q-26`.
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
    let path = root().join("tests/spec.rs");
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

#[test]
fn a_quote_ends_with_its_paragraph_and_belongs_to_the_test_below() {
    let source = "\
/// Prose.
///
/// [C-1] One
/// goes on.
/// [Q-22] Two.
///
/// More prose.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_test() {
    /// [C-3] Inside.
    #[test]
    #[ignore = \"slow\"]
    fn ignored() {}
    // [C-4] No doc comment.
    /// [C-5] At a helper.
    fn helper() {}
}
";
    let quote = |number: &str, text: &str, line, test: Option<&str>| Quote {
        number: number.to_owned(),
        text: text.to_owned(),
        line,
        test: test.map(str::to_owned),
    };
    assert_eq!(
        quotes(source),
        [
            quote("C-1", "One goes on.", 3, Some("a_test")),
            quote("Q-22", "Two.", 5, Some("a_test")),
            quote("C-3", "Inside.", 11, None),
            quote("C-5", "At a helper.", 16, None),
        ]
    );
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

/// The tests that the chapter on threats names: each in backticks, behind the file it is in, or behind another of it.
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

#[test]
fn each_test_that_the_chapter_on_threats_names_is_there() {
    let named = tests_of_the_threats();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        // The engine is `wsmux::proto`, and its files are named so.
        let in_engine = file.strip_prefix("proto/").unwrap_or(&file);
        let places = ["tests/it", "tests/heap", "tests/recorded", "wsmux-proto/tests", "src"]
            .map(|place| root().join(place).join(&file));
        let mut places = places.into_iter().chain([root().join("wsmux-proto/src").join(in_engine)]);
        let text = places.find_map(|path| fs::read_to_string(path).ok());
        let text = text.unwrap_or_else(|| panic!("{file} is not there"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
    }
}
