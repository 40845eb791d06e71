//! Dapr's recorded outcomes, each equal to that of `keyref --mode dapr` or named as a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use keyref_tests::{Run, folder, json, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Cases whose outcome differs on purpose: the row of `docs/differences.md` that says why, and what
/// must be so instead.
const DIFFERENCES: &[(&str, &str)] = &[
    ("end_sep_space_nonl", "A7"),
    ("end_sep_cr_nonl", "A8"),
    ("symlink_dir_yaml", "A24"),
    ("big_second_doc", "A17"),
    ("big_other_kind", "A18"),
    ("dir_is_file", "K1"),
    ("env_allow_prefixbug", "C30"),
    ("dup_flat_conflict", "D6"),
];

struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    expected: Value,
    /// A file was too large to be recorded.
    is_partial: bool,
}

#[test]
fn recorded_cases_come_out_as_in_dapr() {
    let mut failures = Vec::new();
    let mut compared = 0;
    for case in cases() {
        if DIFFERENCES.iter().any(|(name, _)| *name == case.name) || case.is_partial {
            continue;
        }
        compared += 1;
        for failure in compare(&case) {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(compared > 160, "only {compared} cases were found");
}

#[test]
fn every_difference_is_a_row_of_its_page() {
    let page = fs::read_to_string(workspace().join("docs/differences.md")).unwrap();
    let known: BTreeSet<_> = cases().into_iter().map(|case| case.name).collect();
    for (name, row) in DIFFERENCES {
        assert!(known.contains(*name), "{name} is no case");
        assert!(
            page.contains(&format!("| {row} |")),
            "{row} ({name}) is not on the page"
        );
        assert!(page.contains(name), "{name} is not on the page");
    }
}

#[test]
fn a_part_of_70_kb_loads_where_dapr_hangs() {
    let long = "x".repeat(70_000);
    let manifest = format!(
        "kind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: {long}}}\n---\n{}",
        component("a", &format!("value: {long}"))
    );
    let folder = folder(&[("c.yaml", manifest.as_bytes())]);
    let inspected = json(&Run::new(folder.path(), &["inspect", ".", "--format", "json"]).output());
    assert_eq!(inspected["components"][0]["metadata"][0]["value"], long);
}

#[test]
fn a_text_cut_within_a_separator_keeps_its_last_part() {
    for end in ["\n--- ", "\n---\r"] {
        let manifest = format!("{}{end}", component("a", "value: v").trim_end());
        let folder = folder(&[("c.yaml", manifest.as_bytes())]);
        let inspected =
            json(&Run::new(folder.path(), &["inspect", ".", "--format", "json"]).output());
        assert_eq!(inspected["components"][0]["name"], "a", "{end:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_is_left_out_where_dapr_hangs() {
    let folder = folder(&[
        ("r/a.yaml", component("a", "value: v").as_bytes()),
        ("z/b.txt", b""),
    ]);
    std::os::unix::fs::symlink("../z", folder.path().join("r/d.yaml")).unwrap();
    let inspected = json(&Run::new(folder.path(), &["inspect", "r", "--format", "json"]).output());
    assert_eq!(inspected["components"].as_array().unwrap().len(), 1);
}

#[test]
fn a_variable_is_allowed_by_its_whole_name() {
    let case = case_named("env_allow_prefixbug");
    let work = files_of(&case);
    let resolved = run(&case, work.path(), &["resolve", "--reveal", "r"]);
    assert_eq!(resolved["components"][0]["properties"]["e"], "1");
}

#[test]
fn two_paths_that_flatten_to_one_key_are_an_error() {
    let case = case_named("dup_flat_conflict");
    let work = files_of(&case);
    let arguments = ["bulk", "ss", "--resources", "r", "--mode", "dapr"];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("`a:b`"), "{error}");
}

#[test]
fn a_file_is_read_where_dapr_takes_folders() {
    let case = case_named("dir_is_file");
    let inspected = run(&case, files_of(&case).path(), &["inspect", "x.yaml"]);
    assert_eq!(inspected["components"][0]["name"], "a");
}

fn case_named(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn files_of(case: &Case) -> TempDir {
    let files: Vec<_> = case
        .files
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    folder(&files)
}

fn component(name: &str, item: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  \
         type: state.redis\n  version: v1\n  metadata:\n  - name: k\n    {item}\n"
    )
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(workspace().join("tests/cases/dapr/cases.jsonl")).unwrap();
    text.lines()
        .map(|line| case(&serde_json::from_str(line).unwrap()))
        .collect()
}

fn case(recorded: &Value) -> Case {
    let files = recorded["files"]
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(path, content)| {
            let content = match content {
                Value::String(text) => text.clone().into_bytes(),
                other => base64(other["b64"].as_str()?),
            };
            Some((path.clone(), content))
        });
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let environment = recorded["env"].as_object().unwrap().iter();
    let too_big = |file: &Value| file.get("too_big").is_some();
    Case {
        is_partial: recorded["files"].as_object().unwrap().values().any(too_big),
        name: recorded["name"].as_str().unwrap().to_owned(),
        files: files.collect(),
        arguments: strings(&recorded["args"]),
        environment: environment
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        expected: recorded["expect"].clone(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, &byte| bits << 6 | u32::from(digit(byte)));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

/// What differs from what Dapr did.
fn compare(case: &Case) -> Vec<String> {
    let work = files_of(case);
    prepare(case, work.path());
    let folders: Vec<_> = match resources(case).as_slice() {
        [] => vec![".".to_owned()],
        folders => folders.to_vec(),
    };
    let mut failures = Vec::new();
    let inspected = run(
        case,
        work.path(),
        &[&["inspect"], &strings(&folders)[..]].concat(),
    );
    let expected = case.expected["comps"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let expected: Vec<_> = expected.iter().map(loaded).collect();
    let found = inspected["components"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found: Vec<_> = found.iter().map(inspected_component).collect();
    if found != expected {
        failures.push(format!("loads {found:?} and not {expected:?}"));
    }
    if case.arguments.iter().any(|argument| argument == "-resolve") {
        failures.extend(compare_resolved(case, work.path(), &folders));
    }
    failures.extend(compare_store(case, work.path(), &folders));
    failures
}

fn compare_resolved(case: &Case, work: &Path, folders: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    let resolved = run(
        case,
        work,
        &[&["resolve", "--reveal"], &strings(folders)[..]].concat(),
    );
    let components = resolved["components"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let properties = |name: &Value| {
        let named = components
            .iter()
            .find(|component| component["name"] == *name);
        named.map(|component| component["properties"].clone())
    };
    // A component that waited for its store stands in the record twice: the last one counts.
    let mut last = BTreeMap::new();
    for entry in case.expected["resolved"].as_array().into_iter().flatten() {
        last.insert(entry["name"].to_string(), entry);
    }
    for entry in last.values().filter(|entry| entry["init_err"].is_null()) {
        let expected = entry.get("props").cloned();
        let found = properties(&entry["name"]);
        if found != expected {
            failures.push(format!(
                "resolves {} to {found:?} and not {expected:?}",
                entry["name"]
            ));
        }
    }
    let fatal = !case.expected["fatal"].is_null();
    let errors = resolved["problems"].as_array().into_iter().flatten();
    let has_error = errors
        .into_iter()
        .any(|problem| problem["severity"] == "error");
    if fatal && !has_error {
        failures.push("goes on where Dapr exits".to_owned());
    }
    failures
}

/// `-get STORE/KEY,…` and `-bulk STORE`.
fn compare_store(case: &Case, work: &Path, folders: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    let resources: Vec<&str> = folders
        .iter()
        .flat_map(|folder| ["--resources", folder.as_str()])
        .collect();
    if let Some(expected) = case
        .expected
        .get("bulk")
        .filter(|expected| expected.is_object())
    {
        let found = run(case, work, &[&["bulk", "ss"], &resources[..]].concat());
        if found != *expected {
            failures.push(format!("bulk is {found} and not {expected}"));
        }
    }
    for (name, expected) in case.expected.as_object().unwrap() {
        let Some(place) = name.strip_prefix("get ") else {
            continue;
        };
        let (store, secret) = place.split_once('/').unwrap();
        let found = run(
            case,
            work,
            &[&["get", store, secret], &resources[..]].concat(),
        );
        let expected = if expected.is_object() {
            expected.clone()
        } else {
            Value::Null
        };
        if found != expected {
            failures.push(format!("get {place} is {found} and not {expected}"));
        }
    }
    failures
}

/// Runs a command as the record's program ran, and reads its output; null where it has none.
fn run(case: &Case, work: &Path, arguments: &[&str]) -> Value {
    let common = ["--format", "json", "--mode", "dapr", "--app-id", "myapp"];
    let mut run = Run::new(work, &[arguments, &common].concat());
    for (name, value) in &case.environment {
        run = run.env(name, value);
    }
    let output = run.output();
    assert!(output.status.code().is_some(), "{}: {output:?}", case.name);
    if output.stdout.is_empty() {
        Value::Null
    } else {
        json(&output)
    }
}

fn strings(folders: &[String]) -> Vec<&str> {
    folders.iter().map(String::as_str).collect()
}

/// The folders that the record's program read, with `@` as its own.
fn resources(case: &Case) -> Vec<String> {
    let folders = case
        .arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix("@/"));
    folders.map(str::to_owned).collect()
}

/// What the record says was done to the folder before.
fn prepare(case: &Case, work: &Path) {
    #[cfg(unix)]
    if case.name.as_str() == "symlink_file" {
        std::os::unix::fs::symlink("z/real.yaml", work.join("l.yaml")).unwrap();
    }
}

fn loaded(recorded: &Value) -> Value {
    let items = recorded["Metadata"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            let reference = item["skr"].as_str().map(|reference| {
                let (name, key) = reference.split_once('|').unwrap();
                json!({ "name": name, "key": key })
            });
            let has_value = item["raw"].as_str().is_some_and(|raw| !raw.is_empty());
            json!({
                "name": item["name"],
                "value": has_value.then(|| item["str"].clone()),
                "secretKeyRef": reference.filter(|reference| {
                    reference["name"] != "" || reference["key"] != ""
                }),
                "envRef": item["env"].as_str().unwrap_or_default(),
            })
        });
    json!({
        "name": recorded["Name"],
        "namespace": recorded["Namespace"],
        "type": recorded["Type"],
        "version": recorded["Version"],
        "ignoreErrors": recorded["IgnoreErrors"],
        "initTimeout": recorded["InitTimeout"],
        "secretStore": recorded["SecretStore"],
        "scopes": recorded["Scopes"].as_array().cloned().unwrap_or_default(),
        "metadata": items.collect::<Vec<_>>(),
    })
}

fn inspected_component(inspected: &Value) -> Value {
    let items = inspected["metadata"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            let reference = &item["secretKeyRef"];
            let empty = reference["name"] == "" && reference["key"] == "";
            json!({
                "name": item["name"],
                "value": item["value"],
                "secretKeyRef": if empty { Value::Null } else { reference.clone() },
                "envRef": item["envRef"],
            })
        });
    let mut component = json!({ "metadata": items.collect::<Vec<_>>() });
    for field in [
        "name",
        "namespace",
        "type",
        "version",
        "ignoreErrors",
        "initTimeout",
        "secretStore",
        "scopes",
    ] {
        component[field] = inspected[field].clone();
    }
    component
}
