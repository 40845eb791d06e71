//! Documents for people name the flags and variables that there are.

use std::collections::BTreeSet;
use std::fs;

use keyref_tests::{Run, stdout, workspace};

/// The flags that a text names, each with its dashes.
fn flags(text: &str) -> BTreeSet<&str> {
    let is_part = |character: char| character == '-' || character.is_ascii_alphanumeric();
    let words = text.split(|character| !is_part(character));
    let is_flag = |word: &&str| {
        let name = word.strip_prefix("--").unwrap_or_default();
        name.starts_with(|character: char| character.is_ascii_lowercase())
    };
    words.filter(is_flag).collect()
}

fn document(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

/// The help of `keyref serve`.
fn help() -> String {
    let output = Run::new(workspace(), &["serve", "--help"]).output();
    assert!(output.status.success(), "{output:?}");
    stdout(&output).to_owned()
}

#[test]
fn every_flag_of_serve_stands_in_the_document_of_flags() {
    let (help, page) = (help(), document("docs/flags.md"));
    let rows = page.lines().filter(|line| line.starts_with("| `-"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let cells: String = cells.collect();
    // What stands in the text beside them is no flag's own line.
    let own = help.lines().map(str::trim);
    let own = own.filter(|line| line.starts_with('-') || line.starts_with("[alias"));
    let own = own.collect::<Vec<_>>().join("\n");
    let (there, told) = (flags(&own), flags(&cells));
    assert!(there.len() > 50, "{there:?}");
    assert_eq!(there.difference(&told).collect::<Vec<_>>(), [&""; 0]);
    assert_eq!(told.difference(&there).collect::<Vec<_>>(), [&""; 0]);
}

#[test]
fn documents_of_the_server_name_only_flags_that_there_are() {
    let (help, of_daprd) = (help(), document("tests/cases/daprd/flags.tsv"));
    let of_daprd: BTreeSet<_> = of_daprd
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    let known = flags(&help);
    for path in [
        "docs/components.md",
        "docs/flags.md",
        "docs/serving.md",
        "docs/status.md",
    ] {
        for flag in flags(&document(path)) {
            // Of a build that is not the default one.
            let is_known = known.contains(flag) || flag == "--guest";
            let name = flag.trim_start_matches('-');
            assert!(is_known || of_daprd.contains(name), "{path}: {flag}");
        }
    }
}

#[test]
fn every_variable_stands_in_the_document_of_flags() {
    let (source, page) = (document("host/src/env.rs"), document("docs/flags.md"));
    let constants = source
        .lines()
        .filter(|line| line.starts_with("pub const "))
        .map(|line| line.split('"').nth(1).unwrap());
    let names: Vec<_> = constants.collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        // Those for traces alone stand in the rows of those for all signals.
        let name = name.replace("OTLP_TRACES_", "OTLP_");
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
