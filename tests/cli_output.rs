//! What the command prints: shapes for programs, and texts for people and shells.

use keyref_tests::library::manifest;
use keyref_tests::{Run, folder, json, stderr, stdout, tutorial, workspace};
use serde_json::Value;

#[test]
fn output_for_programs_fits_its_schema() {
    let runs: [(&str, &[&str]); 7] = [
        ("resolve", &["resolve", "examples/tutorial"]),
        ("resolve", &["resolve", "examples/tutorial", "--reveal"]),
        ("inspect", &["inspect", "examples/tutorial"]),
        ("check", &["check", "examples/tutorial"]),
        ("stores", &["stores", "examples/tutorial"]),
        ("get", &["get", "kubernetes-secrets", "redis-password"]),
        ("bulk", &["bulk", "kubernetes-secrets"]),
    ];
    for (verb, arguments) in runs {
        let output = json(&tutorial(&[arguments, &["--format", "json"]].concat()));
        assert_fits(verb, &output);
    }
    let broken = folder(&[("c.yaml", b"a: b: c\n---\nkind: Component\n")]);
    for verb in ["resolve", "inspect", "check"] {
        let output = Run::new(broken.path(), &[verb, "c.yaml", "--format", "json"]).output();
        assert_eq!(output.status.code(), Some(1));
        assert_fits(verb, &json(&output));
    }
}

fn assert_fits(verb: &str, output: &Value) {
    let path = workspace().join(format!("docs/schema/{verb}.json"));
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    close(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(output)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{verb}: {errors:?}\n{output}");
}

/// Lets a schema refuse what it does not name. As published it does not, because fields may be added;
/// what is printed today must all stand in it.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") && fields.get("type") == Some(&"object".into()) {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn yaml_is_the_same_as_json() {
    for verb in ["resolve", "check", "inspect"] {
        let shape = |format: &str| {
            let output = tutorial(&[verb, "examples/tutorial", "--format", format]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            match format {
                "json" => serde_json::from_slice::<Value>(&output.stdout).unwrap(),
                _ => serde_yaml::from_slice(&output.stdout).unwrap(),
            }
        };
        assert_eq!(shape("yaml"), shape("json"), "{verb}");
    }
}

/// What a YAML of one version or another takes for something else than text, or for another text.
const ODD_TEXTS: &[&str] = &[
    "on",
    "No",
    "y",
    "null",
    "~",
    "1_000",
    "0x1F",
    "012",
    "12:30:45",
    "2001-01-01",
    "=",
    "<<",
    ".5",
    ".inf",
    "1e3",
    "",
    " a",
    "a ",
    "a: b",
    "a #b",
    "- a",
    "? a",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "'",
    "\"",
    "%a",
    "@a",
    "`a",
    "{}",
    "[]",
    ",",
    "a\\b",
    "line\nbreak\n",
    "tab\t",
    "\u{1}\u{7f}\u{85}\u{2028}\u{feff}",
    "\u{1f600}",
    "plain-text/with.points",
    "---",
    "...",
];

/// Dapr reads YAML 1.1, so what is printed as YAML is read back by the guest.
#[test]
fn yaml_is_read_as_the_same_by_yaml_1_1() {
    let items = ODD_TEXTS.iter().zip(0..).map(|(value, n)| {
        format!(
            "{{name: {}, value: {}}}",
            if n % 2 == 0 {
                format!("k{n}")
            } else {
                quoted(value)
            },
            quoted(value)
        )
    });
    let items: Vec<_> = items.collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let work = folder(&[("c.yaml", manifest("on", &items, "").as_bytes())]);
    let shape = |format: &str| {
        let arguments = ["resolve", "c.yaml", "--format", format];
        let output = Run::new(work.path(), &arguments).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stdout(&output).to_owned()
    };
    let indented = shape("yaml").replace('\n', "\n      ");
    let again = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: c}}\nspec:\n  type: state.redis\n  \
         metadata:\n  - name: all\n    value:\n      {indented}\n"
    );
    std::fs::write(work.path().join("again.yaml"), again).unwrap();
    let output = Run::new(work.path(), &["inspect", "again.yaml", "--format", "json"]).output();
    let value = &json(&output)["components"][0]["metadata"][0]["value"];
    let read: Value = serde_json::from_str(value.as_str().unwrap()).unwrap();
    assert_eq!(read, serde_json::from_str::<Value>(&shape("json")).unwrap());
}

/// A YAML scalar in double quotes.
fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        ' '..='~' if !"\"\\".contains(character) => character.to_string(),
        other => format!("\\U{:08x}", u32::from(other)),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[test]
