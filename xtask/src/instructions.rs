//! Counts the instructions of the cases in `benches/instructions/` with Valgrind's tool callgrind,
//! and compares the counts with a reference. So CI sees a change that makes a part slower.
//!
//! callgrind writes its profile of a case to `target/callgrind/CASE.out`, and `callgrind_annotate`
//! shows which functions the instructions belong to.

use std::{collections::BTreeMap, fmt::Write, fs};

use super::run::{Command, Failure, Outcome, cargo, root, step};

const REFERENCE: &str = "benches/instructions/reference.txt";
const PROFILES: &str = "target/callgrind";
const LOST: &str = "no instructions were counted";

/// The first word of a line in the reference. That line says what the counts depend on.
const ENVIRONMENT: &str = "environment";

/// The largest allowed ratio of the instructions of a case to the instructions of its reference.
///
/// To cause no false alarm, the bound has to be above the following differences, which were
/// measured on one machine. The counts of two runs of one program differ by less than 0.001 %. Only
/// the counts of `1_mib_framed` differ by up to 1 %, because windows grow by measured time. If the
/// program is at another path, its stack moves, which changes the counts by up to 0.1 %. The counts
/// with rustc 1.97 and with rustc 1.95 differ by up to 1 %, but the counts of different compilers
/// are not compared. The bound must also be low enough to detect a real mistake, such as a second
/// copy of the payload in the frame layer. Such a copy adds 9 % to `1_mib_framed` and 45 % to
/// `frame_encode_64`.
const BOUND: f64 = 1.03;

/// If the ratio is below this number, write the reference again. Otherwise nobody would notice if a
/// later change lost the gain.
const GAIN: f64 = 0.97;

/// All environment variables of the program. The variables must be the same on every machine,
/// because the size of the environment moves the stack. `-ERMS` makes the C library ignore the
/// processor feature `ERMS`. With `ERMS`, the C library would copy a whole block with one
/// instruction. Callgrind counts that instruction once for each byte, so the copies would hide all
/// other costs. Without `ERMS`, the C library copies with vector instructions.
const VARIABLES: [(&str, &str); 2] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS")];

/// The number of instructions of each case.
type Counts = BTreeMap<String, u64>;

pub fn check() -> Outcome {
    let (environment, now) = counts()?;
    let text = fs::read_to_string(root().join(REFERENCE));
    let text = text.map_err(|error| Failure::failed(format!("{REFERENCE}: {error}")))?;
    let (reference_environment, reference) = parsed(&text)
        .ok_or_else(|| Failure::failed(format!("{REFERENCE} is not what --write writes")))?;
    let is_comparable = environment == reference_environment;
    let (table, wrong) = compared(&reference, &now, is_comparable.then_some(BOUND));
    print!("{table}");
    if !is_comparable {
        println!("\nWARNING: NO BOUND WAS CHECKED, because {REFERENCE} is of another environment.");
        println!("  reference: {reference_environment}\n  now:       {environment}");
        println!("If CI has the new one: cargo xtask instructions --write");
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let how = "if this is intended, run `cargo xtask instructions --write`; otherwise see callgrind_annotate";
    Err(Failure::failed(format!("{}\n{how} {PROFILES}/CASE.out", wrong.join("\n"))))
}

pub fn write() -> Outcome {
    let (environment, counts) = counts()?;
    let mut text = String::from("# `cargo xtask instructions --write` writes this file.\n");
    let _ = writeln!(text, "{ENVIRONMENT} {environment}");
    for (case, count) in counts {
        let _ = writeln!(text, "{case} {count}");
    }
    fs::write(root().join(REFERENCE), text).map_err(Failure::failed)
}

/// Returns the environment and the counts of a file of the form that [`write`] writes.
fn parsed(text: &str) -> Option<(&str, Counts)> {
    let mut environment = None;
    let mut counts = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ')? {
            (ENVIRONMENT, rest) => environment = Some(rest),
            (case, count) => {
                counts.insert(case.to_owned(), count.parse().ok()?);
            }
        }
    }
    Some((environment?, counts))
}

/// Returns a table of all cases, and the list of their faults. Without a bound, no ratio is a
/// fault.
fn compared(reference: &Counts, now: &Counts, bound: Option<f64>) -> (String, Vec<String>) {
    let mut table = format!("{:32}{:>12}{:>12}{:>8}\n", "case", "reference", "now", "ratio");
    let mut wrong = Vec::new();
    for (case, &count) in now {
        let Some(&before) = reference.get(case) else {
            let _ = writeln!(table, "{case:32}{:>12}{count:>12}", "none");
            wrong.push(format!("{case} has no reference"));
            continue;
        };
        let ratio = count as f64 / before as f64;
        let _ = write!(table, "{case:32}{before:>12}{count:>12}{ratio:>8.3}");
        if let Some(bound) = bound.filter(|bound| ratio > *bound) {
            table.push_str("  ABOVE THE BOUND");
            wrong.push(format!("{case} has {ratio:.3} of its instructions, above {bound}"));
        } else if ratio < GAIN {
            table.push_str("  fewer: write the reference again");
        }
        table.push('\n');
    }
    for case in reference.keys().filter(|case| !now.contains_key(*case)) {
        wrong.push(format!("{case} is in {REFERENCE}, but is no case"));
    }
    (table, wrong)
}

