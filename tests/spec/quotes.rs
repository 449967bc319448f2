//! Checks that each MUST has a test that quotes it.

use std::{collections::BTreeMap, fmt::Write, fs};

use super::{function, in_order, number, requirements::requirements, root, sources};

/// Requirements that have no test. A requirement may be listed here only if no behaviour of a peer
/// can show whether we keep it. The second string is the reason.
const WITHOUT_A_TEST: [(&str, &str); 0] = [];

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
        // This directory contains examples of quotes, which are not quotes of SPEC.md.
        if name.starts_with("tests/spec/") {
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

/// A requirement that a doc comment quotes.
#[derive(Debug, PartialEq)]
struct Quote {
    number: String,
    text: String,
    line: usize,
    /// The test that follows the quote, or `None` if something else follows.
    test: Option<String>,
}

/// Returns the quotes of a file, each with its test.
fn quotes(source: &str) -> Vec<Quote> {
    let mut quotes: Vec<Quote> = Vec::new();
    // The index of the current item's first quote, and the current item's attributes.
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
        // An attribute may take several lines.
        if attributes.matches('[').count() > attributes.matches(']').count() {
            attributes.push_str(text);
            continue;
        }
        // A test that is ignored checks nothing.
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