fn what_has_no_place_is_told_to_code_scanning_of_the_first_document() {
    let work = folder(&[("c.yaml", manifest("c", &[], "").as_bytes())]);
    let store = ["--store", "vault=local.file:none.json"];
    let arguments = [&["check", "c.yaml", "--format", "sarif"], &store[..]].concat();
    let output = Run::new(work.path(), &arguments).output();
    let place = &json(&output)["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "c.yaml");
    assert_eq!(place["region"]["startLine"], 1);
}

#[test]
fn a_log_for_code_scanning_names_files_by_their_uri() {
    let work = folder(&[("a b.yaml", b"a: b: c\n")]);
    let whole = work.path().join("a b.yaml");
    let whole = whole.to_str().unwrap();
    let uri = format!("file://{}", whole.replace(' ', "%20"));
    for (path, expected) in [("a b.yaml", "a%20b.yaml"), (whole, uri.as_str())] {
        let output = Run::new(work.path(), &["check", path, "--format", "sarif"]).output();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let result = &run["results"][0];
        assert_eq!(result["ruleId"], "document-syntax");
        assert_eq!(result["level"], "error");
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], expected);
        assert_eq!(place["region"]["startLine"], 1);
    }
}

#[test]
fn what_no_variable_can_hold_keeps_its_component_out_of_the_environment() {
    let obeyed = manifest("prompt", &["{name: command, value: id}"], "");
    let loaded = manifest("LD", &["{name: preload, value: /x.so}"], "");
    let plain = |name: &str, value: &str| format!("{{name: {name}, value: {value}}}");
    let nul = manifest("nul", &[&plain("p", "\"a\\0b\"")], "");
    let twice = manifest("twice", &[&plain("a-b", "x"), &plain("a.b", "y")], "");
    let good = manifest("good", &[&plain("p", "\"it's\"")], "");
    let absent = manifest("absent", &["{name: p, secretKeyRef: {name: s}}"], "none");
    let texts = [
        ("1.yaml", &nul),
        ("2.yaml", &twice),
        ("3.yaml", &good),
        ("4.yaml", &absent),
        ("5.yaml", &obeyed),
        ("6.yaml", &loaded),
    ];
    let work = folder(&texts.map(|(name, text)| (name, text.as_bytes())));
    let arguments = ["resolve", ".", "--reveal", "--format", "env"];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout(&output), "GOOD_P='it'\\''s'\n");
    let errors = stderr(&output);
    for told in [
        "has a NUL",
        "both be the variable `TWICE_A_B`",
        "no secret store `none`",
        "obey the variable `PROMPT_COMMAND`",
        "obey the variable `LD_PRELOAD`",
    ] {
        assert!(errors.contains(told), "{told}: {errors}");
    }
}

#[test]
fn a_header_and_a_document_of_one_name_are_not_mixed_up() {
    let endpoint = "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {name: e}\nspec:\n  \
        baseUrl: http://x\n  headers: [{name: rootCA, value: a}]\n  clientTLS: {rootCA: {value: b}}\n";
    let work = folder(&[("e.yaml", endpoint.as_bytes())]);
    let output = Run::new(work.path(), &["resolve", "e.yaml", "--format", "json"]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shape: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shape["components"], serde_json::json!([]));
    assert_eq!(shape["problems"][0]["class"], "document-schema");
    assert_eq!(shape["problems"][0]["property"], "rootCA");
}

#[test]
fn names_that_a_terminal_would_obey_are_escaped() {
    let name = "a\\e[31mb\\u202ec";
    let item = format!("{{name: \"{name}\", secretKeyRef: {{name: \"{name}\"}}}}");
    let text = manifest(
        "c",
        &[&item, &format!("{{name: p, value: \"{name}\"}}")],
        "vault",
    );
    let text = text.replace("{name: c}", &format!("{{name: \"{name}\"}}"));
    let work = folder(&[("c.yaml", text.as_bytes()), ("s.json", b"{}")]);
    for verb in ["inspect", "resolve", "check", "stores"] {
        let arguments = [
            verb,
            "c.yaml",
            "--store",
            "vault=local.file:s.json",
            "--mode",
            "dapr",
        ];
        let output = Run::new(work.path(), &arguments).output();
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{verb}: {text}");
        }
    }
}