/// Counts the instructions of each case. Returns the environment as well, which is everything
/// besides this repository that the counts depend on.
fn counts() -> Result<(String, Counts), Failure> {
    step("instructions");
    if !Command::new("valgrind").args(&["--version"]).succeeds() {
        return Err(Failure::missing("valgrind (apt-get install valgrind)", LOST));
    }
    let build = ["run", "--profile", "instructions", "--locked", "--package", "wsmux-instructions"];
    let listed = cargo(&build).output()?;
    let mut lines = listed.lines();
    let program = lines.next().unwrap_or_default();
    fs::create_dir_all(root().join(PROFILES)).map_err(Failure::failed)?;
    let mut counts = Counts::new();
    for case in lines {
        counts.insert(case.to_owned(), count(program, case)?);
    }
    Ok((environment()?, counts))
}

fn count(program: &str, case: &str) -> Result<u64, Failure> {
    let profile = format!("{PROFILES}/{case}.out");
    // `counted_by_callgrind` is a function in benches/instructions/src/main.rs.
    let only = ["--collect-atstart=no", "--toggle-collect=*counted_by_callgrind*"];
    Command::new("valgrind")
        .only_env(&VARIABLES)
        .args(&["-q", "--tool=callgrind", &format!("--callgrind-out-file={profile}")])
        .args(&only)
        .args(&[program, case])
        .run()?;
    let text = fs::read_to_string(root().join(&profile)).map_err(Failure::failed)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse().ok());
    match total {
        Some(total) if total > 0 => Ok(total),
        _ => Err(Failure::failed(format!("{profile} has no instructions"))),
    }
}

/// Returns the versions of the tools, and whether the machine has AVX2. Valgrind emulates one of a
/// few processors, and chooses this processor by whether the machine has AVX2.
fn environment() -> Result<String, Failure> {
    let rustc = Command::new("rustc").args(&["--version", "--verbose"]).output()?;
    let field = |name| rustc.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?");
    let valgrind = Command::new("valgrind").args(&["--version"]).output()?;
    let libc = Command::new("getconf").args(&["GNU_LIBC_VERSION"]).output();
    let libc = libc.unwrap_or_else(|_| "no glibc".to_owned());
    #[cfg(target_arch = "x86_64")]
    let processor = if is_x86_feature_detected!("avx2") { "AVX2" } else { "no AVX2" };
    #[cfg(not(target_arch = "x86_64"))]
    let processor = std::env::consts::ARCH;
    Ok(format!(
        "rustc {} for {}, {}, {}, {processor}",
        field("release: "),
        field("host: "),
        valgrind.trim(),
        libc.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cases: &[(&str, u64)]) -> Counts {
        cases.iter().map(|&(case, count)| (case.to_owned(), count)).collect()
    }

    fn wrong(reference: &[(&str, u64)], now: &[(&str, u64)], bound: Option<f64>) -> Vec<String> {
        compared(&counts(reference), &counts(now), bound).1
    }

    #[test]
    fn a_count_above_the_bound_is_wrong_and_one_within_it_is_not() {
        let reference = [("a", 1_000), ("b", 1_000)];
        let none: [String; 0] = [];
        assert_eq!(wrong(&reference, &[("a", 1_030), ("b", 500)], Some(1.03)), none);
        let above = [("a", 1_000), ("b", 1_031)];
        let text = "b has 1.031 of its instructions, above 1.03";
        assert_eq!(wrong(&reference, &above, Some(1.03)), [text]);
        assert_eq!(wrong(&reference, &above, None), none);
    }

    #[test]
    fn a_case_without_reference_and_a_reference_without_case_are_wrong() {
        for bound in [Some(1.03), None] {
            assert_eq!(wrong(&[], &[("a", 1)], bound), ["a has no reference"]);
            assert_eq!(
                wrong(&[("a", 1)], &[], bound),
                ["a is in benches/instructions/reference.txt, but is no case"]
            );
        }
    }

    #[test]
    fn the_reference_is_lines_of_a_word_and_what_belongs_to_it() {
        let text = "# Written.\nenvironment rustc 1, glibc 2\na 12\nb 3\n";
        let parsed = parsed(text).unwrap();
        assert_eq!(parsed, ("rustc 1, glibc 2", counts(&[("a", 12), ("b", 3)])));
        assert!(super::parsed("a 12\n").is_none(), "it says no environment");
        assert!(super::parsed("environment x\na\n").is_none(), "it has a case without a count");
    }
}
