//! What the command reads: files, folders, patterns and standard input.

use std::io::Write as _;
use std::process::{Command, Stdio};

use keyref_tests::library::manifest;
use keyref_tests::{Run, folder, json, keyref, stderr, stdout};
use serde_json::Value;

#[test]
fn a_store_that_is_given_is_not_read_as_a_document() {
    let secrets = b"s: v\n";
    let component = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let work = folder(&[
        ("r/secrets.yaml", secrets),
        ("r/c.yaml", component.as_bytes()),
    ]);
    let arguments = [
        "resolve",
        "r",
        "--store",
        "vault=local.file:r/secrets.yaml",
        "--reveal",
        "--format",
        "json",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(
        json(&output)["components"][0]["properties"]["p"],
        "v",
        "{output:?}"
    );
}

#[test]
fn standard_input_is_a_document() {
    let mut child = Command::new(keyref())
        .args(["inspect", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = manifest("c", &["{name: p, value: yes}"], "");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let inspected = json(&child.wait_with_output().unwrap());
    assert_eq!(inspected["components"][0]["metadata"][0]["value"], "true");
}

#[test]
fn files_folders_and_patterns_are_read_together_and_once_each_in_order() {
    let component = |name: &str| manifest(name, &[], "");
    let texts = [
        ("a/2.yaml", component("two")),
        ("a/1.yml", component("one")),
        ("a/below/3.yaml", component("three")),
        ("a/notes.txt", component("notes")),
        ("4.yaml", component("four")),
    ];
    let files: Vec<_> = texts
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    let work = folder(&files);
    let names = |arguments: &[&str]| {
        let all = [&["inspect", "--format", "json"], arguments].concat();
        let output = Run::new(work.path(), &all).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shape: Value = serde_json::from_slice(&output.stdout).unwrap();
        let components = shape["components"].as_array().unwrap().iter();
        let names = components.map(|component| component["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["a"]), ["one", "two"]);
    assert_eq!(names(&["4.yaml", "a"]), ["four", "one", "two"]);
    assert_eq!(names(&["a/*.yaml"]), ["two"]);
    assert_eq!(names(&["a/**/*.yaml"]), ["two", "three"]);
    assert_eq!(names(&["a/[0-9].y*ml", "4.yaml"]), ["one", "two", "four"]);
    let output = Run::new(work.path(), &["inspect", "b*.yaml"]).output();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("no file matches `b*.yaml`"),
        "{output:?}"
    );
}

#[test]
fn a_pattern_may_begin_with_this_folder() {
    let text = manifest("c", &[], "");
    let work = folder(&[("r/c.yaml", text.as_bytes())]);
    let output = Run::new(work.path(), &["check", "./r/*.yaml"]).output();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_file_that_two_arguments_name_is_read_once() {
    let work = folder(&[("a/c.yaml", manifest("c", &[], "").as_bytes())]);
    let arguments = ["check", "a", "a/c.yaml", "./a/*.yaml"];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(
        stdout(&output),
        "1 components, 0 references: all is well\n",
        "{output:?}"
    );
}

#[test]
#[cfg(unix)]
fn a_pipe_in_a_folder_is_left_out() {
    let work = folder(&[("c.yaml", manifest("c", &[], "").as_bytes())]);
    let made = Command::new("mkfifo")
        .arg(work.path().join("p.yaml"))
        .status();
    assert!(made.unwrap().success());
    let output = Run::new(work.path(), &["check", "."]).output();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        stderr(&output).contains("p.yaml` is not a regular file"),
        "{output:?}"
    );
}

#[test]
fn files_are_not_read_further_than_a_document_may_be() {
    let work = folder(&[]);
    let large = std::fs::File::create(work.path().join("large.yaml")).unwrap();
    large.set_len(1 << 40).unwrap();
    let output = Run::new(work.path(), &["check", "large.yaml", "--format", "json"]).output();
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["problems"][0]["class"],
        "document-limit",
        "{output:?}"
    );
    for index in 0..9 {
        let text = format!("# {}\n", "x".repeat(4_100_000));
        std::fs::write(work.path().join(format!("{index}.yaml")), text).unwrap();
    }
    let output = Run::new(work.path(), &["check", "."]).output();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("more than 32 MiB together"),
        "{output:?}"
    );
}

#[test]
fn what_checks_nothing_does_not_say_that_all_is_well() {
    let work = folder(&[
        ("empty.yaml", b""),
        ("c.yaml", manifest("c", &[], "").as_bytes()),
    ]);
    let scoped = manifest("d", &[], "") + "scopes: [other]\n";
    std::fs::write(work.path().join("d.yaml"), scoped).unwrap();
    for arguments in [
        &["check", "empty.yaml"][..],
        &["check", "d.yaml", "--app-id", "App"],
    ] {
        let output = Run::new(work.path(), arguments).output();
        let said = "0 components, 0 references: nothing was there to check\n";
        assert_eq!(stdout(&output), said, "{output:?}");
    }
}
