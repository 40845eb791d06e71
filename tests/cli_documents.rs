//! What the command reads: files, folders, patterns and standard input.

use std::io::Write as _;
use std::path::Path;
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
    pipe(work.path(), "p.yaml");
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
    for index in 0..10 {
        let text = format!("# {}\n", "x".repeat(4_100_000));
        std::fs::write(work.path().join(format!("{index}.yaml")), text).unwrap();
    }
    std::fs::write(work.path().join("0.yaml"), manifest("c", &[], "")).unwrap();
    let output = Run::new(work.path(), &["check", ".", "--format", "json"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let checked = json(&output);
    assert_eq!(checked["components"], 1, "{checked}");
    let message = checked["problems"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("more than 32 MiB together: this one and 1 more"),
        "{checked}"
    );
}

/// Makes a pipe that nobody writes to.
fn pipe(folder: &Path, name: &str) {
    let made = Command::new("mkfifo").arg(folder.join(name)).status();
    assert!(made.unwrap().success());
}

#[test]
#[cfg(unix)]
fn a_pipe_that_nobody_writes_to_keeps_no_command_beyond_its_timeout() {
    let reference = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let declared = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: vault}\nspec:\n  \
                    type: secretstores.local.file\n  version: v1\n  metadata:\n  \
                    - {name: secretsFile, value: pipe}\n";
    let work = folder(&[
        ("c.yaml", reference.as_bytes()),
        ("store.yaml", declared.as_bytes()),
        ("s.json", br#"{"s": "v"}"#),
    ]);
    pipe(work.path(), "pipe");
    let ends = |arguments: &[&str], class: &str| {
        let arguments = [&["check", "--format", "json", "--timeout", "1"], arguments].concat();
        let output = Run::new(work.path(), &arguments).output();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(json(&output)["problems"][0]["class"], class, "{output:?}");
    };
    ends(&["c.yaml", "--store", "vault=local.file:pipe"], "timed-out");
    // Others are not held up.
    let two = [
        "--store",
        "vault=local.file:s.json",
        "--store",
        "other=local.file:pipe",
    ];
    let arguments = [&["get", "vault", "s", "s", "--timeout", "1"], &two[..]].concat();
    assert_eq!(stdout(&Run::new(work.path(), &arguments).output()), "v");
    ends(&["pipe"], "timed-out");
    ends(&["c.yaml", "--config", "pipe"], "timed-out");
    // A document may not name one at all.
    ends(&["c.yaml", "store.yaml"], "store-misconfigured");
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_read_keeps_no_other_out() {
    let work = folder(&[("r/c.yaml", manifest("c", &[], "").as_bytes())]);
    std::os::unix::fs::symlink("/proc/self/mem", work.path().join("r/d.yaml")).unwrap();
    let output = Run::new(work.path(), &["check", "r", "--format", "json"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let checked = json(&output);
    assert_eq!(checked["components"], 1, "{checked}");
    assert_eq!(checked["problems"][0]["class"], "document-unreadable");
    assert_eq!(checked["problems"][0]["document"], "r/d.yaml");
    // A shell may have named them.
    let named = ["check", "r/c.yaml", "r/d.yaml", "--format", "json"];
    assert_eq!(json(&Run::new(work.path(), &named).output()), checked);
    let output = Run::new(work.path(), &["check", "r/none.yaml"]).output();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
#[cfg(unix)]
fn a_link_to_a_file_beside_it_declares_its_components_again() {
    let work = folder(&[("r/c.yaml", manifest("c", &[], "").as_bytes())]);
    std::os::unix::fs::symlink("c.yaml", work.path().join("r/d.yaml")).unwrap();
    let output = Run::new(work.path(), &["check", "r"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("duplicate definition of Component name c"),
        "{output:?}"
    );
}

/// Stores of which one cannot be opened.
const STORES: &[&str] = &[
    "--store",
    "vault=local.file:s.json",
    "--store",
    "broken=local.file:no.json",
];

/// Documents with references to these stores.
fn references() -> tempfile::TempDir {
    let text = |name: &str, secret: &str, store: &str| {
        let item = format!("{{name: p, secretKeyRef: {{name: {secret}}}}}");
        manifest(name, &[&item], store)
    };
    folder(&[
        ("good.yaml", text("good", "s", "vault").as_bytes()),
        ("bad.yaml", text("bad", "s", "broken").as_bytes()),
        ("none.yaml", text("none", "absent", "vault").as_bytes()),
        ("s.json", br#"{"s": "v"}"#),
    ])
}

#[test]
fn a_store_that_cannot_be_opened_hides_nothing_else() {
    let work = references();
    let arguments = [
        "resolve",
        "good.yaml",
        "bad.yaml",
        "none.yaml",
        "--format",
        "json",
    ];
    let output = Run::new(work.path(), &[&arguments, STORES].concat()).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let resolved = json(&output);
    assert_eq!(resolved["components"][0]["name"], "good", "{resolved}");
    let problems = resolved["problems"].as_array().unwrap().iter();
    let classes: Vec<_> = problems
        .map(|problem| problem["class"].as_str().unwrap())
        .collect();
    assert_eq!(
        classes,
        [
            "store-misconfigured",
            "secret-absent",
            "store-misconfigured"
        ]
    );
    let get = [&["get", "vault", "s", "s"], STORES].concat();
    assert_eq!(stdout(&Run::new(work.path(), &get).output()), "v");
}

#[test]
fn where_nothing_is_read_no_store_is_opened() {
    let work = references();
    for verb in [&["inspect"][..], &["stores"], &["check", "--offline"]] {
        let arguments = [verb, &["good.yaml", "bad.yaml"], STORES].concat();
        let output = Run::new(work.path(), &arguments).output();
        assert_eq!(output.status.code(), Some(0), "{verb:?}: {output:?}");
    }
}

#[test]
fn a_store_is_given_once() {
    let work = folder(&[("c.yaml", manifest("c", &[], "").as_bytes())]);
    let stores = ["--store", "a=local.env", "--store", "a=local.env:P_"];
    let output = Run::new(work.path(), &[&["check", "c.yaml"], &stores[..]].concat()).output();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("`--store a=…` is given twice"),
        "{output:?}"
    );
}

/// A problem at each of the places of a line that is too long to show.
#[test]
fn a_line_of_many_problems_is_looked_at_no_further_than_it_is_shown() {
    let items = (0..10_000).map(|n| format!("{{name: n, secretKeyRef: {{name: s{n}}}}}"));
    let items: Vec<_> = items.collect();
    let text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: c}}\nspec: {{type: state.redis, \
         version: v1, metadata: [{}]}}\nauth: {{secretStore: vault}}\n",
        items.join(", ")
    );
    let work = folder(&[("c.yaml", text.as_bytes()), ("s.json", b"{}")]);
    let arguments = ["check", "c.yaml", "--store", "vault=local.file:s.json"];
    let output = Run::new(work.path(), &arguments).output();
    assert!(stderr(&output).ends_with("10000 errors, 0 warnings\n"));
    assert!(!stderr(&output).contains("secretKeyRef"));
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