#[test]
fn a_binary_value_keeps_only_itself_out_of_bulk() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: binary}\ndata: {k: //8=, t: eA==}\n---\n\
                  apiVersion: v1\nkind: Secret\nmetadata: {name: text}\nstringData: {k: v}\n";
    let work = folder(&[("s.yaml", secret.as_bytes())]);
    let arguments = [
        "bulk",
        "vault",
        "--store",
        "vault=local.file:s.yaml",
        "--format",
        "json",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        serde_json::json!({ "binary": { "t": "x" }, "text": { "k": "v" } })
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("key `k` of `binary`"));
    let arguments = [
        "get",
        "vault",
        "binary",
        "--store",
        "vault=local.file:s.yaml",
    ];
    let output = Run::new(work.path(), &arguments).output();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "t=x\n");
}

#[test]
fn one_key_comes_in_the_format_that_was_asked_for() {
    let work = folder(&[("s.json", br#"{"s": "v"}"#)]);
    let get = |format: &str| {
        let common = [
            "get",
            "vault",
            "s",
            "s",
            "--store",
            "vault=local.file:s.json",
        ];
        Run::new(work.path(), &[&common[..], &["--format", format]].concat()).output()
    };
    assert_eq!(stdout(&get("text")), "v");
    assert_eq!(json(&get("json")), serde_json::json!({ "s": "v" }));
    assert_eq!(stdout(&get("yaml")), "s: v\n");
}

#[test]
fn what_cannot_be_used_is_told_to_programs_as_well() {
    let work = folder(&[
        ("c.yaml", manifest("c", &[], "").as_bytes()),
        (
            "config.yaml",
            b"spec: {secrets: {scopes: [{storeName: s, defaultAccess: dney}]}}",
        ),
        ("empty.yaml", b"# nothing\n"),
    ]);
    for (flags, class) in [
        (["--config", "config.yaml"], "document-schema"),
        (["--config", "empty.yaml"], "document-schema"),
        (
            ["--store", "vault=local.file:none.json"],
            "store-misconfigured",
        ),
    ] {
        // To inspect, no store is opened.
        let verbs = ["resolve", "check", "inspect"];
        for verb in verbs.iter().take(if flags[0] == "--store" { 2 } else { 3 }) {
            let arguments = [&[*verb, "c.yaml", "--format", "json"][..], &flags].concat();
            let output = Run::new(work.path(), &arguments).output();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let shape: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_fits(verb, &shape);
            assert_eq!(shape["problems"][0]["class"], class, "{output:?}");
        }
        let arguments = [&["check", "c.yaml", "--format", "sarif"][..], &flags].concat();
        let output = Run::new(work.path(), &arguments).output();
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(log["runs"][0]["results"][0]["ruleId"], class, "{output:?}");
    }
}

#[test]
fn names_of_files_that_a_terminal_would_obey_are_escaped() {
    let work = folder(&[
        ("a\u{1b}[31m\nb.yaml", b"a: b: c\n"),
        ("\u{1b}[31m.txt", b""),
    ]);
    let output = Run::new(work.path(), &["check", "."]).output();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!stderr(&output).contains('\u{1b}'), "{output:?}");
    assert!(
        stderr(&output).contains(r"a\u{1b}[31m\nb.yaml:1:5"),
        "{output:?}"
    );
}

#[test]
fn a_colored_problem_has_the_same_lines_as_a_plain_one() {
    let work = folder(&[("c.yaml", b"a: b: c\n")]);
    let lines = |color: &str| {
        let output = Run::new(work.path(), &["check", "c.yaml", "--color", color]).output();
        stderr(&output).lines().count()
    };
    let output = Run::new(work.path(), &["check", "c.yaml", "--color", "always"]).output();
    assert!(stderr(&output).contains('\u{1b}'), "{output:?}");
    assert!(!stderr(&output).contains(":::"), "{output:?}");
    assert_eq!(lines("always"), lines("never"));
}

#[test]
fn lines_are_those_of_yaml() {
    let text = "a: \"b\u{2028}c\"\r\nd: e: f\n";
    let work = folder(&[("c.yaml", text.as_bytes())]);
    let output = Run::new(work.path(), &["check", "c.yaml"]).output();
    assert!(stderr(&output).contains("c.yaml:3:5"), "{output:?}");
    assert!(stderr(&output).contains("3 | ***: ***: ***"), "{output:?}");
}

#[test]
fn a_store_that_cannot_be_opened_is_told_once() {
    let folder = folder(&[]);
    for arguments in [["get", "s", "x"].as_slice(), &["bulk", "s"]] {
        let store = ["--store", "s=local.file:absent.json"];
        let output = Run::new(folder.path(), &[arguments, &store].concat()).output();
        assert_eq!(output.status.code(), Some(1));
        let shown = stderr(&output);
        assert_eq!(shown.matches("absent.json").count(), 1, "{shown}");
    }
}
